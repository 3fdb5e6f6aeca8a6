"""What an alignment finds: the transformation of every frame, with its residuals."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

__all__ = ["Alignment", "FrameTransform"]


@dataclass(frozen=True)
class FrameTransform:
    """
    How one frame lies to the reference.

    Attributes
    ----------
    name : str
        The frame.
    aligned : bool
        Whether it could be aligned.
    reason : str
        Why not, or what is to be known of it.
    dx, dy : float
        Where the middle of the frame lies in the reference, less where it lies in the frame itself, in pixels.
    rotation : float
        Of the frame against the reference in degrees, counterclockwise.
    scale : float
        Pixels of the reference per pixel of the frame.
    mirrored : bool
        Whether the frame is mirrored against the reference.
    stars : int
        Stars in common; 0 where the images themselves were compared.
    residual : float
        Root mean square of their distances in pixels of the reference, each weighted by its precision; NaN with fewer
        than two stars.
    correction : float
        Pixels by which the frame's world coordinates were moved, at its middle; NaN where it had none.
    fwhm : float
        Full width at half maximum of its stars in pixels.
    brightness : float
        Light of its stars over that of the same stars in the reference, as they are in the data.
    source : str
        Where the world coordinates began: 'header', 'pointing' or 'assumed'.
    matrix, offset : `~numpy.ndarray`
        ``reference = matrix @ (x, y) + offset`` in 0-based pixels, the linear part of the transformation.
    vectors : `~numpy.ndarray`
        Position in the reference and residual of each star, shape ``(n, 4)``: x, y, dx, dy.

    Examples
    --------
    >>> from ccdnight.alignment import FrameTransform
    >>> moved = FrameTransform("b.fits", aligned=True, dx=12.2, dy=-7.5, stars=20, residual=0.04)
    >>> moved.plain()["dx"], moved.plain()["fwhm"]  # for JSON: what is not known is None
    (12.2, None)
    """

    name: str
    aligned: bool = False
    reason: str = ""
    dx: float = np.nan
    dy: float = np.nan
    rotation: float = np.nan
    scale: float = np.nan
    mirrored: bool = False
    stars: int = 0
    residual: float = np.nan
    correction: float = np.nan
    fwhm: float = np.nan
    brightness: float = np.nan
    source: str = ""
    matrix: np.ndarray = field(default_factory=lambda: np.full((2, 2), np.nan), repr=False, compare=False)
    offset: np.ndarray = field(default_factory=lambda: np.full(2, np.nan), repr=False, compare=False)
    vectors: np.ndarray = field(default_factory=lambda: np.empty((0, 4)), repr=False, compare=False)

    def __call__(self, x, y):
        """
        Transform positions of the frame to the reference.

        Parameters
        ----------
        x, y : float or `~numpy.ndarray`
            0-based pixels of the frame.

        Returns
        -------
        x, y : `~numpy.ndarray`
            0-based pixels of the reference.
        """
        both = np.asarray([np.ravel(x), np.ravel(y)], float)
        out = self.matrix @ both + self.offset[:, None]
        return tuple(item.reshape(np.shape(x)) for item in out)

    def plain(self):
        """
        The values as JSON can hold them.

        Returns
        -------
        dict
            None for what is not known; the vectors to a hundredth of a pixel.
        """
        out = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                value = (
                    np.round(value, 8 if item.name == "matrix" else 3).tolist() if np.isfinite(value).all() else None
                )
            elif isinstance(value, float):
                value = round(value, 6) if np.isfinite(value) else None
            out[item.name] = value
        return out


class Alignment(Sequence):
    """
    Aligned frames, and how they were aligned: a sequence of those frames that could be.

    Parameters
    ----------
    frames : list
        For each aligned frame a function that gives it as a CCDData.
    transforms : tuple of FrameTransform
        One for every frame that was given.
    reference : str
        Name of the reference.
    coordinates : list
        World coordinates of the aligned frames.
    opened : list
        The aligned frames as they were opened.
    notes : tuple of str
        What is to be known.
    absolute : str
        How good absolute positions are.

    Examples
    --------
    What `align` returns; one of two frames is looked at in :doc:`/user_guide/coadd`.
    """

    def __init__(self, frames, transforms, reference, *, coordinates, opened, notes=(), absolute=""):
        self._frames, self.transforms, self.reference = list(frames), tuple(transforms), reference
        self.coordinates, self.opened, self.notes = list(coordinates), list(opened), tuple(notes)
        self.absolute = absolute

    def __len__(self):
        return len(self._frames)

    def __getitem__(self, number):
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        return self._frames[number]()

    @property
    def frames(self):
        """The aligned frames as a list of CCDData; frames given as paths are read here, all of them."""
        return list(self)

    @property
    def failures(self):
        """Names of the frames that could not be aligned, with the reason."""
        return {item.name: item.reason for item in self.transforms if not item.aligned}

    @property
    def residual(self):
        """Largest residual of the aligned frames in pixels."""
        values = [item.residual for item in self.transforms if item.aligned and np.isfinite(item.residual)]
        return max(values, default=np.nan)

    @property
    def table(self):
        """One row for every frame, as an `~astropy.table.Table`."""
        from astropy.table import Table

        names = [item.name for item in fields(FrameTransform) if item.name not in ("matrix", "offset", "vectors")]
        return Table({name: [getattr(item, name) for item in self.transforms] for name in names})

    def __repr__(self):
        return f"<Alignment of {len(self)} of {len(self.transforms)} frames to {self.reference}>"

    def _repr_html_(self):
        from ccdnight._html import table_html

        table = self.table
        return table_html(repr(self)[1:-1], table.colnames, [list(row) for row in table])
