"""Configuration of the documentation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from reprogram import __version__

project = "reprogram"
author = "The reprogram authors"
project_copyright = "The reprogram authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "components", "codehost"]
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = f"reprogram {__version__}"
html_static_path = ["_static"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
default_role = "code"  # Docstrings write `name` for code.
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # Fields of dataclasses are described once, by the class's docstring.
