"""Commands that look at a night, plan it, reduce it and report on it."""

import contextlib
import sys
from pathlib import Path

import click

from ccdnight.cli.common import (
    DONE,
    PARTLY,
    clean,
    exit_code,
    json_option,
    print_json,
    profile_option,
    progress_bar,
    raw_folder,
    ready_for_kernels,
    tell_notes,
)
from ccdnight.cli.process import no_collection
from ccdnight.exceptions import InputError

__all__ = ["frames", "plan", "reduce", "report", "verify"]

#: Files that a line names; night.ecsv has them all.
_NAMED = 8


@click.command()
@raw_folder
@profile_option
@json_option
def frames(raw, profile, as_json):
    """Say what is in the folder RAW.

    \b
    Example: ccdnight frames 2016-01-15/
    """
    from ccdnight.night import Night

    night = Night(raw, profile=profile)
    table = night.frames
    if as_json:
        rows = [{name: clean(row[name]) for name in table.colnames} for row in table]
        print_json({"profile": night.profile.name, "frames": rows})
        return
    click.echo(f"{len(table)} files, profile {night.profile.name} ({night.profile.title})")
    for line in _table_lines(table):
        click.echo(line)


def _table_lines(table):
    """The table without columns that are empty throughout."""
    names = [name for name in table.colnames if any(str(value) not in ("", "--") for value in table[name])]
    return table[names].pformat(max_lines=-1, max_width=-1, align="<") if names else []


_choices = {
    "bias": ["auto", "frames", "overscan", "both"],
    "dark": ["auto", "exact", "none"],
    "flat": ["auto", "sky", "none"],
    "bad_pixels": ["auto", "none"],
}


def _known_policy(_ctx, _param, value):
    from ccdnight.profiles.model import NAMED_POLICIES

    if value is not None and value not in NAMED_POLICIES:
        msg = f"{value!r} is not known; known are {', '.join(NAMED_POLICIES)}"
        raise click.BadParameter(msg)
    return value


def _policy_options(function):
    for name, what in (("bad_pixels", "bad pixel mask"), ("flat", "flat"), ("dark", "dark"), ("bias", "bias")):
        choice, option = click.Choice(_choices[name]), f"--{name.replace('_', '-')}"
        function = click.option(option, type=choice, help=f"Policy for the {what}.")(function)
    kind = click.Path(exists=True, dir_okay=False, path_type=Path)
    function = click.option("--mask", type=kind, help="Bad pixels of one's own, added to those that are found.")(
        function
    )
    return click.option("--policy", metavar="NAME", callback=_known_policy, help="A named policy: lecture.")(function)


@click.command()
@raw_folder
@profile_option
@_policy_options
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan to this file.")
@json_option
def plan(raw, profile, policy, output, as_json, **choices):
    """Say what would be done with RAW, and why; the plan can be edited and given to 'reduce'.

    \b
    Example: ccdnight plan 2016-01-15/ -o plan.toml
    """
    from ccdnight import storage
    from ccdnight.night import Night

    ready_for_kernels()
    made = Night(raw, profile=profile).plan(policy=policy, **choices)
    if output:
        storage.write_text(output, made.to_toml())
    if as_json:
        import tomllib

        print_json(tomllib.loads(made.to_toml()))
        return
    if not output:
        click.echo(made.to_toml(), nl=False)
    tell_notes(made.notes)
    if output:
        counts = f"{len(made.masters)} masters, {len(made.science)} science frames, {len(made.unused)} inputs not used"
        click.echo(f"plan: {output}: {counts}")
        click.echo(f"when it is as you want it: ccdnight reduce {raw} OUT --plan {output}")


@click.command()
@raw_folder
@click.argument("out", type=click.Path(path_type=Path))
@profile_option
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False, path_type=Path), help="Do what this plan says.")
@_policy_options
@click.option("--cosmic-rays/--no-cosmic-rays", default=True, help="Flag cosmic rays in science frames.")
@click.option("--coadd", is_flag=True, help="Align and coadd the science frames of each target and filter.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads; by default all processors.")
@click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, such as tcp://10.0.0.1:8786.")
@click.option("--anew", is_flag=True, help="Make everything again, whatever an earlier run has left.")
@json_option
def reduce(raw, out, profile, plan_file, policy, cosmic_rays, coadd, workers, scheduler, anew, as_json, **choices):
    """Reduce the frames in RAW into the folder OUT; what is there and would come out the same is kept.

    \b
    Examples:
      ccdnight reduce 2016-01-15/ reduced/
      ccdnight reduce 2016-01-15/ reduced/ --bias both --no-cosmic-rays
      ccdnight reduce 2016-01-15/ reduced/ --mask my_bad_pixels.fits
      ccdnight reduce 2016-01-15/ reduced/ --plan plan.toml
      ccdnight reduce 2016-01-15/ reduced/ --coadd
      ccdnight reduce 2016-01-15/ reduced/ --scheduler tcp://10.0.0.1:8786
    """
    with no_collection():
        from ccdnight.night import Night

    if plan_file and (policy or any(choices.values())):
        options = "--policy, --bias, --dark, --flat, --bad-pixels or --mask"
        msg = f"--plan holds its own policy; it cannot be given together with {options}"
        raise click.UsageError(msg)
    if out.resolve() == raw.resolve():
        msg = f"{out} is the raw folder; products need a folder of their own"
        raise click.UsageError(msg)
    with _cluster_at(scheduler) as client:
        ready_for_kernels()
        night = Night(raw, profile=profile)
        asked = plan_file or night.plan(policy=policy, **choices)
        how = {"workers": workers, "client": client, "progress": progress_bar(), "anew": anew}
        result = night.reduce(out, plan=asked, cosmic_rays=cosmic_rays, coadd=coadd, **how)
    code = exit_code(result)
    if as_json:
        print_json(_summary(result))
    else:
        _tell(result)
    sys.exit(code)


def _cluster_at(address):
    """A client, closed afterwards, of the scheduler that was asked for; None for none."""
    if address is None:
        return contextlib.nullcontext()
    from ccdnight._cluster import connect

    try:
        return connect(address)
    except InputError as error:
        raise click.BadParameter(str(error), param_hint="--scheduler") from error


@click.command()
@click.argument("out", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="By default OUT/report.html.")
@json_option
def report(out, output, as_json):
    """Write the report of the reduced night in OUT again.

    \b
    Examples:
      ccdnight report reduced/
      ccdnight report reduced/ -o night.html
    """
    from ccdnight.report import write_report

    written = write_report(out, output or out / "report.html")
    if as_json:
        print_json({"output": str(written)})
    else:
        click.echo(f"report: {written}")


@click.command()
@click.argument("out", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def verify(out, as_json):
    """Check every file in OUT against its digest and checksums; exit code 3 if one is missing or changed.

    \b
    Example: ccdnight verify reduced/
    """
    from ccdnight.verifying import verify_folder

    table = verify_folder(out)
    bad = table[[str(status) != "ok" for status in table["status"]]] if len(table) else table
    if as_json:
        rows = [{name: str(row[name]) for name in table.colnames} for row in table]
        print_json({"output": str(out), "files": rows, "bad": len(bad)})
    else:
        for line in bad.pformat(max_lines=-1, max_width=-1, align="<") if len(bad) else []:
            click.echo(line)
        click.echo(f"{len(table) - len(bad)} of {len(table)} files are as they were written")
    sys.exit(PARTLY if len(bad) else DONE)


def _summary(result):
    return {
        "output": str(result.output),
        "counts": result.counts,
        "resumed": result.run["resumed"],
        "masters": list(result.masters),
        "science": [
            {"input": name, "output": result.science.path(name).relative_to(result.output).as_posix()}
            | result.run["statistics"].get(result.science.path(name).relative_to(result.output).as_posix(), {})
            for name in result.science
        ],
        "coadds": result.run.get("coadds", {}),
        "problems": result.run["problems"],
        "failures": [{name: str(row[name]) for name in result.night.colnames} for row in result.failures],
        "notes": result.run["notes"],
        "errors": result.run["errors"],
    }


def _together(told):
    """Lines about files, those with the same to tell in one."""
    groups = {}
    for path, fate, reason in told:
        groups.setdefault((fate, reason), []).append(path)
    for (fate, reason), paths in groups.items():
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        yield f"{fate}: {', '.join(paths[:_NAMED])}{more}: {reason}"


def _not_told(notes, paths):
    """Notes but those on science frames that have been told of as failed."""
    begins = tuple(f"science:{path}: " for path in paths)
    return [note for note in notes if not note.startswith(begins)]


def _tell(result):
    counts = result.counts
    if result.run["resumed"]["words"]:
        click.echo(result.run["resumed"]["words"])
    click.echo(
        f"{counts['inputs']} inputs: {counts['used']} used, {counts['unused']} unused, {counts['rejected']} rejected, "
        f"{counts['failed']} failed"
    )
    click.echo(f"masters: {', '.join(result.masters) or 'none'}")
    click.echo(f"science frames: {len(result.science)}, in {result.output}/science")
    if result.coadds:
        click.echo(f"coadds: {', '.join(result.coadds)}, in {result.output}/coadd")
    click.echo(f"report: {result.output / 'report.html'}")
    reasons = [(str(row["path"]), str(row["fate"]), str(row["reason"])) for row in result.failures]
    for line in _together([*reasons, *((path, "problem", text) for path, text in result.run["problems"].items())]):
        click.echo(line, err=True)
    tell_notes(_not_told(result.run["notes"], [path for path, _, _ in reasons]))
    for name, trace in list(result.run["errors"].items())[:1]:
        click.echo(f"error in ccdnight itself, please report it: {name}\n{trace}", err=True)
    if not result.masters and not result.science:
        why = "; night.ecsv says why for every file" if result.counts["inputs"] else ""
        click.echo(f"nothing could be reduced{why}", err=True)
