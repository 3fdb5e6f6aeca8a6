"""The end of a master: values, errors and flags of its stack, cards and provenance."""

import numpy as np

from ccdnight._kernels.finish import finish_master
from ccdnight.calibration import identity_of, master_id
from ccdnight.exceptions import warn_user
from ccdnight.execution import map_strips
from ccdnight.flags import FLAGS
from ccdnight.products import make_ccd
from ccdnight.provenance import mark_applied, record_step
from ccdnight.statistics import median_of

__all__ = ["DEAD", "finished", "tell_master"]

#: A flat pixel below this part of the typical level cannot calibrate anything.
DEAD = 0.05
#: Rows that are finished at once.
_STRIP = 64


def finished(result, sources, kind, unit, *, extra=None, share=1.0, norm=1.0, reject=None, method="average", bias=None):
    """
    A master with cards, flags and provenance.

    Parameters
    ----------
    result : ccdnight.stacking.Stack
        The stack; its memory becomes that of the master.
    sources : list of ArraySource or FrameSource
        Its frames.
    kind : str
        'bias', 'dark' or 'flat'.
    unit : str
        Of the master.
    extra : `~numpy.ndarray`, optional
        float32, an error that all frames have in common.
    share : float, optional
        What it is multiplied by.
    norm : float, optional
        What the stack is divided by.
    reject, method : optional
        How it was combined.
    bias : `~astropy.nddata.CCDData`, optional
        Master bias that was subtracted from every frame.

    Returns
    -------
    `~astropy.nddata.CCDData`
    """
    data, error, flags = _pixels(result, extra, norm, share, kind, len(sources))
    ccd = make_ccd(data, unit=unit, meta=sources[0].header, sigma=error, flags=flags)
    ccd.meta["NCOMBINE"] = (len(sources), "frames combined")
    ccd.meta["MASTER"] = (kind, "kind of master")
    if all(source.overscan_applied for source in sources):
        mark_applied(ccd, "overscan", "subtracted from every frame before they were combined")
    if all(source.trimmed for source in sources):
        mark_applied(ccd, "trim", "every frame before they were combined")
    if bias is not None:
        tell_master(ccd, "bias", bias)
        ccd.meta["BIASID"] = (master_id(bias), "digest of that bias")
    record_step(
        ccd,
        "combine",
        inputs=[(_base(source.name), source.digest, kind) for source in sources],
        history=f"{len(sources)} frames, {method}, rejection {reject}: {result.low} low and {result.high} high values",
        method=method,
        reject=reject,
    )
    return ccd


def _pixels(result, extra, norm, share, kind, n):
    """
    Data, error and flags of a master, in the memory of the stack: fresh pages would take longer than the numbers.

    What is not usable has the value that harms least, and no error.
    """
    flat = kind == "flat"
    data, error, flags = result.data, result.error, result.count
    blind, few = (np.uint16(FLAGS[name].value) for name in ("NO_DATA" if flat else "BAD_PIXEL", "LOW_WEIGHT"))
    least = np.float32(n / 2 if n > 2 else 0)
    rule = (np.float32(DEAD if flat else -np.inf), least, blind, few, flat)
    lost, extra = [], np.empty((0, 0), np.float32) if extra is None else extra

    def do(rows):
        out = [item[rows].reshape(-1) for item in (data, error, flags)]
        scale = (np.float32(norm), np.float32(share))
        lost.append(finish_master(tuple(item.copy() for item in out), extra[rows].reshape(-1), scale, rule, *out))

    map_strips(do, [slice(y, min(y + _STRIP, len(data))) for y in range(0, len(data), _STRIP)])
    if sum(lost) == data.size and flat:
        warn_user("no pixel of the flat is usable")
    if sum(lost):
        middle = 1.0 if flat else median_of(data[flags == 0])
        data[np.isnan(data)] = middle if np.isfinite(middle) else 0.0
    return data, error, flags


def tell_master(ccd, role, master):
    """
    Write cards and provenance of a master that was subtracted from every frame.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The new master; changed.
    role : str
        'bias' or 'dark'.
    master : `~astropy.nddata.CCDData`
        What was subtracted.
    """
    name = str(master.meta.get("FILENAME", role))
    mark_applied(ccd, role, name)
    ccd.meta[f"{role.upper()}FILE"] = (name[-60:], f"{role} that was subtracted")
    record_step(ccd, role, inputs=[(name, identity_of(master), role)])


def _base(name):
    return name.replace("\\", "/").rsplit("/", 1)[-1]
