"""From charge to numbers: gain, bias, deferred charge, noise, the converter."""

import numpy as np

from ccdnight.simulate.streams import generator

__all__ = ["bias_shape", "deferred_charge", "digitize", "linearity_of", "non_linear", "read_out", "row_level"]


def bias_shape(camera, physics):
    """
    Fixed shape of the bias in the image, over the level of the overscan.

    Parameters
    ----------
    camera : Camera
        Gives the rise at the left edge, the wave and the ramp.
    physics : Physics
        Terms.

    Returns
    -------
    numpy.ndarray
        Adu, data frame, float32.
    """
    ny, nx = camera.data_shape
    if not physics.bias_gradient:
        return np.zeros((ny, nx), np.float32)
    height, scale = camera.bias_gradient
    amplitude, periods = camera.bias_wave
    start, rise = camera.bias_ramp
    x, y = np.arange(nx), np.arange(ny)[:, np.newaxis]
    along = height * np.exp(-x / scale) + start + rise * x / nx
    return (along + amplitude * np.sin(2 * np.pi * periods * y / ny)).astype(np.float32)


def row_level(exposure, camera, physics, seed):
    """
    Level of each row: that of the frame and a slow change while it is read.

    Parameters
    ----------
    exposure, camera, physics, seed
        The exposure, the camera, the terms, the seed.

    Returns
    -------
    numpy.ndarray
        Adu, shape ``(ny,)`` of the raw frame.
    """
    ny = camera.shape[0]
    if not physics.bias_drift:
        return np.full(ny, exposure.bias_level)
    periods, phase = generator(seed, "bias drift", exposure.path).uniform((0.5, 0), (1.5, 2 * np.pi))
    return exposure.bias_level + camera.row_drift * np.sin(2 * np.pi * periods * np.arange(ny) / ny + phase)


def non_linear(charge, full_well, loss):
    """
    Signal of an amplifier that answers less and less: ``S = Q (1 - loss Q / full_well)``.

    The first term beyond the linear one of a source follower (Janesick 2007, chapter 8).

    Parameters
    ----------
    charge : numpy.ndarray
        Electron.
    full_well, loss : float
        Electron, and relative loss there.

    Returns
    -------
    numpy.ndarray
        Electron as the gain sees them.
    """
    return charge * (1 - np.float32(loss / full_well) * charge)


def linearity_of(readout, loss, *, degree=4):
    """
    What makes the signals of `non_linear` linear again.

    The series of the inverse: ``Q = S (1 + q + 2 q^2 + 5 q^3 + 14 q^4)`` with ``q = loss S / full_well``; the next
    term, with a loss of 2 %, is below 2e-7.

    Parameters
    ----------
    readout : Readout
        The amplifier.
    loss : float
        Relative loss at full well.
    degree : int, optional
        Number of coefficients, up to 4.

    Returns
    -------
    tuple of float
        For `ccdnight.profiles.Amplifier.linearity`, in powers of 1/adu.
    """
    unit = loss * readout.gain / readout.full_well
    return tuple(factor * unit**power for power, factor in enumerate((1, 2, 5, 14)[:degree], 1))


def deferred_charge(last, columns, trailing):
    """
    Charge of the last pixels that arrives late, in the first overscan columns.

    What is left behind in a transfer comes with the next pixels: the extended pixel edge response
    (Janesick 2001, chapter 5).

    Parameters
    ----------
    last : numpy.ndarray
        Charge of the last image pixel of each row, in electron.
    columns : int
        Overscan columns.
    trailing : tuple of (float, float, int)
        Fraction in the first column, columns over which it falls by e, columns it reaches.

    Returns
    -------
    numpy.ndarray
        Electron, shape ``(last.size, columns)``.
    """
    fraction, decay, reach = trailing
    place = np.arange(columns)
    share = np.where(place < reach, fraction * np.exp(-place / decay), 0.0)
    return np.outer(last, share).astype(np.float32)


def read_out(charge, exposure, camera, physics, seed, shape, defects):
    """
    Raw frame before the converter.

    Parameters
    ----------
    charge : numpy.ndarray
        Electron, data frame.
    exposure, camera, physics, seed
        The exposure, the camera, the terms, the seed.
    shape : numpy.ndarray
        `bias_shape`.
    defects : `~astropy.table.Table`
        Bad pixels.

    Returns
    -------
    numpy.ndarray
        Adu, raw frame, float32.
    """
    raw = np.empty(camera.shape, np.float32)
    raw[:] = row_level(exposure, camera, physics, seed)[:, np.newaxis]
    noise = None
    if physics.read_noise:
        noise = generator(seed, "read noise", exposure.path).standard_normal(camera.shape, np.float32)
    scatter = generator(seed, "overscan scatter", exposure.path)
    for block in camera.blocks:
        readout = block.readout
        signal = charge[block.data]
        if physics.non_linearity:
            signal = non_linear(signal, readout.full_well, camera.non_linearity)
        raw[block.raw] += signal / np.float32(readout.gain) + shape[block.data]
        raw[block.raw] += np.float32(readout.bias_offset)
        if block.overscan is not None:
            raw[block.overscan] += _overscan(block, signal, physics, scatter)
        if noise is not None:
            _add_noise(raw, noise, block, defects)
    return raw


def _overscan(block, signal, physics, rng):
    """Adu that the overscan of an amplifier has over the level of the frame."""
    readout, (rows, columns) = block.readout, block.overscan
    size = rows.stop - rows.start, columns.stop - columns.start
    beside = columns.start >= block.raw[1].stop or columns.stop <= block.raw[1].start
    lines, width = size if beside else size[::-1]
    out = np.full((lines, width), readout.bias_offset + readout.overscan_offset, np.float32)
    if physics.overscan_scatter and readout.overscan_scatter:
        out += rng.normal(0, readout.overscan_scatter, (lines, 1)).astype(np.float32)
    if physics.trailing_charge:
        after = columns.start >= block.raw[1].stop if beside else rows.start >= block.raw[0].stop
        # What is read first lies next to the data, on whichever side of it the overscan is.
        first = out if after else out[:, ::-1]
        first[:, : len(readout.overscan_start)] += np.array(readout.overscan_start[:width], np.float32)
        edge = (signal if beside else signal.T)[:, -1 if after else 0]
        late = deferred_charge(edge[:lines], width, readout.trailing) / np.float32(readout.gain)
        first[: len(late)] += late
    return out if beside else out.T


def _add_noise(raw, noise, block, defects):
    sigma = np.float32(block.readout.read_noise / block.readout.gain)
    part = noise[block.raw]
    rows, columns = block.data
    here = (defects["noise"] != 1) & (defects["y"] >= rows.start) & (defects["y"] < rows.stop)
    here &= (defects["x"] >= columns.start) & (defects["x"] < columns.stop)
    noisy = defects[here]
    part[noisy["y"] - rows.start, noisy["x"] - columns.start] *= noisy["noise"].astype(np.float32)
    raw[block.raw] += sigma * part
    if block.overscan is not None:
        raw[block.overscan] += sigma * noise[block.overscan]


def digitize(raw):
    """
    Numbers of a 16-bit converter: rounded, and clipped to 0 to 65535.

    Rounding adds a variance of 1/12 adu^2 (Janesick 2001, chapter 2).

    Parameters
    ----------
    raw : numpy.ndarray
        Adu.

    Returns
    -------
    numpy.ndarray
        uint16.
    """
    return np.clip(np.floor(raw + np.float32(0.5)), 0, 65535).astype(np.uint16)
