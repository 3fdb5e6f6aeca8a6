"""Commands that simulate a night and show what a reduction makes of it."""

import sys
from pathlib import Path

import click

from ccdnight.cli.common import BUG, exit_code, json_option, print_json, progress_bar, ready_for_kernels
from ccdnight.exceptions import InputError

__all__ = ["demo", "simulate"]


@click.command()
@click.argument("profile", metavar="PROFILE")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same bytes.")
@click.option("--size", type=click.Choice(["small", "full"]), default="small", show_default=True, help="Of the frames.")
@click.option("--fault", "faults", multiple=True, metavar="NAME[:FILE]", help="A fault to plant; can be repeated.")
@click.option("--overwrite", is_flag=True, help="Replace a night that was simulated before.")
@json_option
def simulate(profile, out, seed, size, faults, overwrite, as_json):
    """Simulate a night of the instrument PROFILE: raw frames in OUT/raw, what was put in in OUT/truth.

    \b
    Example: ccdnight simulate lfc night/ --seed 7 --size full
    """
    from ccdnight.simulate import simulate_night

    try:
        truth = simulate_night(out, profile, seed=seed, size=size, faults=faults, overwrite=overwrite)
    except InputError as error:
        raise click.UsageError(str(error)) from error
    count = len(truth.night.exposures)
    if as_json:
        print_json({"output": str(out), "profile": profile, "seed": seed, "size": size, "frames": count})
        return
    click.echo(f"{count} raw frames in {out}/raw, the truth in {out}/truth")


@click.command()
@click.argument("folder", metavar="[DIR]", default="ccdnight-demo", type=click.Path(file_okay=False, path_type=Path))
@click.option("--profile", default="lfc", show_default=True, metavar="NAME|FILE", help="The instrument.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same night.")
@click.option("--size", type=click.Choice(["small", "full"]), default="small", show_default=True, help="Of the frames.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads; by default all processors.")
@json_option
def demo(folder, profile, seed, size, workers, as_json):
    """Simulate a night in DIR, reduce it, and hold the result against the truth.

    \b
    Example: ccdnight demo
    """
    from ccdnight.demo import LIMIT, failed, run_demo, table_lines

    ready_for_kernels()
    rows, result = run_demo(folder, profile=profile, seed=seed, size=size, workers=workers, progress=progress_bar())
    if as_json:
        table = [
            {"quantity": row.quantity, "unit": row.unit, "truth": row.truth, "measured": row.measured}
            | {"error": row.error, "pull": row.pull}
            for row in rows
        ]
        print_json({"rows": table, "output": str(result.output)})
    else:
        for line in table_lines(rows):
            click.echo(line)
        if not failed(rows):
            click.echo(f"Every quantity is within {LIMIT:g} errors of what was put in.")
        click.echo("Other pixels flagged lie mostly beside saturated and bad pixels, and some in stars.")
        click.echo(f"raw frames: {folder}/raw; what was put in: {folder}/truth")
        click.echo(f"images: {result.output}/science; masters: {result.output}/masters")
        click.echo(f"to look at: {result.output}/report.html")
    for row in failed(rows):
        click.echo(f"{row.quantity} is {row.pull:+.1f} errors off; at most {LIMIT:g} are allowed", err=True)
    sys.exit(BUG if failed(rows) or result.run["errors"] else exit_code(result))
