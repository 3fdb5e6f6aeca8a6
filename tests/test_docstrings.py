"""Every public function, class, method and property says what it is."""

import importlib
import inspect
import re
from pathlib import Path

import pytest
from click import Context

import ccdnight
from ccdnight.cli import main

MODULES = sorted(set(dir(ccdnight)) - set(ccdnight.__all__))
DOCS = Path(__file__).parents[1] / "docs"


def public_objects():
    """What the public modules list, and the methods and properties that their classes define."""
    for module in MODULES:
        home = importlib.import_module(f"ccdnight.{module}")
        yield module, home
        for name in getattr(home, "__all__", ()):
            value = getattr(home, name)
            if not (inspect.isclass(value) or inspect.isroutine(value)):
                continue
            yield f"{module}.{name}", value
            for member, item in vars(value).items() if inspect.isclass(value) else ():
                item = getattr(item, "__func__", item)
                if not member.startswith("_") and (inspect.isfunction(item) or isinstance(item, property)):
                    yield f"{module}.{name}.{member}", getattr(value, member)


def test_docstring_coverage_of_public_names_is_complete():
    """inspect.getdoc also finds what a method inherits: a drop-in of ccdproc's keeps its words."""
    found = dict(public_objects())
    assert len(found) > 150
    assert [name for name, value in found.items() if not (inspect.getdoc(value) or "").strip()] == []


@pytest.mark.parametrize("name", sorted(main.commands))
def test_help_of_each_command_has_an_example_that_parses(name):
    """The example names options and arguments that the command has."""
    command = main.commands[name]
    commands = getattr(command, "commands", {name: command})
    for item in commands.values():
        text = " ".join((item.help or "").split())
        assert "Example" in text or "ccdnight " in text, item.name
        example = text[text.index("ccdnight ") :].split()
        given = {word.strip(".,;") for word in example if word.startswith("--")}
        known = {option for param in item.params for option in (*param.opts, *param.secondary_opts)}
        assert given <= known | set(Context(item).help_option_names) | {"--help"}, given - known


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_option_says_what_it_does(name):
    """A list of choices is no explanation."""
    command = main.commands[name]
    for item in getattr(command, "commands", {name: command}).values():
        options = [param for param in item.params if param.opts[0].startswith("-")]
        assert [param.name for param in options if not param.help] == []


def test_groups_of_commands_have_examples():
    for group in (main, main.commands["profile"]):
        assert re.search(r"Examples:\s+ccdnight \w+", group.help), group.name


def public_functions():
    """Functions of the package and of its public modules, each under the first name it has."""
    found = {}
    for module in ("", *MODULES):
        home = importlib.import_module(f"ccdnight.{module}".rstrip("."))
        for name in home.__all__:
            if inspect.isroutine(getattr(home, name)):
                found.setdefault(getattr(home, name), f"{module}.{name}".lstrip("."))
    return {name: function for function, name in found.items()}


def has_example(name, text):
    """Whether the words of a function show it at work, or link to a page that does."""
    section = re.search(r"^Examples\n-+\n(.*)", text, re.MULTILINE | re.DOTALL)
    if section is None:
        return False
    called = re.compile(rf"\b{name.rpartition('.')[2]}\(")
    pages = [DOCS / f"{page}.rst" for page in re.findall(r":doc:`/([\w/]+)`", section[1])]
    shown = [section[1], *(page.read_text("utf-8") for page in pages)]
    lines = [line for part in shown for line in part.splitlines() if re.match(r" *(>>>|\.\.\.) ", line)]
    return any(called.search(line) and "+SKIP" not in line for line in lines)


def public_classes():
    """Classes of the package and of its public modules, each under the first name it has."""
    found = {}
    for module in ("", *MODULES):
        home = importlib.import_module(f"ccdnight.{module}".rstrip("."))
        for name in home.__all__:
            if inspect.isclass(getattr(home, name)):
                found.setdefault(getattr(home, name), f"{module}.{name}".lstrip("."))
    return {name: item for item, name in found.items()}


def shows_a_class(name, text):
    """
    Whether the words of a class have lines that run, or link to a page that names it and has such lines.

    Results are not made by those who use them, so that the class itself need not be called.
    """
    section = re.search(r"^Examples\n-+\n(.*)", text, re.MULTILINE | re.DOTALL)
    if section is None:
        return False
    running = re.compile(r"^ *>>> (?!.*\+SKIP)(?!(?:import|from) )", re.MULTILINE)
    if running.search(section[1]):
        return True
    pages = [(DOCS / f"{page}.rst").read_text("utf-8") for page in re.findall(r":doc:`/([\w/]+)`", section[1])]
    named = re.compile(rf"\b{name.rpartition('.')[2]}\b")
    return any(named.search(page) and running.search(page) for page in pages)


def test_every_public_class_has_an_example():
    """In its own docstring, or on the page that the docstring links to; doctest runs both."""
    found = public_classes()
    assert len(found) > 40
    # Inherited words would be those of another class.
    assert [name for name, item in found.items() if not shows_a_class(name, inspect.cleandoc(item.__doc__ or ""))] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One flag.", False),
        ("One flag.\n\nExamples\n--------\n>>> from ccdnight.flags import Flag", False),
        ("One flag.\n\nExamples\n--------\n>>> FLAGS['BLEED'].value  # doctest: +SKIP", False),
        ("One flag.\n\nExamples\n--------\n>>> FLAGS['BLEED'].value\n32", True),
        ("One flag.\n\nExamples\n--------\nSee :doc:`/user_guide/resume`.", False),
        ("One flag.\n\nExamples\n--------\nSee :doc:`/user_guide/simulate`.", False),
    ],
)
def test_what_counts_as_an_example_of_a_class(text, expected):
    assert shows_a_class("flags.Flag", text) is expected


def test_every_public_function_has_an_example():
    """It calls the function, in the docstring or on the page that the docstring links to; doctest runs both."""
    found = public_functions()
    assert len(found) > 100
    assert [name for name, value in found.items() if not has_example(name, inspect.getdoc(value) or "")] == []


def test_every_public_function_is_in_the_reference():
    """The page lists the function's module, and does not skip it everywhere."""
    text = (DOCS / "reference" / "index.rst").read_text("utf-8")
    entries = re.findall(r"^\.\. automodapi:: (\S+)\n((?:    :.*\n)*)", text, re.MULTILINE)
    shown = set()
    for module, options in entries:
        home = importlib.import_module(module)
        skipped = [name for line in re.findall(r":skip: (.*)", options) for name in line.split(", ")]
        assert set(skipped) <= set(home.__all__), module
        shown |= {getattr(home, name) for name in home.__all__ if inspect.isroutine(getattr(home, name))} - {
            getattr(home, name) for name in skipped
        }
    assert [name for name, value in public_functions().items() if value not in shown] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Open it.", False),
        ("Open it.\n\nExamples\n--------\n>>> open_truth(folder)", True),
        ("Open it.\n\nExamples\n--------\n>>> close_truth(folder)", False),
        ("Open it.\n\nExamples\n--------\n>>> open_truth(folder)  # doctest: +SKIP", False),
        ("Open it.\n\nExamples\n--------\nSee :doc:`/user_guide/simulate`.", True),
        ("Open it.\n\nExamples\n--------\nSee :doc:`/user_guide/errors`.", False),
    ],
)
def test_what_counts_as_an_example(text, expected):
    """The page has to show the function."""
    assert has_example("simulate.open_truth", text) is expected
