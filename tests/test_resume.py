"""A second run does what is missing or changed and nothing else; what was killed ends as if it had not been."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import builders
import pytest
from astropy.io import fits
from click.testing import CliRunner

from ccdnight import Night, Reduction, tasks
from ccdnight.cli import main
from ccdnight.exceptions import InputError
from ccdnight.journal import Journal

QUIET = {"progress": False, "workers": 1}
#: How often a run is killed; more by hand: CCDNIGHT_KILLS=200.
KILLS = int(os.environ.get("CCDNIGHT_KILLS", "20"))
_KILLED = """
import sys, time
from ccdnight import Night
def slowly(outcome, total):
    print(outcome.name, flush=True)
    time.sleep(0.05)
Night(sys.argv[1]).reduce(sys.argv[2], progress=slowly, workers=1)
"""


@pytest.fixture
def raw(tmp_path):
    return builders.plain_night(tmp_path / "raw")


def reduce(raw, out, **options):
    return Night(raw.folder).reduce(out, **(QUIET | options))


def state(out):
    """Contents and times of every file."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}


def products(out):
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in out.rglob("*.fits")
    }


class TestSecondRun:
    def test_nothing_to_do(self, raw, tmp_path):
        first = reduce(raw, tmp_path / "out")
        before = state(tmp_path / "out")
        again = reduce(raw, tmp_path / "out")
        assert first.run["resumed"]["words"] == ""
        assert again.run["resumed"]["words"] == "nothing to do: all 6 products are as they were"
        assert again.run["resumed"]["made"] == {}
        assert state(tmp_path / "out") == before
        assert again.counts == first.counts

    def test_every_outcome_is_told_of(self, raw, tmp_path):
        seen = []
        for _ in range(2):
            seen.append([])
            reduce(raw, tmp_path / "out", progress=lambda outcome, total: seen[-1].append((outcome.name, total)))
        assert seen[0] == seen[1] != []

    def test_a_touched_file_is_the_same(self, raw, tmp_path):
        reduce(raw, tmp_path / "out")
        for path in raw.folder.iterdir():
            os.utime(path, (1, 1))
        assert reduce(raw, tmp_path / "out").run["resumed"]["made"] == {}

    def test_a_missing_product(self, raw, tmp_path):
        reduce(raw, tmp_path / "out")
        before = products(tmp_path / "out")
        (tmp_path / "out" / "masters" / "flat_V.fits").unlink()
        again = reduce(raw, tmp_path / "out")
        assert again.run["resumed"]["made"] == {"master:flat_V": "its file was missing"}
        assert products(tmp_path / "out") == before

    def test_what_cannot_be_made_is_not_made_anew(self, raw, tmp_path, monkeypatch):
        """A first run keeps nothing, and a second has nothing to do that it could."""

        def fail(*_):
            msg = "no"
            raise InputError(msg)

        monkeypatch.setattr(tasks, "make_mask", fail)
        assert reduce(raw, tmp_path / "out").run["resumed"]["words"] == ""
        words = reduce(raw, tmp_path / "out").run["resumed"]["words"]
        assert words == "nothing else to do: all 5 products are as they were"

    def test_a_changed_product(self, raw, tmp_path):
        """Size and time may be those of before."""
        reduce(raw, tmp_path / "out")
        before, path = products(tmp_path / "out"), tmp_path / "out" / "science" / "science_V_001.fits"
        flip(path)
        again = reduce(raw, tmp_path / "out")
        assert again.run["resumed"]["made"] == {"science:science_V_001.fits": "its file was changed"}
        assert products(tmp_path / "out") == before

    def test_one_more_science_frame(self, raw, tmp_path):
        (raw.folder / "science_V_002.fits").rename(tmp_path / "later.fits")
        reduce(raw, tmp_path / "out")
        (tmp_path / "later.fits").rename(raw.folder / "science_V_002.fits")
        again = reduce(raw, tmp_path / "out")
        assert again.run["resumed"]["made"] == {"science:science_V_002.fits": "not there before"}
        assert "5 of 6 products are as they were" in again.run["resumed"]["words"]

    def test_one_more_dark(self, raw, tmp_path):
        """Biases and flats without a dark do not depend on it; the result is that of a fresh run."""
        (raw.folder / "dark_003.fits").rename(tmp_path / "later.fits")
        reduce(raw, tmp_path / "out")
        (tmp_path / "later.fits").rename(raw.folder / "dark_003.fits")
        made = reduce(raw, tmp_path / "out").run["resumed"]["made"]
        assert made["master:dark_60s"] == "one more input"
        assert made["science:science_V_001.fits"].startswith("other dark_60s")
        assert "master:bias" not in made
        reduce(raw, tmp_path / "fresh")
        assert products(tmp_path / "out") == products(tmp_path / "fresh")

    def test_a_changed_raw_frame(self, raw, tmp_path):
        reduce(raw, tmp_path / "out")
        flip(raw.folder / "science_V_001.fits")
        again = reduce(raw, tmp_path / "out")
        assert again.run["resumed"]["made"] == {"science:science_V_001.fits": "science_V_001.fits changed"}

    def test_other_parameters(self, raw, tmp_path):
        reduce(raw, tmp_path / "out")
        made = reduce(raw, tmp_path / "out", cosmic_rays=False).run["resumed"]["made"]
        assert made == {f"science:science_V_00{number}.fits": "other parameters" for number in (1, 2)}

    def test_anew(self, raw, tmp_path):
        reduce(raw, tmp_path / "out")
        assert len(reduce(raw, tmp_path / "out", anew=True).run["resumed"]["made"]) == 7

    def test_another_version(self, raw, tmp_path, monkeypatch):
        reduce(raw, tmp_path / "out")
        monkeypatch.setattr("ccdnight.journal._versions", lambda: {"ccdnight": "another"})
        made = reduce(raw, tmp_path / "out").run["resumed"]["made"]
        assert set(made.values()) == {"other versions of the software"}
        assert len(made) == 7

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b'{"tasks": {"master:bias": 5}, "raw": {"x": 1}}', b"\xff\0"]
    )
    def test_a_damaged_journal_costs_time_only(self, raw, tmp_path, content):
        reduce(raw, tmp_path / "out")
        before = products(tmp_path / "out")
        (tmp_path / "out" / Journal.NAME).write_bytes(content)
        assert len(reduce(raw, tmp_path / "out").run["resumed"]["made"]) == 7
        assert products(tmp_path / "out") == before

    def test_a_torn_line(self, raw, tmp_path):
        reduce(raw, tmp_path / "out")
        path = tmp_path / "out" / Journal.NAME
        path.write_bytes(path.read_bytes()[:-20])
        assert len(reduce(raw, tmp_path / "out").run["resumed"]["made"]) == 1
        assert reduce(raw, tmp_path / "out").run["resumed"]["made"] == {}


class TestKilled:
    def test_ends_as_if_it_had_not_been(self, raw, tmp_path):
        reduce(raw, tmp_path / "whole")
        wanted, chance, kept = products(tmp_path / "whole"), random.Random(9), []
        for number in range(KILLS):
            out = tmp_path / f"out{number}"
            command = [sys.executable, "-W", "ignore", "-c", _KILLED, str(raw.folder), str(out)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                for _ in range(1 + number % 7):
                    process.stdout.readline()
                time.sleep(chance.uniform(0, 0.15))
                process.send_signal(signal.SIGKILL)
            kept.append(len(reduce(raw, out).run["resumed"]["kept"]))
            assert products(out) == wanted
            assert not [
                path
                for path in out.rglob("*")
                if path.suffix not in (".fits", ".json", ".jsonl", ".toml")
                and path.suffix not in (".ecsv", ".html")
                and path.is_file()
            ]
        assert max(kept) > 2


class TestVerify:
    @pytest.fixture
    def out(self, raw, tmp_path):
        reduce(raw, tmp_path / "out")
        return tmp_path / "out"

    def verify(self, out, *options):
        return CliRunner().invoke(main, ["verify", str(out), *options])

    def test_whole(self, out):
        table = Reduction.open(out).verify()
        assert set(table["status"]) == {"ok"}
        assert {"masters/bias.fits", "science/science_V_001.fits", "night.ecsv"} <= set(table["file"])
        result = self.verify(out)
        assert (result.exit_code, result.output) == (0, "9 of 9 files are as they were written\n")

    def test_missing_and_changed(self, out):
        (out / "masters" / "bias.fits").unlink()
        flip(out / "science" / "science_V_001.fits")
        table = {str(row["file"]): (str(row["status"]), str(row["reason"])) for row in Reduction.open(out).verify()}
        assert table["masters/bias.fits"][0] == "missing"
        assert table["science/science_V_001.fits"][0] == "changed"
        assert "Datasum verification failed" in table["science/science_V_001.fits"][1]
        result = self.verify(out, "--json")
        assert result.exit_code == 3
        assert json.loads(result.stdout)["bad"] == 2

    def test_checksum_beside_a_right_digest(self, out):
        """A file written with wrong checksums is found though nothing has changed it since."""
        path, run = out / "masters" / "bias.fits", json.loads((out / "run.json").read_text())
        flip(path)
        run["digests"]["masters/bias.fits"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (out / "run.json").write_text(json.dumps(run))
        assert "bad checksum" in self.verify(out).output

    def test_no_output_folder(self, tmp_path):
        result = self.verify(tmp_path)
        assert result.exit_code == 4
        assert "run.json cannot be read" in result.output


def flip(path):
    """Change a pixel without changing size and time."""
    told = path.stat()
    with fits.open(path) as hdus:
        place = next(hdu for hdu in hdus if hdu.header["NAXIS"]).fileinfo()["datLoc"] + 1001
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
