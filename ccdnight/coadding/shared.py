"""Noise of the masters, which frames have in common where they lie on the same pixels."""

import numpy as np

__all__ = ["add_shared_variance"]


def add_shared_variance(maps, layers, facts, recipe):
    """
    Add what the masters' noise contributes beyond that of independent frames.

    Each frame's variance holds that of its masters once, as if it were its own. Where frames with the same masters lie
    within a pixel of each other, the noise of the masters does not average out: of n such frames it stands in the
    coadd as in one of them.

    Parameters
    ----------
    maps : Maps
        The coadd; its error is changed in place.
    layers : list of Layer
        The frames.
    facts : list of Facts
        With the variance that the masters bring.
    recipe : Recipe
        Tells how frames are weighted.
    """
    groups = _groups(layers, facts)
    if all(len(group) == 1 for group in groups):
        return
    weights = np.ones(len(layers))
    if recipe.weighted:
        weights = np.array([1 / (np.nanmedian(item.mesh.quiet) * item.factor**2) for item in layers])
    weights /= weights.sum()
    constant = relative = 0.0
    for group in groups:
        part = weights[group]
        times = part.sum() ** 2 - (part**2).sum()
        # All of a group have the same masters; their mean scale stands for each of them.
        factor = np.mean([layers[number].factor for number in group])
        constant += times * factor**2 * facts[group[0]].shared[0]
        relative += times * facts[group[0]].shared[1] ** 2
    light = np.maximum(maps.data + np.float32(np.mean([item.offset for item in layers])), 0)
    maps.error[...] = np.sqrt(maps.error**2 + np.float32(constant) + np.float32(relative) * light**2)


def _groups(layers, facts):
    """Frames with the same masters whose pixels lie within a pixel of each other."""
    middles = []
    for layer in layers:
        inside = np.isfinite(layer.mesh.x) & np.isfinite(layer.mesh.y)
        middles.append([layer.mesh.x[inside], layer.mesh.y[inside], layer.mesh.step])
    groups = []
    for number, (x, y, step) in enumerate(middles):
        for group in groups:
            other = middles[group[0]]
            same = facts[group[0]].masters == facts[number].masters and other[2] == step and other[0].shape == x.shape
            if same and x.size and np.hypot(np.median(x - other[0]), np.median(y - other[1])) < 1:
                group.append(number)
                break
        else:
            groups.append([number])
    return groups
