"""Groups of what is joined: pixels that touch one another."""

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = ["number_groups"]


@kernel
def number_groups(first, second, label):
    """
    Number the groups that pairs join.

    This is equivalent to `scipy.sparse.csgraph.connected_components` of the graph of the pairs, which takes longer to
    import than to run. Every member points to one of its group that comes before it, the first one to itself.

    Parameters
    ----------
    first, second : `~numpy.ndarray`
        int64, shape ``(k,)``: members that are joined.
    label : `~numpy.ndarray`
        int64, shape ``(n,)``; written: the group of each member, from 0 in the order of their first members.

    Returns
    -------
    int
        Number of groups.

    References
    ----------
    Tarjan and van Leeuwen 1984, JACM 31, 245 (path halving).
    """
    for i in range(label.size):
        label[i] = i
    for k in range(first.size):
        one, other = _first_of(label, first[k]), _first_of(label, second[k])
        label[max(one, other)] = min(one, other)
    found = np.int64(0)
    for i in range(label.size):
        # The one that it points to has its number already.
        if label[i] == i:
            label[i] = found
            found += 1
        else:
            label[i] = label[label[i]]
    return found


@kernel
def _first_of(label, i):
    while label[i] != i:
        label[i] = label[label[i]]
        i = label[i]
    return i
