"""The plan as a graph: which master serves what."""

from ccdnight.report.wording import plural

__all__ = ["plan_graph"]

#: Size of a box, and the room between boxes, in pixels of the drawing.
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 214, 50, 80, 18
_MARGIN = 10
#: Height that a line takes which passes a column.
_LANE = 22
#: Letters that fit into a box.
_LETTERS = 23
_ROLES = ("bias", "dark", "twilight", "flat", "bad_pixels", "fringe")


def plan_graph(reduction, anchors):
    """
    Boxes and lines of a plan.

    Parameters
    ----------
    reduction : Reduction
        What came out.
    anchors : dict of str to str
        Name of a master to the id of its place in the report.

    Returns
    -------
    dict or None
        width, height and columns of the drawing, box (size of a box), boxes (x, y, kind, title, words, full, anchor,
        made) and lines (path, kind, words); None for a plan without masters and science frames.
    """
    plan = reduction.plan
    boxes = {master.name: _master_box(master, reduction, anchors) for master in plan.masters}
    lines = [(source, master.name) for master in plan.masters for source in _sources(master, plan) if source in boxes]
    for number, (key, items) in enumerate(_science_groups(plan).items()):
        name = ("science", number)
        boxes[name] = _science_box(items, reduction)
        lines += [(source, name) for source in dict.fromkeys(key[:-1]) if source in boxes]
    if not boxes:
        return None
    columns = _columns(boxes, lines)
    steps = _with_lanes(boxes, lines, columns)
    height = _place(boxes, steps, columns)
    drawn = [
        {"path": _curve(boxes[one], boxes[other]), "kind": boxes[one]["kind"], "words": _words(boxes[one], targets)}
        for (one, other), targets in steps.items()
    ]
    drawn += [
        {"path": f"M{box['x']} {box['y']:g}h{_WIDTH}", "kind": box["kind"], "words": box["full"]}
        for box in boxes.values()
        if box.get("lane")
    ]
    width = len(columns) * (_WIDTH + _ACROSS) - _ACROSS + 2 * _MARGIN
    shown = [box for box in boxes.values() if not box.get("lane")]
    return {"width": width, "height": round(height), "columns": min(len(columns), 6)} | {
        "box": (_WIDTH, _HEIGHT),
        "boxes": shown,
        "lines": drawn,
    }


def _words(box, targets):
    return f"{box['full']} serves {', '.join(targets)}"


def _sources(master, plan):
    """Masters that a master is made with; those of its frames, where it is made of science frames."""
    own = [name for name in (master.bias, master.dark, master.twilight, *master.sources) if name]
    frames = [item for item in plan.science if item.input in set(master.inputs)]
    own += [getattr(item, role, "") for item in frames for role in _ROLES if role != "fringe"]
    return [name for name in dict.fromkeys(own) if name and name != master.name]


def _science_groups(plan):
    """Science frames that are served alike."""
    groups = {}
    for item in plan.science:
        key = (*(getattr(item, role, "") for role in _ROLES), item.overscan_window)
        groups.setdefault(key, []).append(item)
    return groups


def _master_box(master, reduction, anchors):
    if master.kind == "badpixels":
        parts = len(master.sources)
        words = f"from {plural(parts, 'master')}" + (" and a mask" if master.mask else "") if parts else "from a mask"
    else:
        words = f"from {plural(len(master.inputs), 'frame')}" + (", overscan" if master.overscan_window else "")
    made = master.name in reduction.masters
    return {
        "kind": master.kind,
        "title": _short(master.name),
        "words": words if made else "could not be made",
        "full": master.name,
        "anchor": anchors.get(master.name, ""),
        "made": made,
    }


def _science_box(items, reduction):
    told = reduction.run.get("statistics", {})
    filters = sorted({str(told.get(f"science/{item.output}", {}).get("filter") or "") for item in items} - {""})
    done = sum(item.input in reduction.science for item in items)
    title = plural(len(items), "science frame") + (f", {', '.join(filters)}" if filters else "")
    if done < len(items):
        words = f"{done} of them reduced"
    else:
        words = items[0].input if len(items) == 1 else f"{items[0].input} …"
    return {
        "kind": "science",
        "title": _short(title),
        "words": _short(words, _LETTERS + 4),
        "full": title,
        "anchor": "science",
        "made": done == len(items),
    }


def _short(text, letters=_LETTERS):
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _columns(boxes, lines):
    """Every box to the right of all that serve it; science frames in the last column."""
    depth = dict.fromkeys(boxes, 0)
    for source, target in sorted(lines, key=lambda line: list(boxes).index(line[1])):
        depth[target] = max(depth[target], depth[source] + 1)
    last = max((depth[name] for name, box in boxes.items() if box["kind"] != "science"), default=-1) + 1
    for name, box in boxes.items():
        if box["kind"] == "science":
            depth[name] = last
    levels = sorted(set(depth.values()))
    return [[name for name in boxes if depth[name] == level] for level in levels]


def _with_lanes(boxes, lines, columns):
    """
    Lines from column to column: those that go further get a lane in each column between, one for each source.

    Returns
    -------
    dict
        Two neighbors to the names of what is served by that piece of line.
    """
    column = {name: number for number, names in enumerate(columns) for name in names}
    steps = {}
    for source, target in lines:
        last = source
        for number in range(column[source] + 1, column[target]):
            lane = ("lane", source, number)
            if lane not in boxes:
                boxes[lane] = {"lane": True, "kind": boxes[source]["kind"], "full": boxes[source]["full"]}
                columns[number].append(lane)
            steps.setdefault((last, lane), []).append(boxes[target]["full"])
            last = lane
        steps.setdefault((last, target), []).append(boxes[target]["full"])
    return steps


def _place(boxes, steps, columns):
    """Boxes and lanes of a column in the order of what serves them, each column in the middle; the height of all."""
    tallest = max(sum(map(_room, map(boxes.get, names))) for names in columns)
    for number, names in enumerate(columns):
        names.sort(key=lambda name: _middle(name, boxes, steps))
        y = _MARGIN + (tallest - sum(map(_room, map(boxes.get, names)))) / 2
        for name in names:
            box = boxes[name]
            box["x"] = _MARGIN + number * (_WIDTH + _ACROSS)
            box["y"] = y + _room(box) / 2 - (0 if box.get("lane") else _HEIGHT / 2)
            y += _room(box)
    return tallest + 2 * _MARGIN


def _room(box):
    return _LANE if box.get("lane") else _HEIGHT + _DOWN


def _middle(name, boxes, steps):
    heights = [_port(boxes[source]) for source, target in steps if target == name and "y" in boxes[source]]
    return sum(heights) / len(heights) if heights else 0.0


def _port(box):
    """Height at which lines come and go."""
    return box["y"] if box.get("lane") else box["y"] + _HEIGHT / 2


def _curve(source, target):
    x0, x1, y0, y1 = source["x"] + _WIDTH, target["x"], _port(source), _port(target)
    middle = (x0 + x1) / 2
    return f"M{x0:g} {y0:g}C{middle:g} {y0:g} {middle:g} {y1:g} {x1:g} {y1:g}"
