"""The photon transfer curve of an amplifier as a picture, from what the run measured."""

import base64
import functools
import io
import json

from ccdnight.detector.curves import curve_of

__all__ = ["transfer_picture"]

#: Inches, and pixels for each of them: readable on a phone, and some 30 kilobytes.
_SIZE, _DPI = (6.0, 4.2), 100


def transfer_picture(plain):
    """
    Draw a photon transfer curve.

    Parameters
    ----------
    plain : dict or None
        What ``run.json`` holds of it.

    Returns
    -------
    dict or None
        png (base64), width and height; None where there is nothing to draw.
    """
    try:
        return _drawn(json.dumps(plain, sort_keys=True)) if plain else None
    except (KeyError, TypeError, ValueError):
        return None  # the file was edited, and a picture is no reason to have no report


# A report is written by the run, and again by those who ask for it.
@functools.lru_cache(maxsize=16)
def _drawn(text):
    from matplotlib.figure import Figure

    from ccdnight.plots import plot_ptc

    figure = Figure(figsize=_SIZE, dpi=_DPI)
    # Margins that are given cost nothing; a layout that is solved for draws everything twice.
    plot_ptc(curve_of(json.loads(text)), figure.add_axes((0.12, 0.125, 0.855, 0.8)))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    width, height = (round(side * _DPI) for side in _SIZE)
    return {"png": base64.b64encode(stream.getvalue()).decode("ascii"), "width": width, "height": height}
