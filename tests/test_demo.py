"""The demo as the README's first command runs it."""

import json

import pytest
from click.testing import CliRunner

from ccdnight import cli, demo
from ccdnight.comparison import Row


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    result = CliRunner().invoke(cli.main, ["demo", str(folder), "--profile", "nickel", "--json"])
    return folder, result


def test_every_quantity_agrees_with_what_was_put_in(outcome):
    folder, result = outcome
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["output"] == str(folder / "reduced")
    rows = {row["quantity"]: row for row in value["rows"]}
    assert {"gain", "read noise", "bias level", "flat rms V", "sky V, dark in it"} <= set(rows)
    assert all(abs(row["pull"]) < 5 for row in rows.values() if row["pull"] is not None)
    assert rows["gain"]["measured"] == pytest.approx(1.78, rel=0.02)
    found, missed = rows["cosmic ray pixels found V"], rows["cosmic ray pixels missed V"]
    assert found["measured"] + missed["measured"] == found["truth"]
    assert (folder / "reduced" / "night.ecsv").exists()


def test_a_wrong_result_makes_it_fail(tmp_path, monkeypatch):
    rows = [Row("gain", "electron/adu", 2.0, 2.5, 0.01), Row("pixels", "", 5, 3)]
    result = type("Result", (), {"output": tmp_path, "run": {"errors": {}}})()
    monkeypatch.setattr(demo, "run_demo", lambda *args, **kwargs: (rows, result))
    outcome = CliRunner().invoke(cli.main, ["demo", str(tmp_path)])
    assert outcome.exit_code == 1
    assert "gain is +50.0 errors off" in outcome.stderr


def test_table():
    lines = demo.table_lines([Row("gain", "electron/adu", 2.0, 2.002, 0.001), Row("pixels found", "", 5, 3)])
    assert "+2.00" in lines[1]
    assert lines[2].split() == ["pixels", "found", "5", "3", "-2"]
