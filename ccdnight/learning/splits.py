"""Where one amplifier ends and the next begins: steps of the bias level or of the gain."""

from dataclasses import dataclass

import numpy as np

__all__ = ["find_splits", "sharpest", "step_in"]

#: Numbers of amplifiers that share a stretch equally, in the order in which they are tried.
_DIVISIONS = (8, 4, 3, 2)
#: Smallest steps that count: in errors, in adu of the bias, and relative in the light of flats.
_ERRORS, _BIAS_STEP, _LIGHT_STEP = 8.0, 0.5, 0.01
#: A step is so many times larger than the scatter of single columns, which have patterns of their own.
_COLUMNS = 4.0


@dataclass(frozen=True)
class _Profile:
    """Levels along an axis in one half of a frame, and in both halves of that half."""

    whole: np.ndarray
    quarters: list
    is_light: bool

    def around(self, place, reach):
        """The levels around a place; of light, relative to their median."""
        cut = slice(max(0, place - reach), place + reach)
        parts = [part[cut] for part in (self.whole, *self.quarters)]
        return [part / (np.median(part) or 1.0) for part in parts] if self.is_light else parts


def find_splits(dark, light, stretch, axis):
    """
    Boundaries of amplifiers inside a lit stretch.

    Amplifiers share a detector equally, so only steps at a half, at thirds and so on are looked for, and only if
    there are steps at all of them.

    Parameters
    ----------
    dark, light : `~numpy.ndarray` or None
        Dark frame and light of flats, without unlit rows, shape ``(ny, nx)``.
    stretch : (int, int)
        The stretch along the axis.
    axis : {0, 1}
        0 divides rows, 1 columns.

    Returns
    -------
    splits : list of int
        First columns of the amplifiers but the first.
    evidence : str
        Steps, in words.
    """
    start, stop = stretch
    profiles = [item for image in (dark, light) for item in _profiles(image, axis, image is light)]
    for parts in _DIVISIONS:
        width = (stop - start) / parts
        if width < 16:
            continue
        found = [_step_near(profiles, round(start + width * j), int(width), axis) for j in range(1, parts)]
        if all(found):
            return [place for place, _ in found], "; ".join(words for _, words in found)
    return [], ""


def _profiles(image, axis, is_light):
    if image is None:
        return []
    return [
        _Profile(_along(half, axis), [_along(quarter, axis) for quarter in _halves(half, axis)], is_light)
        for half in _halves(image, axis)
    ]


def _along(image, axis):
    return np.median(image, axis=1 - axis).astype(np.float64)


def _halves(image, axis):
    middle = image.shape[1 - axis] // 2
    return (image[:middle], image[middle:]) if axis == 1 else (image[:, :middle], image[:, middle:])


def _step_near(profiles, place, width, axis):
    """The step within two columns of a place, in any half of the other axis: its place and words, or None."""
    reach = int(np.clip(width // 4, 6, 48))
    best = None
    for profile in profiles:
        smallest = _LIGHT_STEP if profile.is_light else _BIAS_STEP
        for here in range(place - 2, place + 3):
            whole, *quarters = profile.around(here, reach)
            step, error = step_in(whole, reach, reach)
            strength = abs(step) / max(error, 1e-9)
            # The error is that of a line through `reach` columns: twice their scatter over the root of it.
            clear = strength > max(_ERRORS, _COLUMNS * np.sqrt(reach / 8)) and abs(step) > smallest
            if clear and (best is None or strength > best[0]) and _is_jump(whole, quarters, reach, step):
                size = (
                    f"{100 * step:+.2f} % in the light of flats" if profile.is_light else f"{step:+.2f} adu in the bias"
                )
                best = strength, here, size
    if best is None:
        return None
    name = "column" if axis == 1 else "row"
    return best[1], f"at {name} {best[1] + 1} a step of {best[2]}"


def _is_jump(whole, quarters, place, step):
    """Whether the step is between two neighbors and in both quarters alike; dust and slopes are not."""
    near = np.median(whole[place : place + 3]) - np.median(whole[place - 3 : place])
    sharp = 0.5 < (whole[place] - whole[place - 1]) / step < 1.6 and 0.6 < near / step < 1.5
    return sharp and all(0.6 < step_in(quarter, place, place)[0] / step < 1.6 for quarter in quarters)


def sharpest(profile, low, high):
    """
    The place of the largest difference of neighbors.

    Parameters
    ----------
    profile : `~numpy.ndarray`
        Levels.
    low, high : int
        Places that are looked at, the last one included.

    Returns
    -------
    int
        First element behind the step.
    """
    low, high = max(low, 1), min(high, profile.size - 1)
    return low + int(np.argmax(np.abs(np.diff(profile[low - 1 : high + 1]))))


def step_in(profile, place, reach):
    """
    Step of a profile at a place, smooth slopes taken off.

    Parameters
    ----------
    profile : `~numpy.ndarray`
        Levels.
    place : int
        First element behind the step.
    reach : int
        Elements on both sides that are used.

    Returns
    -------
    step, error : float
        Height and its error from the scatter.
    """
    if place < reach or place + reach > profile.size:
        return 0.0, np.inf
    x = np.arange(reach) + 0.5
    left, left_error = _end_of_line(-x[::-1], profile[place - reach : place])
    right, right_error = _end_of_line(x, profile[place : place + reach])
    return float(right - left), float(np.hypot(left_error, right_error))


def _end_of_line(x, y):
    """Value at 0 of a straight line through points, outliers left out, and its error."""
    keep = np.isfinite(y)
    for _ in range(3):
        if keep.sum() < 4:
            return 0.0, np.inf
        slope, value = np.polyfit(x[keep], y[keep], 1)
        rest = y - slope * x - value
        scatter = 1.4826 * np.median(np.abs(rest[keep]))
        keep = np.abs(rest) <= 4 * max(scatter, 1e-9)
    return value, 2 * max(scatter, 1e-9) / np.sqrt(max(keep.sum(), 1))
