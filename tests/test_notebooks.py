"""The notebooks of the documentation run from top to bottom and are stored without outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code_of(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_there_are_notebooks():
    """The page links each of them; an empty folder would pass the tests below."""
    page = (FOLDER / "index.rst").read_text("utf-8")
    assert NOTEBOOKS
    assert all(path.name in page for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    """Outputs go stale and hide in a review what has changed."""
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    """
    In a process of its own, in an empty folder, with warnings as errors.

    A last line that is a value is shown as a notebook would: its HTML is made.
    """
    lines = ["import ast, io, matplotlib", "matplotlib.use('agg')", "space = {}", f"cells = {code_of(path)!r}"]
    lines += [
        "for cell in cells:",
        "    body = ast.parse(cell).body",
        "    last = body.pop() if isinstance(body[-1], ast.Expr) else None",
        "    exec(compile(ast.Module(body, []), 'cell', 'exec'), space)",
        "    if last is not None:",
        "        value = eval(compile(ast.Expression(last.value), 'cell', 'eval'), space)",
        "        if hasattr(value, '_repr_html_'):",
        "            assert value._repr_html_()",
        "        if hasattr(value, 'figure'):",
        "            value.figure.savefig(io.BytesIO())",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", "\n".join(lines)]
    how = {"cwd": tmp_path, "env": environment, "timeout": 300}
    run = subprocess.run(command, capture_output=True, text=True, check=False, **how)
    assert run.returncode == 0, run.stderr[-3000:]
