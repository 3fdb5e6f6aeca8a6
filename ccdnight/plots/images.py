"""A frame as a picture."""

import math

import numpy as np

from ccdnight._sections import parse_section
from ccdnight.exceptions import InputError, SectionError
from ccdnight.flags import FLAGS
from ccdnight.plots._blocks import block_any, block_mean, block_size
from ccdnight.plots._drawing import CYCLE, new_axes, one_of, pixels_of, plain, printable, unit_of

__all__ = ["show"]

#: Header cards whose sections are drawn on request.
_SECTIONS = ("DATASEC", "BIASSEC", "TRIMSEC")
#: Legend: so many entries a row, so many points below the picture (ticks and name of the axis are above it).
_KEYS, _UNDER = 3, 38


def show(ccd, ax=None, *, stretch="zscale", flags=False, sections=False, limits=None, title=None, cmap="gray"):
    """
    Draw a frame.

    Frames larger than the screen are averaged in blocks; masked pixels of a masked array are left white, those of
    a CCDData are shown as they are.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`, array-like or path-like
        The frame, shape ``(ny, nx)``; a path is read as a raw frame.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.
    stretch : {'zscale', 'asinh'}, optional
        Linear between the limits of IRAF's zscale, or the inverse hyperbolic sine, which shows the sky and the
        stars together.
    flags : bool or list of str, optional
        Overlay flagged pixels: all of them, or those of these names in `ccdnight.flags.FLAGS`. A frame with a
        mask only has one color.
    sections : bool or dict, optional
        Draw the sections DATASEC, BIASSEC and TRIMSEC of the header, or these: names and FITS sections.
    limits : tuple of float, optional
        Levels of black and white, in the unit of the frame.
    title : str, optional
        Heading; by default OBJECT and FILTER of the header.
    cmap : str, optional
        Color map.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Raises
    ------
    InputError
        If it is no image, or a name is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.plots import show
    >>> ax = show(np.arange(12.0).reshape(3, 4), title="twelve pixels")
    >>> ax.get_xlabel(), ax.get_title()
    ('column [pixel]', 'twelve pixels')
    """
    one_of(stretch, ("zscale", "asinh"), "stretch")
    ccd, data, mask = pixels_of(ccd)
    names = _flag_names(flags)
    # A figure as high as the frame needs: wide frames would lie in a large white page.
    height = min(8.0, max(2.4, 5.2 * data.shape[0] / data.shape[1] + 1.0))
    height += 0.3 * math.ceil(len(names) / _KEYS) if names else 0.3 if sections else 0.0
    ax, size = new_axes(ax, (6.5, height)), block_size(data.shape)
    small = block_mean(data, mask if isinstance(ccd, np.ma.MaskedArray) else None, size)
    extent = (-0.5, data.shape[1] - 0.5, -0.5, data.shape[0] - 0.5)
    # Whole blocks reach over the upper edges by less than one of them.
    drawn = (-0.5, small.shape[1] * size - 0.5, -0.5, small.shape[0] * size - 0.5)
    norm = _norm(small, stretch, limits)
    picture = ax.imshow(small, origin="lower", extent=drawn, norm=norm, cmap=cmap, interpolation="nearest")
    bar = ax.figure.colorbar(picture, cax=ax.inset_axes([1.02, 0, 0.035, 1]))
    bar.set_label(plain(unit_of(ccd)))
    _overlay(ax, ccd, mask, names, size, drawn)
    _boxes(ax, _sections_of(ccd, data.shape, sections))
    ax.set(xlim=extent[:2], ylim=extent[2:], xlabel="column [pixel]", ylabel="row [pixel]")
    ax.set_title(_heading(ccd) if title is None else printable(title), parse_math=False)
    if ax.get_legend_handles_labels()[0]:
        _legend_below(ax)
    return ax


def _legend_below(ax):
    """A legend under the names of the columns: over the picture it would cover pixels."""
    from matplotlib.transforms import ScaledTranslation

    under = ax.transAxes + ScaledTranslation(0, -_UNDER / 72, ax.figure.dpi_scale_trans)
    how = {"loc": "upper left", "bbox_to_anchor": (0, 0), "bbox_transform": under, "borderaxespad": 0}
    ax.legend(fontsize="small", ncols=_KEYS, columnspacing=1.2, handlelength=1.5, **how)


def _norm(small, stretch, limits):
    from astropy.visualization import AsinhStretch, AsymmetricPercentileInterval, ImageNormalize, ZScaleInterval

    good = small[np.isfinite(small)]
    if limits is None and not good.size:
        limits = (0.0, 1.0)
    elif limits is None:
        interval = ZScaleInterval() if stretch == "zscale" else AsymmetricPercentileInterval(0.5, 99.8)
        limits = interval.get_limits(good)
    low, high = (float(value) for value in limits)
    if not low < high:
        low, high = low - 0.5, low + 0.5
    # Without clip=False astropy gives pixels that are not finite the color of black.
    how = {"stretch": AsinhStretch(0.1)} if stretch == "asinh" else {}
    return ImageNormalize(vmin=low, vmax=high, clip=False, **how)


def _heading(ccd):
    header = getattr(ccd, "meta", None) or {}
    words = [str(header.get(key, "")).strip() for key in ("OBJECT", "FILTER")]
    return printable(", ".join(word for word in words if word))


def _flag_names(flags):
    if isinstance(flags, (bool, np.bool_)):
        return tuple(FLAGS) if flags else ()
    names = (flags,) if isinstance(flags, str) else tuple(flags)
    for name in names:
        if name not in FLAGS:
            msg = f"flags names {name!r}; known flags are {', '.join(FLAGS)}"
            raise InputError(msg)
    return names


def _overlay(ax, ccd, mask, names, size, extent):
    from matplotlib.colors import ListedColormap

    bits = getattr(ccd, "flags", None)
    if isinstance(ccd, np.ndarray) or bits is None:
        layers = [] if mask is None or not names else [("masked", lambda rows: mask[rows], CYCLE[1])]
    else:
        bits = np.asarray(bits)
        wanted = [(name, FLAGS[name].value, CYCLE[i % len(CYCLE)]) for i, name in enumerate(FLAGS) if name in names]
        layers = [
            (name, lambda rows, value=value: (bits[rows] & np.uint16(value)) != 0, color)
            for name, value, color in wanted
        ]
    for name, flagged, color in layers:
        hit = block_any(flagged, size)
        if hit.any():
            layer = np.ma.masked_where(~hit, np.ones(hit.shape, np.float32))
            ax.imshow(layer, origin="lower", extent=extent, cmap=ListedColormap([color]), interpolation="nearest")
            ax.add_patch(_key(color, name))


def _key(color, name):
    from matplotlib.patches import Rectangle

    return Rectangle((0, 0), 0, 0, facecolor=color, label=name.replace("_", " ").lower())


def _sections_of(ccd, shape, sections):
    if isinstance(sections, dict):
        return {name: parse_section(text, shape) for name, text in sections.items()}
    one_of(sections, (True, False), "sections")
    header, found = getattr(ccd, "meta", None) or {}, {}
    for name in _SECTIONS if sections else ():
        try:
            found[name] = parse_section(header.get(name), shape)
        except SectionError:
            # A card that is missing or wrong is no reason not to see the picture.
            continue
    return found


def _boxes(ax, sections):
    from matplotlib.patches import Rectangle

    for number, (name, (rows, columns)) in enumerate(sections.items()):
        corner = (columns.start - 0.5, rows.start - 0.5)
        sides = (columns.stop - columns.start, rows.stop - rows.start)
        color = CYCLE[number % len(CYCLE)]
        ax.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=color, lw=1.8, label=plain(name), clip_on=False))
