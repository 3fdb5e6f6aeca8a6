"""Which physical terms a simulated night has."""

from dataclasses import dataclass, fields

__all__ = ["Physics"]


@dataclass(frozen=True)
class Physics:
    """
    Switches of the simulator, one for each term; how large a term is stands in the `Camera` or the `Night`.

    Off by default are those that a reduction does not correct (shutter, non_linearity, brighter_fatter,
    twilight_gradient, screen_gradient, fringes) and trails of satellites.

    Attributes
    ----------
    photon_noise : bool
        Poisson noise of light and dark current.
    stars : bool
        The star field of science frames.
    fixed_pattern, vignetting, dust : bool
        The parts of the flat field.
    dark, hot_pixels, glow : bool
        The parts of the dark current.
    traps, dead_pixels, bad_columns, noisy_pixels, unexposed : bool
        Defects of single pixels, columns and edges.
    cosmic_rays : bool
        Tracks of charged particles, also in biases, darks and flats.
    satellites : float
        Mean number of satellite trails in a science frame.
    saturation : bool
        Full well, with the charge above it bleeding along the columns.
    bias_drift : bool
        Level that changes from frame to frame and, a little, along the rows of a frame.
    bias_gradient : bool
        The fixed shape of the bias: the rise at the left edge, waves, ramps.
    trailing_charge : bool
        Deferred charge in the first overscan columns.
    overscan_scatter : bool
        Scatter of the overscan rows that the image rows do not share.
    read_noise : bool
        Gaussian noise of each amplifier.
    quantization : bool
        Rounding to integers and clipping to 16 bits; without it the raw files hold float32.
    non_linearity : bool
        Response that falls with the signal.
    brighter_fatter : bool
        Charge that repels charge. Slow: the frame is grown in `Camera.brighter_fatter_steps` steps.
    shutter : bool
        Exposure that depends on the position.
    fringes : bool
        Interference of sky lines in the filters named by the night.
    twilight_gradient, screen_gradient : bool
        Slope of the twilight sky and of the dome screen.

    Examples
    --------
    >>> from ccdnight.simulate import Physics
    >>> calm = Physics(cosmic_rays=False, bias_drift=False)
    >>> calm.cosmic_rays, calm.read_noise
    (False, True)
    """

    photon_noise: bool = True
    stars: bool = True
    fixed_pattern: bool = True
    vignetting: bool = True
    dust: bool = True
    dark: bool = True
    hot_pixels: bool = True
    glow: bool = True
    traps: bool = True
    dead_pixels: bool = True
    bad_columns: bool = True
    noisy_pixels: bool = True
    unexposed: bool = True
    cosmic_rays: bool = True
    satellites: float = 0.0
    saturation: bool = True
    bias_drift: bool = True
    bias_gradient: bool = True
    trailing_charge: bool = True
    overscan_scatter: bool = True
    read_noise: bool = True
    quantization: bool = True
    non_linearity: bool = False
    brighter_fatter: bool = False
    shutter: bool = False
    fringes: bool = False
    twilight_gradient: bool = False
    screen_gradient: bool = False

    @classmethod
    def none(cls, **switches):
        """
        Everything off but what is named: a perfect detector.

        Parameters
        ----------
        **switches : bool or float
            Terms to switch on.

        Returns
        -------
        Physics
        """
        values = {item.name: type(item.default)(0) for item in fields(cls)}
        return cls(**{**values, **switches})
