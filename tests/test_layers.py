"""The rooms of the package: who may import whom, drawn with `ast`, and the few rules every module keeps."""

import ast
import sys
from pathlib import Path

import pytest

import ccdnight

PACKAGE = Path(ccdnight.__file__).parent

#: The layers from the lowest to the highest. A module imports from lower layers, and in its own layer from
#: modules that stand before it. A package (profiles, storage, ...) counts as one module here; a circle inside
#: it is found all the same. The package's own `__init__` hands names out lazily and is free.
LAYERS = (
    (
        "exceptions",
        "_version",
        "_html",
        "_quiet",
        "_numbers",
        "_sections",
        "_unchanged",
        "_kernels",
        "provenance",
        "storage",
        "_cluster",
        "execution",
    ),
    ("_inputs", "observation", "profiles", "flags", "smoothing", "statistics"),
    (
        "fitsrows",
        "_strips",
        "clipping",
        "stacking",
        "products",
        "masking",
        "geometry",
        "overscan",
        "trimming",
        "readout",
        "_trails",
        "saturation",
        "linearity",
        "sources",
        "noise",
        "sampling",
    ),
    (
        "_files",
        "_frametable",
        "filestack",
        "_ccdproc",
        "_ccdrows",
        "combiner",
        "combining",
        "vetting",
        "frames",
        "_collecting",
        "darks",
        "_mastersnoise",
        "_steps",
        "_fused",
        "calibration",
        "_corrected",
        "overview",
        "seeing",
        "thumbnails",
        "annotation",
        "starwidth",
    ),
    (
        "_mastersinputs",
        "_mastersfinish",
        "masters",
        "illumination",
        "fringes",
        "badpixels",
        "_lacosmic",
        "cosmicrays",
        "detector",
        "settling",
        "measuring",
        "alignment",
        "coadding",
        "simulate",
    ),
    (
        "_planchecks",
        "plans",
        "levels",
        "naming",
        "matching",
        "fringeplans",
        "association",
        "learning",
        "plots",
        "characterize",
    ),
    ("verifying", "reduction", "journal", "record", "coaddtasks", "frametasks", "mastertasks", "tasks"),
    ("report",),
    ("night",),
    ("pulls", "planted", "comparison", "demo", "cli", "__main__"),
)

#: Importing these takes long, so it waits until a function needs them; but a subclass needs its base,
#: and `_ccdproc` binds ccdproc's own functions before ours can be put in their place.
HEAVY = {"ccdproc", "distributed", "matplotlib", "photutils", "reproject"}
MAY_IMPORT_AT_ONCE = {"_ccdproc": {"ccdproc"}, "combiner": {"ccdproc"}, "frames": {"ccdproc"}}

#: What some rooms must not know of at all, not even inside a function.
UNKNOWN_TO = {
    "execution": {"astropy", "ccdproc"},
    "_cluster": {"astropy", "ccdproc"},
    "stacking": {"ccdproc"},
    "_ccdrows": {"ccdproc"},
}
KERNELS_KNOW = {"ccdnight", "numba", "numpy"}

LONGEST_BODY = 60

POSITION = {name: (level, place) for level, names in enumerate(LAYERS) for place, name in enumerate(names)}


def module_name(path, package=PACKAGE):
    """Dotted name of a module: 'profiles.model', 'storage' for that package, '' for ccdnight itself."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources():
    return {module_name(path): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def is_import_call(node):
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", "")) in {"import_module", "__import__"}


def imports_in(nodes, home):
    """
    Absolute dotted names that nodes import, with the node; `home` is the package that dots count from.

    ``from a import b`` gives 'a.b', which may be a module or a name in one. Names given to import_module as
    plain text count as well.
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = home[: len(home) - node.level + 1] if node.level else []
            base = [*start, node.module] if node.module else start
            yield from ((".".join([*base, alias.name]), node) for alias in node.names)
        elif is_import_call(node):
            yield from ((arg.value, node) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def imports_of(name, source, packages=frozenset()):
    """Absolute dotted names that a module imports anywhere in it, functions included."""
    home = ["ccdnight", *name.split(".")] if name else ["ccdnight"]
    if name and name not in packages:
        home.pop()
    return imports_in(ast.walk(ast.parse(source)), home)


def targets_of(name, source, modules, packages=frozenset()):
    """Modules of ccdnight that a module imports; '' where it asks the package itself for a name."""
    for imported, node in imports_of(name, source, packages):
        parts = imported.split(".")
        if parts[0] != "ccdnight":
            continue
        # The longest beginning of the dotted name that is a module: the rest is a name in it.
        known = [".".join(parts[1:end]) for end in range(len(parts), 1, -1)]
        yield next((item for item in known if item in modules), ""), node.lineno


def problems_of(texts):
    """
    Everything wrong with the imports of a package.

    Parameters
    ----------
    texts : dict of str to str
        Source of each module by its dotted name, without 'ccdnight.'.
    """
    packages = {name.rpartition(".")[0] for name in texts} | {""}
    problems, graph = [], {}
    for name, source in texts.items():
        room = name.partition(".")[0]
        if name == "":
            continue
        if room not in POSITION:
            problems.append(f"{name}: no layer is declared for it in {Path(__file__).name}")
            continue
        graph[name] = set()
        for target, line in targets_of(name, source, set(texts), packages):
            where, other = f"{name}:{line}", target.partition(".")[0]
            if target == "":
                problems.append(f"{where}: imports a name of the whole package; import it from its module")
            elif other != room and other in POSITION and POSITION[other] > POSITION[room]:
                problems.append(f"{where}: imports {target}, which stands above it")
            graph[name].add(target)
    return problems + [f"circle of imports: {' -> '.join(circle)}" for circle in circles(graph)]


def circles(graph):
    """Circles in a graph of names to sets of names, each once."""
    found, done = [], set()

    def follow(name, path):
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for target in sorted(graph.get(name, ())):
                follow(target, [*path, name])
            done.add(name)

    for name in sorted(graph):
        follow(name, [])
    return found


def functions(tree):
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def body_length(node):
    """Lines of the body of a function, its docstring not counted."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def at_import(tree):
    """Nodes that run when a module is imported: everything outside functions and `if TYPE_CHECKING`."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        is_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not is_typing:
            waiting.extend(ast.iter_child_nodes(node))


def test_imports_point_down():
    """No module imports from above, none is without a layer, and there is no circle."""
    assert problems_of(sources()) == []


def test_the_graph_is_not_empty():
    """A checker that reads nothing would be pleased with everything."""
    texts = sources()
    packages = {name.rpartition(".")[0] for name in texts}
    edges = {(name, target) for name in texts for target, _ in targets_of(name, texts[name], set(texts), packages)}
    assert ("profiles.registry", "profiles.loading") in edges
    assert ("readout", "storage") in edges
    assert len(edges) > 30


GOOD = {
    "exceptions": "",
    "statistics": "from ccdnight.exceptions import InputError",
    "stacking": "import numpy",
}


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("statistics", "from ccdnight.stacking import stack", "statistics:1: imports stacking"),
        ("statistics", "import ccdnight.stacking", "statistics:1: imports stacking"),
        ("statistics", "from . import stacking", "statistics:1: imports stacking"),
        ("statistics", "from .stacking import stack", "statistics:1: imports stacking"),
        ("statistics", "from ccdnight import exceptions, stacking", "statistics:1: imports stacking"),
        ("statistics", "def f():\n    from ccdnight import stacking", "statistics:2: imports stacking"),
        (
            "statistics",
            "import importlib\nimportlib.import_module('ccdnight.stacking')",
            "statistics:2: imports",
        ),
        ("profiles.model", "from ..stacking import stack", "profiles.model:1: imports stacking"),
        ("observation", "from ccdnight.statistics import clip", "observation:1: imports statistics"),
        ("statistics", "from ccdnight import make_bias", "statistics:1: imports a name of the whole package"),
        ("statistics", "import ccdnight", "statistics:1: imports a name of the whole package"),
        ("elsewhere", "", "elsewhere: no layer is declared"),
        (
            "statistics",
            "from ccdnight.statistics import other",
            "circle of imports: statistics -> statistics",
        ),
    ],
)
def test_the_checker_sees(name, source, words):
    """Each way of importing upward is caught, with the line it stands in."""
    assert problems_of(GOOD) == []
    problems = problems_of({**GOOD, "profiles": "", name: source})
    assert len(problems) == 1
    assert problems[0].startswith(words)


def test_the_checker_sees_circles_in_a_package():
    texts = {
        "storage": "from ccdnight.storage.reading import read",
        "storage.reading": "def f():\n    from ccdnight.storage.writing import write",
        "storage.writing": "from ccdnight.storage.reading import read",
    }
    assert problems_of(texts) == ["circle of imports: storage.reading -> storage.writing -> storage.reading"]


def heavy_at_once(name, source):
    """Heavy packages that a module loads when it is imported."""
    tops = {imported.partition(".")[0] for imported, _ in imports_in(at_import(ast.parse(source)), [])}
    return tops & HEAVY - MAY_IMPORT_AT_ONCE.get(name, set())


def test_heavy_imports_wait():
    """Whoever only looks at a folder does not wait for matplotlib."""
    found = {name: heavy_at_once(name, source) for name, source in sources().items()}
    assert {name: heavy for name, heavy in found.items() if heavy} == {}


def test_heavy_imports_are_seen():
    """Also in a class, in an `if` and in a `try`, but not in a function, where they belong."""
    assert heavy_at_once("plots", "import matplotlib.pyplot as plt") == {"matplotlib"}
    assert heavy_at_once("plots", "try:\n    from ccdproc import combine\nexcept ImportError:\n    pass") == {"ccdproc"}
    assert heavy_at_once("plots", "def show():\n    import matplotlib") == set()
    assert heavy_at_once("frames", "import ccdproc, matplotlib") == {"matplotlib"}


def test_some_rooms_know_less():
    """The executor knows nothing of CCDs, stacking nothing of ccdproc, kernels only numpy and numba."""
    found = []
    for name, source in sources().items():
        room = name.partition(".")[0]
        for imported, node in imports_of(name, source):
            top = imported.partition(".")[0]
            stranger = room == "_kernels" and top not in KERNELS_KNOW | sys.stdlib_module_names
            if stranger or top in UNKNOWN_TO.get(room, ()):
                found.append(f"{name}:{node.lineno}: {imported}")
    assert found == []


def test_functions_are_short():
    """When a function grows over 60 lines, a concept is missing a name."""
    long = [
        f"{name}:{node.lineno} {node.name}: {body_length(node)} lines"
        for name, source in sources().items()
        for node in functions(ast.parse(source))
        if body_length(node) > LONGEST_BODY
    ]
    assert long == []


def test_the_ruler_measures():
    """A docstring is not counted, everything else is."""
    text = '"""Words.\n\n    More.\n    """\n'
    source = f"def f():\n    {text}    a = 1\n\n    return a\n"
    assert [body_length(node) for node in functions(ast.parse(source))] == [3]
    assert [body_length(node) for node in functions(ast.parse(f"def f():\n    {text}"))] == [0]


def test_nothing_is_asserted():
    """`python -O` takes assert away, so it validates nothing."""
    found = [
        f"{name}:{node.lineno}"
        for name, source in sources().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assert)
    ]
    assert found == []
