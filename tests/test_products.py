"""CCDData in memory and on disk."""

import errno

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS
from builders import make_frame, truncate

from ccdnight.exceptions import FrameError, OutputError
from ccdnight.flags import FLAGS
from ccdnight.products import (
    derive,
    flags_of,
    header_of,
    make_ccd,
    read_ccd,
    sigma_of,
    to_hdus,
    wcs_of,
    write_ccd,
)
from ccdnight.provenance import record_rows, record_step
from ccdnight.readout import read_frame

WCS_CARDS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 8.0,
    "CRPIX2": 6.5,
    "CD1_1": -1e-4,
    "CD1_2": 2e-6,
    "CD2_1": 2e-6,
    "CD2_2": 1e-4,
}


@pytest.fixture
def ccd():
    """A product with everything."""
    rng = np.random.default_rng(1)
    meta = fits.Header({"EXPTIME": 30.5, "OBJECT": "it's a field", "FILTER": "g'", **WCS_CARDS})
    meta["HIERARCH ESO DET OUT1 GAIN"] = 1.5
    meta["COMMENT"] = "one"
    meta["HISTORY"] = "raw"
    result = make_ccd(
        rng.normal(100, 9, (12, 17)),
        unit="electron",
        meta=meta,
        sigma=rng.uniform(1, 2, (12, 17)),
        flags=rng.integers(0, 256, (12, 17)) * (rng.random((12, 17)) < 0.3),
    )
    record_step(result, "read", inputs=[("sub/a b.fits", "0" * 64, "raw"), ("\u00e9.fits", "", "")], note="\u00b1")
    record_step(result, "flat", history="flat.fits")
    return result


class TestMemory:
    """What every function returns."""

    def test_types(self, ccd):
        assert (ccd.data.dtype, ccd.flags.dtype, ccd.mask.dtype) == (np.float32, np.uint16, bool)
        assert isinstance(ccd.uncertainty, StdDevUncertainty)
        assert ccd.uncertainty.array.dtype == np.float32
        np.testing.assert_array_equal(ccd.mask, ccd.flags != 0)
        assert ccd.wcs.wcs.crpix[0] == 8

    @pytest.mark.parametrize("unit", ["adu", "electron", "adu / s", "", u.electron / u.s, u.dimensionless_unscaled])
    def test_bunit_is_the_unit(self, unit):
        """Also where there is none, and where a raw header says something else."""
        made = make_ccd(np.ones((2, 2)), unit=unit, meta={"BUNIT": "stale"})
        assert made.meta["BUNIT"] == made.unit.to_string()
        assert u.Unit(made.meta["BUNIT"]) == u.Unit(unit)

    @pytest.mark.parametrize(
        "meta",
        [
            None,
            {},
            {"EXPTIME": 5.0, "nan": np.nan, "inf": np.inf, "OBJECT": "M\u00fcller\n", "t": True, "none": None},
            {"np": np.float32(2), "flag": np.bool_(True), "list": [1, 2], "nested": {"a": 1}, "bytes": b"x"},
            {"a keyword that is much longer than eight letters": 5, "\u00e9": 1, "x" * 70: "y" * 60},
            fits.Header({"EXPTIME": 5.0}),
        ],
    )
    def test_any_mapping_is_a_header(self, tmp_path, meta):
        """What a card cannot hold is spelt with what it can, or left out; the result can be written."""
        made = make_ccd(np.ones((2, 2)), unit="adu", meta=meta)
        assert isinstance(made.meta, fits.Header)
        assert made.meta.get("EXPTIME", 5.0) == 5.0
        write_ccd(made, tmp_path / "x.fits")
        assert read_ccd(tmp_path / "x.fits").meta.get("EXPTIME", 5.0) == 5.0

    def test_the_header_is_a_copy(self):
        meta = fits.Header({"A": 1})
        make_ccd(np.ones((2, 2)), unit="adu", meta=meta).meta["A"] = 2
        assert meta["A"] == 1
        assert "BUNIT" not in meta

    @pytest.mark.parametrize("dtype", [">f4", ">i2", ">f8", "u2", "i8", bool])
    def test_any_pixels(self, dtype):
        made = make_ccd(np.ones((2, 3), dtype), unit="adu", flags=np.ones((2, 3), ">i4"))
        assert made.data.dtype == np.float32
        assert made.data.dtype.isnative
        assert made.flags.dtype.isnative

    def test_derive_takes_over_what_it_is_not_given(self, ccd):
        same = derive(ccd, ccd.data * 2, unit="adu")
        assert (same.unit, same.meta["BUNIT"], same.meta["OBJECT"]) == (u.adu, "adu", "it's a field")
        np.testing.assert_array_equal(same.flags, ccd.flags)
        np.testing.assert_array_equal(same.uncertainty.array, ccd.uncertainty.array)
        assert record_rows(same) == record_rows(ccd)
        assert ccd.unit == u.electron
        cut = derive(ccd, ccd.data[2:])
        assert cut.uncertainty is None
        assert cut.flags.shape == (10, 17)
        assert not cut.flags.any()
        same.flags[:] = 1
        assert not (ccd.flags == 1).all()

    @pytest.mark.parametrize("mask", [None, np.array([[True, False], [False, False]])])
    def test_flags_of_a_foreign_frame(self, mask):
        """Why pixels were masked is not known, so they are no defects of the detector."""
        flags = flags_of(CCDData(np.ones((2, 2)), unit="adu", mask=mask))
        assert flags.dtype == np.uint16
        np.testing.assert_array_equal(flags != 0, np.broadcast_to(np.asarray(mask, bool), (2, 2)))
        assert set(np.unique(flags)) <= {0, FLAGS["NO_DATA"].value}

    @pytest.mark.parametrize(
        "uncertainty",
        [StdDevUncertainty([[2.0]]), VarianceUncertainty([[4.0]]), InverseVariance([[0.25]]), None],
    )
    def test_sigma_of_any_uncertainty(self, uncertainty):
        frame = CCDData(np.ones((1, 1)), unit="adu", uncertainty=uncertainty)
        sigma = sigma_of(frame)
        assert sigma is None if uncertainty is None else sigma == [[2.0]]

    @pytest.mark.parametrize("cards", [{}, {"CTYPE1": ""}, {**WCS_CARDS, "CD1_1": 0.0, "CD1_2": 0.0}])
    def test_no_world_coordinates(self, cards):
        """Without CTYPE, and where the cards contradict themselves."""
        assert wcs_of(fits.Header(cards)) is None


class TestFiles:
    """Round trips."""

    def test_round_trip(self, ccd, tmp_path):
        """Data, sigma, flags, every card and every row come back."""
        write_ccd(ccd, tmp_path / "x.fits")
        back = read_ccd(tmp_path / "x.fits")
        np.testing.assert_array_equal(back.data, ccd.data)
        np.testing.assert_array_equal(back.uncertainty.array, ccd.uncertainty.array)
        np.testing.assert_array_equal(back.flags, ccd.flags)
        np.testing.assert_array_equal(back.mask, ccd.mask)
        assert back.unit == ccd.unit
        assert [card[:2] for card in back.meta.cards] == [card[:2] for card in ccd.meta.cards]
        ascii_rows = [tuple(v.replace("\u00e9", "?") for v in row) for row in record_rows(ccd)]
        assert record_rows(back) == ascii_rows
        assert len(ascii_rows) == 3
        np.testing.assert_allclose(back.wcs.wcs_pix2world([[3, 4]], 0), ccd.wcs.wcs_pix2world([[3, 4]], 0))
        write_ccd(back, tmp_path / "y.fits")
        assert (tmp_path / "y.fits").read_bytes() == (tmp_path / "x.fits").read_bytes()

    def test_layout_and_checksums(self, ccd, tmp_path):
        write_ccd(ccd, tmp_path / "x.fits")
        with fits.open(tmp_path / "x.fits", checksum=True) as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "UNCERT", "MASK", "PROVENANCE"]
            for hdu in hdus:
                assert "CHECKSUM" in hdu.header
                assert hdu.data is not None
            hdus.verify("exception")
            mask = hdus["MASK"].header
            assert [mask[f"FLAG{i}"] for i in range(8)] == list(FLAGS)
            assert hdus["PROVENANCE"].columns.names == ["file", "sha256", "role", "step", "parameters", "version"]
            assert hdus[0].header["BITPIX"] == -32

    def test_only_what_there_is(self, tmp_path):
        write_ccd(CCDData(np.ones((2, 2)), unit="adu"), tmp_path / "x.fits")
        with fits.open(tmp_path / "x.fits") as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "MASK"]
        assert read_ccd(tmp_path / "x.fits").uncertainty is None

    def test_astropy_sees_data_mask_and_uncertainty(self, ccd, tmp_path):
        write_ccd(ccd, tmp_path / "x.fits")
        seen = CCDData.read(tmp_path / "x.fits")
        np.testing.assert_array_equal(seen.data, ccd.data)
        np.testing.assert_array_equal(seen.mask, ccd.mask)
        assert seen.mask.dtype == bool
        assert isinstance(seen.uncertainty, StdDevUncertainty)
        np.testing.assert_array_equal(seen.uncertainty.array, ccd.uncertainty.array)
        assert seen.unit == u.electron

    def test_astropy_sees_the_flags(self, ccd, tmp_path):
        """Where its version can read them."""
        write_ccd(ccd, tmp_path / "x.fits")
        try:
            seen = CCDData.read(tmp_path / "x.fits", hdu_flags="MASK")
        except NotImplementedError:
            return
        np.testing.assert_array_equal(seen.flags, ccd.flags)
        np.testing.assert_array_equal(flags_of(seen), ccd.flags)

    def test_a_dimensionless_product_can_be_read_back(self, tmp_path):
        flat = make_ccd(np.ones((2, 2)), unit="", meta={"BUNIT": "adu"})
        write_ccd(flat, tmp_path / "flat.fits")
        assert fits.getheader(tmp_path / "flat.fits")["BUNIT"] == ""
        assert read_ccd(tmp_path / "flat.fits").unit == u.dimensionless_unscaled
        assert CCDData.read(tmp_path / "flat.fits").unit == u.dimensionless_unscaled

    def test_bits_are_trusted_only_where_they_are_named(self, tmp_path):
        """A mask of 0 and 1, as astropy writes it, does not mean bad pixels."""
        mask = np.array([[True, False], [False, False]])
        CCDData(np.ones((2, 2)), unit="adu", mask=mask).write(tmp_path / "x.fits")
        flags = read_ccd(tmp_path / "x.fits").flags
        np.testing.assert_array_equal(flags, np.where(mask, FLAGS["NO_DATA"].value, 0))

    @pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
    def test_uncertainties_that_astropy_wrote(self, tmp_path, kind):
        sigma = np.array([[1.0, 2.0], [3.0, 4.0]])
        CCDData(np.ones((2, 2)), unit="adu", uncertainty=StdDevUncertainty(sigma).represent_as(kind)).write(
            tmp_path / "x.fits"
        )
        np.testing.assert_allclose(read_ccd(tmp_path / "x.fits").uncertainty.array, sigma)
        seen = CCDData.read(tmp_path / "x.fits")
        write_ccd(seen, tmp_path / "y.fits")
        np.testing.assert_allclose(CCDData.read(tmp_path / "y.fits").uncertainty.array, sigma, rtol=1e-6)

    @pytest.mark.parametrize("bunit", ["ADU", "counts", "electrons", "e-", None, "", "adu"])
    def test_units_of_others(self, tmp_path, bunit):
        hdu = fits.PrimaryHDU(np.ones((2, 2), "f4"))
        if bunit is not None:
            hdu.header["BUNIT"] = bunit
        hdu.writeto(tmp_path / "x.fits")
        unit = str(read_ccd(tmp_path / "x.fits").unit)
        assert unit == {"electrons": "electron", "e-": "electron", "": ""}.get(bunit, "adu")

    def test_a_unit_that_nobody_knows(self, tmp_path):
        fits.PrimaryHDU(np.ones((2, 2)), fits.Header({"BUNIT": "quux"})).writeto(tmp_path / "x.fits")
        with pytest.raises(FrameError, match=r"x\.fits: cannot be read as a product.*quux"):
            read_ccd(tmp_path / "x.fits")

    def test_world_coordinates_that_astropy_took_out_of_the_header(self, ccd, tmp_path):
        """`CCDData.read` moves the cards into ``wcs``; they are not lost on the way through ours."""
        write_ccd(ccd, tmp_path / "x.fits")
        seen = CCDData.read(tmp_path / "x.fits")
        assert "CTYPE1" not in seen.meta
        assert header_of(seen)["CTYPE1"] == "RA---TAN"
        assert "CTYPE1" not in seen.meta
        write_ccd(seen, tmp_path / "y.fits")
        for other in (derive(seen, seen.data), read_ccd(tmp_path / "y.fits")):
            np.testing.assert_allclose(other.wcs.wcs_pix2world([[3, 4]], 0), ccd.wcs.wcs_pix2world([[3, 4]], 0))

    def test_a_frame_in_a_cube(self, tmp_path):
        """A raw file with NAXIS3 = 1 becomes a product of two axes, world coordinates included."""
        cards = {**WCS_CARDS, "CTYPE3": "FREQ", "CRVAL3": 1.0, "CRPIX3": 1.0, "CDELT3": 1.0, "INSTRUME": "x"}
        fits.PrimaryHDU(np.ones((1, 12, 17), "f4"), fits.Header(cards)).writeto(tmp_path / "cube.fits")
        frame = read_frame(tmp_path / "cube.fits", profile="generic")
        assert frame.wcs.naxis == 2
        write_ccd(frame, tmp_path / "x.fits")
        back = read_ccd(tmp_path / "x.fits")
        assert back.data.shape == (12, 17)
        assert "NAXIS3" not in fits.getheader(tmp_path / "x.fits")
        assert read_ccd(tmp_path / "cube.fits").data.shape == (12, 17)

    def test_a_header_as_bad_as_they_come_is_written(self, tmp_path):
        cards = ["EXPTIME = 1O.0", "FILTER  = 'i'      '            / Filter description", "just words"]
        path = make_frame(tmp_path / "raw.fits", kind="science", raw_cards=cards)
        frame = read_frame(path, profile="generic")
        write_ccd(frame, tmp_path / "x.fits")
        with fits.open(tmp_path / "x.fits", checksum=True) as hdus:
            hdus.verify("exception")
            assert hdus[0].header["EXPTIME"] == "1O.0"
            assert hdus[0].header["FILTER"] == "i'"
            assert "BZERO" not in hdus[0].header

    def test_an_existing_file_stays_unless_asked_otherwise(self, ccd, tmp_path):
        (tmp_path / "x.fits").write_bytes(b"old")
        with pytest.raises(FileExistsError, match=r"x\.fits exists; give overwrite=True"):
            write_ccd(ccd, tmp_path / "x.fits")
        assert (tmp_path / "x.fits").read_bytes() == b"old"
        write_ccd(ccd, str(tmp_path / "x.fits"), overwrite=True)
        assert read_ccd(str(tmp_path / "x.fits")).shape == (12, 17)

    @pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
    def test_a_full_disk_keeps_the_old_file(self, ccd, tmp_path, monkeypatch, call):
        write_ccd(ccd, tmp_path / "x.fits")
        before = (tmp_path / "x.fits").read_bytes()

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(call, full)
        with pytest.raises(OutputError, match="no space is left"):
            write_ccd(derive(ccd, ccd.data + 1), tmp_path / "x.fits", overwrite=True)
        monkeypatch.undo()
        assert [path.name for path in tmp_path.iterdir()] == ["x.fits"]
        assert (tmp_path / "x.fits").read_bytes() == before

    def test_a_truncated_product_is_refused(self, tmp_path):
        """Astropy itself would pass over an extension that is cut off, flags and uncertainty with it."""
        made = make_ccd(np.ones((70, 80)), unit="adu", sigma=np.ones((70, 80)), flags=np.ones((70, 80)))
        write_ccd(made, tmp_path / "x.fits")
        content = (tmp_path / "x.fits").read_bytes()
        with fits.open(tmp_path / "x.fits") as hdus:
            borders = {hdu.fileinfo()["hdrLoc"] for hdu in hdus} | {hdus[-1].fileinfo()["datLoc"] + hdus[-1].size}
        for size in range(1000, len(content) - 2880, 3000):
            if size not in borders:
                truncate(tmp_path / "x.fits", size)
                with pytest.raises(FrameError, match="truncated"):
                    read_ccd(tmp_path / "x.fits")
                (tmp_path / "x.fits").write_bytes(content)

    @pytest.mark.parametrize("name", ["missing.fits", "text.fits"])
    def test_what_is_no_product(self, tmp_path, name):
        (tmp_path / "text.fits").write_text("no FITS")
        with pytest.raises(FrameError, match=name.replace(".", r"\.")):
            read_ccd(tmp_path / name)

    def test_hdus_leave_the_frame_as_it_is(self, ccd):
        before = ccd.meta.tostring(), record_rows(ccd)
        to_hdus(ccd)
        assert (ccd.meta.tostring(), record_rows(ccd)) == before


def test_header_cards_win_over_the_wcs(ccd):
    """Where the header has world coordinates they are not taken from elsewhere."""
    ccd.wcs = WCS(naxis=2)
    assert header_of(ccd)["CRPIX1"] == 8
