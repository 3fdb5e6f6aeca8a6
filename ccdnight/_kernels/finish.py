"""The last pass over a master: values, errors and flags of a stack in the units of the master."""

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = ["finish_master"]


@kernel
def finish_master(stack, extra, scale, rule, out, sigma, flags):
    """
    Normalize the rows of a stack, add a common error, and flag what cannot be used.

    This is equivalent, for each pixel, to::

        value = data / norm
        empty = (count == 0) | ~isfinite(value)
        blind = empty | (value < dead)
        flags = where(blind, blind_bit, 0) | where(~empty & (count < least), few_bit, 0)
        usable = isfinite(value) & ~(blind & strict)
        out = where(usable, value, nan)
        sigma = where(usable & isfinite(error), hypot(error / norm, extra * share), 0)

    Parameters
    ----------
    stack : tuple of `~numpy.ndarray`
        data and error, float32, and count, uint16; each of shape ``(n,)``.
    extra : `~numpy.ndarray`
        float32, an error that all frames have in common; of size 0 for none.
    scale : tuple of float32
        norm and share.
    rule : tuple
        dead, float32; least, float32; blind_bit and few_bit, uint16; strict, bool.
    out, sigma : `~numpy.ndarray`
        float32; written.
    flags : `~numpy.ndarray`
        uint16; written.

    Returns
    -------
    int
        Pixels that are not usable.
    """
    data, error, count = stack
    norm, share = scale
    dead, least, blind_bit, few_bit, strict = rule
    nothing, lost, common = np.float32(0), 0, extra.size > 0
    for i in range(data.size):
        value, noise = data[i] / norm, error[i] / norm
        if common:
            noise = np.sqrt(noise * noise + extra[i] * share * (extra[i] * share))
        finite = value - value == nothing
        empty = (count[i] == 0) | (not finite)
        blind = empty | (value < dead)
        few = (not empty) & (np.float32(count[i]) < least)
        usable = finite & (not (blind & strict))
        flags[i] = (blind_bit if blind else np.uint16(0)) | (few_bit if few else np.uint16(0))
        out[i] = value if usable else np.float32(np.nan)
        sigma[i] = noise if usable & (noise - noise == nothing) else nothing
        lost += not usable
    return lost
