"""What the calls of ccdproc say, in the words of the stacking engine."""

import difflib

import ccdproc
import numpy as np
from astropy.stats import mad_std

__all__ = ["ccdproc_combine", "clip_rule", "refuse_unknown"]

#: Bound here, so that putting ours in the place of ccdproc's does not make ours call itself.
ccdproc_combine = ccdproc.combine
_sigma_func = ccdproc.core.sigma_func
_CENTERS = {"mean": "mean", "median": "median"}
_CENTERS |= dict.fromkeys((np.mean, np.ma.mean, np.nanmean), "mean")
_CENTERS |= dict.fromkeys((np.median, np.ma.median, np.nanmedian), "median")
_DEVIATIONS = {"std": "sigma", "mad_std": "mad", mad_std: "mad", _sigma_func: "mad"}
_DEVIATIONS |= dict.fromkeys((np.std, np.ma.std, np.nanstd), "sigma")


def clip_rule(low, high, func, dev_func, maxiters):
    """
    Sigma clipping, as the engine is told of it.

    Parameters
    ----------
    low, high : float or None
        Thresholds in deviations; None rejects nothing on that side.
    func, dev_func : str or callable
        Center and deviation.
    maxiters : int or None
        Rounds; None goes on until nothing is rejected.

    Returns
    -------
    dict or None
        Keywords of `ccdnight.stacking.stack`; None for a center or deviation that the engine does not know.
    """
    center, deviation = _known(_CENTERS, func), _known(_DEVIATIONS, dev_func)
    if not (center and deviation):
        return None
    sigma = tuple(None if value is None or np.isinf(value) else abs(value) for value in (low, high))
    return {"reject": deviation, "sigma": sigma, "center": center, "maxiters": -1 if maxiters is None else maxiters}


def _known(table, key):
    try:
        return table.get(key)
    except TypeError:
        return None


def refuse_unknown(given, known, name):
    """
    Refuse keywords that nobody knows, which ccdproc drops without a word.

    Parameters
    ----------
    given, known : iterable of str
        Keywords.
    name : str
        Function that was called.

    Raises
    ------
    TypeError
        Naming the keyword, and the one that is meant or all that are known.
    """
    for word in given:
        if word not in known:
            near = difflib.get_close_matches(word, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
            msg = f"{name}() got a keyword {word!r} that nobody knows{hint}"
            raise TypeError(msg)
