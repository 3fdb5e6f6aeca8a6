"""Several frames of one kind as pixels of the same areas, with what is wrong among them told."""

from itertools import combinations

import numpy as np

from ccdnight.detector.areas import combined, cut, good_pixels, variances
from ccdnight.exceptions import FrameWarning, MeasurementError, warn_user
from ccdnight.execution import map_list, map_strips
from ccdnight.sources import frame_facts, open_source, require_equal_shapes

__all__ = ["Series", "cut_frames", "few_areas", "open_frames", "require_one_filter"]

#: Pairs that are measured at the most.
_MOST_PAIRS = 8
#: Levels of a pair that count as unlike enough to say so, and as too unlike where there is a better pair.
_UNLIKE, _TOO_UNLIKE = 0.9, 0.8
#: Below this ratio of their levels two frames hold different light: one of them is no flat of that lamp;
#: below so many adu there is no light that could be compared.
_STRANGE, _LIT = 0.1, 100
#: A bias that lies so many read noises above the others, or whose variance is so many times theirs, holds light.
_LIGHT, _NOISY = 20, 1.3
#: Pixels of a frame, and part of an area, that may share the highest value; with a scatter below _QUIET many do.
_MANY, _PILED, _QUIET = 30, 2e-3, 4.0
#: Pixels that tell the level of a frame, to 0.4 % of its noise, and what it scatters.
_SAMPLE = 100_000
#: Pixels of areas that are done at once.
_IN_CACHE = 65536


def open_frames(frames, profile, what, *, least=2, overscan=None):
    """
    Frames as sources, of one shape.

    Parameters
    ----------
    frames : CCDData, path-like, list of these, or list of sources
        The frames.
    profile : str, path-like or InstrumentProfile or None
        The instrument.
    what : str
        Name of the parameter, for errors.
    least : int, optional
        How many are needed.
    overscan : bool, optional
        Whether it is subtracted, see `ccdnight.sources.open_source`.

    Returns
    -------
    list

    Raises
    ------
    MeasurementError
        If there are too few.
    """
    frames = [] if frames is None else frames if isinstance(frames, list | tuple) else [frames]
    if len(frames) < least:
        words = {1: "one is", 2: "two are"}.get(least, f"{least} are")
        msg = f"{what}: {len(frames)} frames given; at least {words} needed"
        raise MeasurementError(msg)
    sources = map_list(
        lambda frame: frame if hasattr(frame, "rows") else open_source(frame, profile, overscan=overscan), list(frames)
    )
    for number, source in enumerate(sources):
        if source.name == "CCDData":
            source.name = f"{what}[{number}]"
    require_equal_shapes(sources)
    return sources


def require_one_filter(sources):
    """
    Refuse flats of several filters.

    Parameters
    ----------
    sources : list
        The flats.

    Raises
    ------
    MeasurementError
        If they differ.
    """
    filters = {frame_facts(source).filter for source in sources}
    if len(filters) > 1:
        msg = f"flats of different filters: {', '.join(sorted(map(repr, filters)))}; one is needed"
        raise MeasurementError(msg)


def cut_frames(sources, parts, tell=None):
    """
    Frames cut to the areas of every amplifier, each frame read once.

    Parameters
    ----------
    sources : list
        The frames.
    parts : list of Areas
        One for each amplifier.
    tell : callable, optional
        See `Series`.

    Returns
    -------
    list of Series
    """

    def pieces(source):
        image = good_pixels(source)
        return [cut(image, areas) for areas in parts]

    columns = zip(*map_list(pieces, list(sources)), strict=True)
    return [Series(sources, areas, list(pixels), tell) for areas, pixels in zip(parts, columns, strict=True)]


def few_areas(pixels):
    """
    Areas in parts, so that what is made of a part stays in the cache.

    Parameters
    ----------
    pixels : `~numpy.ndarray`
        Shape ``(k, m)``.

    Returns
    -------
    list of slice
        Of the areas.
    """
    many = max(1, _IN_CACHE // pixels.shape[1])
    return [slice(first, first + many) for first in range(0, len(pixels), many)]


class Series:
    """
    Frames cut to the areas of one amplifier.

    Parameters
    ----------
    sources : list
        The frames.
    areas : Areas
        Where.
    pixels : list of `~numpy.ndarray`
        Their pixels there, NaN where they are bad, shape ``(k, m)`` each.
    tell : callable, optional
        What is called with words about frames that are not as they should be; by default a warning.
    """

    def __init__(self, sources, areas, pixels, tell=None):
        self._tell = tell or (lambda words: warn_user(words, FrameWarning))
        self.names = [source.name for source in sources]
        self.step = min(source.step for source in sources)
        self.areas, self.pixels = areas, pixels
        self.levels = np.array(map_list(_level, self.pixels))
        self._variances = {}

    def __len__(self):
        return len(self.names)

    def without(self, numbers):
        """
        The series without some frames.

        Parameters
        ----------
        numbers : set of int
            Which.

        Returns
        -------
        Series
        """
        other = object.__new__(Series)
        keep = [number for number in range(len(self)) if number not in numbers]
        other.names, other.pixels = ([items[i] for i in keep] for items in (self.names, self.pixels))
        other._tell, other.step = self._tell, self.step
        other.areas, other.levels, other._variances = self.areas, self.levels[keep], {}
        return other

    def mean(self):
        """
        Mean of the frames.

        Returns
        -------
        `~numpy.ndarray`
            float32, NaN where none has a good pixel, shape ``(k, m)``.
        """
        out = np.empty(self.pixels[0].shape, np.float32)
        for some in few_areas(out):
            total, count = np.zeros(out[some].shape), np.zeros(out[some].shape, np.uint16)
            for pixels in self.pixels:
                good = np.isfinite(pixels[some])
                total += np.where(good, pixels[some], 0)
                count += good
            out[some] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return out

    def subtract(self, bias):
        """
        Take a bias off all frames.

        Parameters
        ----------
        bias : `~numpy.ndarray`
            Shape ``(k, m)``.
        """
        for pixels in self.pixels:
            pixels -= bias
        self.levels = self.levels - _level(bias)

    def difference_variances(self, one, other):
        """
        Half the variance of the difference of two frames in every area.

        Parameters
        ----------
        one, other : int
            Which.

        Returns
        -------
        `~numpy.ndarray`

        Raises
        ------
        MeasurementError
            If they are identical.
        """
        pair = (min(one, other), max(one, other))
        if pair not in self._variances:
            difference = self.pixels[one] - self.pixels[other]
            self.refuse_identical(difference, one, other)
            self._variances[pair] = variances(difference, self.areas.side) / 2
        return self._variances[pair]

    def refuse_identical(self, difference, one, other):
        """
        Refuse a pair whose difference is nothing.

        Parameters
        ----------
        difference : `~numpy.ndarray`
            Of the two.
        one, other : int
            Which.

        Raises
        ------
        MeasurementError
            If they are identical.
        """
        finite = np.isfinite(difference)
        if finite.any() and not (finite & (difference != 0)).any():
            msg = f"{self.names[one]} and {self.names[other]} are identical: their difference has no noise"
            raise MeasurementError(msg)

    def neighbors(self):
        """Pairs of frames that follow one another; of three, all pairs."""
        count = len(self)
        pairs = list(combinations(range(count), 2)) if count == 3 else [(i, i + 1) for i in range(count - 1)]
        return pairs[:_MOST_PAIRS]

    def alike(self):
        """
        Pairs of frames of like level, the most alike first.

        Returns
        -------
        list of tuple of int

        Raises
        ------
        MeasurementError
            If no two are alike enough.
        """
        pairs = sorted(combinations(range(len(self)), 2), key=lambda pair: (-self._likeness(pair), pair[1] - pair[0]))
        like = [pair for pair in pairs if self._likeness(pair) >= _TOO_UNLIKE]
        chosen = like[:_MOST_PAIRS] or pairs[:1]
        if 0 < self._likeness(chosen[0]) < _STRANGE and self.levels[list(chosen[0])].max() > _LIT:
            one, other = chosen[0]
            levels = f"{self.levels[one]:.0f} and {self.levels[other]:.0f} adu above the bias"
            msg = f"{self.names[one]} and {self.names[other]}: levels of {levels} are no pair; a ratio of "
            raise MeasurementError(msg + f"{_STRANGE} and more is needed")
        if 0 < min(self._likeness(pair) for pair in chosen) < _UNLIKE:
            one, other = min(chosen, key=self._likeness)
            levels = f"{self.levels[one]:.0f} and {self.levels[other]:.0f} adu"
            words = f"{self.names[one]} and {self.names[other]} differ in level ({levels} above the bias): the gain "
            self._tell(words + "that is measured from them allows for that, but not for light of another pattern")
        return chosen

    def _likeness(self, pair):
        low, high = sorted(self.levels[list(pair)])
        return low / high if high > 0 else 0.0

    def refuse_saturated(self):
        """
        Leave out areas of which many pixels share the highest value of the frame.

        Raises
        ------
        MeasurementError
            If that is most of a frame.
        """
        map_strips(lambda number: _leave_out_saturated(self.names[number], self.pixels[number]), range(len(self)))

    def without_light(self):
        """
        Biases that are dark; others are left out with a warning if three are there, or refused.

        Returns
        -------
        Series

        Raises
        ------
        MeasurementError
            If two biases differ so much that one of them holds light.
        """
        neighbors = self.neighbors()
        found = map_list(lambda pair: self.difference_variances(*pair), neighbors)
        pairs = dict(zip(neighbors, found, strict=True))
        noise = float(np.median([combined(value, 0.02)[0] for value in pairs.values()]))
        allowed = _LIGHT * max(np.sqrt(max(noise, 0.0)), 1.0)
        center = self.levels.min() if len(self) == 2 else np.median(self.levels)
        lit = {number for number, level in enumerate(self.levels) if level - center > allowed}
        if len(self) >= 3:
            lit |= self._noisy()
        if not lit:
            return self
        brightest = max(lit, key=lambda number: self.levels[number])
        words = f"{self.names[brightest]}: its level, {self.levels[brightest]:.0f} adu, or its noise is above that of "
        words += f"the other biases ({center:.0f} adu): it holds light"
        if len(self) - len(lit) < 2:
            raise MeasurementError(words)
        self._tell(f"{words}; it is left out")
        return self.without(lit)

    def _noisy(self):
        """Frames whose own variance, from three differences, is above that of the others."""
        count, own = len(self), []
        ahead = [(i, (i + step) % count) for i in range(count) for step in (1, 2)]
        map_list(lambda pair: self.difference_variances(*pair), list(dict.fromkeys(tuple(sorted(p)) for p in ahead)))
        for i in range(count):
            j, k = (i + 1) % count, (i + 2) % count
            ij, ik, jk = (combined(self.difference_variances(*pair), 0.02)[0] for pair in ((i, j), (i, k), (j, k)))
            own.append(ij + ik - jk)
        own = np.array(own)
        return {number for number in range(count) if own[number] > _NOISY * np.median(own) + 0.1}


def _leave_out_saturated(name, pixels):
    good = np.isfinite(pixels)
    finite, some = np.count_nonzero(good), _sample(pixels)
    if not finite:
        return
    top, spread = pixels[good].max(), np.subtract(*np.nanpercentile(some, [84, 16]))
    at_top = pixels == top
    piled = at_top.sum() / finite
    if piled <= 0.5 and (at_top.sum() <= _MANY or spread <= _QUIET):
        return
    full = at_top.mean(axis=1) > _PILED
    if piled > 0.5 or full.mean() > 0.5:
        msg = f"{name}: {100 * piled:.1f} % of its pixels have its highest value, {top:g}: it is saturated"
        raise MeasurementError(msg)
    pixels[full] = np.nan
    pixels[at_top] = np.nan


def _level(pixels):
    """Median of a sample of every area."""
    some = _sample(pixels)
    finite = some[np.isfinite(some)]
    return float(np.median(finite)) if finite.size else np.nan


def _sample(pixels):
    """Every so manieth pixel of every area, in all its rows and columns."""
    return pixels[:, :: (pixels.size // _SAMPLE) | 1]
