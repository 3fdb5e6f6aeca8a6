"""The frame table: its columns, the vote on the instrument, and what tells that a frame is not raw."""

import numpy as np
from astropy.table import MaskedColumn, Table

from ccdnight import storage
from ccdnight.exceptions import FrameError
from ccdnight.profiles import get_profile, match_profile
from ccdnight.provenance import STATE_CARDS, is_applied

__all__ = ["COLUMNS", "already_reduced", "frame_table", "vote"]

#: Columns of the frame table.
COLUMNS = (
    *("path", "kind", "exposure", "filter", "object", "time", "temperature", "detector", "binning"),
    *("read_mode", "shape", "problem", "evidence"),
)
#: Less than this part of the headers cannot decide on the instrument.
_FEW = 0.1


def vote(headers):
    votes = {}
    for raw in headers:
        if not isinstance(raw, FrameError):
            profile = match_profile(raw.header)
            votes.setdefault(profile.name, [profile, 0])[1] += 1
    # Frames that no profile asks for may be of any instrument (calibration frames often say less of themselves),
    # so they do not vote; but a few strays must not decide over a night of an unknown camera.
    total = sum(count for _, count in votes.values())
    named = [item for name, item in votes.items() if name != "generic" and item[1] >= _FEW * total]
    if not named:
        return get_profile("generic")
    return max(named, key=lambda item: (item[1], item[0].name))[0]


def already_reduced(header):
    keys = {key for own, others in STATE_CARDS.values() for key in (own, *others)} | {"CALSTAT"}
    cards = {key: value for key in keys if (value := storage.card_value(header, key)) is not None}
    steps = [evidence for step in STATE_CARDS if (evidence := is_applied(cards, step))]
    if not steps:
        return []
    return [f"is not raw: {', '.join(dict.fromkeys(steps))}; raw frames are needed"]


def frame_table(rows):
    table = Table()
    for name in COLUMNS:
        values = [row.get(name) for row in rows]
        if name in ("exposure", "temperature"):
            column = MaskedColumn(
                [np.nan if value is None else value for value in values],
                mask=[value is None for value in values],
                dtype=float,
                unit="s" if name == "exposure" else "deg_C",
            )
        else:
            column = np.array(["" if value is None else str(value) for value in values], dtype=str)
        table[name] = column
    table["temperature"].info.format = ".2f"
    return table
