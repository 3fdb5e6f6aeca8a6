"""What is public, word for word: a name that comes or goes has to be meant."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ccdnight

#: What `from ccdnight import *` gives.
NAMES = [
    "Amplifier",
    "Combiner",
    "FrameCollection",
    "InstrumentProfile",
    "Night",
    "Plan",
    "Policy",
    "Reduction",
    "__version__",
    "align",
    "calibrate",
    "coadd",
    "combine",
    "flag_cosmic_rays",
    "get_profile",
    "learn_profile",
    "list_profiles",
    "make_bad_pixel_mask",
    "make_bias",
    "make_dark",
    "make_flat",
    "match_profile",
    "read_ccd",
    "read_frame",
    "subtract_overscan",
    "trim",
    "write_ccd",
]

#: Public modules, which can be used as `ccdnight.detector` without an import of their own.
MODULES = [
    "alignment",
    "badpixels",
    "calibration",
    "coadding",
    "combiner",
    "cosmicrays",
    "detector",
    "exceptions",
    "execution",
    "flags",
    "frames",
    "fringes",
    "illumination",
    "learning",
    "linearity",
    "masters",
    "night",
    "plots",
    "profiles",
    "provenance",
    "readout",
    "reduction",
    "report",
    "saturation",
    "simulate",
    "stacking",
    "statistics",
    "storage",
]

#: Modules that looking at a folder does not need, and that take long to import.
HEAVY = [
    "astropy.table",
    "ccdproc",
    "dask",
    "distributed",
    "jinja2",
    "matplotlib",
    "numba",
    "photutils",
    "reproject",
    "scipy",
]


def modules():
    found = pkgutil.walk_packages(ccdnight.__path__, "ccdnight.")
    return sorted(item.name for item in found if not item.name.endswith(".__main__"))


def test_all_is_exactly_this():
    """The list, in its order."""
    assert list(ccdnight.__all__) == NAMES == sorted(NAMES)


def test_dir_is_exactly_this():
    """Completion in a notebook offers names and modules before anything was imported."""
    assert dir(ccdnight) == sorted(NAMES + MODULES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_name_is_handed_out(name):
    """The name is what its home module calls it, and it can be called."""
    value = getattr(ccdnight, name)
    assert callable(value)
    assert value.__name__ == name
    assert value.__module__.startswith("ccdnight.")


@pytest.mark.parametrize("name", MODULES)
def test_module_is_handed_out(name):
    assert getattr(ccdnight, name) is importlib.import_module(f"ccdnight.{name}")


def test_documentation_lists_the_modules():
    """docs/stability.rst promises exactly these."""
    text = (Path(__file__).parents[1] / "docs" / "stability.rst").read_text("utf-8")
    (listed,) = re.findall(r"the public modules (.*?), with the names", text, re.DOTALL)
    assert re.split(r",\s+|\s+and\s+", listed) == MODULES


def test_unknown_name():
    with pytest.raises(AttributeError, match="make_biass"):
        _ = ccdnight.make_biass


def test_version():
    from ccdnight._version import version

    assert ccdnight.__version__ == version


def in_order(names):
    """Sorted as ruff sorts `__all__`: constants, classes, functions, each by name."""
    return sorted(set(names), key=lambda name: (not name.isupper(), not name[:1].isupper(), name))


@pytest.mark.parametrize("module", modules())
def test_all_of_modules(module):
    """A public module says what is public in it, sorted, and has all of it."""
    module = importlib.import_module(module)
    names = getattr(module, "__all__", None)
    if module.__name__.rpartition(".")[2] in MODULES:
        assert names
    if names is not None:
        assert list(names) == in_order(names)
        assert [name for name in names if not hasattr(module, name)] == []


def loaded_by(statement):
    """Names of the modules that a statement loads in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light():
    """`import ccdnight` and asking for a profile's class load nothing that takes long."""
    assert loaded_by("import ccdnight") & set(HEAVY) == set()


def test_import_weight_can_be_seen():
    """The probe of the test above does see what is loaded."""
    assert "jinja2" in loaded_by("import ccdnight, jinja2")
