"""The project around the package: what is built from it, its set-up, its lower bounds and its changelog."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ccdnight"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

#: What a copy of the sources has no need of.
_LEFT_OUT = shutil.ignore_patterns(
    ".*_cache",
    ".git",
    ".hypothesis",
    ".tox",
    ".venv",
    "*.egg-info",
    "__pycache__",
    "_build",
    "build",
    "dist",
    "venv",
)


def package_files():
    """Paths of all files of the package, modules and data, relative to the project."""
    files = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    return {name for name in files if not re.search(r"/(\.|__pycache__/)", name)}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An sdist, built from a copy of the sources without .git, and a wheel built from it; no network."""
    copy = tmp_path_factory.mktemp("source") / "ccdnight"
    shutil.copytree(ROOT, copy, ignore=_LEFT_OUT)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", copy / "dist", copy]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=copy.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = (copy / "dist").glob("*.tar.gz"), (copy / "dist").glob("*.whl")
    return sdist, wheel


def names_in_sdist(sdist):
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def names_in_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_package_data_is_there():
    """The sources hold the data files that the tests below look for in what is built."""
    files = package_files()
    assert {"ccdnight/py.typed", "ccdnight/profiles/generic.toml", "ccdnight/profiles/lfc.toml"} <= files


def test_sdist_is_complete(built):
    """Everything of the package, and what is needed to run the tests and to build the documentation."""
    names = names_in_sdist(built[0])
    assert package_files() - names == set()
    others = {
        "pyproject.toml",
        "tox.ini",
        "README.rst",
        "LICENSE",
        "CHANGES.rst",
        "docs/conf.py",
        "tests/oldest.txt",
    }
    assert others - names == set()


def test_wheel_is_complete(built):
    """The wheel holds the package with its data, nothing else, and knows version and license."""
    names = names_in_wheel(built[1])
    assert package_files() ^ {name for name in names if ".dist-info/" not in name} == set()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_version_without_git(built):
    """A tree without .git knows its version, the one that the package tells."""
    from ccdnight._version import version

    assert [path.name.split("-")[1].removesuffix(".tar.gz") for path in built] == [version, version]


def test_wheel_has_the_command(built):
    with zipfile.ZipFile(built[1]) as archive:
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "ccdnight = ccdnight.cli:program" in archive.read(entry_points).decode().splitlines()


def setup_commands():
    """The lines of the README's literal blocks between the heading Set-up and the next one."""
    readme = (ROOT / "README.rst").read_text("utf-8")
    (section,) = re.findall(r"^Set-up\n-+\n(.*?)^\S[^\n]*\n-+$", readme, re.DOTALL | re.MULTILINE)
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


def test_readme_has_two_setup_commands():
    """One does the main job, one runs the tests; nothing else is installed in the README."""
    commands = setup_commands()
    assert len(commands) == 2
    assert re.fullmatch(r"python -m pip install \S+ && ccdnight demo", commands[0])
    assert re.fullmatch(r"python -m pip install tox && python -m tox -e test", commands[1])
    assert (ROOT / "README.rst").read_text("utf-8").count("pip install") == 2


def test_ci_runs_the_command_of_the_readme():
    assert setup_commands()[1] in (ROOT / ".ci" / "run").read_text("utf-8")


def requirements(*extras):
    """Requirements of the package and of some extras, by name."""
    project = PYPROJECT["project"]
    lines = project["dependencies"] + [line for e in extras for line in project["optional-dependencies"][e]]
    return {item.name.lower().replace("_", "-"): item for item in map(Requirement, lines)}


def lower_bound(requirement):
    (bound,) = (Version(item.version) for item in requirement.specifier if item.operator == ">=")
    return bound


def test_oldest_is_the_lower_bounds():
    """`tox -e oldest` installs exactly the lowest versions that pyproject.toml allows."""
    lines = (ROOT / "tests" / "oldest.txt").read_text("utf-8").splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)
    bounds = {name: lower_bound(item) for name, item in requirements("cluster", "test").items()}
    assert {name: Version(pin) for name, pin in pins.items()} == bounds


def test_every_dependency_has_a_lower_bound():
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert all(lower_bound(item) for item in requirements(*extras).values())


def test_oldest_python_is_tested():
    """The environment `oldest` runs on the lowest Python that is allowed."""
    lowest = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"base_python = python{lowest}\n" in (ROOT / "tox.ini").read_text("utf-8")


def test_style_tools_are_the_same():
    """tox and pre-commit use the same versions of the tools that they share."""
    pins = [
        set(re.findall(r"\b(?:numpydoc|ruff)==[\d.]+", (ROOT / name).read_text("utf-8")))
        for name in ("tox.ini", ".pre-commit-config.yaml")
    ]
    assert pins[0] == pins[1]
    assert len(pins[0]) == 2


def is_fragment(name):
    """Whether towncrier would take a file of this name."""
    types = "|".join(item["directory"] for item in PYPROJECT["tool"]["towncrier"]["type"])
    return re.fullmatch(rf"(\d+|\+[\w-]+)\.({types})(\.\d+)?\.rst", name) is not None


def test_fragments_have_a_type():
    names = [path.name for path in (ROOT / "changes").iterdir() if path.name != "README.rst"]
    assert [name for name in names if not is_fragment(name)] == []


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("12.bugfix.rst", True),
        ("12.bugfix.2.rst", True),
        ("+overscan.doc.rst", True),
        ("12.fix.rst", False),
        ("overscan.doc.rst", False),
        ("12.bugfix.md", False),
    ],
)
def test_what_a_fragment_is(name, valid):
    assert is_fragment(name) is valid
