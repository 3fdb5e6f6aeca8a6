"""A learnt profile as TOML with its evidence."""

import json
import re
import textwrap

from ccdnight.learning.result import Finding

__all__ = ["Page", "quoted"]

_WIDTH = 110


def quoted(value):
    """
    A value as TOML.

    Parameters
    ----------
    value : str, bool, int, float, tuple, list or dict
        The value.

    Returns
    -------
    str
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {quoted(item)}" for key, item in value.items()) + " }"
    return "[" + ", ".join(quoted(item) for item in value) + "]"


def _key(key):
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quoted(key)


class Page:
    """Lines of a TOML file, each value with its evidence above it."""

    def __init__(self):
        self.lines, self.findings, self._table = [], [], ""

    def say(self, text):
        """
        Add a comment.

        Parameters
        ----------
        text : str
            Its words; wrapped, and never able to end the comment.
        """
        text = re.sub(r"[^\x20-\x7e]", "?", text)
        self.lines += textwrap.wrap(
            text, _WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False, break_on_hyphens=False
        )

    def head(self, name):
        """
        Begin a table.

        Parameters
        ----------
        name : str
            ``[name]`` or ``[[name]]``.
        """
        self.lines += ["", name]
        self._table = name.strip("[]")

    def put(self, key, value, evidence="", *, error=None, unit=""):
        """
        Add a value.

        Parameters
        ----------
        key : str
            Its key.
        value : object
            Of TOML; None leaves it away and says so.
        evidence : str, optional
            Said above it.
        error : float, optional
            Standard error of a number.
        unit : str, optional
            Of a number.
        """
        if evidence:
            where = f"{self._table}.{key}" if self._table else key
            self.findings.append(Finding(where, value, evidence, error, unit))
        if value is None:
            self.say(f"{key}: not found, left at the generic default: {evidence}")
            return
        if evidence:
            self.say(evidence)
        self.lines.append(f"{_key(key)} = {quoted(value)}")

    def text(self):
        """
        The file.

        Returns
        -------
        str
        """
        return "\n".join(self.lines) + "\n"
