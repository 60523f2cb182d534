"""What Sphinx builds the site from. `make docs` runs it, with every warning an error."""

import os
import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # sphinx-gallery looks the names in _gallery up

# the examples run on the bundled model; a page must not depend on what could be downloaded
os.environ["SKLEARN_ESM_OFFLINE"] = "1"

project = "sklearn-esm"
author = "The sklearn-esm developers"
copyright = "the sklearn-esm developers. MIT licence"
release = version = installed_version("sklearn-esm")

extensions = [
    "myst_parser",
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx_sitemap",
    "sphinxext.opengraph",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["sklearn_esm.css"]

# what search engines list, and the picture that a link to a page shows elsewhere
html_baseurl = "https://sklearn-esm.readthedocs.io/en/stable/"
sitemap_url_scheme = "{link}"
sitemap_excludes = ["search.html", "genindex.html"]
ogp_site_url = html_baseurl
ogp_site_name = "sklearn-esm"
ogp_image = "_static/card.png"
ogp_image_alt = "ESM protein language models as scikit-learn transformers"
ogp_social_cards = {"enable": False}

# Links into the documentation of other projects need their inventories from the network, and without
# one Sphinx warns, which is an error here. So they are made where the network is sure: on Read the
# Docs, or when asked for. Elsewhere such a name stays plain text. Our own names resolve in both.
if os.environ.get("READTHEDOCS") == "True" or os.environ.get("SKLEARN_ESM_DOCS_INTERSPHINX") == "1":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
    }

# a name of ours that leads nowhere is an error; names of others are left to intersphinx
nitpicky = True
nitpick_ignore_regex = [(r"py:\w+", r"(?!sklearn_esm)(?!ESM)(?!\w+Display).*")]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80  # longer ones have one parameter per line
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # the page shows them in full
plot_include_source = True
plot_html_show_formats = False
plot_html_show_source_link = False
plot_formats = [("png", 200)]

html_theme = "pydata_sphinx_theme"
html_title = "sklearn-esm"
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_theme_options = {
    "logo": {"image_light": "_static/logo.svg", "image_dark": "_static/logo.svg", "text": "sklearn-esm"},
    "switcher": {
        "json_url": "https://sklearn-esm.readthedocs.io/en/latest/_static/switcher.json",
        "version_match": os.environ.get("READTHEDOCS_VERSION", "latest"),
    },
    "check_switcher": False,  # the file is on the site, which a build must not depend on
    "navbar_end": ["version-switcher", "theme-switcher", "navbar-icon-links"],
    "github_url": "https://github.com/sklearn-esm/sklearn-esm",
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {name: [] for name in ("index", "install", "faq", "changelog", "performance")}

# Shown, but not run: Dask starts processes that would import sphinx-build instead of the script
NOT_RUN = ("partitions_dask",)

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": rf"{re.escape(os.sep)}(?!(?:{'|'.join(NOT_RUN)})\.py$)\w+\.py$",
    "ignore_pattern": r"partitions_ray\.py",  # the page on Dask has a link to it
    "within_subsection_order": "_gallery.Order",
    "reset_modules": ("matplotlib", "_gallery.prepare"),
    "abort_on_example_error": False,
    "backreferences_dir": "api/backreferences",
    "doc_module": ("sklearn_esm",),
    "reference_url": {"sklearn_esm": None},
    "capture_repr": ("_repr_html_",),
    "image_scrapers": ("matplotlib",),
    "notebook_extensions": set(),  # __file__ is not defined in a notebook
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}
