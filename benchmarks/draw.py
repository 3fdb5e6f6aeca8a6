"""How long figures of a frame of 100 megapixels take, and how much memory they need beyond the frame."""

import argparse
import resource
import time

import numpy as np

from ccdnight import plots


def peak():
    """Most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_000, help="pixels along a side")
    side = parser.parse_args().side
    data = np.random.default_rng(1).integers(1000, 1100, (side, side), dtype=np.uint16).astype(np.float32)
    plots.show(data[:50, :50]).figure.canvas.draw()
    calls = {
        "show": plots.show,
        "plot_profile": lambda frame: plots.plot_profile(frame, axis=0),
        "plot_histogram": plots.plot_histogram,
    }
    for name, call in calls.items():
        before, start = peak(), time.perf_counter()
        call(data).figure.canvas.draw()
        print(f"{name:15} {time.perf_counter() - start:6.2f} s  {max(0.0, peak() - before):6.0f} MB more")


if __name__ == "__main__":
    main()
