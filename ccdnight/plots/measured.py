"""Figures of what was measured of a detector."""

import numpy as np

from ccdnight._numbers import with_error
from ccdnight.exceptions import InputError
from ccdnight.plots._drawing import BLUE, GRAY, GREEN, ORANGE, new_axes, plain

__all__ = ["plot_bias", "plot_linearity", "plot_ptc"]


def plot_ptc(transfer, ax=None):
    """
    Draw a photon transfer curve: noise against signal, both logarithmic, with its three regimes.

    Parameters
    ----------
    transfer : PhotonTransfer or GainEstimate
        What `ccdnight.detector.fit_photon_transfer` returned, or `ccdnight.detector.estimate_gain`: where pairs of
        one level were measured there is no fit, and the curve is that of the gain and read noise.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Raises
    ------
    InputError
        If there are no points to draw, as of ``estimate_gain(..., method="quick")``.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import fit_photon_transfer
    >>> from ccdnight.plots import plot_ptc
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 3, (128, 128)), unit="adu") for _ in range(2)]
    >>> light = [rng.poisson(charge, (128, 128)) / 2 for charge in (1000, 5000, 20000, 60000) for _ in range(2)]
    >>> flats = [CCDData(level + rng.normal(1000, 3, (128, 128)), unit="adu") for level in light]
    >>> ax = plot_ptc(fit_photon_transfer(flats, biases, brighter_fatter=False))
    >>> ax.get_xscale(), ax.get_yscale()
    ('log', 'log')
    """
    from ccdnight.detector.transfer import transfer_variance

    table, a00 = getattr(transfer, "table", None), getattr(getattr(transfer, "a00", None), "value", 0.0)
    if table is None or len(table) < 2 or transfer.read_noise is None:
        msg = f"transfer is a {type(transfer).__name__} without levels of flats; pairs of flats and biases are needed"
        raise InputError(msg)
    ax = new_axes(ax)
    level, noise = np.asarray(table["level"]), np.sqrt(np.asarray(table["variance"]))
    used = (level > 0) & (np.asarray(table["remark"]) == "used")
    gain, read = transfer.gain.value, transfer.read_noise.value / transfer.gain.value
    # From where read noise rules: the curve leaves the upper left to the legend.
    begin = min(level[level > 0].min() / 30, read**2 * gain / 10)
    x = np.geomspace(max(begin, 0.1), level.max() * 1.3, 300)
    if read > 0:
        ax.axhline(read, color=GREEN, ls=":", label=f"read noise {_with_error(transfer, 'read_noise')} electron")
    ax.plot(
        x,
        np.sqrt(x / gain),
        color=ORANGE,
        ls="--",
        label=f"photon noise, gain {_with_error(transfer, 'gain')} electron/adu",
    )
    words = "both" if not a00 else f"both, with a00 {a00:.2g} / electron"
    ax.plot(x, np.sqrt(transfer_variance(x, gain, read**2, a00)), color=BLUE, label=words)
    ax.plot(level[used], noise[used], "o", color=BLUE, ms=5, label=f"measured, pairs of flats: {used.sum()}")
    left = (level > 0) & ~used
    if left.any():
        ax.plot(level[left], noise[left], "x", color=GRAY, label="left out: beyond full well or off the curve")
    well = getattr(transfer, "full_well", None)
    if well is not None:
        ax.axvline(well.value / gain, color=GRAY, lw=1, label=f"full well {well.value:.0f} electron")
    ax.set(xscale="log", yscale="log", xlabel="signal above bias [adu]", ylabel="noise of a frame [adu]")
    ax.set_title(plain(f"Photon transfer {transfer.amplifier}".strip()))
    ax.set_ylim(read / 2 if read > 0 else None)
    ax.legend(fontsize="small", loc="upper left")
    return ax


def _with_error(transfer, name):
    """A number with as many digits as its error allows, and the error with two."""
    value, error = getattr(transfer, name).value, getattr(transfer, f"{name}_error").value
    return with_error(value, error, sign="±") or f"{value:.4g}"


def plot_linearity(result, ax=None):
    """
    Draw how far levels depart from the exposure time.

    Parameters
    ----------
    result : PhotonTransfer or Linearity
        What was measured.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import measure_linearity
    >>> from ccdnight.plots import plot_linearity
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 5, (128, 128)), unit="adu") for _ in range(2)]
    >>> flats = [
    ...     CCDData(rng.normal(1000 + 500 * seconds, 5, (128, 128)), unit="adu", meta={"EXPTIME": seconds})
    ...     for seconds in (5.0, 10.0, 20.0, 40.0)
    ... ]
    >>> plot_linearity(measure_linearity(flats, biases)).get_ylabel()
    'departure from linearity [%]'
    """
    ax, table = new_axes(ax), result.table
    name = "nonlinearity" if "nonlinearity" in table.colnames else "departure"
    level, off = np.asarray(table["level"]), np.asarray(table[name], dtype=float)
    known = np.isfinite(off)
    left = ~known
    if "remark" in table.colnames:
        left = np.isin(np.asarray(table["remark"]), ("used", "biases"), invert=True)
    ax.axhline(0, color=GRAY, lw=1)
    ax.plot(level[known & ~left], off[known & ~left], "o", color=BLUE)
    ax.plot(level[known & left], off[known & left], "x", color=GRAY)
    ax.set_title("Linearity")
    if not known.any():
        ax.text(0.5, 0.5, "no three exposure times of one filter", ha="center", transform=ax.transAxes)
    ax.set(xlabel="signal above bias [adu]", ylabel="departure from linearity [%]")
    return ax


def plot_bias(bias, ax=None):
    """
    Draw the shape of a bias: the mean of its columns and rows about its level.

    Parameters
    ----------
    bias : BiasMeasurement
        What `ccdnight.detector.measure_bias` returned.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import measure_bias
    >>> from ccdnight.plots import plot_bias
    >>> rng = np.random.default_rng(1)
    >>> found = measure_bias([CCDData(rng.normal(1000, 5, (128, 128)), unit="adu") for _ in range(3)])
    >>> len(plot_bias(found).lines) > 1
    True
    """
    ax = new_axes(ax)
    ax.plot(bias.column_profile, color=BLUE, lw=0.8, label=f"columns, range {bias.column_range.value:.1f} adu")
    ax.plot(bias.row_profile, color=ORANGE, lw=0.8, label=f"rows, range {bias.row_range.value:.1f} adu")
    ax.set(xlabel="column or row [pixel]", ylabel="median minus level [adu]")
    ax.set_title(f"Bias: level {bias.level.value:.1f} adu, {bias.level_scatter.value:.2f} adu from frame to frame")
    ax.legend(fontsize="small")
    return ax
