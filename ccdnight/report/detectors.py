"""Gain and read noise as measured, beside what header and profile say."""

import math

from astropy.table import Table

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
        name, region, lines (quantity, measured, header, profile, used, from where, whether they disagree), basis and
        remark; empty where nothing was measured.
    """
    rows = reduction.run.get("detector")
    if rows is None:
        rows = _written(reduction.output / "detector.ecsv")
    return [_entry(row) for row in rows]


def _written(path):
    try:
        table = Table.read(path, format="ascii.ecsv")
    except (OSError, ValueError):
        return []
    return [{name: row[name] for name in table.colnames} for row in table]


def _entry(row):
    parts = [("detector ", "detector"), ("amplifier ", "amplifier"), ("binning ", "binning"), ("mode ", "read_mode")]
    named = [word + _text(row.get(key)) for word, key in parts if _text(row.get(key))]
    remark = _text(row.get("remark"))
    pairs = _number(row.get("pairs"))
    basis = f"from {plural(int(pairs), 'pair')} of flats" if pairs else ""
    signal = _number(row.get("signal"))
    if basis and signal:
        basis += f" of {significant(signal)} adu above the bias"
    return {
        "name": ", ".join(named) or "detector",
        "region": _text(row.get("region")),
        "basis": basis,
        "remark": remark,
        "lines": [_line(row, *item) for item in (("gain", "electron/adu"), ("read_noise", "electron"))],
    }


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
