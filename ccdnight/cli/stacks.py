"""The command that stacks files."""

from pathlib import Path

import click

from ccdnight.cli.common import json_option, print_json, ready_for_kernels
from ccdnight.cli.process import no_collection
from ccdnight.exceptions import CcdnightError

__all__ = ["combine"]


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The result.")
@click.option(
    "--method",
    type=click.Choice(["average", "median", "sum"]),
    default="average",
    show_default=True,
    help="How the values of a pixel become one.",
)
@click.option(
    "--reject",
    type=click.Choice(["none", "sigma", "mad", "minmax", "noise"]),
    default="sigma",
    show_default=True,
    help="What is left out: by the scatter, its robust form, the extremes, or the noise.",
)
@click.option("--sigma", type=click.FloatRange(0, min_open=True), help="Threshold; by default 4 for noise, 3 else.")
@click.option(
    "--center",
    type=click.Choice(["median", "mean"]),
    default="median",
    show_default=True,
    help="What outliers are far from.",
)
@click.option("--maxiters", type=click.IntRange(min=-1), help="Rounds of rejection; -1 until nothing is rejected.")
@click.option("--nlow", type=click.IntRange(min=0), default=1, show_default=True, help="Of minmax.")
@click.option("--nhigh", type=click.IntRange(min=0), default=1, show_default=True, help="Of minmax.")
@click.option("--minimum", type=click.IntRange(min=0), default=1, show_default=True, help="Kept of every pixel.")
@click.option("--read-noise", type=click.FloatRange(0, min_open=True), help="Electron, for --reject noise.")
@click.option("--gain", type=click.FloatRange(0, min_open=True), help="Electron/adu, for --reject noise.")
@click.option("--pedestal", type=float, default=0.0, help="Bias level that is in the frames, adu, for --reject noise.")
@click.option(
    "--scale",
    type=click.Choice(["none", "median", "mean"]),
    default="none",
    show_default=True,
    help="Multiply each frame until this is as in the first.",
)
@click.option(
    "--zero",
    type=click.Choice(["none", "median", "mean"]),
    default="none",
    show_default=True,
    help="Shift each frame until this is as in the first.",
)
@click.option("--section", metavar="[x1:x2,y1:y2]", help="Where --scale and --zero measure.")
@click.option("--low", type=float, help="Lowest value that is used.")
@click.option("--high", type=float, help="Highest value that is used.")
@click.option("--uncertainty", type=click.Choice(["propagated", "empirical", "std", "mad_std"]), help="Kind of error.")
@click.option("--maps", is_flag=True, help="Write numbers of values used and rejected as extensions.")
@click.option("--hdu", type=click.IntRange(min=0), help="Of the image; by default the first.")
@click.option("--mem-limit", type=click.FloatRange(0, min_open=True), help="Bytes; else a quarter of the machine's.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads; by default all processors.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@json_option
def combine(files, output, as_json, overwrite, **options):
    """Stack FILES, any FITS images of one shape, into one.

    \b
    Examples:
      ccdnight combine bias*.fits -o bias.fits --sigma 2.5
      ccdnight combine flat*.fits -o flat.fits --scale median --method median
      ccdnight combine dark*.fits -o dark.fits --reject noise --read-noise 11 --gain 2 --pedestal 1130
    """
    if output.exists() and not overwrite:
        msg = f"{output} exists; give --overwrite to replace it"
        raise click.UsageError(msg)
    try:
        with no_collection():
            from ccdnight.filestack import combine_files

            ready_for_kernels()
            told = combine_files([str(path) for path in files], output, **options)
    except CcdnightError:
        raise
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        print_json(told)
        return
    rejected = f"{told['rejected_low']} low and {told['rejected_high']} high values rejected"
    click.echo(f"{told['frames']} frames, {rejected}: {output}")
