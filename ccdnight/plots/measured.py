"""Figures of what was measured of a detector."""

import numpy as np

from ccdnight.plots._drawing import BLUE, GRAY, GREEN, ORANGE, new_axes, plain

__all__ = ["plot_bias", "plot_linearity", "plot_ptc"]


def plot_ptc(transfer, ax=None):
    """
    Draw a photon transfer curve: noise against signal, both logarithmic, with its three regimes.

    Parameters
    ----------
    transfer : PhotonTransfer
        What `ccdnight.detector.fit_photon_transfer` returned.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`

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

    ax, table = new_axes(ax), transfer.table
    level, noise = np.asarray(table["level"]), np.sqrt(np.asarray(table["variance"]))
    used = (level > 0) & (np.asarray(table["remark"]) == "used")
    gain, read = transfer.gain.value, transfer.read_noise.value / transfer.gain.value
    x = np.geomspace(max(level[level > 0].min() / 30, 0.1), level.max() * 1.3, 300)
    ax.axhline(read, color=GREEN, ls=":", label=f"read noise {transfer.read_noise.value:.2f} electron")
    ax.plot(x, np.sqrt(x / gain), color=ORANGE, ls="--", label=f"photon noise, gain {gain:.3f} electron/adu")
    bent = f", a00 {transfer.a00.value:.2g} / electron" if transfer.a00.value else ""
    ax.plot(x, np.sqrt(transfer_variance(x, gain, read**2, transfer.a00.value)), color=BLUE, label=f"fit{bent}")
    ax.plot(level[used], noise[used], "o", color=BLUE, ms=5)
    left = (level > 0) & ~used
    if left.any():
        ax.plot(level[left], noise[left], "x", color=GRAY, label="left out: beyond full well or off the curve")
    if transfer.full_well is not None:
        words = f"full well {transfer.full_well.value:.0f} electron"
        ax.axvline(transfer.full_well.value / gain, color=GRAY, lw=1, label=words)
    ax.set(xscale="log", yscale="log", xlabel="signal above bias [adu]", ylabel="noise of a frame [adu]")
    ax.set_title(plain(f"Photon transfer {transfer.amplifier}".strip()))
    ax.set_ylim(read / 2)
    ax.legend(fontsize="small")
    return ax


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
