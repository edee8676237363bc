"""The site: Sphinx reads the pages of this folder. CONTRIBUTING.md says how it is built."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
# The package as it is here, installed or not; and the programs beside this file.
sys.path[:0] = [str(DOCS.parent), str(DOCS)]
# Hidden, a GPU cannot make the pages differ from one machine to another.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from settings_page import settings_page  # noqa: E402
from sphinx.domains.python import PyObject  # noqa: E402

import fast_style  # noqa: E402

project = "fast_style"
author = "the fast_style authors"
project_copyright = "2026, the fast_style authors"
version = release = fast_style.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Read where the code is hosted; the site has pages of its own for what they say.
exclude_patterns = ["_build", "examples"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nitpicky = True
nitpick_ignore_regex = [
    # Of Python and other packages: the site builds without a network, so their inventories cannot be fetched.
    (r"py:class", r"(collections|dataclasses|fractions|jaxtyping|numpy|pathlib|PIL|torch)\..+|Path|Tensor"),
    # What the page of the reference explains, and what users need not know by name.
    (r"py:class", r"Images|StyleWeights|Features"),
    (
        r"py:class",
        r"Progress|fast_style\.(archives|backends|images|stylizing|zoo)\..*(Archive|Backend|Pixels|Settings|Metadata)",
    ),
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# What extras install; the reference is the same without them.
autodoc_mock_imports = ["av", "cv2", "imagecodecs", "onnxruntime", "openvino", "pygame", "pyvirtualcam", "rawpy", "ray"]
# A parameter on each line, where there are many.
maximum_signature_line_length = 88
# In docstrings, what stands in single backticks is code.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# The signature has them.
napoleon_attr_annotations = False

html_theme = "furo"
html_title = "fast_style"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = html_copy_source = False
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"color-brand-primary": "#1d4f91", "color-brand-content": "#1d4f91"},
    "dark_css_variables": {"color-brand-primary": "#f2c14e", "color-brand-content": "#f2c14e"},
}

#: What the package calls the tensors that jaxtyping describes (fast_style/types.py).
SHAPES = {
    "batch 3 height width": "Images",
    "batch styles": "StyleWeights",
    "batch _channels _height _width": "Activations",
    " ?batch": "Tensor",
    "": "Tensor",
}


def _named_shapes(
    app: Sphinx, what: str, name: str, of: object, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Write types of tensors in a signature as the package does."""
    texts = [signature, returned]
    for shape, alias in SHAPES.items():
        texts = [text and re.sub(rf"[~\w.]*Float\[[~\w.]*Tensor, '{shape}'\]", alias, text) for text in texts]
    # What a dataclass makes for each object is no default that one could write down.
    for written, better in (("dict[str, Activations]", "Features"), ("<factory>", "...")):
        texts = [text and text.replace(written, better) for text in texts]
    return texts[0], texts[1]


def _trees(app: Sphinx, what: str, name: str, of: object, options: Any, lines: list[str]) -> None:
    """Show a tree, such as that of the errors, line by line: its docstring indents it, without a sign of markup."""
    for number, line in enumerate(lines):
        if "├──" in line:
            lines[number - 1 : number - 1] = ["::", ""]
            return


def _completed(app: Sphinx, page: str, source: list[str]) -> None:
    """Put on a page, as it is read, what would be out of place where the code is hosted."""
    if page == "reference/configuration":
        source[0] += settings_page()
    if page == "zoo":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\nzoo/*\n```\n"


def _changed(app: Sphinx, env: Any, added: Any, changed: Any, removed: Any) -> list[str]:
    """Read that page anew in each build: it depends on files that Sphinx does not know."""
    return ["reference/configuration"]


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"  # as docstrings call them, not "Variables"
    app.connect("autodoc-process-signature", _named_shapes)
    app.connect("autodoc-process-docstring", _trees)
    app.connect("source-read", _completed)
    app.connect("env-get-outdated", _changed)
