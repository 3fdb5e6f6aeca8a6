"""Configuration of Sphinx."""

from ccdnight._version import version

project = "ccdnight"
author = "ccdnight developers"
copyright = "2026, ccdnight developers"
release = version

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "sphinx_automodapi.automodapi",
    "sphinx_automodapi.smart_resolver",
]
# No intersphinx: the documentation builds without network, and names of other packages stay plain.
default_role = "obj"
exclude_patterns = ["_build"]

# automodapi lists the members of a class already.
numpydoc_show_class_members = False
automodsumm_inherited_members = False
automodapi_toctreedirnm = "reference/api"

html_theme = "pydata_sphinx_theme"
html_title = f"ccdnight {version}"
html_theme_options = {"show_prev_next": False}
html_show_sourcelink = False

# Every figure is drawn by the build, from the code beside it; the same code is run as doctest by the suite.
plot_include_source = True
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 100)]
