"""The bad pixel mask of a detector, from its biases, darks and flats."""

import numpy as np

from ccdnight.badpixels.causes import CAUSES, cause_flags, describe_causes
from ccdnight.badpixels.columns import close_gaps, column_segments
from ccdnight.badpixels.frames import image_of, regions_of, sort_frames
from ccdnight.badpixels.response import flat_causes, ratio_outliers
from ccdnight.badpixels.spread import LEAST_FRAMES, beyond_noise, frame_noise, ranges
from ccdnight.badpixels.standing import bias_deviation, dark_deviation, filled
from ccdnight.calibration import identity_of
from ccdnight.exceptions import InputError
from ccdnight.execution import map_list
from ccdnight.masking import read_mask
from ccdnight.masters import make_bias, make_dark, make_flat
from ccdnight.noise import noise_model
from ccdnight.products import flags_of, make_ccd, sigma_of
from ccdnight.profiles import get_profile
from ccdnight.provenance import mark_applied, record_step

__all__ = ["make_bad_pixel_mask"]

#: A pixel is off in the biases if it is so by this many standard deviations of a single frame.
_LEVEL_SIGMA = 6.0
#: Flats of which the brightest has this many times the light of the faintest tell of two levels.
_LEVELS = 2.0
_BIT = {name: np.uint16(cause.value) for name, cause in CAUSES.items()}
#: Causes that make up columns; noisy pixels stand alone.
_STANDING = np.uint16(sum(CAUSES[name].value for name in ("HOT", "LEVEL", "DEAD", "RESPONSE", "COLUMN", "UNEXPOSED")))


def make_bad_pixel_mask(
    *,
    biases=None,
    darks=None,
    flats=None,
    mask=None,
    profile=None,
    overscan=None,
    window=None,
    false_alarms=1e-5,
    hot_sigma=5.0,
    flat_sigma=6.0,
    least_response=0.05,
    gap=5,
    workers=None,
):
    """
    Bad pixels of a detector.

    Noisy pixels: the range of a pixel's values over the biases, the highest left out since it may be a cosmic ray,
    beyond what Gaussian noise shows in a fraction `false_alarms` of pixels; the limit follows from the number of
    frames. Unstable pixels: the same over darks of one exposure, with the photon noise of their charge. Hot pixels:
    the longest dark against its moving median of 7 x 7 pixels and its local scatter. Dead pixels and outliers: the
    same with the flats, as IRAF's ccdmask does it with the ratio of two flats (see `find_outliers`), which is done as
    well where there are flats of two levels. Regions without light. Columns or parts of them that are off as a whole
    are found by a cumulative sum along them, and gaps in columns are closed.

    Parameters
    ----------
    biases, darks, flats : list of path-like or `~astropy.nddata.CCDData`, optional
        Raw frames, masters, or both. Levels are taken from the masters, which are made where they are not given;
        spreads from the raw frames, three of a kind at least. Darks are looked at where they are three.
    mask : `~astropy.nddata.CCDData`, array-like or path-like, optional
        A mask to be added, see `ccdnight.masking.read_mask`; of the trimmed frame, or of a raw file as it is.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; files are matched by their headers.
    overscan, window
        As in `ccdnight.make_bias`.
    false_alarms : float, optional
        Fraction of good pixels that may be taken for noisy, and for unstable.
    hot_sigma, flat_sigma : float, optional
        Thresholds in standard deviations of the local scatter.
    least_response : float, optional
        Relative deviation that an outlier in the flats must have at least.
    gap : int, optional
        Pixels of a column that may lie between bad ones and are then bad too.
    workers : int, optional
        Threads.

    Returns
    -------
    `~astropy.nddata.CCDData`
        Shape ``(ny, nx)`` of the trimmed frame, uint16: the bits of `CAUSES`, named by the cards CAUSEn. Its flags are
        those that frames get: BAD_PIXEL, and NO_DATA too where no light falls.

    Raises
    ------
    InputError
        If there is nothing to look at, or shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import make_bad_pixel_mask
    >>> from ccdnight.badpixels import describe_causes
    >>> rng = np.random.default_rng(1)
    >>> level = np.full((64, 64), 20000.0)
    >>> level[10, 12] = 3000
    >>> flats = [CCDData(rng.normal(level, 140), unit="adu", meta={"EXPTIME": 2.0}) for _ in range(3)]
    >>> mask = make_bad_pixel_mask(flats=flats)
    >>> describe_causes(mask.data)
    {'DEAD': 1}
    """
    if not 0 < false_alarms < 0.1:
        msg = f"false_alarms = {false_alarms!r}; a fraction between 0 and 0.1 is needed"
        raise InputError(msg)
    profile = None if profile is None else get_profile(profile)
    kinds = (("bias", biases), ("dark", darks), ("flat", flats))
    frames = {kind: sort_frames(given, kind, profile, overscan, window, workers) for kind, given in kinds}
    search = _Search(frames, mask, profile, workers)
    search.make = {"profile": profile, "overscan": overscan, "window": window, "workers": workers}
    search.noise(false_alarms)
    search.bias_level()
    search.hot(hot_sigma)
    search.response(flat_sigma, least_response)
    search.gaps(gap)
    return search.result()


class _Search:
    """The state of one search."""

    def __init__(self, frames, mask, profile, workers):
        self._frames, self._profile, self._workers = frames, profile, workers
        self._masters = {kind: list(item.masters) for kind, item in frames.items()}
        self._sources = [source for item in frames.values() for source in item.sources]
        whole = [*self._sources, *(item for group in self._masters.values() for item in group)]
        given = None if mask is None else read_mask(mask)
        if not whole and given is None:
            msg = "neither biases, darks, flats nor a mask are given; one of them is needed"
            raise InputError(msg)
        self._first = whole[0] if whole else given
        shapes = {item.shape for item in whole} or {given.shape}
        if len(shapes) > 1:
            msg = f"biases, darks and flats have different shapes: {', '.join(map(str, sorted(shapes)))}"
            raise InputError(msg)
        self._shape = shapes.pop()
        self._regions = regions_of(self._first, profile)
        self.causes, self._notes = np.zeros(self._shape, np.uint16), []
        self._read_noise, self._given = None, given
        if given is not None:
            self.causes[self._fitted(given)] |= _BIT["USER"]

    def _fitted(self, given):
        """A mask of the trimmed frame as it is, one of a raw file trimmed as its frames are."""
        bad = flags_of(given) != 0
        for source in self._sources if bad.shape != self._shape else ():
            if getattr(source, "raw_shape", None) == bad.shape:
                return source.trimmed_part(bad)
        if bad.shape != self._shape:
            msg = f"mask has shape {bad.shape}; the frames have {self._shape} after trimming"
            raise InputError(msg)
        return bad

    # -- each kind of evidence ------------------------------------------------------------------------

    def noise(self, false_alarms):
        """Spread over biases, and over darks of one exposure."""
        for kind, cause in (("bias", "NOISY"), ("dark", "UNSTABLE")):
            for group in self._frames[kind].sets:
                if len(group) < LEAST_FRAMES:
                    self._notes.append(f"{kind}: {len(group)} frames cannot tell of spread, {LEAST_FRAMES} can")
                    continue
                middle = np.empty(self._shape, np.float32) if kind == "dark" else None
                spread = ranges(group, self._regions, middle=middle, workers=self._workers)
                noise, limit = frame_noise(spread, len(group), self._regions, false_alarms)
                if kind == "bias" and self._read_noise is None:
                    self._read_noise = noise
                gain = noise_model(group, read_noise=1.0).gain
                charge = None if middle is None else (middle, 1.0 if gain is None else gain)
                found = beyond_noise(spread, noise, limit, charge, self._regions, workers=self._workers)
                self.causes[found] |= _BIT[cause]

    def bias_level(self):
        """Pixels that stand off their neighbors in every bias."""
        if not self._masters["bias"] and self._frames["bias"].sources:
            self._masters["bias"] = [make_bias(self._frames["bias"].given[0], **self.make)]
        for master in self._masters["bias"]:
            image, lost = image_of(master, 0.0)
            deviation = bias_deviation(filled(image, lost), self._read_noise, self._regions, workers=self._workers)
            self.causes[lost | (np.abs(deviation) > _LEVEL_SIGMA)] |= _BIT["LEVEL"]
            self._columns(deviation)

    def hot(self, sigma):
        """Pixels that stand out of the longest dark."""
        frames, masters = self._frames["dark"], self._masters["dark"]
        if not masters and frames.sets and len(frames.sets[0]) >= LEAST_FRAMES:
            bias = self._masters["bias"][0] if self._masters["bias"] else None
            masters = self._masters["dark"] = [make_dark(frames.given[0], bias=bias, **self.make)]
        masters = [item for item in masters if item.meta.get("NCOMBINE", LEAST_FRAMES) >= LEAST_FRAMES]
        if not masters:
            self._notes.append("no three darks of one exposure: hot pixels are not known")
            return
        master = max(masters, key=lambda item: float(item.meta.get("DARKTIME", item.meta.get("EXPTIME", 0))))
        image, lost = image_of(master, 0.0)
        deviation = dark_deviation(filled(image, lost), sigma_of(master), self._regions, workers=self._workers)
        self.causes[lost | (deviation > np.float32(sigma))] |= _BIT["HOT"]
        # A column is bad if it is so in a single dark; what is less the master takes off.
        deviation /= np.float32(np.sqrt(master.meta.get("NCOMBINE", 1)))
        self._columns(deviation)

    def response(self, sigma, least):
        """Outliers of the flats; of several, what at least half of them show: a star is in one only."""
        self._make_flats()
        found = []
        for item in self._masters["flat"]:
            causes, deviation = flat_causes(image_of(item, 0.0)[0], sigma, least, self._regions, self._workers)
            self._columns(deviation)
            found.append(causes)
        if not found:
            self._notes.append("no flats: dead pixels and those without light are not known")
        for name in ("DEAD", "RESPONSE", "UNEXPOSED") if len(found) > 1 else ():
            votes = sum((causes & _BIT[name]) != 0 for causes in found)
            self.causes[(votes > 0) & (2 * votes >= len(found))] |= _BIT[name]
        if len(found) == 1:
            self.causes |= found[0]
        for group, given in zip(self._frames["flat"].sets, self._frames["flat"].given, strict=True):
            self._two_levels(group, given, sigma, least)

    def _make_flats(self):
        frames = self._frames["flat"]
        if not self._masters["flat"]:
            self._masters["flat"] = [make_flat(given, **self._off(), **self.make) for given in frames.given]

    def _off(self):
        """Masters that are taken off flats."""
        return {kind: self._masters[kind][0] if self._masters[kind] else None for kind in ("bias", "dark")}

    def _two_levels(self, group, given, sigma, least):
        levels = [float(np.median(self._light(source))) for source in group]
        order = np.argsort(levels, kind="stable")
        if len(group) < 2 or levels[order[-1]] < _LEVELS * levels[order[0]] or levels[order[0]] <= 0:
            return
        middle = np.sqrt(levels[order[0]] * levels[order[-1]])
        low, high = ([given[i] for i in order if (levels[i] < middle) == below] for below in (True, False))
        pair = [image_of(make_flat(part, **self._off(), **self.make), 0.0)[0] for part in (low, high)]
        self.causes[ratio_outliers(*pair, sigma, least, self._regions, self._workers)] |= _BIT["NONLINEAR"]

    def _light(self, source):
        rows = slice(self._shape[0] // 2, min(self._shape[0], self._shape[0] // 2 + 32))
        light = np.array(source.rows(rows)[0], np.float32)
        if self._masters["bias"]:
            light -= self._masters["bias"][0].data[rows]
        return light

    # -- what is made of it ---------------------------------------------------------------------------

    def _columns(self, deviation):
        """Columns that are off as a whole; looked for at once, since a deviation is as large as a frame."""
        for part in self._regions:
            self.causes[part][column_segments(deviation[part], workers=self._workers)] |= _BIT["COLUMN"]

    def gaps(self, gap):
        """What lies between bad pixels of a column."""
        for part in self._regions:
            self.causes[part][close_gaps((self.causes[part] & _STANDING) != 0, gap)] |= _BIT["COLUMN"]

    def result(self):
        """The mask as a CCDData."""
        first = self._first
        meta = first.header if hasattr(first, "header") and not hasattr(first, "meta") else first.meta
        ccd = make_ccd(self.causes, unit="", meta=meta, flags=cause_flags(self.causes), dtype=np.uint16)
        ccd.meta["MASTER"] = ("badpixels", "kind of master")
        for key in ("OBJECT", "EXPTIME", "DARKTIME", "NCOMBINE", "FILENAME", "BIASID", "BIASFILE", "FLATNORM"):
            ccd.meta.remove(key, ignore_missing=True, remove_all=True)
        for number, cause in enumerate(CAUSES.values()):
            ccd.meta[f"CAUSE{number}"] = (cause.name, f"bit {number}: {cause.meaning}"[:55])
        counts = describe_causes(self.causes)
        for name, count in counts.items():
            ccd.meta[f"N{name[:7]}"] = (count, "pixels")
        ccd.meta["NBADPIX"] = (int(np.count_nonzero(self.causes)), "bad pixels")
        if self._sources and all(source.trimmed for source in self._sources):
            mark_applied(ccd, "trim", "every frame that the mask is made from")
        for note in self._notes:
            ccd.meta["HISTORY"] = f"bad pixels: {note}"
        digests = map_list(lambda source: source.digest, self._sources, workers=self._workers)
        kinds = [kind for kind, item in self._frames.items() for _ in item.sources]
        inputs = [(_base(item.name), *known) for item, *known in zip(self._sources, digests, kinds, strict=True)]
        inputs += [
            (str(item.meta.get("FILENAME", kind)), identity_of(item), kind)
            for kind in self._frames
            for item in self._frames[kind].masters
        ]
        words = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no bad pixels"
        record_step(ccd, "bad_pixels", inputs=inputs, history=words)
        return ccd


def _base(name):
    return name.replace("\\", "/").rsplit("/", 1)[-1]
