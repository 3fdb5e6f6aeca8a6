"""The graph of tasks on a cluster: the same bytes, workers that die, errors, interrupts, words for what is wrong."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import builders
import dask
import pytest
from click.testing import CliRunner
from distributed import Client, LocalCluster

from ccdnight import Night, _cluster
from ccdnight.cli import main
from ccdnight.exceptions import FrameError, InputError, OutputError
from ccdnight.execution import TaskGraph, map_strips, run_graph

SETTINGS = {"distributed.scheduler.allowed-failures": 1, "distributed.admin.log-format": "%(message)s"}


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes of one thread each."""
    with (
        dask.config.set(SETTINGS),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as made,
    ):
        yield made


@pytest.fixture
def client(cluster):
    with Client(cluster, set_as_default=False) as made:
        made.wait_for_workers(2, timeout=60)
        yield made


def nothing_left(client):
    """Whether the client holds no future any more; it lets them go in a thread of its own."""
    end = time.monotonic() + 10
    while client.futures and time.monotonic() < end:
        time.sleep(0.02)
    return not client.futures


def graph_of(*items):
    graph = TaskGraph()
    for name, function, *args, needs in items:
        graph.add(name, function, *args, needs=needs)
    return graph


def add(value, outcomes):
    return value + sum(item.value for item in outcomes.values())


def process(_outcomes):
    time.sleep(0.2)
    return os.getpid()


def fail(error, _outcomes):
    raise error


def leave(_outcomes):
    sys.exit(3)


def count(folder, name):
    """Note in a file that a task has begun, and say how often it had before."""
    before = len(list(Path(folder).glob(f"{name}.*")))
    Path(folder, f"{name}.{before}").touch()
    return before


def kill(folder, name, times, _outcomes):
    """End the worker the first few times, with the signal of the out-of-memory killer."""
    if count(folder, name) < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def fail_and_count(folder, _outcomes):
    count(folder, "once")
    raise OSError(5, "a disk that fails")


def abort(_outcomes):
    os.abort()


def slow(folder, name, seconds, _outcomes):
    Path(folder, f"{name}.begun").touch()
    time.sleep(seconds)
    Path(folder, f"{name}.ended").touch()


def threads_of_strips(_outcomes):
    used = set()

    def note(_strip):
        used.add(threading.get_ident())
        time.sleep(0.02)

    map_strips(note, range(12))
    return len(used)


class TwoWords(Exception):  # noqa: N818
    """An error that can be sent and not received."""

    def __init__(self, one, two):
        super().__init__(one + two)


class TestGraph:
    """What `run_graph` promises holds on a cluster as well."""

    def test_results_and_order(self, client):
        seen = []
        graph = graph_of(("a", add, 1, ()), ("b", add, 2, ()), ("c", add, 10, ("a", "b")), ("d", add, 100, ("c",)))
        done = run_graph(graph, client=client, on_done=lambda outcome: seen.append(outcome.name))
        assert {name: outcome.value for name, outcome in done.items()} == {"a": 1, "b": 2, "c": 13, "d": 113}
        assert list(done) == ["a", "b", "c", "d"]
        assert sorted(seen) == ["a", "b", "c", "d"]
        assert nothing_left(client)
        assert run_graph(TaskGraph(), client=client) == {}

    def test_workers_work_and_not_this_process(self, client):
        graph = graph_of(*((f"t{number}", process, ()) for number in range(6)))
        pids = {outcome.value for outcome in run_graph(graph, client=client).values()}
        assert len(pids) == 2
        assert os.getpid() not in pids

    def test_a_task_that_fails_is_not_tried_again(self, client, tmp_path):
        """It would fail again; only tasks whose workers die are run once more."""
        done = run_graph(graph_of(("once", fail_and_count, str(tmp_path), ())), client=client)
        assert not done["once"].ok
        assert len(list(tmp_path.glob("once.*"))) == 1

    def test_workers_bounds_the_tasks_at_once(self, client, tmp_path):
        names = [f"t{number}" for number in range(3)]
        graph = graph_of(*((name, slow, str(tmp_path), name, 0.05, ()) for name in names))
        at_once = []

        def look(_outcome):
            begun, ended = (len(list(tmp_path.glob(f"*.{word}"))) for word in ("begun", "ended"))
            at_once.append(begun - ended)

        run_graph(graph, client=client, workers=1, on_done=look)
        assert at_once == [0, 0, 0]
        with pytest.raises(ValueError, match="workers = 0"):
            run_graph(graph, client=client, workers=0)

    def test_errors_cost_their_task_alone(self, client):
        """An error that cannot be sent, or that would end the worker, is told in words."""
        graph = graph_of(
            ("input", fail, FrameError("x.fits", "is broken"), ()),
            ("ours", fail, ZeroDivisionError("oops"), ()),
            ("odd", raise_two_words, ()),
            ("exit", leave, ()),
            ("unsent", add, threading.Lock(), ()),
            ("good", add, 1, ()),
        )
        done = run_graph(graph, client=client)
        assert isinstance(done["input"].error, FrameError)
        assert (done["input"].error.path, done["input"].trace) == ("x.fits", "")
        assert "ZeroDivisionError: oops" in done["ours"].trace
        assert str(done["odd"].error) == "TwoWords: one and two"
        assert "SystemExit(3)" in str(done["exit"].error)
        assert "TypeError" in done["unsent"].trace
        assert done["good"].value == 1

    def test_a_failing_environment_stops_the_run(self, client, tmp_path):
        """What was running is waited for, what was not is not begun."""
        graph = graph_of(
            ("beside", slow, str(tmp_path), "beside", 0.8, ()),
            ("full", fail, OutputError("no space is left on the disk"), ()),
            *((f"later{number}", slow, str(tmp_path), f"later{number}", 0, ("full",)) for number in range(5)),
        )
        with pytest.raises(OutputError, match="no space"):
            run_graph(graph, client=client)
        assert {path.name for path in tmp_path.iterdir()} == {"beside.begun", "beside.ended"}
        assert nothing_left(client)

    def test_an_interrupt_leaves_nothing_running(self, client, tmp_path):
        graph = graph_of(*((f"t{number}", slow, str(tmp_path), f"t{number}", 0.3, ()) for number in range(20)))

        def interrupt(_outcome):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_graph(graph, client=client, on_done=interrupt)
        begun, ended = ({path.stem for path in tmp_path.glob(f"*.{word}")} for word in ("begun", "ended"))
        assert begun == ended
        assert len(begun) <= 4
        time.sleep(0.6)
        assert {path.stem for path in tmp_path.glob("*.begun")} == begun
        assert nothing_left(client)

    def test_strips_keep_to_the_threads_of_a_worker(self):
        """A task by itself uses all threads of its worker, one of several uses one."""
        with (
            LocalCluster(n_workers=1, threads_per_worker=3, processes=True, dashboard_address=":0") as made,
            Client(made, set_as_default=False) as client,
        ):
            graph = graph_of(
                ("a", threads_of_strips, ()), ("b", threads_of_strips, ("a",)), ("c", threads_of_strips, ("a",))
            )
            done = run_graph(graph, client=client)
        assert 1 < done["a"].value <= 3
        assert done["b"].value == done["c"].value == 1


def raise_two_words(_outcomes):
    one = "one and "
    raise TwoWords(one, "two")


class TestWorkersThatDie:
    """A worker may die at any moment; the task is run again, and set aside if it is the task that kills."""

    def test_a_task_whose_worker_died_once_is_run_again(self, client, tmp_path):
        graph = graph_of(("killed", kill, str(tmp_path), "killed", 1, ()), ("after", fates, ("killed",)))
        done = run_graph(graph, client=client)
        assert done["killed"].value == "killed"
        assert done["after"].value == {"killed": True}
        assert len(list(tmp_path.iterdir())) == 2

    def test_a_task_that_aborts_is_set_aside_and_named(self, client):
        """It is tried a bounded number of times, and the others go on."""
        graph = graph_of(
            ("science:bad.fits", abort, ()),
            *((f"t{number}", process, ()) for number in range(5)),
            ("after", fates, ("science:bad.fits", "t0")),
        )
        # One task at a time: it is plain at once which of them kills.
        done = run_graph(graph, client=client, workers=1)
        error = done["science:bad.fits"].error
        assert isinstance(error, InputError)
        assert "science:bad.fits: every worker that ran it died, 2 times" in str(error)
        assert done["after"].value == {"science:bad.fits": False, "t0": True}
        assert [name for name, outcome in done.items() if not outcome.ok] == ["science:bad.fits"]

    def test_a_neighbor_of_a_killer_is_not_blamed(self, tmp_path):
        """Both run on one worker of two threads, which dies each time."""
        with (
            dask.config.set(SETTINGS | {"distributed.scheduler.allowed-failures": 0}),
            LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=":0") as made,
            Client(made, set_as_default=False) as client,
        ):
            graph = graph_of(
                ("good", slow, str(tmp_path), "good", 0.5, ()), ("bad", kill, str(tmp_path), "bad", 1000, ())
            )
            done = run_graph(graph, client=client)
        assert done["good"].ok
        assert isinstance(done["bad"].error, InputError)
        assert "bad: every worker that ran it died, 1 times" in str(done["bad"].error)
        # Once beside the other, and once by itself.
        assert len(list(tmp_path.glob("bad.*"))) == 2

    def test_a_cluster_without_workers_is_given_up(self, monkeypatch):
        """Nothing hangs where the last worker is gone for good."""
        monkeypatch.setattr(_cluster, "_PATIENCE", 1.5)
        with (
            LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as made,
            Client(made, set_as_default=False) as client,
            pytest.raises(OutputError, match=r"there was no worker for 1.5 s; start some"),
        ):
            run_graph(graph_of(("a", add, 1, ())), client=client)

    @pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
    def test_a_scheduler_that_hangs_or_dies_is_given_up(self, tmp_path, monkeypatch, how):
        """Nothing is waited for without end, not even when the run is stopped."""
        monkeypatch.setattr(_cluster, "_PATIENCE", 1.0)
        monkeypatch.setattr(_cluster, "_ANSWER", 0.5)
        with separate_cluster(tmp_path / "scheduler.json") as (scheduler, address), _cluster.connect(address) as client:
            client.wait_for_workers(1, timeout=60)
            graph = graph_of(("a", add, 1, ()), ("b", add, 1, ("a",)))
            begin = time.monotonic()
            with pytest.raises(OutputError, match="What is written is whole; run again"):
                run_graph(graph, client=client, on_done=lambda outcome: scheduler.send_signal(how))
            assert time.monotonic() - begin < 30
            scheduler.send_signal(signal.SIGKILL)

    def test_a_client_that_is_closed_is_told_of(self):
        made = LocalCluster(n_workers=1, processes=True, dashboard_address=":0")
        with contextlib.closing(made), contextlib.closing(Client(made, set_as_default=False)) as client:
            graph = graph_of(("a", add, 1, ()), ("b", add, 1, ("a",)))
            with pytest.raises(OutputError, match="What is written is whole; run again"):
                run_graph(graph, client=client, on_done=lambda outcome: client.close())


@contextlib.contextmanager
def separate_cluster(file):
    """A scheduler in a process of its own, with one worker in another; and its address."""
    module = [sys.executable, "-m"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    asked = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    with contextlib.ExitStack() as stack:
        scheduler = started(stack, [*module, "distributed.cli.dask_scheduler", *asked], quiet)
        end = time.monotonic() + 60
        while not file.exists() or not file.read_text().strip():
            assert time.monotonic() < end
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        asked = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
        environment = {"env": os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}}
        started(stack, [*module, "distributed.cli.dask_worker", address, *asked], quiet | environment)
        yield scheduler, address


def started(stack, command, options):
    process = subprocess.Popen(command, **options)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def fates(outcomes):
    return {name: outcome.ok for name, outcome in outcomes.items()}


class TestNight:
    """A whole night on a cluster."""

    def test_the_same_bytes(self, client, tmp_path, monkeypatch):
        """Also where the folders are given relative to the working folder, which workers do not share."""
        monkeypatch.chdir(tmp_path)
        raw = builders.plain_night(tmp_path / "raw")
        Path(raw.folder, "broken.fits").write_bytes(b"SIMPLE  =")
        seen = []
        Night("raw").reduce("one", progress=False, workers=1)
        Night("raw").reduce("two", progress=False, workers=2)
        result = Night("raw").reduce("many", client=client, progress=lambda outcome, total: seen.append(total))
        one, two, many = (products(tmp_path / name) for name in ("one", "two", "many"))
        assert len(one) == 6
        assert one == two == many
        assert set(seen) == {len(seen)}
        assert len(result.science) == 2
        assert not list((tmp_path / "many").rglob(".*"))
        assert fates_of("one") == fates_of("many")

    def test_nothing_is_left_of_a_worker_that_died_while_it_wrote(self, client, tmp_path):
        raw = builders.plain_night(tmp_path / "raw")
        left = tmp_path / "out" / "masters" / ".bias.fits.0123456789ab.part"

        def die(_outcome, _total):
            left.parent.mkdir(exist_ok=True)
            left.write_bytes(b"half a master")

        Night(raw.folder).reduce(tmp_path / "out", client=client, progress=die)
        assert not left.exists()
        assert len(products(tmp_path / "out")) == 6

    def test_coadds_are_the_same_bytes(self, client, tmp_path):
        raw = builders.plain_night(tmp_path / "raw", shape=(128, 160), n_science=3)
        for name, more in (("threads", {"workers": 2}), ("many", {"client": client})):
            result = Night(raw.folder).reduce(tmp_path / name, progress=False, coadd=True, **more)
            assert list(result.coadds), result.run["notes"]
        assert products(tmp_path / "threads") == products(tmp_path / "many")
        assert len(products(tmp_path / "many")) == 8

    @pytest.mark.parametrize("first", ["threads", "cluster"])
    def test_a_night_goes_on_elsewhere(self, client, tmp_path, monkeypatch, first):
        """What threads have made a cluster takes, and the other way round, however the folders are named."""
        monkeypatch.chdir(tmp_path)
        raw = builders.plain_night(tmp_path / "raw")
        ways = [lambda: Night("raw").reduce("out", progress=False, workers=2)]
        ways.append(lambda: Night(raw.folder).reduce("out", progress=False, client=client))
        begin, go_on = ways if first == "threads" else reversed(ways)
        begin()
        before = products(tmp_path / "out")
        assert go_on().run["resumed"]["made"] == {}
        (tmp_path / "out" / "science" / "science_V_001.fits").unlink()
        assert list(go_on().run["resumed"]["made"]) == ["science:science_V_001.fits"]
        assert products(tmp_path / "out") == before

    def test_the_command_line(self, cluster, tmp_path):
        raw = builders.plain_night(tmp_path / "raw")
        asked = [str(raw.folder), str(tmp_path / "out"), "--no-cosmic-rays", "--scheduler", cluster.scheduler_address]
        result = CliRunner().invoke(main, ["reduce", *asked])
        assert result.exit_code == 0, result.output
        assert "science frames: 2" in result.output
        assert len(products(tmp_path / "out")) == 6

    def test_workers_that_do_not_see_the_folder(self, client, tmp_path):
        with pytest.raises(OutputError, match=r"worker tcp://.* does not see /nowhere; raw and output folder"):
            _cluster.check_workers(client, [str(tmp_path), "/nowhere"])
        _cluster.check_workers(client, [str(tmp_path)])

    def test_workers_of_another_version(self, client, monkeypatch):
        monkeypatch.setattr(_cluster, "version", "0.0")
        with pytest.raises(OutputError, match=r"worker tcp://.* has ccdnight .*, and this is 0.0"):
            _cluster.check_workers(client, [])


def products(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.fits")}


def fates_of(name):
    from astropy.table import Table

    return [(row["path"], row["fate"]) for row in Table.read(Path(name) / "night.ecsv", format="ascii.ecsv")]


class TestWords:
    """What is wrong with a cluster is told with the value and the remedy."""

    @pytest.mark.parametrize("wrong", ["tcp://localhost:8786", 3, object()])
    def test_a_client_of_another_type(self, wrong, tmp_path):
        raw = builders.plain_night(tmp_path / "raw")
        with pytest.raises(TypeError, match=rf"client is a {type(wrong).__name__} .*a distributed.Client is needed"):
            Night(raw.folder).reduce(tmp_path / "out", client=wrong)
        assert not (tmp_path / "out").exists()

    def test_a_closed_client(self, cluster):
        client = Client(cluster, set_as_default=False)
        client.close()
        with pytest.raises(InputError, match="its status is 'closed'; it must be 'running'"):
            run_graph(TaskGraph(), client=client)

    def test_nobody_answers(self, monkeypatch, tmp_path):
        monkeypatch.setattr(_cluster, "_CONNECT", 1.0)
        raw = builders.plain_night(tmp_path / "raw")
        asked = ["reduce", str(raw.folder), str(tmp_path / "out"), "--scheduler", "tcp://127.0.0.1:9"]
        result = CliRunner().invoke(main, asked)
        assert result.exit_code == 6
        assert "scheduler = 'tcp://127.0.0.1:9': no scheduler answers there" in result.output
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("address", ["", "nonsense", "abc://here:1", "tcp://127.0.0.1:port"])
    def test_what_is_no_address(self, address, tmp_path):
        asked = ["reduce", str(tmp_path), str(tmp_path / "out"), "--scheduler", address]
        result = CliRunner().invoke(main, asked)
        assert result.exit_code == 2, result.output
        assert f"scheduler = {address!r}" in result.output
        assert "it must be an address such as tcp://10.0.0.1:8786" in " ".join(result.output.split())

    def test_without_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        with pytest.raises(OutputError, match=r"scheduler = 'tcp://a:1'.*pip install 'ccdnight\[cluster\]'"):
            _cluster.connect("tcp://a:1")
        with pytest.raises(TypeError, match=r"client is a int \(3\).*pip install 'ccdnight\[cluster\]'"):
            run_graph(TaskGraph(), client=3)
