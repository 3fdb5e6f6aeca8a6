"""Gain and read noise as measured, beside what header and profile say."""

import math
import re

from astropy.table import Table

from ccdnight.report.transfer import transfer_picture
from ccdnight.report.wording import measured, plain, plural, significant

__all__ = ["detector_rows"]


def detector_rows(reduction):
    """
    What is said of every amplifier.

    Parameters
    ----------
    reduction : Reduction
        What came out.

    Returns
    -------
    list of dict
        name, region, lines (quantity, measured, header, profile, used, from where, whether they disagree), basis,
        remark and picture (of the photon transfer curve, or None); empty where nothing was measured.
    """
    rows = reduction.run.get("detector")
    if rows is None:
        rows = _written(reduction.output / "detector.ecsv")
    curves = reduction.run.get("photon_transfer")
    known = isinstance(curves, list) and len(curves) == len(rows)
    return [_entry(row, curve) for row, curve in zip(rows, curves if known else [None] * len(rows), strict=True)]


def _written(path):
    try:
        table = Table.read(path, format="ascii.ecsv")
    except (OSError, ValueError):
        return []
    return [{name: row[name] for name in table.colnames} for row in table]


def _entry(row, curve):
    parts = [("detector ", "detector"), ("amplifier ", "amplifier"), ("binning ", "binning"), ("mode ", "read_mode")]
    named = [word + _text(row.get(key)) for word, key in parts if _text(row.get(key))]
    remark = _text(row.get("remark"))
    pairs = _number(row.get("pairs"))
    basis = f"from {plural(int(pairs), 'pair')} of flats" if pairs else ""
    signal = _number(row.get("signal"))
    if basis and signal:
        basis += f" of {significant(signal)} adu above the bias"
    if curve and basis and _differ(row):
        basis += "; the table has the read noise with the gain that is used, the figure with the one that was measured"
    return {
        "name": ", ".join(named) or "detector",
        "region": _text(row.get("region")),
        "basis": basis,
        "remarks": _sentences(remark),
        "picture": transfer_picture(curve),
        "lines": [_line(row, *item) for item in (("gain", "electron/adu"), ("read_noise", "electron"))],
    }


def _differ(row):
    gain, used = _number(row.get("gain")), _number(row.get("gain_used"))
    return gain is not None and used is not None and gain != used


def _sentences(remark):
    """What is said of gain and of read noise, each by itself."""
    return [
        part for part in re.split(r"; (?=(?:the )?(?:gain|read noise)(?: in |, ))", remark.replace("+-", "±")) if part
    ]


def _line(row, name, unit):
    value, error = _number(row.get(name)), _number(row.get(f"{name}_error"))
    others = {who: _number(row.get(f"{who}_{name}")) for who in ("header", "profile")}
    words = name.replace("_", " ")
    remark = next((part for part in _text(row.get("remark")).split("; ") if part.startswith(f"{words} in ")), "")
    return {
        "quantity": words,
        "unit": unit,
        "measured": measured(value, error) or "not measured",
        "header": measured(others["header"], None, digits=4) or "-",
        "profile": measured(others["profile"], None, digits=4) or "-",
        "used": measured(_number(row.get(f"{name}_used")), None, digits=4) or "-",
        "source": _text(row.get(f"{name}_from")),
        "disagrees": [who for who in others if _disagrees(remark, others[who], value, error)],
    }


def _disagrees(remark, other, value, error):
    """As `ccdnight.settling` judges it, where it spoke of this quantity at all."""
    if not remark or other is None or value is None:
        return False
    return abs(value - other) > max(5 * (error or 0.0), 0.03 * abs(other))


def _number(value):
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _text(value):
    text = plain(value)
    return "" if text == "nan" else text
