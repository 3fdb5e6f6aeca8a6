"""Gain, read noise, photon transfer, linearity, dark current and bias of a detector, from its own frames."""

from ccdnight.detector.bias import BiasMeasurement, measure_bias
from ccdnight.detector.dark import DarkCurrent, dark_current
from ccdnight.detector.gain import GainEstimate, estimate_gain
from ccdnight.detector.linearity import Linearity, measure_linearity
from ccdnight.detector.read_noise import ReadNoiseEstimate, estimate_read_noise
from ccdnight.detector.transfer import PhotonTransfer, fit_photon_transfer

__all__ = [
    "BiasMeasurement",
    "DarkCurrent",
    "GainEstimate",
    "Linearity",
    "PhotonTransfer",
    "ReadNoiseEstimate",
    "dark_current",
    "estimate_gain",
    "estimate_read_noise",
    "fit_photon_transfer",
    "measure_bias",
    "measure_linearity",
]
