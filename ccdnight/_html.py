"""The few helpers of the notebook representations; everything that comes from a header is escaped."""

from html import escape

__all__ = ["definition_list", "table_html"]


def table_html(title, columns, rows, *, limit=200, caption=""):
    """
    An HTML table of plain values.

    Parameters
    ----------
    title : str
        Heading.
    columns : list of str
        Column names.
    rows : list of sequence
        Cells, shown with `str`.
    limit : int, optional
        Rows shown at the most; what is left out is counted in the last line.
    caption : str, optional
        A line below the heading.

    Returns
    -------
    str
    """
    head = "".join(f"<th>{escape(str(name))}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows[:limit])
    more = f"<p>and {len(rows) - limit} more rows</p>" if len(rows) > limit else ""
    note = f"<p>{escape(caption)}</p>" if caption else ""
    return (
        f"<div><h4>{escape(title)}</h4>{note}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}</div>"
    )


def definition_list(title, entries):
    """
    A heading with names and values below it.

    Parameters
    ----------
    title : str
        Heading.
    entries : dict
        Names and values; empty values are left out.

    Returns
    -------
    str
    """
    rows = [(name, value) for name, value in entries.items() if value not in (None, "")]
    return table_html(title, ["", ""], rows)
