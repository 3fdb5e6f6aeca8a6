"""Units, windows and lists of frames are checked before any pixel is touched."""

import astropy.units as u
import builders
import numpy as np
import pytest
from astropy.nddata import CCDData

from ccdnight import (
    FrameCollection,
    calibrate,
    flag_cosmic_rays,
    make_bias,
    make_dark,
    subtract_overscan,
    trim,
    write_ccd,
)
from ccdnight._inputs import positive
from ccdnight.exceptions import InputError
from ccdnight.products import flags_of

META = {"EXPTIME": 60.0, "IMAGETYP": "dark", "GAIN": 2.0, "RDNOISE": 8.0}


def frame(unit="adu", *, shape=(20, 30), seed=0):
    rng = np.random.default_rng(seed)
    return CCDData(rng.normal(1000, 4, shape).astype(np.float32), unit=unit, meta=dict(META))


@pytest.mark.parametrize("value", ["2", True, None, np.nan, -1, 0, 3 * u.m, [1, -1]])
def test_what_is_no_positive_number(value):
    with pytest.raises(InputError, match="gain = "):
        positive(value, "electron / adu", "gain")


def test_quantities_are_converted():
    assert positive(1 * u.min, "s", "exposure") == 60
    assert positive(0, "s", "exposure", zero=True) == 0


@pytest.mark.parametrize("unit", ["electron", "adu / s"])
def test_unit_of_raw_frames(unit):
    with pytest.raises(InputError, match="a raw frame is in adu"):
        make_bias([frame(unit), frame(unit, seed=1)])


@pytest.mark.parametrize("shape", [(2, 20, 30), (30,), (0, 30)])
def test_shape_of_raw_frames(shape):
    with pytest.raises(InputError, match="two axes"):
        calibrate(frame(shape=shape), gain=2.0, read_noise=8.0)


@pytest.mark.parametrize("frames", [None, 3])
def test_what_is_no_list_of_frames(frames):
    with pytest.raises(TypeError, match="list of either"):
        make_bias(frames)


@pytest.mark.parametrize("window", [0, -3, 2.5, True])
def test_window(window):
    with pytest.raises(ValueError, match="whole number of 1 or more rows"):
        make_bias([frame(), frame(seed=1)], window=window)


def test_exposures():
    frames = [frame(seed=i) for i in range(3)]
    dark = make_dark(frames, exposures=[1 * u.min] * 3)
    assert dark.meta["DARKTIME"] == 60
    with pytest.raises(InputError, match="2 are given for 3 frames"):
        make_dark(frames, exposures=[60, 60])
    with pytest.raises(InputError, match="exposures = nan"):
        make_dark(frames, exposures=[np.nan] * 3)


@pytest.mark.parametrize("options", [{"gain": 0}, {"read_noise": -1}, {"read_noise": 6 * u.adu}])
def test_noise(options):
    with pytest.raises(InputError, match=next(iter(options))):
        make_dark([frame(), frame(seed=1)], **options)


def test_saturation_in_electron_is_refused():
    with pytest.raises(InputError, match="saturation"):
        calibrate(frame(), gain=2.0, read_noise=8.0, saturation=2600 * u.electron)


def test_mask_beside_flags_is_kept():
    ccd = frame()
    ccd.flags, ccd.mask = np.zeros(ccd.shape, np.uint16), np.zeros(ccd.shape, bool)
    ccd.mask[3, 4] = True
    assert flags_of(ccd)[3, 4] == 8


def test_collections_and_paths(tmp_path):
    """Frames are given as CCDData, a path, or a list of either."""
    night = builders.plain_night(tmp_path / "raw")
    collection = FrameCollection(night.folder).filter(imagetyp="bias")
    assert make_bias(collection).meta["NCOMBINE"] == 5
    path = night.folder / "science_V_001.fits"
    assert trim(path).data.shape == (64, 80)
    with pytest.raises(InputError, match="no usable overscan"):
        subtract_overscan(path)
    write_ccd(calibrate(path), tmp_path / "science.fits")
    assert "NCOSMIC" in flag_cosmic_rays(tmp_path / "science.fits").meta
