"""
Errors and warnings of ccdnight.

::

    CcdnightError
    ├── InputError (ValueError)         input that cannot be used: it is set aside, the night goes on
    │   ├── FrameError                  a file: path, reason and remedy
    │   ├── SectionError                a section such as [1:2048,1:4128]
    │   └── AlreadyAppliedError         a step that has been applied to this frame before
    ├── ProfileError (ValueError)       an instrument profile; every mistake of it at once
    ├── PlanError (ValueError)          a plan that cannot be read or carried out
    ├── MeasurementError (ValueError)   frames from which nothing sensible can be measured
    └── OutputError (OSError)           the environment: disk full, no permission; run it again
        └── OutputLockedError           another run holds the output folder

    CcdnightWarning (UserWarning)
    └── FrameWarning                    something in a frame is not as it should be, and was put right
"""

import os
import sys
import warnings

__all__ = [
    "AlreadyAppliedError",
    "CcdnightError",
    "CcdnightWarning",
    "FrameError",
    "FrameWarning",
    "InputError",
    "MeasurementError",
    "OutputError",
    "OutputLockedError",
    "PlanError",
    "ProfileError",
    "SectionError",
    "warn_user",
]


class CcdnightError(Exception):
    """
    Base of every error that ccdnight raises on purpose.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """


class InputError(CcdnightError, ValueError):
    """
    Input that cannot be used.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """


class FrameError(InputError):
    """
    A file that cannot be used.

    Parameters
    ----------
    path : str or path-like
        The file.
    reason : str
        What is wrong, with the value found and what is allowed.
    remedy : str, optional
        What can be done about it.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """

    def __init__(self, path, reason, remedy=""):
        self.path, self.reason, self.remedy = str(path), reason, remedy
        super().__init__(f"{path}: {reason}" + (f" ({remedy})" if remedy else ""))

    def __reduce__(self):
        return type(self), (self.path, self.reason, self.remedy)


class SectionError(InputError):
    """
    A section that is not one, or that does not fit its frame.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """


class AlreadyAppliedError(InputError):
    """
    A step that has been applied to this frame before.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """


class ProfileError(CcdnightError, ValueError):
    """
    An instrument profile with mistakes.

    Parameters
    ----------
    problems : str or list of str
        One sentence for each mistake.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """

    def __init__(self, problems):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self):
        return type(self), (self.problems,)


class PlanError(CcdnightError, ValueError):
    """
    A plan that cannot be read or carried out.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """


class MeasurementError(CcdnightError, ValueError):
    """
    Frames from which nothing sensible can be measured.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """


class OutputError(CcdnightError, OSError):
    """
    The environment failed: no space, no permission. Files that were finished are whole; run it again.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """


class OutputLockedError(OutputError):
    """
    Another run holds the output folder.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """


class CcdnightWarning(UserWarning):
    """
    Base of the warnings of ccdnight.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """


class FrameWarning(CcdnightWarning):
    """
    Something in a frame is not as it should be, and was put right.

    Examples
    --------
    When it comes and how it is caught is in :doc:`/user_guide/errors`.
    """


_PACKAGE = os.path.dirname(__file__)


def warn_user(message, category=CcdnightWarning):
    """
    Warn, pointing at the caller's line outside the package.

    Parameters
    ----------
    message : str
        The warning.
    category : type, optional
        Its class.

    Examples
    --------
    >>> import warnings
    >>> from ccdnight.exceptions import warn_user
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_user("the flats are faint")
    >>> str(caught[0].message)
    'the flats are faint'
    """
    level, frame = 1, sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1 if frame is None else level)
