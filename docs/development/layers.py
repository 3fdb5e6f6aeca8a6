"""The drawing of the layers, from the table that the tests hold the imports against."""

import ast
import textwrap
from pathlib import Path

from matplotlib.patches import Rectangle


def read_layers(path):
    """The table ``LAYERS`` of a file, without running it."""
    for node in ast.parse(Path(path).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "LAYERS":
            return ast.literal_eval(node.value)
    msg = f"no table LAYERS in {path}"
    raise ValueError(msg)


def draw(layers, ax):
    """One box for each layer, the lowest at the bottom, with the modules in it."""
    bottom = 0.0
    for number, names in enumerate(layers):
        lines = textwrap.wrap("   ".join(names), 105)
        height = 0.55 + 0.45 * len(lines)
        ax.add_patch(Rectangle((0, bottom), 100, height - 0.15, facecolor="#EAF2F8", edgecolor="#0072B2"))
        ax.text(1, bottom + (height - 0.15) / 2, str(number), va="center", weight="bold", color="#D55E00")
        ax.text(5, bottom + (height - 0.15) / 2, "\n".join(lines), va="center", size="small", parse_math=False)
        bottom += height
    ax.set(xlim=(-1, 101), ylim=(-0.3, bottom + 0.1))
    ax.axis("off")


def main():
    """Draw it with pyplot, as the directive of the documentation expects."""
    import matplotlib.pyplot as plt

    # The directive runs this file in its own folder.
    layers = read_layers(Path("../../tests/test_layers.py"))
    draw(layers, plt.figure(figsize=(9, 7), layout="constrained").add_subplot())


if __name__ == "__main__":
    main()
