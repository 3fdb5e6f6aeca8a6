"""What all measurements of a detector share: plain values for tables and header cards, from their fields."""

from dataclasses import fields

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
