"""The nights that can be simulated by name; each holds its own facts of the camera, not the profile's."""

from ccdnight.simulate.camera import Camera, Readout
from ccdnight.simulate.lecture import aspen_night, lfc_night
from ccdnight.simulate.script import Exposure, Night, ticker

__all__ = ["NIGHTS", "arcsat_night", "nickel_night"]


def arcsat_night(size="small"):
    """
    ARCSAT 0.5 m, as on 2025-06-01: no overscan, short darks, dome flats in four filters, one science frame in
    each.

    Parameters
    ----------
    size : {'small', 'full'}
        Frames of 1024 x 1024, or 512 x 512.

    Returns
    -------
    Night
    """
    n = 1024 if size == "full" else 512
    readout = Readout(data=f"[1:{n},1:{n}]", gain=1.34, read_noise=16.3, full_well=90000.0)
    camera = Camera(
        name="arcsat",
        shape=(n, n),
        readouts=(readout,),
        pixel_size=13.0,
        pixel_scale=0.668,
        dark_rate=0.16,
        hot_fraction=1.5e-3,
        hot_rates=(0.5, 1000.0),
        bias_wave=(5.0, 1.0),
        row_drift=0.3,
        readout_time=8.0,
    )
    return Night(
        name="arcsat",
        dialect="arcsat",
        camera=camera,
        exposures=tuple(_arcsat_exposures()),
        filters=("r", "g", "z", "H-Alpha"),
        colors=(1.0, 0.9, 0.4, 0.05),
        right_ascension=269.64,
        declination=66.63,
        latitude=32.7803,
        longitude=-105.8203,
        fringe_filters=("z",),
        star_rates=(40.0, 20000.0, 0.75),
        star_density=250.0,
    )


def _arcsat_exposures():
    tick = ticker("2025-06-01T02:53:10.810")
    for kind, seconds in (("bias", 0.0), ("dark", 10.0)):
        for number in range(9):
            time = tick(seconds, 12.3 if kind == "bias" else 3.0)
            stamp = time.replace("-", "").replace(":", "").replace("T", "_")[:15]
            yield Exposure(
                f"{kind.capitalize()}_BIN1_{stamp}.fits", kind, time, exposure=seconds, dark_time=seconds,
                bias_level=1355.0, temperature=-25.05, number=number + 1,
            )  # fmt: skip
    lamps = {"r": (13.9, 5), "g": (31.7, 5), "z": (81.9, 3), "H-Alpha": (354.0, 3)}
    for band, (seconds, frames) in lamps.items():
        for number in range(1, frames + 1):
            yield Exposure(
                f"domeflat_{band}_{number:03d}.fits", "flat", tick(seconds, 7.0), exposure=seconds,
                dark_time=seconds, filter=band, bias_level=1355.0, temperature=-25.0, number=number,
                light=1.34 * (20000 - 1355 - 600 * (number == 1)) / seconds,
            )  # fmt: skip
    tick = ticker("2025-06-01T06:58:44.240")
    for number, (band, sky) in enumerate({"r": 4.2, "g": 3.3, "z": 3.6, "H-Alpha": 1.7}.items(), 1):
        time = tick(10.0, 14.0)
        yield Exposure(
            f"Cats_Eye_Nebula_{band}_{time[:19].replace('-', '').replace(':', '').replace('T', '_')}.fits",
            "science", time, exposure=10.0, dark_time=10.0, filter=band, object="Cat's Eye Nebula",
            field="Cat's Eye Nebula", bias_level=1355.0, light=sky, temperature=-25.1, fwhm=3.4,
            dx=1.7 * number, dy=-2.1 * number, number=number,
        )  # fmt: skip


def nickel_night(size="small"):
    """
    Lick Nickel, as on 2024-05-13: the overscan falls from 1001 to 960 adu and rises, biases only at the
    start.

    Parameters
    ----------
    size : {'small', 'full'}
        Frames of 1024 rows, or of 256.

    Returns
    -------
    Night
    """
    ny = 1024 if size == "full" else 256
    readout = Readout(
        data=f"[1:1024,1:{ny}]",
        overscan=f"[1025:1056,1:{ny}]",
        gain=1.78,
        read_noise=9.8,
        full_well=140000.0,
        overscan_scatter=2.0,
        overscan_start=(-100.0, 7.0, 2.0, 1.0),
        trailing=(4.5e-4, 4.0, 32),
    )
    camera = Camera(
        name="nickel",
        shape=(ny, 1056),
        readouts=(readout,),
        pixel_size=30.0,
        thickness=15.0,
        pixel_scale=0.3698,
        dark_rate=0.01,
        # Column 257 stands at the converter's limit in every frame, column 1024 in flats.
        bad_columns=((256, 0, 0, 1.0, 2e7), (1023, 0, 0, 5.0, 0.0)),
        bias_ramp=(8.0, 14.0),
        row_drift=0.3,
        readout_time=15.0,
    )
    return Night(
        name="nickel",
        dialect="nickel",
        camera=camera,
        exposures=tuple(_nickel_exposures()),
        filters=("V",),
        right_ascension=183.0,
        declination=25.0,
        latitude=37.3414,
        longitude=-121.6429,
        star_density=220.0,
    )


def _nickel_exposures():
    tick = ticker("2024-05-13T01:59:58.110")
    levels = (1001.0, 1001.0, 1000.5, 998.0, 997.0, 995.0, 996.0, 994.0, 995.0, 995.0)
    for number, level in enumerate(levels, 1001):
        yield _nickel(number, "bias", tick(0.0, 30.0), 0.0, "B", "bias", level, 0.0)
    tick = ticker("2024-05-13T03:05:10.250")
    for number, seconds, level, median in (
        (1035, 4, 1015, 31816),
        (1036, 6, 1022, 39195),
        (1037, 7, 1021, 39145),
    ):
        light = 1.78 * (median - level - 14) / seconds
        yield _nickel(number, "twilight", tick(seconds, 40.0), seconds, "V", "sky flat", float(level), light)
    science = (
        (1047, "PG1323-085", 60, 982.0, 6.5, "2024-05-13T04:36:11.500"),
        (1048, "NGC_4147", 60, 982.0, 4.9, "2024-05-13T04:42:50.250"),
        (1052, "NGC_3982", 120, 971.0, 4.7, "2024-05-13T05:01:20.750"),
        (1059, "NGC_6205", 60, 960.0, 7.9, "2024-05-13T05:33:05.000"),
        (1074, "UGC_9837", 600, 995.0, 4.5, "2024-05-13T06:31:41.500"),
        (1083, "PG1530+057", 60, 973.0, 4.9, "2024-05-13T07:12:01.750"),
    )
    for number, name, seconds, level, sky, time in science:
        yield _nickel(number, "science", time, seconds, "V", name, level, sky)


def _nickel(number, kind, time, seconds, band, name, level, light):
    field = name if kind == "science" else ""
    return Exposure(
        f"d{number}.fits", kind, time, exposure=float(seconds), dark_time=seconds + 0.02, filter=band,
        object=name, bias_level=level, light=light, field=field, fwhm=4.5, number=number,
        temperature=round(-109.5 - 0.1 * (number % 7), 1),
    )  # fmt: skip


#: Nights by name.
NIGHTS = {"arcsat": arcsat_night, "aspen": aspen_night, "lfc": lfc_night, "nickel": nickel_night}
