"""
Rows of a frame interpolated at other positions, with the variance, the flags and what the interpolation correlates.

Positions come as a mesh of nodes, bilinear between them. Pixels that are not to be used are NaN: whatever they touch
with a weight that is not 0 becomes NaN.
"""

from collections import namedtuple

import numpy as np

from ccdnight._kernels._jit import kernel, kernel_with_room

__all__ = ["Mesh", "Piece", "Target", "resample_rows"]

#: Where output pixels lie in the frame: `x` and `y` at nodes every `step` output pixels, the first node at output pixel
#: (0, 0), and `quiet`, the variance of the sky there in the unit of the output squared.
Mesh = namedtuple("Mesh", ["x", "y", "quiet", "step"])

#: Some rows of a frame, the first of them row `first` of `height`: values with NaN for what is not to be used, values
#: as they are, variance (no rows if there is none), flags.
Piece = namedtuple("Piece", ["good", "data", "variance", "flags", "first", "height"])

#: Rows of the output, all of shape (k, nx): value, variance, variance of the frame's sky as it is before it is
#: interpolated; over all frames the sum of values that were not to be used, their number, all flags, and how many
#: frames look at the pixel.
Target = namedtuple("Target", ["value", "variance", "quiet", "spare", "spares", "flags", "seen"])


@kernel_with_room
def resample_rows(piece, mesh, table, squares, start, factor, offset, out):
    """
    Interpolate a frame at the pixels of some output rows.

    Parameters
    ----------
    piece : Piece
        Rows of the frame; as many as the positions and the width of the interpolation need.
    mesh : Mesh
        Positions.
    table, squares : `~numpy.ndarray`
        Weights of the taps by phase, shape ``(phases + 1, taps)``, and the sum of their squares.
    start : int
        First output row.
    factor, offset : float
        What values are multiplied by, beside the ratio of the pixel areas, and what is then subtracted.
    out : Target
        Written; its sums are added to.

    Returns
    -------
    total, count : float
        Sum over the pixels of the part of a pixel's variance that the interpolation leaves, and their number.
    """
    k, nx = out.value.shape
    step, taps = mesh.step, table.shape[1]
    room = np.empty((2, step + taps, step))
    total, count = 0.0, 0
    for node in range(start // step, (start + k - 1) // step + 1):
        top, bottom = max(node * step - start, 0), min((node + 1) * step - start, k)
        for cell in range((nx + step - 1) // step):
            left, right = cell * step, min((cell + 1) * step, nx)
            block = top, bottom, left, right
            scale = factor * _area(mesh, node, cell)
            done, square = _block(piece, mesh, table, squares, node, cell, block, start, scale, offset, room, out)
            if done == 0:
                done, square = _pixels(piece, mesh, table, squares, node, cell, block, start, scale, offset, out)
            total += square
            count += max(done, 0)
    return total, count


@kernel
def _corner(mesh, node, cell, v, t):
    """Position at a place between four nodes."""
    x0 = (1 - v) * mesh.x[node, cell] + v * mesh.x[node + 1, cell]
    x1 = (1 - v) * mesh.x[node, cell + 1] + v * mesh.x[node + 1, cell + 1]
    y0 = (1 - v) * mesh.y[node, cell] + v * mesh.y[node + 1, cell]
    y1 = (1 - v) * mesh.y[node, cell + 1] + v * mesh.y[node + 1, cell + 1]
    return x0 + t * (x1 - x0), y0 + t * (y1 - y0)


@kernel
def _pixels(piece, mesh, table, squares, node, cell, block, start, scale, offset, out):
    """Pixel by pixel, each at its own phase: number of values and sum of their squared weights."""
    phases, step = table.shape[0] - 1, mesh.step
    top, bottom, left, right = block
    total, count = 0.0, -1
    for j in range(top, bottom):
        v = (start + j - node * step) / step
        x0, y0 = _corner(mesh, node, cell, v, 0.0)
        x1, y1 = _corner(mesh, node, cell, v, 1.0)
        q0, q1 = _quiet(mesh, node, cell, v)
        for i in range(left, right):
            t = (i - left) / step
            x, y = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
            quiet = (q0 + t * (q1 - q0)) * scale * scale
            square = _one(piece, x, y, table, squares, phases, scale, offset, j, i, quiet, out)
            if square > 0:
                total += square
                count = max(count, 0) + 1
    return count, total


@kernel
def _quiet(mesh, node, cell, v):
    quiet = mesh.quiet
    return (
        (1 - v) * quiet[node, cell] + v * quiet[node + 1, cell],
        (1 - v) * quiet[node, cell + 1] + v * quiet[node + 1, cell + 1],
    )


@kernel
def _split(value, phases):
    """The pixel before a position, and the phase."""
    whole = int(np.floor(value))
    phase = int((value - whole) * phases + 0.5)
    return (whole + 1, 0) if phase == phases else (whole, phase)


@kernel
def _block(piece, mesh, table, squares, node, cell, block, start, scale, offset, room, out):
    """
    The same for a block all of whose pixels have one phase, as those of a frame that is merely shifted: along the rows
    first, and then along the columns.

    Returns 0 values where it is no such block, or reaches over an edge; the sums are made in the order of `_one`, and
    are the same numbers.
    """
    phases, step, taps = table.shape[0] - 1, mesh.step, table.shape[1]
    top, bottom, left, right = block
    v0, v1 = (start + top - node * step) / step, (start + bottom - 1 - node * step) / step
    last = (right - 1 - left) / step
    x, y = _corner(mesh, node, cell, v0, 0.0)
    if taps == 1 or not (abs(x) < 1e9 and abs(y) < 1e9):
        return 0, 0.0
    column, px = _split(x, phases)
    row, py = _split(y, phases)
    for v, t in ((v0, last), (v1, 0.0), (v1, last)):
        x, y = _corner(mesh, node, cell, v, t)
        if not (abs(x) < 1e9 and abs(y) < 1e9):
            return 0, 0.0
        c, qx = _split(x, phases)
        r, qy = _split(y, phases)
        across, down = (right - 1 - left if t > 0 else 0), (bottom - 1 - top if v == v1 else 0)
        if qx != px or qy != py or c != column + across or r != row + down:
            return 0, 0.0
    before = taps // 2 - 1
    first, number = (before, 1) if px == 0 else (0, taps)
    upper, rows = (before, 1) if py == 0 else (0, taps)
    c0, r0 = column - before + first, row - piece.first - before + upper
    height, width = bottom - top, right - left
    if c0 < 0 or r0 < 0 or c0 + width - 1 + number > piece.good.shape[1] or r0 + height - 1 + rows > len(piece.good):
        return 0, 0.0
    wx, wy = table[px, first : first + number], table[py, upper : upper + rows]
    has = piece.variance.shape[0] > 0
    _along_rows(piece.good, r0, c0, height + rows - 1, width, wx, False, room[0])
    if has:
        _along_rows(piece.variance, r0, c0, height + rows - 1, width, wx, True, room[1])
    square, count = squares[px] * squares[py], 0
    for j in range(top, bottom):
        q0, q1 = _quiet(mesh, node, cell, (start + j - node * step) / step)
        for i in range(left, right):
            value, variance = 0.0, 0.0
            for t in range(rows):
                value += wy[t] * room[0, j - top + t, i - left]
            out.seen[j, i] += 1
            if not abs(value) < np.inf:
                out.value[j, i], out.variance[j, i], out.quiet[j, i] = np.nan, np.nan, np.nan
                r1, c1 = r0 + j - top, c0 + i - left
                near = column + i - left, row - piece.first + j - top
                _spoiled(piece, c1, c1 + number, r1, r1 + rows, near[0], near[1], scale, offset, j, i, out)
                continue
            quiet = (q0 + (i - left) / step * (q1 - q0)) * scale * scale
            if has:
                for t in range(rows):
                    variance += wy[t] * wy[t] * room[1, j - top + t, i - left]
            out.value[j, i] = value * scale - offset
            out.variance[j, i] = variance * scale * scale if has else quiet * square
            out.quiet[j, i] = quiet
            count += 1
    return (count, count * square) if count else (-1, 0.0)


@kernel
def _along_rows(image, r0, c0, height, width, weights, squared, room):
    """Sums of weights (or their squares) times values along the rows of a block."""
    for r in range(height):
        line, target = image[r0 + r], room[r]
        for i in range(width):
            target[i] = 0.0
        for t in range(len(weights)):
            weight = weights[t] * weights[t] if squared else weights[t]
            for i in range(width):
                target[i] += weight * line[c0 + i + t]


@kernel
def _area(mesh, node, cell):
    """Pixels of the frame for one of the output."""
    x, y = mesh.x, mesh.y
    ax = x[node, cell + 1] - x[node, cell] + x[node + 1, cell + 1] - x[node + 1, cell]
    ay = y[node, cell + 1] - y[node, cell] + y[node + 1, cell + 1] - y[node + 1, cell]
    bx = x[node + 1, cell] - x[node, cell] + x[node + 1, cell + 1] - x[node, cell + 1]
    by = y[node + 1, cell] - y[node, cell] + y[node + 1, cell + 1] - y[node, cell + 1]
    return abs(ax * by - ay * bx) / (4.0 * mesh.step * mesh.step)


@kernel
def _one(piece, x, y, table, squares, phases, scale, offset, j, i, quiet, out):
    """One output pixel; the sum of the squared weights, 0 where it has no value."""
    out.value[j, i], out.variance[j, i], out.quiet[j, i] = np.nan, np.nan, np.nan
    taps = table.shape[1]
    width = piece.good.shape[1]
    if not (x > -0.5 and y > -0.5 and x < width - 0.5 and y < piece.height - 0.5):
        return 0.0
    out.seen[j, i] += 1
    # The position to the next phase; the last of them is the next pixel.
    column, row = int(np.floor(x)), int(np.floor(y))
    px, py = int((x - column) * phases + 0.5), int((y - row) * phases + 0.5)
    if taps == 1:
        column, row, px, py = int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), 0, 0
    if px == phases:
        px, column = 0, column + 1
    if py == phases:
        py, row = 0, row + 1
    row -= piece.first
    before = taps // 2 - 1 if taps > 1 else 0
    # On a pixel itself only that pixel counts.
    c0, c1 = (column, column + 1) if px == 0 else (column - before, column - before + taps)
    r0, r1 = (row, row + 1) if py == 0 else (row - before, row - before + taps)
    bx, by = (before, before) if taps > 1 else (0, 0)
    bx, by = (bx if px == 0 else 0), (by if py == 0 else 0)
    if c0 < 0 or r0 < 0 or c1 > width or r1 > piece.good.shape[0]:
        _at_the_edge(piece, column, row, scale, offset, j, i, out)
        return 0.0
    value, variance = 0.0, 0.0
    wx, wy = table[px], table[py]
    for r in range(r0, r1):
        line, part, weight = piece.good[r], 0.0, wy[r - r0 + by]
        for c in range(c0, c1):
            part += wx[c - c0 + bx] * line[c]
        value += weight * part
    if not abs(value) < np.inf:
        _spoiled(piece, c0, c1, r0, r1, column, row, scale, offset, j, i, out)
        return 0.0
    if piece.variance.shape[0]:
        for r in range(r0, r1):
            line, part, weight = piece.variance[r], 0.0, wy[r - r0 + by]
            for c in range(c0, c1):
                part += wx[c - c0 + bx] * wx[c - c0 + bx] * line[c]
            variance += weight * weight * part
    square = squares[px] * squares[py]
    out.value[j, i] = value * scale - offset
    out.variance[j, i] = variance * scale * scale if piece.variance.shape[0] else quiet * square
    out.quiet[j, i] = quiet
    return square


@kernel
def _spoiled(piece, c0, c1, r0, r1, column, row, scale, offset, j, i, out):
    """A pixel within reach of flagged ones: their flags, and the nearest value for where there is no other."""
    bits = out.flags[j, i]
    for r in range(r0, r1):
        for c in range(c0, c1):
            if not abs(piece.good[r, c]) < np.inf:
                bits |= piece.flags[r, c]
    out.flags[j, i] = bits
    value = piece.data[min(max(row, 0), piece.data.shape[0] - 1), min(max(column, 0), piece.data.shape[1] - 1)]
    if abs(value) < np.inf:
        out.spare[j, i] += value * scale - offset
        out.spares[j, i] += 1


@kernel
def _at_the_edge(piece, column, row, scale, offset, j, i, out):
    """Within half the width of the interpolation from the edge of the frame."""
    column = min(max(column, 0), piece.data.shape[1] - 1)
    row = min(max(row, 0), piece.data.shape[0] - 1)
    out.flags[j, i] |= piece.flags[row, column]
    value = piece.good[row, column]
    if abs(value) < np.inf:
        out.spare[j, i] += value * scale - offset
        out.spares[j, i] += 1
