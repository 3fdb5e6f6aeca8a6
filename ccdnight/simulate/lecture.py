"""The two nights of the lecture; each holds its own facts of the camera, apart from the profile."""

from ccdnight.simulate.camera import Camera, Readout
from ccdnight.simulate.physics import Physics
from ccdnight.simulate.script import Exposure, Night, ticker

__all__ = ["aspen_night", "lfc_night"]

#: Shifts of the five dithered exposures, in pixels.
_DITHERS = ((0.0, 0.0), (31.4, 18.7), (-24.6, 27.3), (-19.2, -33.8), (28.9, -21.5))


def lfc_night(size="small"):
    """
    Palomar LFC, detector 0, the night of 2016-01-15 with darks of 2016-03-13.

    Levels, exposures and names are those of the lecture's frames; gain 2.0, read noise 11 electron and
    saturation at 59,100 adu those of the instrument's page. The small camera has all 2080 columns and 512
    rows.

    Parameters
    ----------
    size : {'small', 'full'}
        Size of the frames.

    Returns
    -------
    Night
    """
    ny = 4128 if size == "full" else 512
    dark_top = 32 if size == "full" else 4  # rows that the 4096 rows of the chip do not fill
    readout = Readout(
        data=f"[1:2048,1:{ny}]",
        overscan=f"[2049:2080,1:{ny}]",
        gain=2.0,
        read_noise=11.0,
        full_well=2.0 * (59100 - 1130),
        trailing=(0.01, 1.4, 7),
    )
    camera = Camera(
        name="lfc",
        detector="0",
        shape=(ny, 2080),
        readouts=(readout,),
        pixel_scale=0.182,
        unexposed=((0, 0, -dark_top, 0),),
        vignetting=-0.06,
        dark_rate=0.133,
        hot_rates=(1.0, 100.0),
        glow=(17.0, 60.0),
        edge_glow=(1.0, 60.0),
        bad_columns=((512, round(0.963 * ny), 0, 0.7, 0.5), (1377, 0, round(0.4 * ny), 1.0, 8.0)),
        bad_patch=(420, round(0.787 * ny), 9, 0.4),
        bias_gradient=(212.0, 95.0),
        readout_time=60.0,
    )
    return Night(
        name="lfc",
        dialect="lfc",
        camera=camera,
        exposures=(*_lfc_calibrations(), *_lfc_science(), *_lfc_darks()),
        filters=("g'", "i'"),
        colors=(1.0, 0.9),
        cluster=(500 if size == "full" else 60, 300.0 if size == "full" else 90.0),
        fringe_filters=("i'",),
    )


def _lfc(number, kind, time, exposure, folder="", **more):
    dark_time = 0.12 if kind == "bias" else round(exposure + 0.672, 3)
    path = f"{folder}ccd.{number:03d}.0.fits"
    return Exposure(path, kind, time, exposure=exposure, dark_time=dark_time, number=number, **more)


def _lfc_calibrations():
    tick = ticker("2016-01-15T23:53:30")
    levels = (1138.0, 1124.0, 1123.0, 1122.0, 1122.0, 1121.0)
    out = [
        _lfc(number, "bias", tick(0.0), 0.0, filter="i'", object="bias", bias_level=level)
        for number, level in enumerate(levels, 1)
    ]
    tick = ticker("2016-01-16T04:17:28")
    lamps = (("g'", 70.001, 21559), ("g'", 70.011, 21556), ("g'", 70.001, 21544))
    lamps += (("i'", 7.0, 22233), ("i'", 7.0, 22243), ("i'", 7.0, 22257))
    for number, (band, seconds, level) in enumerate(lamps, 14):
        light = 2.0 * (level - 1127) / seconds
        name = f"flat_{band[0]}"
        more = {"filter": band, "object": name, "bias_level": 1127.0, "light": light}
        out.append(_lfc(number, "flat", tick(seconds), seconds, **more))
    return out


def _lfc_science():
    tick = ticker("2016-01-16T06:02:11")
    out = []
    for first, band, sky, fwhm in ((36, "g'", 1.5, 4.2), (41, "i'", 5.0, 4.0)):
        for step, (dx, dy) in enumerate(_DITHERS):
            number = first + step
            out.append(
                _lfc(
                    number, "science", tick(300.0), 300.0, filter=band, object="VV124", field="VV124",
                    bias_level=1106.0 - 0.4 * (number - 36), light=sky * (1 + 0.02 * step), dx=dx, dy=dy,
                    fwhm=fwhm + 0.1 * (step % 3), transparency=1 - 0.01 * step,
                )
            )  # fmt: skip
    return out


def _lfc_darks():
    tick = ticker("2016-03-13T21:10:05")
    plan = [(2, "bias", 0.0, 1176.0)]
    plan += [(number, "dark", 300.0, 1177.0) for number in (13, 14, 15)]
    plan += [(number, "dark", 70.0, 1181.0 - (number == 19)) for number in (17, 18, 19)]
    plan += [(number, "dark", 7.0, 1170.0 - (number > 23)) for number in (23, 24, 25)]
    return [
        _lfc(number, kind, tick(seconds), seconds, "darks/", filter="r'", object=kind, bias_level=level)
        for number, kind, seconds, level in plan
    ]


def aspen_night(size="small"):
    """
    Andor Aspen CG16M, the night of 2018-08-23: biases, darks of 90 s, falling twilight flats, two science
    frames.

    The small camera is a subframe of 512 x 512 without overscan.

    Parameters
    ----------
    size : {'small', 'full'}
        Size of the frames.

    Returns
    -------
    Night
    """
    full = size == "full"
    n = 4096 if full else 512
    readout = Readout(
        data=f"[1:{n},1:{n}]",
        overscan=f"[{n + 1}:{n + 13},1:{n}]" if full else "",
        gain=1.5,
        read_noise=10.0,
        full_well=100000.0,
        overscan_offset=50.0,
        trailing=(0.004, 6.0, 13),
    )
    camera = Camera(
        name="aspen",
        shape=(n, n + 13 if full else n),
        readouts=(readout,),
        pixel_size=9.0,
        thickness=18.0,
        pixel_scale=0.56,
        unexposed=((0, 1, 0, 0),),
        dark_rate=0.01,
        hot_fraction=2.6e-4 * 1.1,
        hot_rates=(3.0, 150.0),
        bad_columns=((round(0.3 * n), round(0.55 * n), 0, 0.8, 0.2),),
        bias_wave=(1.5, 3.0),
        row_drift=0.2,
        readout_time=12.0,
    )
    return Night(
        name="aspen",
        dialect="aspen",
        camera=camera,
        exposures=tuple(_aspen_exposures()),
        physics=Physics(shutter=True),
        filters=("r",),
        right_ascension=314.02,
        declination=35.69,
        latitude=46.87,
        longitude=-96.45,
        star_density=150.0,
    )


def _aspen_exposures():
    common = {"temperature": -20.05}
    tick = ticker("2018-08-24T01:12:30")
    for number in range(1, 11):
        seconds = round(1.0 + 0.21 * (number - 1) / 9, 2)
        yield Exposure(
            f"AutoFlat-PANoRot-r-Bin1-{number:03d}.fit", "twilight", tick(seconds, 25.0), exposure=seconds,
            dark_time=seconds, filter="r", bias_level=1200.0, light=_aspen_twilight(number, seconds),
            number=number, **common,
        )  # fmt: skip
    tick = ticker("2018-08-24T03:41:07")
    for step, number in enumerate((84, 125)):
        yield Exposure(
            f"kelt-16-b-S001-R001-C{number:03d}-r.fit", "science", tick(90.0, 4100.0), exposure=90.0,
            dark_time=90.0, filter="r", object="kelt-16-b", field="kelt-16-b", bias_level=1200.5 - step,
            light=2.0 + 0.3 * step, dx=1.3 * step, dy=-0.8 * step, fwhm=3.2, number=number, **common,
        )  # fmt: skip
    tick = ticker("2018-08-24T10:20:00")
    for kind, seconds in (("bias", 0.0), ("dark", 90.0)):
        for number in range(1, 11):
            yield Exposure(
                f"{kind.capitalize()}-S001-R001-C{number:03d}-NoFilt.fit", kind, tick(seconds, 15.0),
                exposure=seconds, dark_time=seconds, bias_level=1199.8 + 0.04 * number, number=number,
                **common,
            )  # fmt: skip


def _aspen_twilight(number, seconds):
    """Rate for a median that falls from 45,892 to 38,662 adu while the exposure grows."""
    level = 45892 + (38662 - 45892) * (number - 1) / 9
    return 1.5 * (level - 1200) / seconds
