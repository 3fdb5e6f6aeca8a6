"""Bad pixels that were planted in a simulated night, as far as its frames can show them."""

import numpy as np

from ccdnight.pulls import cut

__all__ = ["planted_pixels"]

#: Noisy pixels count from this factor on the read noise, hot ones from so many standard deviations of what is seen.
_NOISY, _HOT = 6.0, 6.0


def planted_pixels(reduction, truth):
    """
    Pixels of a trimmed frame by what was planted in them.

    Parameters
    ----------
    reduction : Reduction
        Its plan says which frames there were.
    truth : `ccdnight.simulate.Truth`
        What was put in.

    Returns
    -------
    dict of str to `~numpy.ndarray`
        bool, shape ``(ny, nx)``. 'noisy' are those above 6 times the read noise; 'hot' those whose charge in the
        longest darks is above 6 standard deviations of the mean of these darks less that of their biases, none
        without darks; then all of 'dead', 'column', 'patch', 'trap' and 'unexposed', and 'good', in which nothing was
        planted.
    """
    edge, bad = reduction.plan.policy.edge, truth.bad_pixels
    maps = {}
    for kind in ("dead", "column", "patch", "trap", "unexposed"):
        maps[kind] = _places(truth, bad[bad["kind"] == kind])
    maps["noisy"] = _places(truth, bad[(bad["kind"] == "noisy") & (bad["noise"] > _NOISY)])
    maps["hot"] = _places(truth, bad[bad["kind"] == "hot"]) & _shown(reduction, truth)
    maps["good"] = ~truth.bad
    return {kind: cut(item, edge) for kind, item in maps.items()}


def _places(truth, rows):
    out = np.zeros(truth.night.camera.data_shape, bool)
    out[rows["y"], rows["x"]] = True
    return out


def _shown(reduction, truth):
    """Pixels with more charge in the longest darks than noise can make."""
    masters = {master.name: master for master in reduction.plan.masters}
    darks = [item for item in masters.values() if item.kind == "dark" and len(item.inputs) >= 3]
    if not darks:
        return np.zeros(truth.night.camera.data_shape, bool)
    longest = max(darks, key=lambda item: _seconds(truth.exposure(item.inputs[0])))
    first = truth.exposure(longest.inputs[0])
    variance = truth.variance(first.path) / len(longest.inputs)
    if longest.bias:
        biases = masters[longest.bias].inputs
        variance = variance + truth.variance(biases[0]) / len(biases)
    rate = np.zeros(variance.shape, np.float32)
    rate[truth.bad_pixels["y"], truth.bad_pixels["x"]] = truth.bad_pixels["rate"]
    return rate * _seconds(first) > _HOT * np.sqrt(variance)


def _seconds(exposure):
    return exposure.dark_time or exposure.exposure
