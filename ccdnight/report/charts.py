"""The night in time: sky, seeing and airmass of every science frame."""

import math

from ccdnight.report.wording import moment, significant

__all__ = ["night_charts"]

#: Size of a chart and of its margins, in pixels of the drawing.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 370, 190, 52, 10, 8, 26
#: Filters beyond this number share a mark.
_MARKS = 8


def night_charts(frames):
    """
    Charts of what changes through a night.

    Parameters
    ----------
    frames : list of dict
        name, anchor, filter, jd_mid, sky, fwhm and fwhm_arcsec (values or None), airmass.

    Returns
    -------
    dict
        charts (title, scale, ticks along both axes, points) and filters (name, number of its mark); no charts where
        fewer than 3 frames have a time.
    """
    known = [frame for frame in frames if frame["jd_mid"] is not None]
    if len(known) < 3:
        return {"charts": [], "filters": []}
    filters = sorted({frame["filter"] for frame in known})
    marks = {name: min(number, _MARKS - 1) for number, name in enumerate(filters)}
    in_arcsec = all(frame["fwhm_arcsec"] for frame in known if frame["fwhm"])
    wanted = [("sky", "Sky level", "electron"), ("airmass", "Airmass", "")]
    wanted.insert(1, ("fwhm_arcsec", "Seeing (FWHM)", "arcsec") if in_arcsec else ("fwhm", "Seeing (FWHM)", "pixel"))
    charts = [_chart(known, marks, *item) for item in wanted]
    legend = [{"name": name or "no filter", "mark": marks[name]} for name in filters]
    return {"charts": [chart for chart in charts if chart], "filters": legend, "width": _WIDTH, "height": _HEIGHT}


def _chart(frames, marks, key, title, unit):
    shown = [frame for frame in frames if frame[key] is not None]
    if len(shown) < 2:
        return None
    values, times = [frame[key] for frame in shown], [frame["jd_mid"] for frame in shown]
    logarithmic = min(values) > 0 and max(values) > 8 * min(values)
    scale = math.log10 if logarithmic else float
    low, high = _room(min(map(scale, values)), max(map(scale, values)), scale(values[0]))
    begin, end = _room(min(times), max(times), 0.02)
    ticks = _decades(low, high) if logarithmic else _ticks(low, high)

    def across(time):
        return _LEFT + (time - begin) / (end - begin) * (_WIDTH - _LEFT - _RIGHT)

    def up(value):
        return _HEIGHT - _BOTTOM - (scale(value) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    return {
        "title": title,
        "unit": unit,
        "logarithmic": logarithmic,
        "rows": [(round(up(tick), 1), f"{tick:,.6g}") for tick in ticks],
        "columns": [(round(across(time), 1), words) for time, words in _hours(begin, end)],
        "points": [
            {
                "x": round(across(frame["jd_mid"]), 1),
                "y": round(up(frame[key]), 1),
                "mark": marks[frame["filter"]],
                "anchor": frame["anchor"],
                "words": f"{frame['name']}: {significant(frame[key])} {unit}".strip(),
            }
            for frame in shown
        ],
        "box": (_LEFT, _TOP, _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM),
    }


def _room(low, high, typical):
    """Some room beyond the smallest and the largest value."""
    span = high - low
    if span <= 1e-9 * max(abs(low), abs(high), 1e-30):
        span = abs(typical) or 1.0
    return low - 0.08 * span, high + 0.08 * span


def _ticks(low, high, most=5):
    """Round numbers between two values."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step) + 1)]


def _decades(low, high):
    """Round numbers on a logarithmic axis."""
    factors = (1, 2, 5) if high - low < 2.5 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [10.0**power * factor for power in powers for factor in factors]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def _hours(begin, end):
    """Round times between two Julian dates: whole minutes, hours or days."""
    for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14400):
        step = minutes / 1440
        if (end - begin) / step <= 6:
            break
    else:
        step = (end - begin) / 4
    # Julian days begin at noon.
    first = math.ceil((begin - 0.5) / step)
    times = [number * step + 0.5 for number in range(first, math.floor((end - 0.5) / step) + 1)]
    form = "%m-%d" if step >= 1 else "%H:%M"
    return [(time, found.strftime(form)) for time in times if (found := moment(time)) is not None]
