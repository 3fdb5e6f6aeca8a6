"""What ccdnight knows of an instrument: frozen, typed, and nothing but facts and policy."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

__all__ = ["Amplifier", "Dialect", "InstrumentProfile", "KindRule", "Policy"]

#: Kinds a frame can be of, in the order in which they are shown.
KINDS = ("bias", "dark", "flat", "twilight", "science", "unknown")


@dataclass(frozen=True)
class Amplifier:
    """
    One amplifier of one detector, in the coordinates of the raw frame.

    Attributes
    ----------
    detector : str
        The detector it belongs to, spelt as the header spells it; '' where the instrument has one.
    name : str
        Name of the amplifier, unique within its detector.
    shape : tuple of int or None
        Shape ``(ny, nx)`` of the raw frames for which the sections below hold. Frames of another shape
        (binned or windowed) use the sections of their headers.
    data, overscan, parallel_overscan : str
        FITS sections ``[x1:x2,y1:y2]``, 1-based and inclusive; '' to take the header's, 'none' where
        there is no usable one.
    overscan_skip : int
        Leading overscan columns (or rows) that carry trailing charge and are not used.
    gain : float or None
        Electron per adu.
    read_noise : float or None
        Electron.
    saturation : float or None
        Raw value, pedestal included, in adu from which on a pixel is saturated.
    bleed : {'auto', 'columns', 'rows'}
        Along what the charge of saturated pixels runs; 'auto' sees it from where the overscan lies, else from the
        saturated stars.
    linearity : tuple of float
        Coefficients c1, c2, ... of the correction ``s * (1 + c1 * s + c2 * s**2 + ...)`` of a signal s in adu above
        the bias; empty where there is none.

    Examples
    --------
    >>> from ccdnight import Amplifier
    >>> chip = Amplifier(data="[1:1024,1:1024]", overscan="[1025:1056,1:1024]", gain=1.78, read_noise=9.4)
    >>> chip.gain, chip.parallel_overscan
    (1.78, 'none')
    """

    detector: str = ""
    name: str = ""
    shape: tuple[int, int] | None = None
    data: str = ""
    overscan: str = ""
    parallel_overscan: str = "none"
    overscan_skip: int = 0
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    bleed: str = "auto"
    linearity: tuple[float, ...] = ()


@dataclass(frozen=True)
class KindRule:
    """
    A rule that decides the kind of a frame; the first that holds wins, before the plain spellings.

    Attributes
    ----------
    kind : str
        One of the known kinds, or 'ignored'.
    when : mapping of str to tuple of str
        Header keyword to glob patterns (case ignored); every keyword must match one of its patterns.
    exposure_max : float or None
        The exposure in seconds must not be longer than this.

    Examples
    --------
    >>> from ccdnight.profiles import KindRule
    >>> rule = KindRule("bias", {"OBSTYPE": ("dark",)}, exposure_max=0.0)  # a dark of no time
    >>> rule.kind, rule.exposure_max
    ('bias', 0.0)
    """

    kind: str
    when: MappingProxyType = field(default_factory=lambda: MappingProxyType({}))
    exposure_max: float | None = None


@dataclass(frozen=True)
class Dialect:
    """
    Which header keywords mean what, in the order of trust.

    Each attribute is a tuple of keywords; the first one that is in the header and can be read is taken.
    `binning` holds keyword pairs (columns, rows) or single keywords with a value like '2 2'. An entry of
    `filter` may be the keywords of several filter wheels, whose names are joined by '+', open places left out.
    `overscan_columns` and `overscan_rows` name cards which count overscan columns at the right and
    overscan rows at the top of the frame.

    Examples
    --------
    >>> from ccdnight.profiles import Dialect
    >>> Dialect(exposure=("EXPTIME", "EXPOSURE"), filter=(("FILTER1", "FILTER2"),)).exposure
    ('EXPTIME', 'EXPOSURE')
    """

    kind: tuple[str, ...] = ()
    exposure: tuple[str, ...] = ()
    dark_time: tuple[str, ...] = ()
    filter: tuple[str | tuple[str, ...], ...] = ()
    object: tuple[str, ...] = ()
    time: tuple[str, ...] = ()
    time_of_day: tuple[str, ...] = ()
    julian_date: tuple[str, ...] = ()
    temperature: tuple[str, ...] = ()
    detector: tuple[str, ...] = ()
    binning: tuple[tuple[str, ...], ...] = ()
    read_mode: tuple[str, ...] = ()
    gain: tuple[str, ...] = ()
    read_noise: tuple[str, ...] = ()
    saturation: tuple[str, ...] = ()
    data_section: tuple[str, ...] = ()
    overscan_section: tuple[str, ...] = ()
    trim_section: tuple[str, ...] = ()
    overscan_columns: tuple[str, ...] = ()
    overscan_rows: tuple[str, ...] = ()
    right_ascension: tuple[str, ...] = ()
    declination: tuple[str, ...] = ()
    airmass: tuple[str, ...] = ()
    latitude: tuple[str, ...] = ()
    longitude: tuple[str, ...] = ()
    pixel_scale: tuple[str, ...] = ()
    rotation: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """
    How a night of this instrument is reduced.

    Attributes
    ----------
    bias : {'auto', 'frames', 'overscan', 'both'}
        Where the bias comes from. 'auto' takes both where the overscan is usable.
    dark : {'auto', 'exact', 'none'}
        'auto' follows the scaling rules, 'exact' refuses scaled darks, 'none' subtracts no dark.
    flat : {'auto', 'sky', 'none'}
        Whether science frames are divided by flats; 'sky' makes them of the dithered science frames themselves.
    flat_level : tuple of float
        Lowest and highest median of a flat above its bias, in adu; other flats are rejected.
    flat_saturated : float
        Largest part of a flat's pixels that may be saturated.
    illumination : {'auto', 'none'}
        'auto' brings dome flats to the large scales of twilight flats where a filter has enough of both; 'none' takes
        the twilight flats alone.
    bad_pixels : {'auto', 'none'}
        Whether a bad pixel mask is made and used.
    edge : int
        Pixels trimmed from every edge of the data section.
    edge_of : {'data', 'frame'}
        Whether `edge` counts from the data section or from the whole raw frame.
    overscan_window : int
        Rows over which the overscan is smoothed; 1 is row by row, 0 lets the frames decide.
    minimum_bias, minimum_dark, minimum_flat : int
        Frames a master should have at least.
    below_minimum : {'use', 'refuse'}
        What happens with fewer frames: a master all the same, said aloud, or none.
    match : tuple of str
        Columns of the frame table that a frame and its calibration must share.
    exposure_tolerance : tuple of float
        Exposures are equal within the larger of so many seconds and this fraction.
    temperature_tolerance : float
        Detector temperatures are equal within this many kelvin.
    dark_scale_up : float
        Longest factor by which a dark is scaled up pixel by pixel.
    foreign_dark_bias : bool
        Whether darks of another night may take this night's bias level.
    dark_for_flats : bool
        Whether flats are dark-corrected.
    use_dark_time : bool
        Whether DARKTIME, where it is in the header, scales the dark instead of the exposure.
    missing_bias, missing_dark, missing_flat, missing_bad_pixels, missing_fringe : {'reduce', 'leave out'}
        What happens to a science frame that lacks this master. A fringe frame is missed in filters that fringe.
    datasum : {'refuse', 'ignore'}
        What happens to a raw frame whose pixels are not those that its card DATASUM was made of. There are programs
        that write a wrong one, or change pixels and leave it.
    grow_saturated : int
        Pixels by which saturated pixels and bleed trails are grown.
    fringe : {'auto', 'none'}
        Whether fringes are subtracted in the filters that `fringing` names.
    fringing : tuple of str
        Filters that show fringes, as patterns (case ignored).
    minimum_fringe : int
        Dithered science frames of a filter from which on a fringe frame is made; at least 3.
    cosmic_sigclip, cosmic_objlim : float
        Thresholds of `ccdnight.flag_cosmic_rays` for science frames.
    cosmic_seeing : bool
        Whether both are raised where the stars are so narrow that they look like cosmic rays.
    method : {'average', 'median'}
        How masters are combined; `flat_method` for the flats.
    reject : {'noise', 'sigma', 'mad', 'minmax', 'none'}
        How outliers are rejected; the thresholds are `sigma`, `dark_sigma` and `flat_sigma`.
    sensitivity_noise : float
        Relative noise added to the noise model of flats.
    normalize : {'median', 'mode', 'mean', 'most-common'}
        What a flat is divided by: the half-sample mode is 'mode', 'most-common' is the most frequent value.
    scale_flats : bool
        Whether flats are brought to a common level before they are combined.

    Examples
    --------
    >>> from ccdnight import Policy
    >>> policy = Policy(bias="overscan")
    >>> policy.bias, policy.minimum_flat
    ('overscan', 3)
    >>> policy.updated(minimum_flat=5).minimum_flat
    5
    """

    bias: str = "auto"
    dark: str = "auto"
    flat: str = "auto"
    flat_level: tuple[float, float] = (200.0, 1e6)
    flat_saturated: float = 0.1
    illumination: str = "auto"
    bad_pixels: str = "auto"
    edge: int = 0
    edge_of: str = "data"
    overscan_window: int = 0
    minimum_bias: int = 3
    minimum_dark: int = 3
    minimum_flat: int = 3
    below_minimum: str = "use"
    match: tuple[str, ...] = ("detector", "binning", "read_mode", "shape")
    exposure_tolerance: tuple[float, float] = (0.1, 0.005)
    temperature_tolerance: float = 1.0
    dark_scale_up: float = 3.0
    foreign_dark_bias: bool = False
    dark_for_flats: bool = True
    use_dark_time: bool = True
    missing_bias: str = "reduce"
    missing_dark: str = "reduce"
    missing_flat: str = "reduce"
    missing_bad_pixels: str = "reduce"
    missing_fringe: str = "reduce"
    datasum: str = "refuse"
    grow_saturated: int = 1
    fringe: str = "auto"
    fringing: tuple[str, ...] = ()
    minimum_fringe: int = 5
    cosmic_sigclip: float = 4.5
    cosmic_objlim: float = 5.0
    cosmic_seeing: bool = True
    method: str = "average"
    flat_method: str = "average"
    reject: str = "noise"
    sigma: float = 4.0
    dark_sigma: float = 4.0
    flat_sigma: float = 4.0
    sensitivity_noise: float = 0.002
    normalize: str = "median"
    scale_flats: bool = True

    def updated(self, **changes):
        """
        This policy with some entries changed.

        Parameters
        ----------
        **changes
            New values of entries; those given as None stay as they are.

        Returns
        -------
        Policy
        """
        return replace(self, **{name: value for name, value in changes.items() if value is not None})


#: Values that a policy entry may have, where it is a choice.
POLICY_CHOICES = {
    "bias": ("auto", "frames", "overscan", "both"),
    "dark": ("auto", "exact", "none"),
    "flat": ("auto", "sky", "none"),
    "illumination": ("auto", "none"),
    "bad_pixels": ("auto", "none"),
    "edge_of": ("data", "frame"),
    "below_minimum": ("use", "refuse"),
    "missing_bias": ("reduce", "leave out"),
    "missing_dark": ("reduce", "leave out"),
    "missing_flat": ("reduce", "leave out"),
    "missing_bad_pixels": ("reduce", "leave out"),
    "missing_fringe": ("reduce", "leave out"),
    "datasum": ("refuse", "ignore"),
    "fringe": ("auto", "none"),
    "method": ("average", "median"),
    "flat_method": ("average", "median"),
    "reject": ("noise", "sigma", "mad", "minmax", "none"),
    "normalize": ("median", "mode", "mean", "most-common"),
}

#: Policies known by name, as changes to the profile's own.
NAMED_POLICIES = MappingProxyType(
    {
        "lecture": {
            # The hand recipe of a classroom reduction, kept to compare with: the bias level is taken from
            # the night's bias frames alone, also for darks of another night.
            "bias": "frames",
            "bad_pixels": "none",
            "fringe": "none",
            "edge": 100,
            "edge_of": "frame",
            "foreign_dark_bias": True,
            "illumination": "none",
            "dark_for_flats": False,
            "use_dark_time": False,
            "method": "average",
            "flat_method": "median",
            "reject": "sigma",
            "sigma": 2.5,
            "dark_sigma": 3.0,
            "flat_sigma": 2.0,
            "normalize": "most-common",
            "scale_flats": False,
        },
    }
)


@dataclass(frozen=True)
class InstrumentProfile:
    """
    An instrument: how its frames are recognised, read and reduced.

    Attributes
    ----------
    name, title : str
        Short name (also that of its file) and the name in words.
    matches : mapping of str to tuple of str
        Header keyword to glob patterns; a frame is of this instrument if every keyword matches one
        of its patterns. Empty: never chosen by header.
    dialect : Dialect
        What the header keywords mean.
    kinds : mapping of str to tuple of str
        Kind (or 'ignored') to the spellings, globs with case ignored, of the kind keywords' values.
    rules : tuple of KindRule
        Decide before `kinds` does.
    amplifiers : tuple of Amplifier
        At least one.
    policy : Policy
        How its nights are reduced.
    standard_binning : str
        Binning that is not named in the names of masters.
    standard_read_modes : tuple of str
        Read modes that are not named in the names of masters.
    hdu : int or None
        The HDU of the image; None takes the first two-dimensional one.
    latitude, longitude : float or None
        Degrees, north and east positive.
    pixel_scale : float or None
        Arcseconds per pixel of frames in the standard binning.
    rotation : float or None
        Position angle of the frame's y axis in degrees, from north through east.
    mirrored : bool
        Whether east is at the right where north is up.
    source : str
        The file it came from.

    Examples
    --------
    >>> from ccdnight import Amplifier, InstrumentProfile
    >>> mine = InstrumentProfile(
    ...     "mycam",
    ...     "The camera on our roof",
    ...     matches={"INSTRUME": ("MyCam*",)},
    ...     amplifiers=(Amplifier(data="[1:1024,1:1024]", gain=1.5, read_noise=8.0),),
    ... )
    >>> mine.amplifiers_of("")[0].read_noise
    8.0
    """

    name: str
    title: str = ""
    matches: MappingProxyType = field(default_factory=lambda: MappingProxyType({}))
    dialect: Dialect = Dialect()
    kinds: MappingProxyType = field(default_factory=lambda: MappingProxyType({}))
    rules: tuple[KindRule, ...] = ()
    amplifiers: tuple[Amplifier, ...] = (Amplifier(),)
    policy: Policy = Policy()
    standard_binning: str = "1x1"
    standard_read_modes: tuple[str, ...] = ("",)
    hdu: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    pixel_scale: float | None = None
    rotation: float | None = None
    mirrored: bool = False
    source: str = field(default="", compare=False)

    @property
    def detectors(self):
        """Names of the detectors, in the order of the amplifiers."""
        return tuple(dict.fromkeys(amplifier.detector for amplifier in self.amplifiers))

    def amplifiers_of(self, detector):
        """
        Amplifiers of one detector.

        An instrument with a single, unnamed detector has the same amplifiers whatever the header calls
        it.

        Parameters
        ----------
        detector : str
            The detector as the frame table has it.

        Returns
        -------
        tuple of Amplifier
            Empty for a detector that the profile does not know.
        """
        if self.detectors == ("",):
            return self.amplifiers
        return tuple(item for item in self.amplifiers if item.detector == detector)

    def __reduce__(self):
        # Read-only mappings cannot be pickled; a profile is sent to other processes.
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["matches"], values["kinds"] = dict(self.matches), dict(self.kinds)
        values["rules"] = tuple((rule.kind, dict(rule.when), rule.exposure_max) for rule in self.rules)
        return _rebuild, (values,)

    def _repr_html_(self):
        from ccdnight._html import definition_list

        known = [a for a in self.amplifiers if a.gain is not None]
        return definition_list(
            f"Instrument profile {self.name}",
            {
                "title": self.title,
                "detectors": ", ".join(self.detectors) or "one",
                "gain": ", ".join(f"{a.gain:g} electron/adu" for a in known) or "not known",
                "bias": self.policy.bias,
                "file": self.source,
            },
        )


def policy_names():
    """Names of all entries of a policy."""
    return tuple(item.name for item in fields(Policy))


def _rebuild(values):
    """Profile from what `InstrumentProfile.__reduce__` took apart."""
    for name in ("matches", "kinds"):
        values[name] = MappingProxyType(values[name])
    values["rules"] = tuple(KindRule(kind, MappingProxyType(when), limit) for kind, when, limit in values["rules"])
    return InstrumentProfile(**values)
