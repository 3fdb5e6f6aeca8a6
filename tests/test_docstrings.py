"""Every public function, class, method and property says what it is."""

import importlib
import inspect

import pytest
from click import Context

import ccdnight
from ccdnight.cli import main

MODULES = sorted(set(dir(ccdnight)) - set(ccdnight.__all__))


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
