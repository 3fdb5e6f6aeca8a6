"""
What a second worker brings: one night with one and with two, on threads and on a cluster of this machine.

    python benchmarks/workers.py --frames 60 --size 1024 --runs 3

A night of simulated frames is reduced with cosmic rays, in turn with one and with two workers: threads of one process,
and processes of a cluster (extra ``cluster``), which have loaded the kernels before. All results are compared byte for
byte.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
import warnings
from pathlib import Path

from scaling import write_night
from tables import table

from ccdnight import Night


def digests(folder):
    """Of all FITS files in a folder, by their names in it."""
    paths = sorted(Path(folder).rglob("*.fits"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def seconds_of(raw, place, name, wanted, **options):
    """Seconds of one reduction; its products are those wanted, if any are."""
    out = Path(place, name)
    start = time.perf_counter()
    Night(raw).reduce(out, progress=False, anew=True, **options)
    seconds, found = time.perf_counter() - start, digests(out)
    if wanted is not None and found != wanted:
        msg = f"the products of {name} differ"
        raise RuntimeError(msg)
    return seconds, found


def on_threads(raw, place, runs, wanted):
    """Pairs of seconds with one and with two threads."""
    return [tuple(seconds_of(raw, place, f"threads{n}", wanted, workers=n)[0] for n in (1, 2)) for _ in range(runs)]


def on_cluster(raw, place, runs, wanted):
    """Pairs of seconds with one and with two processes of a cluster."""
    from distributed import Client, LocalCluster

    clusters = [LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=None) for n in (1, 2)]
    clients = [Client(cluster) for cluster in clusters]
    try:
        for client in clients:
            seconds_of(raw, place, "first", wanted, client=client)
        return [
            tuple(seconds_of(raw, place, "cluster", wanted, client=client)[0] for client in clients)
            for _ in range(runs)
        ]
    finally:
        for item in (*clients, *clusters):
            item.close()


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=1024, help="rows and columns of a frame")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        raw = Path(place, "raw")
        write_night(raw, args.frames, args.size)
        _, wanted = seconds_of(raw, place, "serial", None, workers=1)
        rows = []
        for name, measure in (("threads", on_threads), ("processes of a cluster", on_cluster)):
            pairs = measure(raw, place, args.runs, wanted)
            one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(second / first for first, second in pairs)
            rows.append((name, f"{one:.1f}", f"{two:.1f}", f"{ratio:.2f}"))
    header = ("workers", "seconds with one", "seconds with two", "two / one")
    table(f"{args.frames} frames of {args.size} x {args.size} pixels, {args.runs} pairs of runs", header, rows)


if __name__ == "__main__":
    main()
