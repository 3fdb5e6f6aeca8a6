"""The command that measures a detector."""

import sys
from pathlib import Path

import click

from ccdnight._numbers import with_error
from ccdnight.cli.common import (
    DONE,
    NOTHING,
    json_option,
    print_json,
    profile_option,
    raw_folder,
    ready_for_kernels,
    tell_notes,
)

__all__ = ["detector"]


@click.command()
@raw_folder
@profile_option
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for tables and figures.")
@json_option
def detector(raw, profile, output, as_json):
    """Measure gain, read noise and more from the frames in RAW, against header and profile.

    \b
    Example: ccdnight detector 2016-01-15/ -o detector/
    """
    from ccdnight.characterize import characterize
    from ccdnight.night import Night

    ready_for_kernels()
    found = characterize(Night(raw, profile=profile), output=output)
    if as_json:
        print_json(found)
    else:
        for entry in found["detectors"]:
            _tell_detector(entry)
        click.echo(f"written to {output}: {', '.join(found['files'])}" if output else "", nl=bool(output))
    tell_notes(found["notes"])
    measured = any(entry["read_noise"]["value"] is not None for entry in found["detectors"])
    sys.exit(DONE if measured else NOTHING)


def _tell_detector(entry):
    of_it = "amplifier " if entry["detector"] else ""
    parts = (("", "detector"), (of_it, "amplifier"), ("binning ", "binning"), ("read mode ", "read_mode"))
    names = [word + entry[key] for word, key in parts if entry[key]]
    click.echo(f"detector {', '.join(names)}".rstrip())
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
        return "unknown" if number is None else f"{number:.4g}"
    if number["value"] is None:
        return "unknown"
    told = with_error(number["value"], number.get("error")) or f"{number['value']:.5g}"
    return f"{told} {number['unit']}".strip()
