"""The plan as a graph: which master serves what."""

from ccdnight.report.wording import plural

__all__ = ["plan_graph"]

#: Size of a box, and the room between boxes, in pixels of the drawing.
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 196, 50, 84, 18
_MARGIN = 10
#: Letters that fit into a box.
_LETTERS = 25
_ROLES = ("bias", "dark", "twilight", "flat", "bad_pixels")


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
        width, height, boxes (x, y, kind, title, words, full, anchor, made) and lines (path, kind, words), where the
        drawing is `width` pixels wide; None for a plan without masters and science frames.
    """
    plan = reduction.plan
    boxes = {master.name: _master_box(master, reduction, anchors) for master in plan.masters}
    lines = [(source, master.name) for master in plan.masters for source in _sources(master) if source in boxes]
    for number, (key, items) in enumerate(_science_groups(plan).items()):
        name = ("science", number)
        boxes[name] = _science_box(items, reduction)
        lines += [(source, name) for source in dict.fromkeys(key[:-1]) if source in boxes]
    if not boxes:
        return None
    columns = _columns(boxes, lines)
    _place(boxes, lines, columns)
    drawn = [
        {
            "path": _curve(boxes[source], boxes[target]),
            "kind": boxes[source]["kind"],
            "words": f"{boxes[source]['full']} serves {boxes[target]['full']}",
        }
        for source, target in lines
    ]
    width = len(columns) * (_WIDTH + _ACROSS) - _ACROSS + 2 * _MARGIN
    height = max(len(names) for names in columns) * (_HEIGHT + _DOWN) - _DOWN + 2 * _MARGIN
    return {"width": width, "height": height, "boxes": list(boxes.values()), "lines": drawn}


def _sources(master):
    return [name for name in (master.bias, master.dark, master.twilight, *master.sources) if name]


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


def _place(boxes, lines, columns):
    """Boxes of a column in the order of what serves them, each column in the middle."""
    tallest = max(len(names) for names in columns) * (_HEIGHT + _DOWN)
    for number, names in enumerate(columns):
        names.sort(key=lambda name: _middle(name, boxes, lines))
        top = (tallest - len(names) * (_HEIGHT + _DOWN)) / 2
        for place, name in enumerate(names):
            boxes[name]["x"] = _MARGIN + number * (_WIDTH + _ACROSS)
            boxes[name]["y"] = _MARGIN + top + place * (_HEIGHT + _DOWN)


def _middle(name, boxes, lines):
    heights = [boxes[source]["y"] for source, target in lines if target == name and "y" in boxes[source]]
    return sum(heights) / len(heights) if heights else 0.0


def _curve(source, target):
    x0, y0 = source["x"] + _WIDTH, source["y"] + _HEIGHT / 2
    x1, y1 = target["x"], target["y"] + _HEIGHT / 2
    bend = max(_ACROSS / 2, (x1 - x0) / 2)
    return f"M{x0:g} {y0:g}C{x0 + bend:g} {y0:g} {x1 - bend:g} {y1:g} {x1:g} {y1:g}"
