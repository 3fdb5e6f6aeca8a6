"""Tables of the benchmarks, as they stand in the documentation."""

__all__ = ["table"]


def table(title, header, rows):
    """Print a simple table of reStructuredText."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    line = "  ".join("=" * width for width in widths)
    print(f"\n{title}\n\n{line}")
    for number, row in enumerate([header, *rows]):
        print("  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print(line)
    print(line, flush=True)
