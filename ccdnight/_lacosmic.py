"""The iterations of LA Cosmic around the compiled kernels: what is looked at in each, and on which thread."""

import threading
from collections import namedtuple

import numpy as np

from ccdnight._kernels import cosmicgrow as few
from ccdnight._kernels.cosmicmask import mark_bad, mark_saturated, prepare
from ccdnight._kernels.lacosmic import BAD, SCRATCH, Limits, mark_tiles
from ccdnight._kernels.medians import TILE_COLUMNS, TILE_ROWS
from ccdnight.execution import map_strips

__all__ = ["CLEANING", "Options", "find_cosmic_rays"]

#: Ways to replace a pixel that the kernels know.
CLEANING = {"meanmask": few.MEAN, "medmask": few.MEDIAN_OF_GOOD, "median": few.MEDIAN}

#: Parameters with the names of `astroscrappy.detect_cosmics`.
Options = namedtuple("Options", ["sigclip", "sigfrac", "objlim", "gain", "readnoise", "satlevel", "niter", "cleantype"])

_NOTHING = np.empty((0, 0), np.float32)
#: Rows of a strip where a step is one pass over the frame, and tiles that are done at a time.
_STRIP, _TILES = 256, 32
#: Values of a sample that shows where the median lies; smaller frames than its square are not worth it.
_SAMPLE = 2000


def find_cosmic_rays(data, *, mask, background, variance, options, workers=None):
    """
    Find cosmic rays as ``astroscrappy.detect_cosmics(..., sepmed=True, fsmode='median')`` does.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float32, native and contiguous, shape ``(ny, nx)``, finite.
    mask : `~numpy.ndarray` or None
        bool; True = bad.
    background, variance : `~numpy.ndarray` or None
        float32, data units and their square.
    options : Options
        Thresholds above 0.
    workers : int, optional
        Threads.

    Returns
    -------
    mask : `~numpy.ndarray`
        bool.
    pixels, values : `~numpy.ndarray`
        Numbers of the flagged pixels in the flat frame, in rising order, and what would replace them, in data units.
    """
    search = _Search(data, mask, background, variance, options, workers)
    search.look(_all_tiles(data.shape))
    for number in range(options.niter):
        fresh = search.grow()
        if fresh.size == 0:
            break
        changed = search.clean(fresh)
        if number + 1 < options.niter:
            search.look(search.tiles_around(changed))
    return search.result()


def _all_tiles(shape):
    ny, nx = shape
    corners = [(y, x) for y in range(0, ny, TILE_ROWS) for x in range(0, nx, TILE_COLUMNS)]
    tiles = [(y, x, min(TILE_ROWS, ny - y), min(TILE_COLUMNS, nx - x)) for y, x in corners]
    return np.array(tiles, np.int64)


def _middle_value(values):
    """
    Median, of two values in the middle the lower one: ``np.sort(values)[(values.size - 1) // 2]``.

    A sample shows where it must lie, and only what lies there is put in order: a quarter of the time of
    `numpy.partition` for a whole frame.
    """
    rank, n = (values.size - 1) // 2, values.size
    if n > _SAMPLE**2:
        sample = np.sort(values[:: n // _SAMPLE])
        low, high = sample[int(0.48 * sample.size)], sample[int(0.52 * sample.size)]
        inside = values[(values >= low) & (values <= high)]
        skipped = rank - np.count_nonzero(values < low)
        if 0 <= skipped < inside.size:
            values, rank = inside, skipped
    return np.partition(values, rank)[rank]


class _Search:
    """One frame: its images in electron, the bits of its pixels, and what is flagged so far."""

    def __init__(self, data, mask, background, variance, options, workers):
        one = np.float32
        self._data, self._options, self._workers = data, options, workers
        self._gain, self._local = one(options.gain), threading.local()
        self._background = _NOTHING if background is None else background * self._gain
        self._invar = variance
        # A frame of zeros is taken from the system page by page, as it is written.
        self._state, self._cosmic = np.zeros(data.shape, np.uint8), np.zeros(data.shape, bool)
        self._image, saturated = self._prepared(data, self._gain, one(options.satlevel))
        self._variance = _NOTHING if variance is None else self._prepared(variance, self._gain**2, one(np.inf))[0]
        if mask is not None:
            self._by_strips(lambda rows: mark_bad(mask, self._state, rows.start, rows.stop))
        if saturated:
            rooms = (np.empty(min(k * saturated, data.size), np.int64) for k in (1, 21))
            mark_saturated(data, self._gain, self._state, one(options.satlevel), *rooms)
        read = one(0) if variance is not None else one(options.readnoise) ** 2
        low = one(options.sigfrac) * one(options.sigclip)
        self._limits = Limits(one(options.sigclip), low, one(options.objlim), read)
        self._tiles = self._counts = None
        self._found, self._levels = np.empty(0, np.int64), {}

    def _by_strips(self, function):
        ny = self._data.shape[0]
        strips = [slice(y, min(y + _STRIP, ny)) for y in range(0, ny, _STRIP)]
        map_strips(function, strips, workers=self._workers)

    def _prepared(self, data, gain, saturation):
        """An image in electron above the background, and how many pixels are saturated."""
        image, totals = np.empty(data.shape, np.float32), []
        # Slices of an array without rows have none either.
        self._by_strips(
            lambda rows: totals.append(prepare(data[rows], gain, self._background[rows], image[rows], saturation))
        )
        return image, sum(totals)

    def look(self, tiles):
        """Set the bits of all pixels of some tiles."""
        self._tiles, self._counts = tiles, np.zeros(len(tiles), np.int64)

        def do(part):
            if not hasattr(self._local, "room"):
                self._local.room = np.zeros(SCRATCH, np.float32)
            mark_tiles(
                self._image, self._variance, self._background, self._state, self._limits, tiles[part],
                self._counts[part], self._local.room,
            )  # fmt: skip

        map_strips(do, [slice(i, i + _TILES) for i in range(0, len(tiles), _TILES)], workers=self._workers)

    def grow(self):
        """Flag what has grown from candidates; the newly flagged pixels."""
        total = int(self._counts.sum())
        first, fresh = (np.empty(min(k * total, self._data.size), np.int64) for k in (9, 25))
        fresh = fresh[: few.grow(self._state, self._tiles, self._counts, self._cosmic, first, fresh)].copy()
        self._found = np.concatenate([self._found, fresh])
        return fresh

    def clean(self, fresh):
        """Replace flagged pixels; those that have changed."""
        kind = CLEANING[self._options.cleantype]
        listed = self._found
        if kind != few.MEDIAN:
            room = np.empty(min(25 * fresh.size, self._data.size), np.int64)
            listed = room[: few.near(fresh, self._cosmic, self._state, room)]
        changed = self._replace(self._image, listed, kind)
        if self._variance.size:
            changed |= self._replace(self._variance, listed, kind)
        return listed[changed]

    def _replace(self, image, listed, kind):
        values, flat = np.empty(listed.size, np.float32), image.reshape(-1)
        if few.clean_values(image, self._cosmic, self._state, kind, listed, values):
            values[np.isnan(values)] = self._level(image)
        changed = flat[listed] != values
        flat[listed] = values
        return changed

    def _level(self, image):
        """The frame's median as it was before cleaning, for pixels without a good neighbor."""
        which = image is self._variance
        if which not in self._levels:
            data, gain = (self._invar, self._gain**2) if which else (self._data, self._gain)
            original, _ = self._prepared(data, gain, np.float32(np.inf))
            self._levels[which] = _middle_value(original[(self._state & BAD) == 0])
        return self._levels[which]

    def tiles_around(self, changed):
        """Tiles that hold all that may be different now."""
        ny, nx = self._data.shape
        cells = np.zeros((-(-ny // few.CELL_ROWS), -(-nx // few.CELL_COLUMNS)), bool)
        tiles = np.empty((cells.size, 4), np.int64)
        return tiles[: few.dirty_tiles(self._data.shape, changed, cells, tiles)].copy()

    def result(self):
        """What `find_cosmic_rays` returns."""
        pixels = np.sort(self._found)
        values = self._image.reshape(-1)[pixels]
        if self._background.size:
            values = values + self._background.reshape(-1)[pixels]
        return self._cosmic, pixels, values / self._gain
