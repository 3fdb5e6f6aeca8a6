"""Whether a plan can be carried out: names, references, what stands twice, and a policy that was edited too late."""

from pathlib import PurePosixPath

__all__ = ["FATES", "FROM_SCIENCE", "problems_of"]

#: Kinds of masters whose inputs are science frames of the plan.
FROM_SCIENCE = ("fringe", "skyflat")
_MASTER_KINDS = ("bias", "dark", "flat", "badpixels", *FROM_SCIENCE)
#: What becomes of inputs that are not used.
FATES = ("unused", "rejected", "failed")
#: Bytes that a part of an output's path may have; a temporary name is a little longer.
_LONGEST = 200


def problems_of(plan):
    """
    What is wrong with a plan.

    Parameters
    ----------
    plan : Plan
        The plan.

    Returns
    -------
    list of str
        Sentences; empty where it can be carried out.
    """
    return _joined(_problems(plan))


def _joined(problems):
    """The same about many frames in one line: a name that is wrong once is so in every frame of a filter."""
    found = {}
    for problem in problems:
        who, names, rest = problem.partition(" names the ")
        found.setdefault(names + rest if names else problem, []).append(who)
    for rest, who in found.items():
        more = f" and {len(who) - 1} more:" if len(who) > 1 else ""
        found[rest] = f"{who[0]}{more}{rest}" if rest.startswith(" names the ") else rest
    return list(found.values())


def _problems(plan):
    made = {}
    for master in plan.masters:
        if master.kind not in _MASTER_KINDS:
            yield f"master {master.name!r} is of kind {master.kind!r}; allowed are {', '.join(_MASTER_KINDS)}"
        if master.name in made:
            yield f"two masters are called {master.name!r}"
        if not _is_inside(master.name) or "/" in master.name:
            yield f"master {master.name!r}: a name without folders is needed"
        yield from _check_sources(master, made)
        for role in ("bias", "dark"):
            yield from _check_reference(master.name, role, getattr(master, role), made)
        yield from _check_twilight(master, made)
        made[master.name] = "flat" if master.kind == "skyflat" else master.kind
    outputs = {}
    for item in plan.science:
        for role in ("bias", "dark", "flat", "bad_pixels", "fringe"):
            yield from _check_reference(item.input, role, getattr(item, role), made)
        if not _is_inside(item.output) or not item.output.endswith(".fits"):
            yield f"science frame {item.input!r}: output {item.output!r} must be a relative name ending in .fits"
        if any(len(part.encode()) > _LONGEST for part in PurePosixPath(item.output).parts):
            yield f"science frame {item.input!r}: a part of its output has more than {_LONGEST} bytes"
        if item.output.casefold() in outputs:
            yield f"{item.input!r} and {outputs[item.output.casefold()]!r} have the same output {item.output!r}"
        outputs[item.output.casefold()] = item.input
    folders = {str(parent).casefold() for name in outputs for parent in PurePosixPath(name).parents}
    for name in sorted(folders & set(outputs)):
        yield f"{outputs[name]!r} has the output {name!r}, which is a folder of other outputs"
    yield from _repeated(plan)
    yield from _check_series(plan)
    yield from _contradictions(plan)


def _contradictions(plan):
    """Entries of the policy that chose the frames have acted: one that was edited afterwards changes nothing."""
    items, again = (*plan.masters, *plan.science), "make a new plan with it, or take it back"
    bias = plan.policy.bias
    if bias == "overscan" and any(item.bias for item in items):
        yield f"policy: bias = 'overscan', but frames get a master bias; {again}"
    if bias == "frames" and any(item.overscan_window for item in items):
        yield f"policy: bias = 'frames', but the overscan of frames is used; {again}"
    if plan.policy.illumination == "none" and any(item.twilight for item in plan.masters):
        yield f"policy: illumination = 'none', but a flat is brought to the large scales of another; {again}"
    for role in ("dark", "flat", "bad_pixels", "fringe"):
        if getattr(plan.policy, role) == "none" and any(getattr(item, role, "") for item in items):
            yield f"policy: {role} = 'none', but frames get a master {role}; {again}"


def _check_series(plan):
    """What is made from science frames, which are calibrated for it as the plan says."""
    science = {item.input for item in plan.science}
    for master in plan.masters:
        if master.kind in FROM_SCIENCE:
            for path in master.inputs:
                if path not in science:
                    yield f"master {master.name!r} has the input {path!r}, which is no science frame of the plan"
            if (count := len(set(master.inputs))) < 3:
                yield f"master {master.name!r} has {count} inputs; at least 3 dithered frames are needed"


def _check_twilight(master, made):
    yield from _check_reference(master.name, "flat", master.twilight, made)
    if master.twilight and master.kind != "flat":
        yield f"master {master.name!r} is of kind {master.kind!r}; twilight belongs to a flat"


def _check_sources(master, made):
    """A master is made from raw files, a bad pixel mask from other masters or from a mask file alone."""
    if master.kind != "badpixels":
        if not master.inputs:
            yield f"master {master.name!r} has no inputs"
        if master.sources or master.mask:
            yield f"master {master.name!r} is of kind {master.kind!r}; sources and mask belong to a bad pixel mask"
        return
    if master.inputs:
        yield f"master {master.name!r} is made from other masters (sources), it has no inputs of its own"
    if not master.sources and not master.mask:
        yield f"master {master.name!r} has neither sources nor a mask"
    for name in master.sources:
        if made.get(name) not in ("bias", "dark", "flat"):
            there = ", ".join(key for key, kind in made.items() if kind != "badpixels") or "none"
            yield f"{master.name!r} names the source {name!r}, which is not made before it; there is {there}"


def _check_reference(name, role, wanted, made):
    kind_of_role = role.replace("_", "")
    if wanted and made.get(wanted) != kind_of_role:
        there = ", ".join(key for key, kind in made.items() if kind == kind_of_role) or "none"
        yield f"{name!r} names the {role} {wanted!r}, which is not made before it; there is {there}"


def _is_inside(name):
    path = PurePosixPath(name)
    plain = bool(name) and not path.is_absolute() and ".." not in path.parts and path.as_posix() == name
    return plain and not set(name) & set("\\:\0")


def _repeated(plan):
    seen = set()
    paths = [path for master in plan.masters if master.kind not in FROM_SCIENCE for path in master.inputs]
    paths += [item.input for item in plan.science] + [item.path for item in plan.unused]
    for path in paths:
        if path in seen:
            yield f"{path!r} stands in the plan more than once"
        seen.add(path)
    for item in plan.unused:
        if item.fate not in FATES:
            yield f"{item.path!r} has the fate {item.fate!r}; allowed are {', '.join(FATES)}"
