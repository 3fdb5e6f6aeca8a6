"""What is known of a file as long as the disk says that it is the same."""

import os
import time

__all__ = ["Unchanged"]

#: How old a change must be, in ns, that a later one could not have the same time.
_SETTLED = 2_000_000_000


class Unchanged:
    """
    Results of a function of files, each found once.

    Of a file that changed a moment ago nothing is remembered: another change might not be seen.

    Parameters
    ----------
    most : int, optional
        Results that are remembered; all are forgotten when there are more.
    """

    def __init__(self, most=100_000):
        self._known, self._most = {}, most

    def get(self, path, function, *more):
        """
        What a function says of a file.

        Parameters
        ----------
        path : path-like
            The file.
        function : callable
            Called with its absolute path and what follows.
        *more
            Hashable arguments.

        Returns
        -------
        object
        """
        path = os.path.abspath(path)
        told = _told_of(path)
        before, result = self._known.get((path, more), (None, None))
        if told is None or before != told:
            result = function(path, *more)
            if told is not None and _told_of(path) == told and time.time_ns() - max(told[-2:]) > _SETTLED:
                if len(self._known) >= self._most:
                    self._known.clear()
                self._known[path, more] = told, result
        return result


def _told_of(path):
    """
    What another content would change; the time of the last change of the inode cannot be set back.

    None where the disk says nothing: who reads the file knows how to tell of that.
    """
    try:
        told = os.stat(path)
    except OSError:
        return None
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns
