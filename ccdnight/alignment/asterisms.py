"""
Which star of one list is which of another: by a common shift, or by triangles that shift, turn and mirror together.

Triangles of neighboring stars are compared by the ratios of their sides (Groth 1986, AJ 91, 1244; Valdes et al. 1995,
PASP 107, 1119). Every pair of similar triangles proposes a transformation; the one that brings most stars to stars
wins, and must do so better than chance.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Match", "fit_linear", "match_lists"]

#: Stars that are compared at first, and after that did not do.
_BRIGHTEST = (50, 150)
#: Neighbors that make triangles with a star.
_NEIGHBORS = 6
#: Pixels within which a proposed transformation must bring stars to stars.
_REACH = 3.0
#: Stars up to which all of them count.
_FEW = 10
#: Largest probability that as many stars fall together by chance.
_CHANCE = 1e-3


@dataclass(frozen=True)
class Match:
    """
    Stars of two lists that are the same.

    Attributes
    ----------
    first, second : `~numpy.ndarray`
        Rows in the two lists.
    matrix, offset : `~numpy.ndarray`
        ``first = matrix @ second + offset``.
    """

    first: np.ndarray
    second: np.ndarray
    matrix: np.ndarray
    offset: np.ndarray

    def __len__(self):
        return len(self.first)

    @property
    def scale(self):
        """Pixels of the first per pixel of the second."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    @property
    def mirrored(self):
        """Whether one of the lists is mirrored."""
        return bool(np.linalg.det(self.matrix) < 0)

    @property
    def angle(self):
        """Rotation in degrees."""
        sign = -1 if self.mirrored else 1
        return float(np.degrees(np.arctan2(self.matrix[1, 0], sign * self.matrix[1, 1])))


def match_lists(first, second, *, area, scales=(0.1, 10.0)):
    """
    Find the stars that two lists have in common.

    Parameters
    ----------
    first, second : `~numpy.ndarray`
        Positions, shape ``(n, 2)``, the brightest first; `second` as near to `first` as is known beforehand.
    area : float
        Pixels of a frame, for the probability that stars fall together by chance.
    scales : tuple of float, optional
        Lowest and highest ratio of the scales.

    Returns
    -------
    Match or None
        None if no transformation does better than chance. One star in each list is a shift, which nothing confirms.
    """
    if not len(first) or not len(second):
        return None
    found = []
    for number in _BRIGHTEST:
        one, other = first[:number], second[:number]
        found = [item for item in (_by_shift(one, other, area), _by_triangles(one, other, area, scales)) if item]
        if found or number >= max(len(first), len(second)):
            break
    if not found and len(first) == len(second) == 1:
        found = [Match(np.array([0]), np.array([0]), np.eye(2), first[0] - second[0])]
    if not found:
        return None
    found = [_refined(first, second, item) for item in found]
    found = [item for item in found if scales[0] <= item.scale <= scales[1]]
    return max(found, key=len, default=None)


def _nearest(first, second, matrix, offset, reach):
    """Pairs that are each other's nearest within a reach."""
    from scipy.spatial import cKDTree

    moved = second @ matrix.T + offset
    distance, near = cKDTree(first).query(moved, distance_upper_bound=reach)
    back = cKDTree(moved).query(first, distance_upper_bound=reach)[1]
    rows = np.flatnonzero(np.isfinite(distance))
    rows = rows[back[near[rows]] == rows]
    return near[rows], rows


def _by_chance(count, first, moved, area, trials):
    """
    Probability that one of many transformations brings so many more stars together than those that define it.

    Stars of a cluster fall together more often than stars that are spread evenly: how often, lists that are shifted
    out of step tell.
    """
    from scipy.spatial import cKDTree
    from scipy.stats import poisson

    expected = len(first) * len(moved) * np.pi * _REACH**2 / area
    turns = np.radians(np.arange(0, 360, 30))
    steps = np.column_stack([np.cos(turns), np.sin(turns)])
    tree = cKDTree(first)
    for reach in (5 * _REACH, 12 * _REACH):
        shifted = (moved[None] + reach * steps[:, None]).reshape(-1, 2)
        counts = np.isfinite(tree.query(shifted, distance_upper_bound=_REACH)[0])
        expected = max(expected, counts.mean() * len(moved))
    return min(1.0, trials * float(poisson.sf(count - 1, expected)))


def _by_shift(first, second, area):
    """The commonest difference of positions."""
    from scipy.spatial import cKDTree

    steps = (first[:, None, :] - second[None, :, :]).reshape(-1, 2)
    tree = cKDTree(steps)
    counts = tree.query_ball_point(steps, _REACH, return_length=True)
    best = np.argmax(counts)
    shift = np.median(steps[tree.query_ball_point(steps[best], _REACH)], axis=0)
    one, other = _nearest(first, second, np.eye(2), shift, _REACH)
    # One of the pairs chose the shift.
    if len(one) < 2 or _by_chance(len(one) - 1, first, second + shift, area, len(steps)) > _CHANCE:
        return None
    return Match(one, other, np.eye(2), np.median(first[one] - second[other], axis=0))


def _triangles(points):
    """Triangles of each star with its neighbors: ratios of the sides, and the corners in the order of the sides."""
    from itertools import combinations

    from scipy.spatial import cKDTree

    number = min(_NEIGHBORS + 1, len(points))
    near = cKDTree(points).query(points, number)[1].reshape(len(points), -1)
    corners = {tuple(sorted(item)) for row in near for item in combinations(row.tolist(), 3)}
    corners |= set(combinations(range(min(len(points), 10)), 3))
    corners = np.array(sorted(corners), int).reshape(-1, 3)
    # The side opposite to each corner.
    sides = np.stack(
        [np.hypot(*(points[corners[:, i]] - points[corners[:, j]]).T) for i, j in ((1, 2), (0, 2), (0, 1))]
    )
    order = np.argsort(sides, axis=0)
    corners = np.take_along_axis(corners, order.T, axis=1)
    short, middle, long = np.take_along_axis(sides, order, axis=0)
    # Nearly equal sides have no order, flat triangles no shape, and small ones no precision.
    good = (long > 12) & (short > 0.15 * long) & (middle < 0.98 * long) & (short < 0.98 * middle)
    good &= short + middle > 1.02 * long
    ratios = np.column_stack([short / np.maximum(long, 1), middle / np.maximum(long, 1)])
    return ratios[good], corners[good], long[good]


def _by_triangles(first, second, area, scales):
    """The best of all transformations that pairs of similar triangles propose."""
    from scipy.spatial import cKDTree

    if len(first) < 3 or len(second) < 3:
        return None
    one, other = _triangles(first), _triangles(second)
    if not len(one[0]) or not len(other[0]):
        return None
    pairs = cKDTree(one[0]).query_ball_tree(cKDTree(other[0]), 0.008)
    pairs = np.array([(i, j) for i, row in enumerate(pairs) for j in row], int).reshape(-1, 2)
    ratio = one[2][pairs[:, 0]] / other[2][pairs[:, 1]]
    pairs = pairs[(ratio > scales[0]) & (ratio < scales[1])]
    if not len(pairs):
        return None
    # Long sides fix a transformation best: those are tried first where there are too many.
    pairs = pairs[np.argsort(-other[2][pairs[:, 1]], kind="stable")[:20000]]
    matrices, offsets = _similarities(first[one[1][pairs[:, 0]]], second[other[1][pairs[:, 1]]])
    best = _most_votes(first, second, matrices, offsets)
    matrix, offset = matrices[best], offsets[best]
    near = _nearest(first, second, matrix, offset, _REACH)
    if len(near[0]) < 3:
        return None
    # Three of the pairs chose the transformation.
    moved = second @ matrix.T + offset
    chance = _by_chance(len(near[0]) - 3, first, moved, area, len(pairs)) if len(near[0]) > 3 else 1.0
    if max(len(first), len(second)) <= _FEW:
        chance = min(chance, _by_shape(first, moved, near, area, len(pairs)))
    return Match(*near, matrix, offset) if chance < _CHANCE else None


def _by_shape(first, moved, near, area, trials):
    """
    The same for a few stars, which fall together more closely than the reach.

    Two of them fix shift, rotation and scale; each of the others then had to fall so near by chance.
    """
    count = len(near[0])
    matrix, offset = fit_linear(first[near[0]], moved[near[1]])
    gap = moved[near[1]] @ matrix.T + offset - first[near[0]]
    reach = max(3 * np.sqrt((gap**2).sum() / max(count - 2, 1)), 0.5)
    return min(1.0, trials * float(len(first) * np.pi * reach**2 / area) ** (count - 2))


def _similarities(to, from_):
    """Shift, rotation, scale and reflection between corresponding triangles, all at once."""
    z, w = (item[..., 0] + 1j * item[..., 1] for item in (to, from_))
    areas = [np.imag(np.conj(c[:, 1] - c[:, 0]) * (c[:, 2] - c[:, 0])) for c in (z, w)]
    mirrored = areas[0] * areas[1] < 0
    w = np.where(mirrored[:, None], np.conj(w), w)
    dz, dw = z - z.mean(1, keepdims=True), w - w.mean(1, keepdims=True)
    turn = (dz * np.conj(dw)).sum(1) / (np.abs(dw) ** 2).sum(1)
    shift = z.mean(1) - turn * w.mean(1)
    sign = np.where(mirrored, -1.0, 1.0)
    rows = [np.stack([turn.real, -sign * turn.imag], 1), np.stack([turn.imag, sign * turn.real], 1)]
    return np.stack(rows, 1), np.column_stack([shift.real, shift.imag])


def _most_votes(first, second, matrices, offsets):
    """Number of the transformation that brings most stars to stars."""
    from scipy.spatial import cKDTree

    tree = cKDTree(first)
    best, most = 0, -1
    for start in range(0, len(matrices), 1000):
        chunk = slice(start, start + 1000)
        moved = np.einsum("kij,nj->kni", matrices[chunk], second) + offsets[chunk, None, :]
        distance = tree.query(moved.reshape(-1, 2), distance_upper_bound=_REACH)[0]
        votes = np.isfinite(distance).reshape(len(moved), -1).sum(1)
        if votes.max() > most:
            best, most = start + int(np.argmax(votes)), int(votes.max())
    return best


def _refined(first, second, match):
    """All stars, brought together ever more closely."""
    for reach in (_REACH, _REACH, 2.0, 1.5):
        matrix, offset = fit_linear(first[match.first], second[match.second], start=match.matrix)
        near = _nearest(first, second, matrix, offset, reach)
        if len(near[0]) < max(1, len(match) // 2):
            break
        match = Match(*near, matrix, offset)
    return match


def fit_linear(first, second, *, weights=None, start=None):
    """
    The linear transformation from one list to the other, with as many parameters as the stars carry.

    Parameters
    ----------
    first, second : `~numpy.ndarray`
        Positions of the same stars, shape ``(n, 2)``.
    weights : `~numpy.ndarray`, optional
        Of each star.
    start : `~numpy.ndarray`, optional
        Matrix that is kept where a star or two cannot tell another; the unit matrix by default.

    Returns
    -------
    matrix, offset : `~numpy.ndarray`
        ``first = matrix @ second + offset``. One star gives a shift, up to seven a shift with rotation and scale, more
        of them all six numbers.
    """
    start = np.eye(2) if start is None else np.asarray(start, float)
    weights = np.ones(len(first)) if weights is None else np.asarray(weights, float)
    middle, other = (np.average(item, axis=0, weights=weights) for item in (first, second))
    a, b = first - middle, second - other
    spread = np.sqrt(np.average((b**2).sum(1), weights=weights))
    if len(first) == 1 or spread < 5:
        matrix = start
    elif len(first) < 8:
        matrix = _turned(a, b @ start.T, weights) @ start
    else:
        root = np.sqrt(weights)[:, None]
        matrix = np.linalg.lstsq(b * root, a * root, rcond=None)[0].T
        if np.linalg.cond(matrix) > 1.5:
            matrix = _turned(a, b @ start.T, weights) @ start
    return matrix, middle - matrix @ other


def _turned(a, b, weights):
    """Rotation and scale that bring b to a."""
    z, w = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    turn = (weights * z * np.conj(w)).sum() / (weights * np.abs(w) ** 2).sum()
    return np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
