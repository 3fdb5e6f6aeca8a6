"""The command that aligns and coadds frames."""

import warnings
from pathlib import Path

import click

from ccdnight.cli.common import clean, json_option, print_json, ready_for_kernels
from ccdnight.exceptions import CcdnightError, FrameWarning

__all__ = ["coadd"]

_RESAMPLE = ["lanczos3", "bicubic", "bilinear", "nearest-neighbor", "interp", "adaptive", "exact"]


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The coadd.")
@click.option(
    "--method",
    type=click.Choice(["average", "median"]),
    default="average",
    show_default=True,
    help="How the values of a pixel become one.",
)
@click.option(
    "--align", type=click.Choice(["auto", "stars", "wcs"]), default="auto", show_default=True,
    help="By the stars, or by the world coordinates as they are.",
)  # fmt: skip
@click.option("--reference", type=click.Path(dir_okay=False), help="One of FILES, or another frame of the field.")
@click.option("--grid", default="optimal", show_default=True, help="optimal, reference, first, or a FITS file's grid.")
@click.option(
    "--resample",
    type=click.Choice(_RESAMPLE),
    default="lanczos3",
    show_default=True,
    help="Interpolation onto the grid; interp, adaptive and exact are those of reproject.",
)
@click.option(
    "--background",
    type=click.Choice(["match", "subtract", "none"]),
    default="match",
    show_default=True,
    help="Bring skies to one level, take that off as well, or leave them.",
)
@click.option(
    "--scale",
    type=click.Choice(["exposure", "stars", "none"]),
    default="exposure",
    show_default=True,
    help="Bring frames to the median exposure, or to equal light of their stars.",
)
@click.option(
    "--weights",
    type=click.Choice(["sky", "none"]),
    default="sky",
    show_default=True,
    help="By the noise of each sky, or all alike.",
)
@click.option(
    "--reject",
    type=click.Choice(["noise", "none"]),
    default="noise",
    show_default=True,
    help="Leave out what differs by more than the noise, such as cosmic rays.",
)
@click.option(
    "--sigma",
    type=click.FloatRange(0, min_open=True),
    default=4.0,
    show_default=True,
    help="Threshold of --reject, in units of the noise.",
)
@click.option("--tolerance", type=click.FloatRange(0), help="Part of a star's light that counts as noise.")
@click.option("--mem-limit", type=click.FloatRange(0, min_open=True), help="Bytes for the strips; by default 6e8.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads; by default all processors.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@json_option
def coadd(files, output, grid, overwrite, as_json, **options):
    """Align FILES, frames of one field and filter, and coadd them.

    \b
    Examples:
      ccdnight coadd reduced/science/ccd.03?.0.fits -o vv124_g.fits
      ccdnight coadd *.fits -o deep.fits --scale stars --background subtract
      ccdnight coadd *.fits -o same.fits --align wcs --grid other.fits
    """
    from ccdnight.coadding import coadd as coadd_frames
    from ccdnight.products import write_ccd

    if output.exists() and not overwrite:
        msg = f"{output} exists; give --overwrite to replace it"
        raise click.UsageError(msg)
    ready_for_kernels()
    try:
        with warnings.catch_warnings():
            # What is left out is told below.
            warnings.simplefilter("ignore", FrameWarning)
            image = coadd_frames([str(path) for path in files], grid=_grid(grid), **options)
    except CcdnightError:
        raise
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error
    write_ccd(image, output, overwrite=overwrite)
    if as_json:
        print_json(_summary(image, output))
        return
    _tell(image, output)


def _grid(name):
    if name in ("optimal", "reference", "first"):
        return name
    from ccdnight import storage

    return storage.read_header(name).header


def _summary(image, output):
    meta = image.meta
    frames = [
        {key: value for key, value in item.plain().items() if key not in ("vectors", "matrix", "offset")}
        for item in image.alignment.transforms
    ]
    cards = ("NCOMBINE", "EXPTIME", "TEXPTIME", "GAIN", "NOISCORR", "NOISMEAS", "FWHM", "FWHMIN", "SKYLEVEL", "ASTRABS")
    told = {key.lower(): clean(meta[key]) for key in cards if key in meta}
    return {"output": str(output), "shape": list(image.shape), **told, "frames": frames}


def _tell(image, output):
    meta, alignment = image.meta, image.alignment
    for item in alignment.transforms:
        if not item.aligned:
            click.echo(f"left out: {item.name}: {item.reason}", err=True)
    for note in alignment.notes:
        if not any(note.startswith(name) for name in alignment.failures):
            click.echo(f"note: {note}", err=True)
    ny, nx = image.shape
    worst = f", residuals up to {alignment.residual:.3f} pixel" if alignment.residual > 0 else ""
    width = f", FWHM {meta['FWHMIN']:.2f} -> {meta['FWHM']:.2f} pixel" if "FWHM" in meta and "FWHMIN" in meta else ""
    click.echo(f"{meta['NCOMBINE']} frames{worst}{width}: {output}, {nx} x {ny} pixels")
