"""What is left between the stars of aligned frames, as arrows over the frame."""

import math

from ccdnight.report.wording import significant

__all__ = ["vector_drawing"]

#: Width of the drawing in pixels; the length of a typical arrow; arrows that are drawn at most.
_WIDTH, _TYPICAL, _MOST = 360, 9, 1500


def vector_drawing(vectors):
    """
    Arrows of residuals.

    Parameters
    ----------
    vectors : dict of str to list
        Of each frame ``[x, y, dx, dy]`` of its stars, in pixels.

    Returns
    -------
    dict or None
        width, height, arrows (path and words), and scale (a length in the drawing and what it stands for); None where
        there are no vectors.
    """
    found = [(name, *map(float, item)) for name, item in _known(vectors)]
    if not found:
        return None
    found = found[:: math.ceil(len(found) / _MOST)]
    wide, high = (max(1.0, *(item[axis] for item in found)) for axis in (1, 2))
    scale = _WIDTH / (1.04 * wide)
    height = max(40, min(2 * _WIDTH, round(1.04 * high * scale)))
    lengths = sorted(math.hypot(item[3], item[4]) for item in found)
    typical = lengths[len(lengths) // 2] or lengths[-1] or 1.0
    length = _round(typical)
    # A few outliers are cut: they would cover the others.
    most = 3 * _TYPICAL
    arrows = []
    for name, x, y, dx, dy in found:
        part = min(_TYPICAL / typical, most / max(math.hypot(dx, dy), 1e-30))
        start = f"M{x * scale:.1f} {height - y * scale:.1f}"
        words = f"{name}: {significant(math.hypot(dx, dy), 2)} pixel"
        arrows.append({"path": f"{start}l{dx * part:.1f} {0.0 - dy * part:.1f}", "words": words})
    told = {"length": round(length * _TYPICAL / typical, 1), "words": f"{significant(length, 1)} pixel"}
    return {"width": _WIDTH, "height": height, "arrows": arrows, "scale": told}


def _known(vectors):
    if not isinstance(vectors, dict):
        return
    for name, items in vectors.items():
        for item in items if isinstance(items, list) else ():
            numbers = isinstance(item, list | tuple) and len(item) == 4
            if numbers and all(isinstance(number, int | float) and math.isfinite(number) for number in item):
                yield name, item


def _round(value):
    """The round number next below a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= value * 1.0001)
