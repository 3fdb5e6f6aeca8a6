"""The command line; every command is one public call."""

import json
import math
import signal
import sys
import threading
import warnings
from pathlib import Path

import click

from ccdnight.exceptions import CcdnightError, InputError, OutputError, OutputLockedError, PlanError, ProfileError

__all__ = ["main"]

#: Exit codes, as the README documents them.
DONE, BUG, USAGE, PARTLY, NOTHING, IN_USE, ENVIRONMENT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130


class _Commands(click.Group):
    """Turns errors of ours into one sentence and the documented exit code."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except OutputLockedError as error:
            _fail(error, IN_USE)
        except OutputError as error:
            _fail(error, ENVIRONMENT)
        except (PlanError, ProfileError) as error:
            _fail(error, USAGE)
        except CcdnightError as error:
            _fail(error, NOTHING)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one, out of impatience, changes nothing
            _fail(
                "interrupted; every file that stands there is whole, and the same command does the rest anew",
                INTERRUPTED,
            )


def _fail(error, code):
    click.echo(f"ccdnight: {error}", err=True)
    sys.exit(code)


def _raw(function):
    return click.argument("raw", type=click.Path(exists=True, file_okay=False, path_type=Path))(function)


def _profile_option(function):
    words = "Instrument profile; by default found from the headers."
    return click.option("--profile", metavar="NAME|FILE", help=words)(function)


def _json_option(function):
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")(function)


def _print_json(value):
    click.echo(json.dumps(value, indent=1, default=_plain, allow_nan=False))


def _plain(value):
    return value.item() if hasattr(value, "item") else str(value)


def _clean(value):
    """JSON has neither NaN nor masked values: both are null."""
    if value is None or str(value) == "--" or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ccdnight")
def main():
    """Turn a folder of raw CCD frames of one night into calibrated science images.

    \b
    Exit codes: 0 all done; 1 an error in ccdnight itself; 2 wrong usage; 3 done, but some input could not
    be used; 4 nothing could be reduced; 5 the output folder is in use; 6 the environment failed; 130
    interrupted.
    """
    # Warnings of libraries about single cards would bury what an observer has to know; ours are printed.
    from ccdnight.exceptions import CcdnightWarning

    # Who ends a run kindly gets what Ctrl-C gives: nothing half-written, and no lock left behind.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", CcdnightWarning)
    warnings.showwarning = lambda message, *args, **kwargs: click.echo(f"ccdnight: {message}", err=True)


@main.command()
@_raw
@_profile_option
@_json_option
def frames(raw, profile, as_json):
    """Say what is in the folder RAW.

    \b
    Example: ccdnight frames 2016-01-15/
    """
    from ccdnight.night import Night

    night = Night(raw, profile=profile)
    table = night.frames
    if as_json:
        rows = [{name: _clean(row[name]) for name in table.colnames} for row in table]
        _print_json({"profile": night.profile.name, "frames": rows})
        return
    click.echo(f"{len(table)} files, profile {night.profile.name} ({night.profile.title})")
    for line in _table_lines(table):
        click.echo(line)


def _table_lines(table):
    """The table without columns that are empty throughout."""
    names = [name for name in table.colnames if any(str(value) not in ("", "--") for value in table[name])]
    return table[names].pformat(max_lines=-1, max_width=-1, show_unit=False, align="<") if names else []


_choices = {
    "bias": ["auto", "frames", "overscan", "both"],
    "dark": ["auto", "exact", "none"],
    "flat": ["auto", "none"],
    "bad_pixels": ("auto", "none"),
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
    return click.option("--policy", metavar="NAME", callback=_known_policy, help="A named policy: lecture.")(function)


@main.command()
@_raw
@_profile_option
@_policy_options
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan to this file.")
@_json_option
def plan(raw, profile, policy, output, as_json, **choices):
    """Say what would be done with RAW, and why; the plan can be edited and given to 'reduce'.

    \b
    Example: ccdnight plan 2016-01-15/ -o plan.toml
    """
    from ccdnight import storage
    from ccdnight.night import Night

    made = Night(raw, profile=profile).plan(policy=policy, **choices)
    if output:
        storage.write_text(output, made.to_toml())
    if as_json:
        import tomllib

        _print_json(tomllib.loads(made.to_toml()))
        return
    if not output:
        click.echo(made.to_toml(), nl=False)
    _notes(made.notes)


def _notes(notes):
    for note in notes:
        click.echo(f"note: {note}", err=True)


@main.command()
@_raw
@click.argument("out", type=click.Path(path_type=Path))
@_profile_option
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False, path_type=Path), help="Do what this plan says.")
@_policy_options
@click.option("--cosmic-rays/--no-cosmic-rays", default=True, help="Flag cosmic rays in science frames.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads; by default all processors.")
@_json_option
def reduce(raw, out, profile, plan_file, policy, cosmic_rays, workers, as_json, **choices):
    """Reduce the frames in RAW into the folder OUT.

    \b
    Examples:
      ccdnight reduce 2016-01-15/ reduced/
      ccdnight reduce 2016-01-15/ reduced/ --bias both --no-cosmic-rays
      ccdnight reduce 2016-01-15/ reduced/ --plan plan.toml
    """
    from ccdnight.night import Night

    if plan_file and (policy or any(choices.values())):
        options = "--policy, --bias, --dark, --flat or --bad-pixels"
        msg = f"--plan holds its own policy; it cannot be given together with {options}"
        raise click.UsageError(msg)
    if out.resolve() == raw.resolve():
        msg = f"{out} is the raw folder; products need a folder of their own"
        raise click.UsageError(msg)
    night = Night(raw, profile=profile)
    asked = plan_file or night.plan(policy=policy, **choices)
    result = night.reduce(out, plan=asked, cosmic_rays=cosmic_rays, workers=workers, progress=_bar())
    code = _exit_code(result)
    if as_json:
        _print_json(_summary(result))
    else:
        _tell(result)
    sys.exit(code)


def _bar():
    return sys.stderr.isatty()


def _exit_code(result):
    if result.run["errors"]:
        return BUG
    if not result.masters and not result.science:
        return NOTHING
    return PARTLY if len(result.failures) or result.run["problems"] else DONE


def _summary(result):
    return {
        "output": str(result.output),
        "counts": result.counts,
        "masters": list(result.masters),
        "science": [
            {"input": name, "output": result.science.path(name).relative_to(result.output).as_posix()}
            | result.run["statistics"].get(result.science.path(name).relative_to(result.output).as_posix(), {})
            for name in result.science
        ],
        "problems": result.run["problems"],
        "failures": [{name: str(row[name]) for name in result.night.colnames} for row in result.failures],
        "notes": result.run["notes"],
        "errors": result.run["errors"],
    }


def _tell(result):
    counts = result.counts
    click.echo(
        f"{counts['inputs']} inputs: {counts['used']} used, {counts['unused']} unused, {counts['rejected']} rejected, "
        f"{counts['failed']} failed"
    )
    click.echo(f"masters: {', '.join(result.masters) or 'none'}")
    click.echo(f"science frames: {len(result.science)}, in {result.output}/science")
    for row in result.failures:
        click.echo(f"{row['fate']}: {row['path']}: {row['reason']}", err=True)
    for path, problem in result.run["problems"].items():
        click.echo(f"problem: {path}: {problem}", err=True)
    _notes(result.run["notes"])
    for name, trace in list(result.run["errors"].items())[:1]:
        click.echo(f"error in ccdnight itself, please report it: {name}\n{trace}", err=True)
    if not result.masters and not result.science:
        why = "; night.ecsv says why for every file" if result.counts["inputs"] else ""
        click.echo(f"nothing could be reduced{why}", err=True)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The result.")
@click.option("--method", type=click.Choice(["average", "median", "sum"]), default="average", show_default=True)
@click.option(
    "--reject", type=click.Choice(["none", "sigma", "mad", "minmax", "noise"]), default="sigma", show_default=True
)
@click.option("--sigma", type=click.FloatRange(0, min_open=True), help="Threshold; by default 4 for noise, 3 else.")
@click.option("--center", type=click.Choice(["median", "mean"]), default="median", show_default=True)
@click.option("--maxiters", type=click.IntRange(min=-1), help="Rounds of rejection; -1 until nothing is rejected.")
@click.option("--nlow", type=click.IntRange(min=0), default=1, show_default=True, help="Of minmax.")
@click.option("--nhigh", type=click.IntRange(min=0), default=1, show_default=True, help="Of minmax.")
@click.option("--minimum", type=click.IntRange(min=0), default=1, show_default=True, help="Kept of every pixel.")
@click.option("--read-noise", type=click.FloatRange(0, min_open=True), help="Electron, for --reject noise.")
@click.option("--gain", type=click.FloatRange(0, min_open=True), help="Electron/adu, for --reject noise.")
@click.option("--pedestal", type=float, default=0.0, help="Bias level that is in the frames, adu, for --reject noise.")
@click.option("--scale", type=click.Choice(["none", "median", "mean"]), default="none", show_default=True)
@click.option("--zero", type=click.Choice(["none", "median", "mean"]), default="none", show_default=True)
@click.option("--section", metavar="[x1:x2,y1:y2]", help="Where --scale and --zero measure.")
@click.option("--low", type=float, help="Lowest value that is used.")
@click.option("--high", type=float, help="Highest value that is used.")
@click.option("--uncertainty", type=click.Choice(["propagated", "empirical", "std", "mad_std"]), help="Kind of error.")
@click.option("--maps", is_flag=True, help="Write numbers of values used and rejected as extensions.")
@click.option("--hdu", type=click.IntRange(min=0), help="Of the image; by default the first.")
@click.option("--mem-limit", type=click.FloatRange(0, min_open=True), help="Bytes; else a quarter of the machine's.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads; by default all processors.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@_json_option
def combine(files, output, as_json, overwrite, **options):
    """Stack FILES, any FITS images of one shape, into one.

    \b
    Examples:
      ccdnight combine bias*.fits -o bias.fits --sigma 2.5
      ccdnight combine flat*.fits -o flat.fits --scale median --method median
      ccdnight combine dark*.fits -o dark.fits --reject noise --read-noise 11 --gain 2 --pedestal 1130
    """
    from ccdnight.filestack import combine_files

    if output.exists() and not overwrite:
        msg = f"{output} exists; give --overwrite to replace it"
        raise click.UsageError(msg)
    try:
        told = combine_files([str(path) for path in files], output, **options)
    except CcdnightError:
        raise
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        _print_json(told)
        return
    rejected = f"{told['rejected_low']} low and {told['rejected_high']} high values rejected"
    click.echo(f"{told['frames']} frames, {rejected}: {output}")


@main.command()
@_raw
@_profile_option
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for tables and figures.")
@_json_option
def detector(raw, profile, output, as_json):
    """Measure gain, read noise and more from the frames in RAW, against header and profile.

    \b
    Example: ccdnight detector 2016-01-15/ -o detector/
    """
    from ccdnight.characterize import characterize
    from ccdnight.night import Night

    found = characterize(Night(raw, profile=profile), output=output)
    if as_json:
        _print_json(found)
    else:
        for entry in found["detectors"]:
            _tell_detector(entry)
        click.echo(f"written to {output}: {', '.join(found['files'])}" if output else "", nl=bool(output))
    _notes(found["notes"])
    measured = any(entry["read_noise"]["value"] is not None for entry in found["detectors"])
    sys.exit(DONE if measured else NOTHING)


def _tell_detector(entry):
    names = (entry["detector"], entry["amplifier"], entry["binning"], entry["read_mode"])
    click.echo(f"detector {' '.join(name for name in names if name)}".rstrip())
    for name in ("gain", "read_noise"):
        others = [f"{who} {_told(entry[who][name])}" for who in ("header", "profile")]
        used = entry["used"][name]
        others.append(f"used {_told(used['value'])} ({used['from'] or 'nobody knows it'})")
        click.echo(f"  {name.replace('_', ' '):<12} {_told(entry[name])}; {', '.join(others)}")
    click.echo(f"  measured in  {entry['region'] or '-'}: {entry['areas']} areas, {entry['pairs']} pairs")
    for name in ("bias", "dark_current", "photon_transfer"):
        values = entry[name]
        if values is not None:
            values = {"": values} if "value" in values else values
            told = [
                f"{key.replace('_', ' ')} {_told(value)}".strip() for key, value in values.items() if value is not None
            ]
            click.echo(f"  {name.replace('_', ' '):<12} {', '.join(told)}")


def _told(number):
    """A number as a person writes it: two digits of the error."""
    if not isinstance(number, dict):
        return "unknown" if number is None else f"{number:g}"
    if number["value"] is None:
        return "unknown"
    if not number.get("error"):
        return f"{number['value']:.5g} {number['unit']}".strip()
    digits = max(0, 1 - math.floor(math.log10(number["error"])))
    if digits > 6:
        return f"{number['value']:.3g} +- {number['error']:.1g} {number['unit']}"
    return f"{number['value']:.{digits}f} +- {number['error']:.{digits}f} {number['unit']}"


@main.group()
def profile():
    """Instrument profiles."""


@profile.command("list")
@_json_option
def profile_list(as_json):
    """List the profiles that are known."""
    from ccdnight.profiles import get_profile, list_profiles

    rows = [{"name": name, "title": get_profile(name).title} for name in list_profiles()]
    if as_json:
        _print_json({"profiles": rows})
        return
    for row in rows:
        click.echo(f"{row['name']:12s} {row['title']}")


@profile.command("show")
@click.argument("name", metavar="NAME|FILE")
@_json_option
def profile_show(name, as_json):
    """Show one profile in full, as TOML."""
    from ccdnight.profiles import get_profile, profile_to_toml

    text = profile_to_toml(get_profile(name))
    if as_json:
        import tomllib

        _print_json(tomllib.loads(text))
        return
    click.echo(text, nl=False)


@profile.command("learn")
@_raw
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the profile to this file.")
@click.option("--name", metavar="NAME", help="Of the profile; by default that of the camera.")
@_json_option
def profile_learn(raw, output, name, as_json):
    """Learn a profile from the raw frames in RAW; each value comes with its evidence.

    \b
    Example: ccdnight profile learn 2016-01-15/ -o mycam.toml
    """
    from ccdnight import storage
    from ccdnight.learning import learn_profile

    learnt = learn_profile(raw, name=name)
    if output:
        storage.write_text(output, learnt.to_toml())
    for path, reason in learnt.unusable.items():
        click.echo(f"left out: {path}: {reason}", err=True)
    if as_json:
        _print_json(learnt.summary())
    elif not output:
        click.echo(learnt.to_toml(), nl=False)
    else:
        _tell_learnt(learnt, output)
    sys.exit(PARTLY if learnt.unusable else DONE)


def _tell_learnt(learnt, output):
    missing = [item.key for item in learnt.findings if item.value is None]
    click.echo(f"profile {learnt.name}, {len(learnt.amplifiers)} amplifiers: {output}")
    for item in learnt.amplifiers:
        overscan = f"overscan {item.overscan or 'as the header says'}, {item.overscan_skip} skipped"
        numbers = f"gain {item.gain or 'not found'}, read noise {item.read_noise or 'not found'}"
        click.echo(f"{' '.join(filter(None, (item.detector, item.name))) or 'detector'}: {overscan}, {numbers}")
    click.echo(f"not found, left at the generic default: {', '.join(dict.fromkeys(missing)) or 'nothing'}")


@main.command()
@click.argument("profile", metavar="PROFILE")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same bytes.")
@click.option("--size", type=click.Choice(["small", "full"]), default="small", show_default=True, help="Of the frames.")
@click.option("--fault", "faults", multiple=True, metavar="NAME[:FILE]", help="A fault to plant; can be repeated.")
@_json_option
def simulate(profile, out, seed, size, faults, as_json):
    """Simulate a night of the instrument PROFILE: raw frames in OUT/raw, what was put in in OUT/truth.

    \b
    Example: ccdnight simulate lfc night/ --seed 7 --size full
    """
    from ccdnight.simulate import simulate_night

    try:
        truth = simulate_night(out, profile, seed=seed, size=size, faults=faults)
    except InputError as error:
        raise click.UsageError(str(error)) from error
    count = len(truth.night.exposures)
    if as_json:
        _print_json({"output": str(out), "profile": profile, "seed": seed, "size": size, "frames": count})
        return
    click.echo(f"{count} raw frames in {out}/raw, the truth in {out}/truth")


@main.command()
@click.argument("folder", metavar="[DIR]", default="ccdnight-demo", type=click.Path(file_okay=False, path_type=Path))
@click.option("--profile", default="lfc", show_default=True, metavar="NAME|FILE", help="The instrument.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same night.")
@click.option("--size", type=click.Choice(["small", "full"]), default="small", show_default=True, help="Of the frames.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads; by default all processors.")
@_json_option
def demo(folder, profile, seed, size, workers, as_json):
    """Simulate a night in DIR, reduce it, and hold the result against the truth.

    \b
    Example: ccdnight demo
    """
    from ccdnight.demo import LIMIT, failed, run_demo, table_lines

    rows, result = run_demo(folder, profile=profile, seed=seed, size=size, workers=workers, progress=_bar())
    if as_json:
        table = [
            {"quantity": row.quantity, "unit": row.unit, "truth": row.truth, "measured": row.measured}
            | {"error": row.error, "pull": row.pull}
            for row in rows
        ]
        _print_json({"rows": table, "output": str(result.output)})
    else:
        for line in table_lines(rows):
            click.echo(line)
        if not failed(rows):
            click.echo(f"Every quantity is within {LIMIT:g} errors of what was put in.")
        click.echo("Other pixels flagged lie mostly beside bad pixels, which no mask tells of yet, and some in stars.")
        click.echo(f"raw frames: {folder}/raw; what was put in: {folder}/truth")
        click.echo(f"images: {result.output}/science; masters: {result.output}/masters")
    for row in failed(rows):
        click.echo(f"{row.quantity} is {row.pull:+.1f} errors off; at most {LIMIT:g} are allowed", err=True)
    sys.exit(BUG if failed(rows) or result.run["errors"] else _exit_code(result))
