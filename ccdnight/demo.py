"""The demo: simulate a night, reduce it, and hold what came out against what was put in."""

from pathlib import Path

from ccdnight.comparison import compare_night
from ccdnight.night import Night
from ccdnight.simulate import simulate_night

__all__ = ["LIMIT", "run_demo"]

#: A quantity further off than this many of its errors makes the demo fail.
LIMIT = 5.0


def run_demo(folder, *, profile="lfc", seed=1, size="small", workers=None, progress=False):
    """
    Simulate a night, reduce it and compare.

    Parameters
    ----------
    folder : path-like
        Where the night (raw, truth) and the products (reduced) are written.
    profile : str, optional
        The instrument.
    seed : int, optional
        Same seed, same night.
    size : {'small', 'full'}, optional
        Size of the frames.
    workers : int, optional
        Threads.
    progress : bool or callable, optional
        As in `Night.reduce`.

    Returns
    -------
    rows : list of `ccdnight.comparison.Row`
        The table.
    reduction : Reduction
        What came out.
    """
    folder = Path(folder)
    truth = simulate_night(folder, profile, seed=seed, size=size, overwrite=True)
    result = Night(folder / "raw", profile=profile).reduce(folder / "reduced", workers=workers, progress=progress)
    return compare_night(result, truth), result


def table_lines(rows):
    """
    The table as lines of text.

    Parameters
    ----------
    rows : list of `ccdnight.comparison.Row`
        The rows.

    Returns
    -------
    list of str
    """
    lines = [f"{'quantity':32s} {'unit':12s} {'put in':>12s} {'measured':>12s} {'difference':>12s} {'/ error':>8s}"]
    for row in rows:
        pull = "" if row.pull is None else f"{row.pull:+8.2f}"
        numbers = " ".join(f"{value:12.6g}" for value in (row.truth, row.measured, row.measured - row.truth))
        lines.append(f"{row.quantity:32s} {row.unit:12s} {numbers} {pull:>8s}")
    return lines


def failed(rows):
    """
    Rows that are further off than `LIMIT` errors.

    Parameters
    ----------
    rows : list of `ccdnight.comparison.Row`
        The rows.

    Returns
    -------
    list of `ccdnight.comparison.Row`
    """
    return [row for row in rows if row.pull is not None and not abs(row.pull) <= LIMIT]
