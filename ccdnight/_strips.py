"""The strips of a stack: memory and threads around the compiled kernel; what it is given was checked before."""

import os
import threading
from collections import namedtuple
from dataclasses import dataclass

import numpy as np

from ccdnight._kernels import blocks, errors
from ccdnight._kernels.order import BISECT, NETWORK_LIMIT, WIDTH, sorting_network
from ccdnight._kernels.stack import Output, Packed, Recipe, stack_strip
from ccdnight.execution import default_workers, map_strips

__all__ = ["Work", "rule_of", "run"]

#: Bytes of one strip of all frames together, as they are held, and least bytes that are fetched of a frame at once.
_STRIP_BYTES = 8e6
_FETCH_BYTES = 64e3
#: From so many standard deviations on a value is kept in any case: the middle ones are within one of the median.
_KEEPS_ONE = 1.5
#: Part of the machine's memory that is used if nobody says otherwise.
_MEMORY_PART = 0.25

_METHODS = {"average": errors.AVERAGE, "median": errors.MEDIAN, "sum": errors.SUM}
_ERRORS = {
    "none": errors.NO_ERROR,
    "std": errors.FROM_STD,
    "mad_std": errors.FROM_MAD,
    "empirical": errors.FROM_SCATTER,
}
_NOTHING = np.empty((0, 0))


#: The fields of `ccdnight.stacking.Stack`.
Result = namedtuple("Result", ["data", "error", "count", "low", "high", "low_map", "high_map", "keep"])


@dataclass(frozen=True)
class Work:
    """What is to be stacked, and how; see `ccdnight.stacking.stack`."""

    sources: list
    rule: object
    method: str
    uncertainty: str
    floor: float
    ceiling: float
    noise: object
    scales: np.ndarray
    offsets: np.ndarray
    zeros: np.ndarray
    weights: np.ndarray | None
    exclude: int
    factors: np.ndarray
    scale_late: bool = False

    @property
    def recipe(self):
        """The same for the kernel."""
        propagated = errors.FROM_NOISE if self.noise is not None else errors.FROM_VARIANCES
        error = _ERRORS.get(self.uncertainty, propagated)
        late = self.scale_late and bool(np.any(self.scales != 1))
        return Recipe(_METHODS[self.method], error, self.weights is not None, self.floor, self.ceiling, late)

    @property
    def dtype(self):
        """Precision in which values are compared: float64 where a frame has it."""
        wide = any(np.dtype(getattr(source, "dtype", np.float32)).itemsize > 4 for source in self.sources)
        return np.dtype(np.float64 if wide else np.float32)


def rule_of(reject, low=np.inf, high=np.inf, center="median", maxiters=None, nlow=0, nhigh=0, minimum=0):
    """
    A rule of rejection for the kernel.

    Parameters
    ----------
    reject, center, maxiters, nlow, nhigh, minimum
        As in `ccdnight.stacking.stack`.
    low, high : float, optional
        Thresholds to either side.

    Returns
    -------
    Rule
    """
    kind = {"none": blocks.NO_RULE, "noise": blocks.BY_NOISE, "minmax": blocks.BY_EXTREMES}.get(
        reject, blocks.BY_SCATTER
    )
    if maxiters is None:
        maxiters = 1 if reject == "noise" else 5
    if reject == "sigma" and center == "median" and minimum == 1 and min(low, high) >= _KEEPS_ONE:
        minimum = 0
    return blocks.Rule(kind, low, high, center == "median", reject == "mad", maxiters, nlow, nhigh, minimum)


def run(work, *, dtype, maps=False, keep=False, mem_limit=None, workers=None):
    """
    Stack strip by strip.

    Parameters
    ----------
    work : Work
        What.
    dtype, maps, keep, mem_limit, workers
        As in `ccdnight.stacking.stack`.

    Returns
    -------
    Result
    """
    n, shape, kernel = len(work.sources), work.sources[0].shape, _Kernel(work)
    empty = np.empty((0, 0), np.uint16)
    data, count = np.empty(shape, dtype), np.empty(shape, np.uint16)
    error = np.empty(shape if work.uncertainty != "none" else (0, 0), dtype)
    low, high = (np.empty(shape, np.uint16) if maps else empty for _ in range(2))
    used = np.empty((n, *shape) if keep else (0, 0, 0), bool)
    workers = default_workers() if workers is None else workers
    own = sum(array.nbytes for array in (data, error, count, low, high, used))
    height = _height(work, kernel.item_bytes, own, mem_limit, workers)
    totals = []

    def do(rows):
        flat = [array[rows].reshape(-1) for array in (data, error, count, low, high)]
        part = np.empty((n, rows.stop - rows.start, shape[1]) if keep else (0, 0, 0), bool)
        totals.append(kernel.strip(rows, Output(*flat, part.reshape(n if keep else 0, part[:1].size))))
        if keep:
            used[:, rows] = part

    map_strips(do, [slice(a, min(a + height, shape[0])) for a in range(0, shape[0], height)], workers=workers)
    total_low, total_high = (sum(item) for item in zip(*totals, strict=True))
    return Result(
        data, error, count, total_low, total_high, *((low, high) if maps else (None, None)), used if keep else None
    )


def _height(work, item, result, mem_limit, workers):
    """Rows of a strip, so that the strips of all threads fit beside the result; one row at least."""
    n, (ny, nx) = len(work.sources), work.sources[0].shape
    limit = _machine_memory() * _MEMORY_PART if mem_limit is None else mem_limit
    # The cube, what is read of one frame, variances and weights.
    row = n * nx * (work.dtype.itemsize + 4 + (8 if work.weights is not None and work.weights.ndim == 3 else 0))
    fits = _STRIP_BYTES / (n * nx * item)
    wanted = max(fits, min(_FETCH_BYTES / (2 * nx), 2 * fits))
    allowed = (limit - result) / (workers * row)
    return int(np.clip(min(wanted, allowed), 1, ny))


def _machine_memory():
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8e9


class _Kernel:
    """The compiled kernel with all that does not change from strip to strip; each thread has its own room."""

    def __init__(self, work):
        n = len(work.sources)
        self._work, self._local = work, threading.local()
        self._table = sorting_network(n) if n <= NETWORK_LIMIT else BISECT
        self._zeros = _packed_zeros(work)
        self._width = WIDTH if n <= 32 else max(128, WIDTH // (n // 16) // 16 * 16)

    @property
    def item_bytes(self):
        """Bytes of a value of a strip."""
        return self._work.dtype.itemsize if self._zeros is None else 2

    def strip(self, rows, out):
        """Stack some rows; how many values were rejected below and above."""
        cube, packed = self._packed(rows) if self._zeros is not None else self._cube(rows)
        work = self._work
        return stack_strip(
            cube,
            packed,
            self._variances(rows),
            self._weights(rows),
            work.scales,
            work.zeros,
            self._noise(rows),
            work.rule,
            True if work.rule.kind == blocks.BY_SCATTER else None,
            work.recipe,
            self._table,
            work.factors,
            self._block(),
            out,
        )

    def _cube(self, rows):
        """The values of a strip."""
        work, (n, k, nx) = self._work, self._shape(rows)
        cube = self._room("cube", n * k * nx, work.dtype)[: n * k * nx].reshape(n, k, nx)
        for source, target, offset, scale in zip(work.sources, cube, work.offsets, work.scales, strict=True):
            _fill(source, rows, target, work.exclude)
            if offset:
                target -= work.dtype.type(offset)
            if scale != 1 and not work.scale_late:
                target *= work.dtype.type(scale)
        return cube.reshape(n, -1), None

    def _packed(self, rows):
        """The same as they lie in the files, and room for a block."""
        work, (n, k, nx) = self._work, self._shape(rows)
        values = self._room("packed", n * k * nx, np.dtype(np.uint16))[: n * k * nx].reshape(n, k * nx)
        for source, target in zip(work.sources, values, strict=True):
            source.fill_packed(rows, target)
        room = self._room("cube", n * self._width, work.dtype).reshape(n, self._width)
        return room, Packed(values, self._zeros)

    def _shape(self, rows):
        return len(self._work.sources), rows.stop - rows.start, self._work.sources[0].shape[1]

    def _room(self, name, size, dtype):
        """Memory that a thread keeps from strip to strip: fetching it anew costs as much as filling it."""
        room = getattr(self._local, name, None)
        if room is None or room.size < size:
            room = np.empty(size, dtype)
            setattr(self._local, name, room)
        return room

    def _block(self):
        if not hasattr(self._local, "block"):
            self._local.block = blocks.block_scratch(len(self._work.sources), self._width, self._work.dtype)
        return self._local.block

    def _variances(self, rows):
        work = self._work
        if work.uncertainty != "propagated" or work.noise is not None:
            return _NOTHING.astype(np.float32)
        pairs = zip(work.sources, work.scales, strict=True)
        return np.array([source.variance(rows).reshape(-1) * scale**2 for source, scale in pairs], np.float32)

    def _weights(self, rows):
        weights = self._work.weights
        if weights is None or weights.ndim == 2:
            return _NOTHING if weights is None else weights
        return np.ascontiguousarray(weights[:, rows]).reshape(len(weights), -1)

    def _noise(self, rows):
        noise, (_, k, nx) = self._work.noise, self._shape(rows)
        if noise is None:
            return blocks.Noise(np.zeros(0, np.float32), np.zeros(0, np.float32), 0.0, 0.0)
        read = _spread(np.square(_rows_of(noise.read_noise, rows)), k, nx)
        photon = _spread(0.0 if noise.gain is None else 1 / _rows_of(noise.gain, rows), k, nx)
        return blocks.Noise(read, photon, float(noise.sensitivity), float(noise.pedestal))


def _packed_zeros(work):
    """BZERO of all frames, if all are 16-bit integers that are stacked as they are; else None."""
    zeros = [getattr(source, "packed_zero", None) for source in work.sources]
    as_they_are = not np.any(work.offsets) and (work.scale_late or np.all(work.scales == 1))
    return np.array(zeros, np.float32) if as_they_are and None not in zeros else None


def _rows_of(value, rows):
    return value[rows] if isinstance(value, np.ndarray) and value.ndim == 2 else np.float64(value)


def _spread(value, k, nx):
    # A map that has this shape would be an array that cannot be written, for which the kernel is compiled once more.
    out = np.empty((k, nx), np.float32)
    out[...] = value
    return out.reshape(-1)


def _fill(source, rows, out, exclude):
    """Values of a frame's rows, NaN where they are not to be used."""
    if hasattr(source, "fill"):
        source.fill(rows, out, exclude)
        return
    values, flags = source.rows(rows)
    out[...] = values
    bad = (flags & exclude) != 0
    if bad.any():
        out[bad] = np.nan
