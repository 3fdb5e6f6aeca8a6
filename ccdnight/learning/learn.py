"""From a folder of raw frames to a profile."""

from collections import defaultdict

import numpy as np

from ccdnight.exceptions import InputError
from ccdnight.learning.camerapage import put_amplifiers, put_policy, typical_modes
from ccdnight.learning.cards import Cards
from ccdnight.learning.electronics import find_saturation, measure_electronics
from ccdnight.learning.headerpage import put_dialect, put_kinds, put_match
from ccdnight.learning.headersections import sections_in
from ccdnight.learning.identity import match_rules, one_camera, profile_name
from ccdnight.learning.kinds import learn_kinds
from ccdnight.learning.layout import find_layout
from ccdnight.learning.lightmap import LightMap, make_light_map
from ccdnight.learning.result import with_evidence
from ccdnight.learning.roles import find_roles
from ccdnight.learning.scan import commonest_shape, find_shots, look
from ccdnight.learning.words import pixel_kinds
from ccdnight.learning.writing import Page
from ccdnight.profiles import profile_from_toml
from ccdnight.profiles.interpret import first_number, read_facts

__all__ = ["learn_profile"]


def learn_profile(source, *, name=None, title=""):
    """
    Learn the profile of a camera from its raw frames.

    The keywords of the header and their words are found by what they hold and by what the pixels of the frames look
    like. Columns and rows without light in flats are overscans; how far trailing charge reaches into them is
    measured, and so are steps between amplifiers, gain, read noise and saturation. What a header states of sections
    and gain counts only where the pixels agree. What cannot be found is left at the generic default.

    Parameters
    ----------
    source : path-like, list of path-like or `ccdproc.ImageFileCollection`
        Raw frames, best of all biases, flats (two or more in a filter) and science frames.
    name : str, optional
        Name of the profile; by default from the card that names the camera, or the folder.
    title : str, optional
        Name in words.

    Returns
    -------
    LearnedProfile
        A profile, which can be used as it is. Its `to_toml` is a commented file that `~ccdnight.get_profile`
        reads, its `findings` hold the evidence, its `unusable` the files that could not be used.

    Raises
    ------
    InputError
        If there is no folder, no FITS file, or none that can be used.
    ProfileError
        If the name is no name of a profile.

    Examples
    --------
    Of a simulated night in :doc:`/user_guide/simulate`; of one's own:

    >>> from ccdnight import Night, learn_profile
    >>> learnt = learn_profile("raw/")                                  # doctest: +SKIP
    >>> pathlib.Path("mycam.toml").write_text(learnt.to_toml())         # doctest: +SKIP
    >>> Night("raw/", profile=learnt).reduce("reduced/")                # doctest: +SKIP
    """
    shots, left_out, unusable = _usable_shots(source)
    cards = Cards.of([shot.raw.header for shot in shots])
    shape = shots[0].raw.shape
    roles = find_roles(cards)
    exposures = _exposures(shots, roles["exposure"])
    kinds = learn_kinds(cards, pixel_kinds(shots, exposures), exposures)
    header = _Header(name or profile_name(cards, source), title, cards, roles, kinds, match_rules(cards, shape))
    draft = profile_from_toml(_page(header, [], (), {}, None).text(), source="learn_profile")
    for shot in shots:
        shot.facts = read_facts(shot.raw.header, draft)
    sections = sections_in(cards, shape)
    detectors = {detector: _learn_detector(group, sections[0]) for detector, group in _by_detector(shots).items()}
    page = _page(header, shots, left_out, detectors, sections)
    text = page.text()
    profile = profile_from_toml(text, source="learn_profile")
    return with_evidence(profile, page.findings, unusable | left_out, text)


class _Header:
    """What headers say, ready to be written."""

    def __init__(self, name, title, cards, roles, kinds, match):
        self.name, self.title, self.cards = name, title, cards
        self.roles, self.kinds, self.match = roles, kinds, match


def _usable_shots(source):
    """Frames of the commonest camera and shape; the others with the reason why they were left out."""
    shots, unusable = find_shots(source)
    if not shots:
        raise InputError(_nothing(source, unusable))
    shots, strangers = one_camera(shots)
    shots, odd = commonest_shape(shots)
    shape = shots[0].raw.shape
    usable, bad = look(shots)
    unusable |= bad
    if not usable:
        raise InputError(_nothing(source, unusable))
    left_out = {shot.name: "of another camera than most frames" for shot in strangers}
    left_out |= {
        shot.name: f"shape {shot.raw.shape[0]} x {shot.raw.shape[1]}, not {shape[0]} x {shape[1]} as most frames"
        for shot in odd
    }
    return usable, left_out, unusable


def _nothing(source, unusable):
    reasons = "; ".join(f"{name}: {reason}" for name, reason in list(unusable.items())[:5])
    more = f"; and {len(unusable) - 5} more" if len(unusable) > 5 else ""
    return (
        f"source = {str(source)!r}: none of its {len(unusable)} files is a raw frame that can be used: {reasons}{more}"
    )


def _exposures(shots, role):
    found = [first_number(shot.raw.header, role.keywords or ())[0] for shot in shots]
    return [value if value is None or value >= 0 else None for value in found]


def _by_detector(shots):
    groups = defaultdict(list)
    for shot in shots:
        groups[shot.facts.detector].append(shot)
    return dict(sorted(groups.items()))


def _learn_detector(shots, stated):
    maps = make_light_map(shots)
    if maps.lit is None and maps.dark is None:
        # Frames of unknown kind tell their shape and nothing else.
        maps = LightMap(np.zeros(shots[0].raw.shape, np.float32), None, 0.0, [], [], 0.0, "", "")
    layout = find_layout(maps, stated)
    saturations = [find_saturation(cell, shots) for cell in layout.cells]
    measured = measure_electronics(layout.cells, shots, layout.edge, [value for value, _ in saturations])
    return layout, measured, saturations


def _page(header, shots, left_out, detectors, sections):
    page = Page()
    page.say("Learnt from raw frames. Each value has its evidence above it; what is not here is the generic default.")
    if shots:
        _say_frames(page, shots, left_out)
    page.lines.append("")
    page.put("format", 1)
    page.put("name", header.name)
    page.put("title", header.title or f"Learnt: {header.name}")
    if shots:
        binning, modes = typical_modes(shots)
        if binning:
            page.put("standard_binning", binning, "the binning of most frames")
        page.put("standard_read_modes", modes)
    put_match(page, *header.match)
    both = [item[:2] for item in detectors.values()]
    put_dialect(page, header.cards, header.roles, header.kinds, both, sections)
    put_kinds(page, header.kinds)
    for detector, (layout, measured, saturations) in detectors.items():
        put_amplifiers(page, detector, shots[0].raw.shape, layout, measured, saturations, sections[0])
    if detectors:
        temperatures = [shot.facts.temperature for shot in shots if shot.facts.temperature is not None]
        put_policy(page, [item[0] for item in detectors.values()], temperatures)
    return page


def _say_frames(page, shots, left_out):
    counts = defaultdict(int)
    for shot in shots:
        counts[shot.kind] += 1
    told = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    ny, nx = shots[0].raw.shape
    page.say(f"{len(shots)} frames of {ny} rows and {nx} columns: {told}.")
    for name, reason in list(left_out.items())[:10]:
        page.say(f"Left out: {name}: {reason}")
    if len(left_out) > 10:
        page.say(f"Left out: {len(left_out) - 10} more frames")
