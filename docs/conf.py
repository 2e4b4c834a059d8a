"""Configuration of the book. Built with warnings as errors by

python -m sphinx -W --keep-going -b html docs docs/_build/html
"""

import shutil
from pathlib import Path

import langevin_ib

HERE = Path(__file__).parent
NOTEBOOKS = HERE / "notebooks"  # copies: Sphinx reads no file outside its source folder

project = "langevin_ib"
author = "The langevin_ib developers"
copyright = f"2026, {author}"
release = langevin_ib.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build", "results", "**.ipynb_checkpoints"]
suppress_warnings = [
    "ref.python",  # a field's name in a docstring may be that of two records
    "mystnb.unknown_mime_type",  # a notebook's output has other forms beside what is not known
]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are stored with their outputs, and run by the tests
smartquotes = False

html_theme = "furo"
html_title = f"langevin_ib {release}"
html_static_path = ["_static"]
html_css_files = ["book.css"]
copybutton_exclude = ".linenos, .gp, .go"

default_role = "code"  # what docstrings have between single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_use_ivar = True


def escape(app, what, name, obj, options, lines):
    """Docstrings are prose with |χ| and θ*, no reStructuredText: the marks of that are taken as they stand."""
    del app, name, obj, options
    if what in ("attribute", "property"):
        lines.insert(0, "")  # else napoleon takes a colon in the first line for one after a type
    literal = False
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith(" "):
            literal = False
        if not literal and not line.lstrip().startswith(">>>"):
            lines[number] = line.replace("|", r"\|").replace("*", r"\*")
        if line.rstrip().endswith("::"):
            literal = True


def skip(app, what, name, obj, would_skip, options):
    """Fields of named tuples, of which Python's own docstring says nothing: their class has them under Variables."""
    del app, what, name, options
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else would_skip


def copy_notebooks(app, config):
    """The executed notebooks as pages."""
    del app, config
    shutil.rmtree(NOTEBOOKS, ignore_errors=True)
    NOTEBOOKS.mkdir()
    for notebook in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, NOTEBOOKS)


def setup(app):
    """Called by Sphinx."""
    app.connect("config-inited", copy_notebooks)
    app.connect("autodoc-skip-member", skip)
    # Before napoleon, which turns sections into fields whose marks are meant.
    app.connect("autodoc-process-docstring", escape, priority=100)
