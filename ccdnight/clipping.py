"""What an error must be multiplied by because values were combined by their median, or because some were rejected."""

from functools import lru_cache

import numpy as np

__all__ = ["MEDIAN_FACTORS", "clipping_factors", "median_factor"]

#: Standard deviation of the median of n normal values in units of that of their mean (exact, n = 1 to 30).
MEDIAN_FACTORS = (
    *(1.0, 1.0, 1.1602, 1.0922, 1.1976, 1.1351, 1.2137, 1.1599, 1.2227, 1.1761),
    *(1.2283, 1.1875, 1.2322, 1.1960, 1.2351, 1.2025, 1.2373, 1.2077, 1.2390, 1.2120),
    *(1.2403, 1.2155, 1.2415, 1.2185, 1.2424, 1.2210, 1.2433, 1.2233, 1.2440, 1.2252),
)
#: Numbers that are drawn for an entry of the clipping factors, and most stacks.
_DRAWS, _STACKS = 1_000_000, 40_000
_SEED = 20_190_515


def median_factor(n):
    """
    Standard deviation of the median of `n` normal values in units of that of their mean.

    Parameters
    ----------
    n : int
        1 or more.

    Returns
    -------
    float
        Exact up to 30; beyond, the square root of pi/2 with the next term of the expansion in 1/n, fitted to
        the exact values (good to 0.05 %).
    """
    if n <= len(MEDIAN_FACTORS):
        return MEDIAN_FACTORS[max(n, 1) - 1]
    return float(np.sqrt(np.pi / 2) * (1 - (0.215 if n % 2 else 0.671) / n))


@lru_cache(maxsize=64)
def clipping_factors(rule, method, n, least=2):
    """
    What the variance from the scatter must be multiplied by for 0, 1, ... `n` usable values.

    Values that are clipped are the outermost ones, so that the scatter of what is left is too small, and the
    combined value is a little worse than the mean of all. Both are measured on normal values that go through
    the very kernel, from a fixed seed, so that the factors belong to the rule whatever its thresholds, sides and
    rounds. Few numbers of values are measured where there are many; between them the factors are interpolated
    in 1/n.

    Parameters
    ----------
    rule : Rule
        See `ccdnight._kernels.blocks`.
    method : {'average', 'median', 'sum'}
        How the values are combined.
    n : int
        Number of frames.
    least : int, optional
        Fewest usable values that a pixel can have; factors for fewer have no meaning.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(n + 1,)``; 1 where nothing can be said (0 and 1).
    """
    from ccdnight._kernels.blocks import NO_RULE

    if rule.kind == NO_RULE or n < 2:
        return np.ones(n + 1)
    nodes = [count for count in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 24, 48, 96, 200) if least <= count < n] + [n]
    factors = [_measured(rule, method, count) for count in nodes]
    counts = np.arange(1, n + 1)
    # Ascending in -1/n.
    found = np.interp(-1 / counts, -1 / np.array(nodes), factors)
    return np.concatenate([[1.0, 1.0], found[1:]])


def _measured(rule, method, n):
    from ccdnight import _strips

    stacks = min(_STACKS, _DRAWS // n)
    values = np.random.default_rng([_SEED, n]).standard_normal((n, stacks), dtype=np.float32)
    clipped = _stacked(values, rule, method)
    plain = _stacked(values, _strips.rule_of("none"), method)
    # What the same values give unclipped has the right answer 1, and shares most of the chance.
    true = np.var(clipped.data, dtype=np.float64) / np.var(plain.data, dtype=np.float64)
    known = np.isfinite(clipped.error)
    if not known.any():
        return 1.0
    return true * np.mean(plain.error**2, dtype=np.float64) / np.mean(clipped.error[known] ** 2, dtype=np.float64)


def _stacked(values, rule, method):
    from ccdnight import _strips

    n = len(values)
    work = _strips.Work(
        sources=[_Values(row) for row in values],
        rule=rule,
        method=method,
        uncertainty="empirical",
        floor=-np.inf,
        ceiling=np.inf,
        noise=_UnitNoise,
        scales=np.ones(n),
        offsets=np.zeros(n),
        zeros=np.zeros(n),
        weights=None,
        exclude=0,
        factors=np.array([[median_factor(count) ** 2 for count in range(n + 1)], np.ones(n + 1)]),
    )
    # As the command line stacks: each type of the result is a kernel of its own, which takes time to load.
    return _strips.run(work, dtype=np.dtype(np.float32), workers=1)


class _UnitNoise:
    read_noise, gain, sensitivity, pedestal = 1.0, None, 0.0, 0.0


class _Values:
    """Numbers as the rows of a frame."""

    def __init__(self, values):
        self._values, self.shape = values.reshape(-1, 1), (values.size, 1)

    def fill(self, rows, out, _exclude):
        out[...] = self._values[rows]
