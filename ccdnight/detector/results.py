"""What all measurements of a detector share: plain values for tables and header cards, from their fields."""

from dataclasses import fields

from ccdnight._html import definition_list

__all__ = ["Measurement"]


class Measurement:
    """Base of the results, frozen dataclasses whose quantities know their unit."""

    def as_row(self):
        """
        Plain values, for a table: numbers and words only.

        Returns
        -------
        dict
        """
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.repr}
        plain = {name: float(value.value) if hasattr(value, "unit") else value for name, value in values.items()}
        return {name: value for name, value in plain.items() if value is None or isinstance(value, int | float | str)}

    def as_cards(self):
        """
        Header cards, from the fields that have a ``card`` in their metadata.

        Returns
        -------
        list of tuple
            Keyword, value, comment.
        """
        cards = []
        for item in fields(self):
            value = getattr(self, item.name)
            if "card" in item.metadata and value is not None:
                unit = f"[{value.unit}] " if hasattr(value, "unit") else ""
                cards.append(
                    (item.metadata["card"], float(getattr(value, "value", value)), unit + item.metadata["text"])
                )
        return cards

    def _repr_html_(self):
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.repr}
        errors = {name[: -len("_error")]: value for name, value in values.items() if name.endswith("_error")}
        shown = {
            name.replace("_", " "): _in_words(value, errors.get(name))
            for name, value in values.items()
            if name.removesuffix("_error") not in errors or name in errors
        }
        return definition_list(type(self).__name__, shown)


def _in_words(value, error=None):
    """A value with its error for a person; empty for what is no single value."""
    if isinstance(value, str):
        return value
    number = getattr(value, "value", value)
    if isinstance(number, bool) or not hasattr(number, "__float__") or getattr(number, "ndim", 0):
        return ""
    unit = f" {value.unit}" if hasattr(value, "unit") else ""
    return f"{float(number):.5g}" + ("" if error is None else f" ± {float(error.value):.2g}") + unit
