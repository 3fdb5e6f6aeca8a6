"""Masters applied to one frame: from adu to electron, with the variance of signal, read noise and masters."""

import numpy as np

from ccdnight._fused import Fused
from ccdnight._inputs import check_frame, check_window, positive, whole
from ccdnight._mastersnoise import masters_noise
from ccdnight._sections import section_shape
from ccdnight._steps import Applied, Steps, detector_maps, significant_flags
from ccdnight.darks import dark_for, dark_seconds
from ccdnight.exceptions import InputError
from ccdnight.linearity import linearized, note_linearity, response_of
from ccdnight.masking import read_mask
from ccdnight.overscan import DEFAULT_WINDOW
from ccdnight.products import header_of, make_ccd, read_ccd
from ccdnight.profiles.interpret import detector_of, first_number, read_facts
from ccdnight.provenance import (
    digest_bytes,
    is_applied,
    mark_applied,
    record_step,
    records_of,
    refuse_twice,
    set_records,
)
from ccdnight.readout import amplifier_regions, find_profile, frame_geometry
from ccdnight.saturation import DEFAULT_GROW, mark_saturation, trail_regions
from ccdnight.sources import wants_overscan
from ccdnight.statistics import median_of, sample_pixels

__all__ = ["calibrate", "dark_for", "detector_maps", "significant_flags"]

_ENGINES = {"fused": Fused, "steps": Steps}

#: Pixels of a master bias that tell its typical level.
_SAMPLE = 20_000


def calibrate(
    frame,
    *,
    bias=None,
    dark=None,
    flat=None,
    bad_pixels=None,
    profile=None,
    overscan=None,
    window=None,
    gain=None,
    read_noise=None,
    saturation=None,
    exposure=None,
    scale_up=3.0,
    grow=None,
    engine="fused",
):
    """
    Calibrate one frame: overscan, trim, bias, dark, flat, gain.

    Each step is done if what it needs is given. The variance starts as ``max(S, 0)/G + (RN/G)**2`` with S the
    signal above the bias, before dark and flat, and takes up the variances of the masters. Bias and dark share
    the master bias: with k the ratio of the exposures the frame gets ``(1-k)**2 var(B) + k**2 var(D_raw)``.

    Parameters
    ----------
    frame : path-like or `~astropy.nddata.CCDData`
        A raw frame in adu. A CCDData without `profile` is taken as it is: neither overscan nor trimming.
    bias, dark, flat : `~astropy.nddata.CCDData` or path-like, optional
        Masters: adu, adu/s, and dimensionless.
    bad_pixels : `~astropy.nddata.CCDData`, array-like or path-like, optional
        A mask of the trimmed frame, from `ccdnight.make_bad_pixel_mask` or another one; its flags are added to the
        frame's. Pixels of a mask that does not tell why are flagged BAD_PIXEL.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; a path is matched by its header.
    overscan : bool, optional
        Whether the overscan is subtracted; by default as it was for the master bias, or, without one, where
        there is a usable overscan and the profile's policy does not speak against it.
    window : int, optional
        Rows over which the overscan is smoothed.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu; by default the profile's, else the header's.
    read_noise : float or `~astropy.units.Quantity`, optional
        Electron; by default the profile's, else the header's.
    saturation : float, optional
        Raw value in adu from which on a pixel of a CCDData is flagged SATURATED. Files have been looked at on
        reading.
    exposure : float or `~astropy.units.Quantity`, optional
        Seconds for which dark charge was collected; by default the header's.
    scale_up : float, optional
        A dark is scaled up pixel by pixel to at most this factor; beyond it only its smooth part and its
        significant hot pixels are used, see `dark_for`.
    grow : int, optional
        Pixels by which saturated pixels and bleed trails are grown, see `ccdnight.saturation.flag_saturation`; by
        default what the profile's policy says, else 1.
    engine : {'fused', 'steps'}, optional
        'fused' goes once over the pixels, 'steps' over whole frames step by step: it is slower by far, needs four
        times the memory and gives the same to float32 rounding.

    Returns
    -------
    `~astropy.nddata.CCDData`
        In electron, with uncertainty and flags. GAIN is 1, RDNOISE and SATURATE are in electron, what was
        applied is in GAINUSED and RDNUSED.

    Raises
    ------
    InputError
        If the frame cannot be used, the gain is not known, or a master does not fit it.
    AlreadyAppliedError
        If a step has been applied before.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import calibrate
    >>> raw = CCDData(np.full((32, 32), 1500.0), unit="adu", meta={"EXPTIME": 60.0})
    >>> bias = CCDData(np.full((32, 32), 1000.0), unit="adu")
    >>> flat = CCDData(np.full((32, 32), 0.8), unit="")
    >>> done = calibrate(raw, bias=bias, flat=flat, gain=2.0, read_noise=6.0)
    >>> float(done.data[0, 0]), str(done.unit)  # (1500 - 1000) / 0.8 * 2
    (1250.0, 'electron')
    >>> round(float(done.uncertainty.array[0, 0]), 1)  # sqrt(1000 + 6**2) / 0.8
    40.2
    """
    if engine not in _ENGINES:
        msg = f"engine = {engine!r} is not known; known are {', '.join(_ENGINES)}"
        raise ValueError(msg)
    opened = _ENGINES[engine](frame, profile)
    profile, name = opened.profile, opened.name
    grow = whole(_default_grow(profile) if grow is None else grow, "grow")
    bias, dark, flat = (_master(item) for item in (bias, dark, flat))
    bad_pixels = None if bad_pixels is None else read_mask(bad_pixels, name="bad_pixels")
    for step, wanted in (("bias", bias), ("dark", dark), ("flat", flat), ("gain", True)):
        if wanted is not None:
            refuse_twice(opened.ccd, step, name)
    check_frame(opened.ccd, name)
    gain, read_noise = _noise_of(opened.ccd, profile, gain, read_noise, name)
    if saturation is not None:
        opened.flag_saturated(positive(saturation, "adu", "saturation"))
    axes = [axis for _, axis in trail_regions(opened.ccd, profile)]
    if profile is not None:
        _read_out(opened, frame, bias, overscan, window)
    ccd, used = opened.ccd, {"bias": bias, "dark": dark, "flat": flat, "bad_pixels": bad_pixels}
    for role, master in used.items():
        _check_master(master, role, ccd, name)
    require_level_off(dark, bias is not None or bool(is_applied(ccd.meta, "overscan")), name)
    seconds = None if dark is None else _seconds(ccd, profile, exposure, name)
    shared = _shares_bias(dark, bias)
    response = _response(ccd, profile, bias, name)
    what = Applied(
        **used, shared=shared, seconds=seconds, scale_up=scale_up, gain=gain, read_noise=read_noise, response=response
    )
    data, sigma, flags = opened.apply(what)
    data, sigma = (np.asarray(array, np.float32) for array in (data, sigma))
    gain, read_noise = (_mean_of(value, ccd, profile) for value in (gain, read_noise))
    level = _saturation(ccd, profile, saturation, gain, bias, response)
    regions = [region for region, _ in trail_regions(ccd, profile)]
    mark_saturation(data, sigma, flags, list(zip(regions, axes, strict=True)), grow=grow, level=level)
    result = make_ccd(data, unit="electron", meta=header_of(ccd), sigma=sigma, flags=flags)
    set_records(result, records_of(ccd))
    if response is not None:
        note_linearity(result, response)
    _tell(result, used, gain, read_noise, seconds, level)
    result.meta.extend(masters_noise(used, shared=shared, seconds=seconds, gain=gain), update=True)
    return result


def _default_grow(profile):
    return DEFAULT_GROW if profile is None else profile.policy.grow_saturated


def _master(item):
    return item if item is None or hasattr(item, "uncertainty") else read_ccd(item)


def _read_out(opened, frame, bias, overscan, window):
    """Overscan and trimming, as far as the frame has not seen them; the level is taken off once only."""
    ccd, profile = opened.ccd, opened.profile
    if is_applied(ccd.meta, "trim"):
        return
    if overscan is None and bias is not None:
        overscan = bool(is_applied(bias.meta, "overscan"))
    elif overscan is None:
        overscan = (
            frame_geometry(ccd.meta, ccd.data.shape, profile).has_overscan and profile.policy.bias != "frames"
            if hasattr(frame, "uncertainty")
            else wants_overscan(frame, profile)
        )
    if overscan and not is_applied(ccd.meta, "overscan"):
        window = DEFAULT_WINDOW if window is None else window
        check_window(window)
        opened.subtract_overscan(window)
    opened.trim()


def _noise_of(ccd, profile, gain, read_noise, name):
    """Gain and read noise: what was given, else one value for each amplifier's Amplifier, else the header's."""
    amplifier = None
    if profile is not None:
        amplifiers = profile.amplifiers_of(detector_of(ccd.meta, profile))
        amplifier = amplifiers[0] if len(amplifiers) == 1 else amplifiers
    looked_up = find_profile(profile, ccd.meta)
    values = []
    for given, attribute, unit in ((gain, "gain", "electron / adu"), (read_noise, "read_noise", "electron")):
        if given is not None:
            values.append(positive(given, unit, attribute))
            continue
        if isinstance(amplifier, tuple) and all(getattr(item, attribute) for item in amplifier):
            values.append([getattr(item, attribute) for item in amplifier])
            continue
        known = getattr(amplifier, attribute, None) if amplifier is not None else None
        known = known or first_number(ccd.meta, getattr(looked_up.dialect, attribute))[0]
        if not known or known <= 0:
            keys = ", ".join(getattr(looked_up.dialect, attribute)) or "no card"
            what = attribute.replace("_", " ")
            msg = f"{name}: its {what} is not known; give {attribute}, or a profile that has it (header: {keys})"
            raise InputError(msg)
        values.append(known)
    return values


def _mean_of(value, ccd, profile):
    """Mean over the pixels of a frame."""
    if not isinstance(value, list):
        return float(np.mean(value))
    sizes = [np.prod(section_shape(region)) for region, _ in amplifier_regions(ccd, profile)]
    return float(np.average(value, weights=sizes))


def _check_master(master, role, ccd, name):
    if master is None:
        return
    if master.data.shape != ccd.data.shape:
        msg = f"{name}: shape {ccd.data.shape} differs from {master.data.shape} of the {role.replace('_', ' ')}"
        msg += "; both have to be trimmed alike: a file is, a CCDData where it is given with its profile"
        raise InputError(msg)
    units = {"bias": ("adu",), "dark": ("adu / s",), "flat": ("",)}.get(role)
    if units and str(master.unit) not in units:
        msg = f"the {role} is in {str(master.unit)!r}; a master {role} is in {units[0]!r}"
        raise InputError(msg)
    if role == "bias" and bool(is_applied(ccd.meta, "overscan")) != bool(is_applied(master.meta, "overscan")):
        has, lacks = (name, "the bias") if is_applied(ccd.meta, "overscan") else ("the bias", name)
        reason = "the level would be taken off twice or not at all"
        msg = f"the overscan was subtracted from {has} and not from {lacks}: {reason}"
        raise InputError(msg)


def require_level_off(dark, level_off, name):
    """
    Refuse a dark that still holds the bias level for a frame from which that level has been taken off.

    Parameters
    ----------
    dark : `~astropy.nddata.CCDData` or None
        Master dark; only one made by ccdnight tells for certain what it holds.
    level_off : bool
        Whether a bias or an overscan is subtracted from the frame.
    name : str
        How to call the frame.

    Raises
    ------
    InputError
        If the level would be taken off twice.
    """
    if dark is None or not level_off or dark.meta.get("MASTER") != "dark":
        return
    if not is_applied(dark.meta, "bias") and not is_applied(dark.meta, "overscan"):
        msg = f"{name}: the dark was made without bias and overscan; its level would be taken off a second time"
        raise InputError(msg)


def _seconds(ccd, profile, exposure, name):
    if exposure is not None:
        return positive(exposure, "s", "exposure", zero=True)
    profile = find_profile(profile, ccd.meta)
    facts = read_facts(ccd.meta, profile)
    seconds = facts.dark_time if profile.policy.use_dark_time else facts.exposure
    if seconds is None:
        msg = f"{name}: its exposure is not known ({'; '.join(facts.problems) or 'no card'}); a dark cannot be scaled"
        raise InputError(msg)
    return seconds


def _shares_bias(dark, bias):
    """Whether a dark was made with this bias, so that the error of the bias stands in both."""
    if dark is None or bias is None or dark_seconds(dark) is None or "BIASID" not in dark.meta:
        return False
    return dark.meta["BIASID"] == master_id(bias)


def identity_of(master):
    """
    What a master is known by in PROVENANCE.

    Parameters
    ----------
    master : `~astropy.nddata.CCDData`
        The master.

    Returns
    -------
    str
        SHA-256 of its file where it was read from one by a night, else the short digest of its pixels.
    """
    return getattr(master, "_ccdnight_sha256", "") or master_id(master)


def master_id(ccd):
    """
    A short digest of a master's pixels.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The master.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    if not hasattr(ccd, "_ccdnight_id"):
        ccd._ccdnight_id = digest_bytes(np.ascontiguousarray(ccd.data, dtype="<f4").tobytes())[:16]
    return ccd._ccdnight_id


def _response(ccd, profile, bias, name):
    """By what the linearity is corrected; nothing can be where the level that the signal stands on is not known."""
    response = None if profile is None else response_of(amplifier_regions(ccd, profile))
    if response is None:
        return None
    refuse_twice(ccd, "linearity", name)
    if bias is None and not is_applied(ccd.meta, "overscan") and not is_applied(ccd.meta, "bias"):
        ccd.meta["HISTORY"] = "linearity: not corrected, since neither overscan nor bias is subtracted"
        return None
    return response


def _saturation(ccd, profile, given, gain, bias, response):
    """Saturation in electron, the lowest of the amplifiers; None where it is not known."""
    amplifiers = profile.amplifiers_of(detector_of(ccd.meta, profile)) if profile else ()
    levels = [item.saturation for item in amplifiers if item.saturation]
    if given is not None:
        levels = [float(getattr(given, "value", given))]
    if not levels:
        header, _ = first_number(ccd.meta, find_profile(profile, ccd.meta).dialect.saturation)
        levels = [header] if header and header > 0 else []
    if not levels:
        return None
    # What was subtracted from the raw values before they became electrons.
    pedestal = float(ccd.meta.get("OVSCMEAN", 0.0))
    if bias is not None:
        middle = median_of(sample_pixels(bias.data, _SAMPLE))
        pedestal += middle if np.isfinite(middle) else 0.0
    signal = min(levels) - pedestal
    if response is not None:
        signal = min(linearized(signal, coefficients)[0] for _, coefficients in response.parts)
    return round(signal * gain, 1)


def _tell(result, used, gain, noise, seconds, saturation):
    """State cards, HISTORY, and the cards by which other programs know gain, noise and saturation."""
    meta = result.meta
    cards = {"bias": "BIASFILE", "dark": "DARKFILE", "flat": "FLATFILE", "bad_pixels": "BPMFILE"}
    for step, master in used.items():
        if master is None:
            continue
        name, identity = str(master.meta.get("FILENAME", "")).strip() or step, identity_of(master)
        meta[cards[step]] = (name[-60:], f"{step.replace('_', ' ')} that was applied")
        words = f"{name}" + (f", {seconds:g} s" if step == "dark" else "")
        if step in ("bias", "dark", "flat"):
            mark_applied(result, step, words)
        extra = {"seconds": seconds} if step == "dark" else {}
        record_step(result, step, inputs=[(name, identity, step)], history=words, **extra)
    for key in ("GAIN", "EGAIN", "RDNOISE", "SATURATE"):
        meta.remove(key, ignore_missing=True, remove_all=True)
    meta["GAIN"] = (1.0, "[electron per data unit] the data are in electron")
    meta["RDNOISE"] = (noise, "[electron] read noise")
    meta["GAINUSED"] = (gain, "[electron/adu] gain that was applied")
    meta["RDNUSED"] = (noise, "[electron] read noise that was used")
    if saturation is not None:
        meta["SATURATE"] = (saturation, "[electron] saturation, above the bias")
    mark_applied(result, "gain", f"{gain:.4f} electron/adu")
    record_step(result, "gain", history=f"{gain:.4f} electron/adu", gain=gain, read_noise=noise)
