"""Commands about instrument profiles."""

import sys
from pathlib import Path

import click

from ccdnight.cli.common import DONE, PARTLY, json_option, print_json, raw_folder

__all__ = ["profile"]


@click.group()
def profile():
    """Instrument profiles.

    \b
    Examples:
      ccdnight profile show nickel
      ccdnight profile learn raw/ -o mycam.toml
    """


@profile.command("list")
@json_option
def profile_list(as_json):
    """List the profiles that are known.

    \b
    Example: ccdnight profile list
    """
    from ccdnight.profiles import get_profile, list_profiles

    rows = [{"name": name, "title": get_profile(name).title} for name in list_profiles()]
    if as_json:
        print_json({"profiles": rows})
        return
    for row in rows:
        click.echo(f"{row['name']:12s} {row['title']}")


@profile.command("show")
@click.argument("name", metavar="NAME|FILE")
@json_option
def profile_show(name, as_json):
    """Show one profile in full, as TOML.

    \b
    Example: ccdnight profile show lfc
    """
    from ccdnight.profiles import get_profile, profile_to_toml

    text = profile_to_toml(get_profile(name))
    if as_json:
        import tomllib

        print_json(tomllib.loads(text))
        return
    click.echo(text, nl=False)


@profile.command("learn")
@raw_folder
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the profile to this file.")
@click.option("--name", metavar="NAME", help="Of the profile; by default that of the camera.")
@json_option
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
        print_json(learnt.summary())
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
