"""A picture of an alignment: where the stars of each frame lie against those of the reference."""

from pathlib import PurePath

import numpy as np

__all__ = ["plot_residuals"]


def plot_residuals(found, ax=None, *, scale=None):
    """
    Draw the residual vectors of an alignment, each at its star's place in the reference.

    Parameters
    ----------
    found : Alignment or sequence of FrameTransform
        What was found.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.
    scale : float, optional
        Length of the drawn vectors over their own; by default so that the larger ones are a thirtieth of the frame.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import align
    >>> from ccdnight.alignment import plot_residuals
    >>> rng = np.random.default_rng(1)
    >>> x, y, row, column = *rng.uniform(10, 118, (2, 12)), *np.mgrid[:128, :128]
    >>> def field(dx):
    ...     light = [3000 * np.exp(-((column - i - dx) ** 2 + (row - j) ** 2) / 8) for i, j in zip(x, y)]
    ...     return CCDData(rng.normal(200, 10, (128, 128)) + sum(light), unit="electron")
    >>> ax = plot_residuals(align([field(0), field(3)], reference=0))
    >>> ax.get_xlabel()
    'x in the reference [pixel]'
    """
    transforms = [item for item in getattr(found, "transforms", found) if item.aligned and len(item.vectors)]
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(7, 6), layout="constrained").add_subplot()
    lengths = np.concatenate([np.hypot(*item.vectors[:, 2:].T) for item in transforms]) if transforms else np.ones(1)
    places = np.concatenate([item.vectors[:, :2] for item in transforms]) if transforms else np.zeros((1, 2))
    usual = max(float(np.percentile(lengths, 90)), 1e-6)
    if scale is None:
        scale = max(float(np.ptp(places, axis=0).max()), 1.0) / 30 / usual
    for number, item in enumerate(transforms):
        x, y, dx, dy = item.vectors.T
        label = f"{PurePath(item.name).name}: {item.residual:.3f} pixel"
        ax.quiver(x, y, scale * dx, scale * dy, angles="xy", scale_units="xy", scale=1, color=f"C{number % 10}",
                  width=0.003, label=label)  # fmt: skip
    ax.set(xlabel="x in the reference [pixel]", ylabel="y in the reference [pixel]", aspect="equal")
    ax.set_title(f"residuals x {scale:.3g}; 90 % are below {usual:.3f} pixel")
    if 0 < len(transforms) <= 10:
        ax.legend(fontsize="small")
    return ax
