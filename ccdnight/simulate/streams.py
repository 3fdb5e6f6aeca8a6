"""Random numbers that depend on the seed and on what they are for, never on the order of the work."""

import zlib

import numpy as np

__all__ = ["generator"]


def generator(seed, *purpose):
    """
    Random generator for one purpose.

    Each term of each frame has a stream of its own, so a term that is switched off leaves the others'
    numbers as they are, and a frame comes out the same whichever frames are made before it. This is the
    spawning of `~numpy.random.SeedSequence` with keys instead of counters.

    Parameters
    ----------
    seed : int
        Seed of the night.
    *purpose : str
        What the numbers are for, such as ``"photons", "ccd.037.0.fits"``.

    Returns
    -------
    numpy.random.Generator
    """
    key = tuple(zlib.crc32(word.encode()) for word in purpose)
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=key))
