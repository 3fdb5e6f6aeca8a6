"""The graph of tasks: order, failures, threads."""

import threading
import time

import pytest

from ccdnight.exceptions import FrameError, OutputError
from ccdnight.execution import TaskGraph, default_workers, map_list, map_strips, run_graph


def value_of(value, outcomes):
    return value, tuple(sorted(outcomes)), tuple(item.value for item in outcomes.values())


def fail(error, _outcomes):
    raise error


def graph_of(*items):
    graph = TaskGraph()
    for name, function, *args, needs in items:
        graph.add(name, function, *args, needs=needs)
    return graph


_before = set()


@pytest.fixture(autouse=True)
def _threads_before():
    """Libraries that other tests have used keep threads of their own."""
    _before.clear()
    _before.update(threading.enumerate())


def threads_left():
    return [thread for thread in threading.enumerate() if thread not in _before]


@pytest.mark.parametrize("workers", [1, 2, 4, None])
def test_results_do_not_depend_on_the_number_of_workers(workers):
    """Also the order of the result is that of the graph, whatever finished first."""
    seen = []
    graph = TaskGraph()
    graph.add("a", lambda outcomes: time.sleep(0.02) or 1)
    graph.add("b", lambda outcomes: 2)
    graph.add("c", lambda outcomes: outcomes["a"].value + outcomes["b"].value, needs=["a", "b", "a"])
    graph.add("d", lambda x, outcomes: x + outcomes["c"].value, 10, needs=("c",))
    done = run_graph(graph, workers=workers, on_done=lambda outcome: seen.append(outcome.name))
    assert {name: outcome.value for name, outcome in done.items()} == {"a": 1, "b": 2, "c": 3, "d": 13}
    assert list(done) == ["a", "b", "c", "d"]
    assert sorted(seen) == ["a", "b", "c", "d"]
    assert seen.index("c") > max(seen.index("a"), seen.index("b"))
    assert len(graph) == 4


@pytest.mark.parametrize("workers", [1, 4])
def test_a_task_gets_only_what_it_needs(workers):
    graph = graph_of(("a", value_of, 1, ()), ("b", value_of, 2, ()), ("c", value_of, 3, ["b"]))
    assert run_graph(graph, workers=workers)["c"].value[:2] == (3, ("b",))


@pytest.mark.parametrize("workers", [1, 4])
def test_a_failing_task_stops_no_other(workers):
    """The task that needs it is told and decides itself; an error of ours keeps its traceback."""
    bad = FrameError("x.fits", "is broken")
    graph = graph_of(
        ("input", fail, bad, ()),
        ("ours", fail, ZeroDivisionError("oops"), ()),
        ("after", lambda outcomes: [outcomes[name].ok for name in ("input", "ours")], ["input", "ours"]),
    )
    done = run_graph(graph, workers=workers)
    assert done["after"].value == [False, False]
    assert done["input"].error is bad
    assert done["input"].trace == ""
    assert "ZeroDivisionError: oops" in done["ours"].trace
    assert done["ours"].seconds >= 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_environment_stops_the_run(workers):
    begun = []
    graph = TaskGraph()
    graph.add("full", fail, OutputError("no space is left on the disk"))
    for number in range(20):
        graph.add(f"later{number}", lambda n, outcomes: begun.append(n), number, needs=["full"])
    with pytest.raises(OutputError, match="no space"):
        run_graph(graph, workers=workers)
    assert begun == []
    assert threads_left() == []


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupt_leaves_no_thread(workers):
    """What has not begun is not begun any more."""
    begun = []

    def slow(number, _outcomes):
        begun.append(number)
        time.sleep(0.01)

    def interrupt(_outcome):
        raise KeyboardInterrupt

    graph = TaskGraph()
    for number in range(50):
        graph.add(f"t{number}", slow, number)
    with pytest.raises(KeyboardInterrupt):
        run_graph(graph, workers=workers, on_done=interrupt)
    assert threads_left() == []
    assert len(begun) <= 2 * workers


def test_a_needed_task_has_to_be_there_before():
    graph = graph_of(("a", value_of, 1, ()))
    with pytest.raises(ValueError, match=r"task 'b': needs \['x', 'b'\]"):
        graph.add("b", value_of, 1, needs=["a", "x", "b"])
    with pytest.raises(ValueError, match="'a': is there already"):
        graph.add("a", value_of, 1)
    assert len(graph) == 1


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2"])
def test_workers_is_a_positive_whole_number(workers):
    with pytest.raises(ValueError, match="workers = "):
        run_graph(TaskGraph(), workers=workers)


def test_an_empty_graph_is_done():
    assert run_graph(TaskGraph(), workers=2) == {}


def strips_of(number, used):
    """A function that notes its thread, and the strips for it."""

    def note(strip):
        used.append((strip.start, threading.get_ident()))
        time.sleep(0.002)

    return note, [slice(i, i + 1) for i in range(number)]


def test_strips_run_on_as_many_threads_as_asked_for():
    used = []
    map_strips(*strips_of(12, used), workers=3)
    assert sorted(start for start, _ in used) == list(range(12))
    assert len({thread for _, thread in used}) in {2, 3}
    assert threading.get_ident() not in {thread for _, thread in used}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_strips_of_tasks_side_by_side_run_inline(workers):
    """The number of threads stays what was asked for, also when that is one."""
    used, own = [], []

    def task(_outcomes):
        own.append(threading.get_ident())
        map_strips(*strips_of(8, used), workers=4)

    graph = graph_of(*((name, task, ()) for name in "abcd"))
    assert all(outcome.ok for outcome in run_graph(graph, workers=workers).values())
    assert {thread for _, thread in used} == set(own)
    assert len(set(own)) <= workers
    outside = []
    map_strips(*strips_of(8, outside), workers=4)
    assert len({thread for _, thread in outside}) > 1


def test_the_last_of_equals_gets_no_more_threads():
    """Three tasks that end at the same moment leave the fourth by itself; the graph does not, so nothing changes."""
    meeting, used = threading.Barrier(3), []

    def together(_outcomes):
        meeting.wait(timeout=30)

    def last(_outcomes):
        map_strips(*strips_of(8, used), workers=4)

    graph = graph_of(*((name, together, ()) for name in "abc"), ("d", last, ()))
    assert all(outcome.ok for outcome in run_graph(graph, workers=3).values())
    assert len({thread for _, thread in used}) == 1


@pytest.mark.parametrize("workers", [2, 3])
def test_a_task_that_others_wait_for_uses_all_threads(workers):
    """First alone, then two side by side, then alone again."""
    used = {name: [] for name in "abcd"}

    def task(name, _outcomes):
        map_strips(*strips_of(12, used[name]), workers=8)

    needs = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    run_graph(graph_of(*((name, task, name, need) for name, need in needs.items())), workers=workers)
    threads = {name: len({thread for _, thread in strips}) for name, strips in used.items()}
    assert threads["b"] == threads["c"] == 1
    assert all(1 < threads[name] <= workers for name in "ad")


@pytest.mark.parametrize("workers", [1, 3])
def test_results_of_a_list_keep_its_order(workers):
    def square(number):
        time.sleep(0.002 * (5 - number))
        return number**2

    assert map_list(square, [1, 2, 3, 4, 5], workers=workers) == [1, 4, 9, 16, 25]
    assert map_list(square, [], workers=workers) == []


def test_one_strip_needs_no_thread():
    used = []
    map_strips(*strips_of(1, used), workers=8)
    assert used[0][1] == threading.get_ident()


def test_an_error_in_a_strip_comes_through_and_ends_the_rest():
    done = []

    def broken(strip):
        if strip.start == 0:
            raise FrameError(strip, "row 0")
        time.sleep(0.01)
        done.append(strip.start)

    with pytest.raises(FrameError, match="row 0"):
        map_strips(broken, [slice(i, i + 1) for i in range(100)], workers=2)
    assert len(done) < 50
    assert threads_left() == []


def test_the_first_strip_that_fails_is_told_of():
    """Whichever thread is the first to see one."""

    def broken(number):
        if number in (3, 4):
            time.sleep(0.1 if number == 3 else 0)
            raise FrameError(number, "broken")

    for _ in range(5):
        with pytest.raises(FrameError, match=r"^3: broken"):
            map_strips(broken, range(20), workers=4)


def test_default_workers_is_what_the_process_may_use(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    assert default_workers() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert default_workers() == 1
