"""What a figure of the photon transfer needs, as plain values that a run can write down."""

import math
from dataclasses import dataclass

from astropy import units as u
from astropy.table import Table

__all__ = ["Curve", "curve_of", "plain_curve"]

#: Columns of its table that are drawn, and their units.
_COLUMNS = {"level": u.adu, "variance": u.adu**2}


@dataclass(frozen=True)
class Curve:
    """
    Variance against level of one amplifier, and what was found from it; `ccdnight.plots.plot_ptc` draws it.

    Attributes
    ----------
    gain, gain_error : `~astropy.units.Quantity`
        In electron/adu.
    read_noise, read_noise_error : `~astropy.units.Quantity`
        In electron.
    a00 : `~astropy.units.Quantity`
        In 1/electron; 0 where it was not fitted.
    full_well : `~astropy.units.Quantity` or None
        In electron.
    table : `~astropy.table.Table`
        level, variance and remark.
    amplifier : str
        Its name; '' where there is one.
    """

    gain: u.Quantity
    gain_error: u.Quantity
    read_noise: u.Quantity
    read_noise_error: u.Quantity
    a00: u.Quantity
    full_well: u.Quantity | None
    table: Table
    amplifier: str = ""


_UNITS = {
    "gain": u.electron / u.adu,
    "gain_error": u.electron / u.adu,
    "read_noise": u.electron,
    "read_noise_error": u.electron,
    "a00": 1 / u.electron,
    "full_well": u.electron,
}


def plain_curve(measured):
    """
    What a measurement holds of the photon transfer.

    Parameters
    ----------
    measured : PhotonTransfer, GainEstimate, ReadNoiseEstimate or None
        What was measured of one amplifier.

    Returns
    -------
    dict or None
        Numbers and words that JSON can hold, in the units of `Curve`; None where no flats were measured.
    """
    table = getattr(measured, "table", None)
    if table is None or getattr(measured, "read_noise", None) is None:
        return None
    values = {name: getattr(measured, name, None) for name in _UNITS}
    found = {name: None if value is None else float(value.value) for name, value in values.items()}
    found["a00"] = found["a00"] or 0.0
    points = {name: [float(value) for value in table[name]] for name in _COLUMNS}
    found |= points | {"remark": [str(value) for value in table["remark"]], "amplifier": measured.amplifier}
    numbers = [value for value in found.values() if isinstance(value, float)]
    return found if all(map(math.isfinite, [*numbers, *points["level"], *points["variance"]])) else None


def curve_of(plain):
    """
    A curve from what was written down.

    Parameters
    ----------
    plain : dict
        Of `plain_curve`.

    Returns
    -------
    Curve

    Raises
    ------
    ValueError, TypeError, KeyError
        If it is something else.
    """
    table = Table({name: [float(value) for value in plain[name]] * unit for name, unit in _COLUMNS.items()})
    table["remark"] = [str(value) for value in plain["remark"]]
    values = {name: None if plain[name] is None else float(plain[name]) * unit for name, unit in _UNITS.items()}
    return Curve(**values, table=table, amplifier=str(plain["amplifier"]))
