"""
The version of ccdnight, and the only place where it stands.

The build reads it from here (``tool.setuptools.dynamic`` in pyproject.toml), so it is the same in a clone, in
an unpacked sdist, in a copy of the sources without ``.git``, and when nothing was installed at all.
"""

version = "0.1.dev0"
