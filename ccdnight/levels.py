"""Where the bias level comes from: frames, overscan, or both; decided from what the frames show."""

from dataclasses import dataclass

import numpy as np

__all__ = ["BiasSource", "choose_bias_source"]

#: Rows over which an overscan is smoothed where its rows do not move with those of the image.
_WINDOW = 51
#: Correlation from which on they are taken to move together.
_MOVING = 0.5
#: An overscan that takes up more than this part of the light is not dark.
_LEAK = 0.01


@dataclass(frozen=True)
class BiasSource:
    """
    Where the bias of some frames comes from.

    Attributes
    ----------
    frames : bool
        Whether bias frames are subtracted.
    window : int
        Rows over which the overscan is smoothed; 0 leaves it alone.
    why : str
        In words.
    notes : tuple of str
        For the observer.
    """

    frames: bool
    window: int
    why: str
    notes: tuple[str, ...] = ()


def choose_bias_source(rows, policy, moves=None):
    """
    Decide where the bias of frames of one detector and read mode comes from.

    Parameters
    ----------
    rows : list of FrameRow
        Every usable frame that shares the matching key.
    policy : Policy
        'auto' lets the frames decide.
    moves : tuple, optional
        Correlation of overscan and image rows and their scatter, see
        `ccdnight.sampling.overscan_moves_with_rows`.

    Returns
    -------
    BiasSource
    """
    biases = [row for row in rows if row.kind == "bias"]
    overscans = np.array([row.overscan for row in rows])
    asked = policy.bias
    if asked == "frames":
        return BiasSource(True, 0, "the policy asks for bias frames", _lost_drift(rows, biases))
    if not np.isfinite(overscans).all() or len(rows) == 0:
        lacking = [row.path for row in rows if not np.isfinite(row.overscan)]
        why = f"{len(lacking)} of {len(rows)} frames have no usable overscan"
        loud = (f"the policy asks for the overscan ({asked}), but {why}: bias frames are used",)
        return BiasSource(True, 0, why, loud if asked in ("overscan", "both") else ())
    leak = _leak(rows, biases)
    if asked == "auto" and leak > _LEAK and biases:
        why = f"light leaks into the overscan ({leak:.1%} of it)"
        return BiasSource(True, 0, why, (f"{why}: bias frames alone are used",))
    window, words = _window(policy, moves)
    if asked == "overscan" or (asked == "auto" and not biases):
        why = "the policy asks for it" if asked == "overscan" else "there are no bias frames"
        return BiasSource(False, window, why, (f"bias from the overscan alone: {why}; {words}",))
    return BiasSource(True, window, "overscan and residual bias", (_drift(rows, biases) + f"; {words}",))


def _drift(rows, biases):
    low, high = min(row.overscan for row in rows), max(row.overscan for row in rows)
    text = "bias from the overscan of every frame and the residual bias"
    text += f": the overscan moves from {low:.1f} to {high:.1f} adu"
    if biases:
        level = np.mean([row.overscan for row in biases])
        science = [row.overscan for row in rows if row.kind == "science"]
        if science:
            off = np.array(science) - level
            text += (
                f", the biases were taken at {level:.1f}; bias frames alone would leave science frames "
                f"{_signed(off.min())} to {_signed(off.max())} adu off"
            )
    return text


def _signed(value):
    return f"{value:+.1f}"


def _lost_drift(rows, biases):
    """What the policy 'frames' leaves in the frames, where the overscan can tell."""
    science = [row.overscan for row in rows if row.kind == "science" and np.isfinite(row.overscan)]
    level = [row.overscan for row in biases if np.isfinite(row.overscan)]
    if not science or not level:
        return ()
    off = np.array(science) - np.mean(level)
    if np.abs(off).max() < 1:
        return ()
    text = (
        f"bias from frames alone, as asked; by the overscan the science frames stay {_signed(off.min())} to "
        f"{_signed(off.max())} adu off"
    )
    return (text,)


def _leak(rows, biases):
    """Part of the light of bright frames that is found in their overscan."""
    if not biases:
        return 0.0
    dark_overscan = float(np.median([row.overscan for row in biases]))
    dark_level = float(np.median([row.level for row in biases]))
    parts = [
        (row.overscan - dark_overscan) / (row.level - dark_level)
        for row in rows
        if row.kind in ("flat", "twilight", "science") and row.level - dark_level > 5000
    ]
    return float(np.median(parts)) if parts else 0.0


def _window(policy, moves):
    if policy.overscan_window > 0:
        return policy.overscan_window, f"smoothed over {policy.overscan_window} rows, as asked"
    correlation, overscan, image = moves or (float("nan"),) * 3
    if np.isfinite(correlation) and correlation >= _MOVING:
        return 1, (
            f"taken row by row, since overscan and image rows move together (correlation {correlation:.2f}, "
            f"scatter {overscan:.2f} and {image:.2f} adu)"
        )
    seen = ""
    if np.isfinite(correlation):
        seen = (
            f", since its rows do not move with those of the image (correlation {correlation:.2f}, scatter "
            f"{overscan:.2f} and {image:.2f} adu)"
        )
    return _WINDOW, f"smoothed over {_WINDOW} rows{seen}"
