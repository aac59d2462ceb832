"""The site, for Sphinx: tools/build_site.py stages the pages, then runs it (`make docs`)."""

import html
import re
import sys
import textwrap
import zlib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "docs" / "_site"
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tools")]

import site_examples  # noqa: E402
import site_search  # noqa: E402
from docutils import nodes  # noqa: E402
from sphinx.search import en  # noqa: E402

import goodinit  # noqa: E402

project = "goodinit"
author = "The goodinit developers"
copyright = author  # noqa: A001
release = goodinit.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]

# Markdown. Notebooks come with their outputs: nothing is run here, the tests do that.
nb_execution_mode = "off"
suppress_warnings = ["misc.highlighting_failure"]  # a cell with a line for the shell
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

# The reference, from the docstrings.
autosummary_generate = True
autosummary_filename_map = {  # beside plan, diff, ...: two names on any disk
    f"goodinit.{name}": f"goodinit.{name}-class"
    for name in ("Diff", "Plan", "Recipe", "theory.Independence")
}
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": "example_call, no_factor, torch_order",  # for error messages
}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: f"goodinit.{name}" for name in ("KeepLike", "RecipeLike")}
nitpicky = True  # a reference that leads nowhere is a warning, and so an error
nitpick_ignore_regex = [
    # Types in signatures that have no page: of inner modules, or known to type checkers alone.
    ("py:class", r"goodinit\.\w+\.\w+\.\w+"),
    ("py:class", r"Box|BoxDraw|Draw|Law|Site|Tensor"),
    ("py:class", r"torch\._C\.Generator"),
]
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Links into Python's and torch's documentation. The inventories lie here, so that nothing is
# asked of a network; the links in the pages lead to the addresses. Python's is the one of
# Python 3.11's documentation; torch's is in no package: torch.txt has the names in signatures.
TORCH = ROOT / "build" / "torch.inv"
TORCH.parent.mkdir(exist_ok=True)
TORCH.write_bytes(
    b"# Sphinx inventory version 2\n# Project: torch\n# Version: \n"
    b"# The remainder of this file is compressed using zlib.\n"
    + zlib.compress((SITE / "inventories" / "torch.txt").read_bytes())
)
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", str(SITE / "inventories" / "python.inv")),
    "torch": ("https://docs.pytorch.org/docs/stable", str(TORCH)),
}

# Looks. Furo brings no font and asks for nothing outside of the site.
html_theme = "furo"
html_title = "goodinit"
html_static_path = [str(SITE / "static")]
html_css_files = ["site.css"]
html_js_files = ["search.js"]
html_search_scorer = str(SITE / "scorer.js")
en.SearchEnglish.stopwords = en.ENGLISH_STOPWORDS - {"he"}  # a name, here
templates_path = [str(SITE / "templates")]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/languages.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

# 中文: the pages that are translated have a catalog each; the others are shown in English.
locale_dirs = [str(SITE / "locale")]
gettext_compact = False
gettext_location = False


def add_links(
    app: Sphinx, page: str, _template: str, context: dict[str, object], tree: object
) -> None:
    """Add the page's Markdown twin to its head, and the other language to its sidebar."""
    up, chinese = "../" * page.count("/"), app.config.language == "zh_CN"
    context["in_chinese"] = chinese
    context["other_language"] = f"{up}../{page}.html" if chinese else f"{up}zh/{page}.html"
    if tree is not None:  # a page of ours, none that Sphinx makes by itself
        twin = f"{up}../{page}.md" if chinese else f"{page.rpartition('/')[2]}.md"
        link = f'<link rel="alternate" type="text/markdown" href="{twin}">'
        context["metatags"] = f"{context['metatags']}{link}{description(tree)}"


def description(tree: object) -> str:
    """Return the tag from which a search engine shows what a page is about: its first paragraph."""
    if not isinstance(tree, nodes.document) or not (
        first := next(tree.findall(nodes.paragraph), None)
    ):
        return ""
    text = html.escape(textwrap.shorten(first.astext(), 160, placeholder=" ..."))
    return f'<meta name="description" content="{text}">'


def add_keywords(app: Sphinx, doctree: nodes.document) -> None:
    """Let a page be found by the words that people type (searches.txt)."""
    app.env.note_dependency(str(site_search.SEARCHES))
    words = site_search.keywords(app.env.docname, app.config.language == "zh_CN")
    if words and app.builder.name != "gettext":
        doctree += nodes.meta(name="keywords", content=", ".join(words))


def escape(
    _app: Sphinx, _what: str, _name: str, value: object, _options: object, lines: list[str]
) -> None:
    """Let bars and stars stand in docstrings, which are plain text where help() shows them."""
    lines[:] = site_examples.with_imports(lines, value)
    example = False
    for number, line in enumerate(lines):
        if re.match(r"\w+:$", line):
            example = line.startswith("Example")
        if not example and not line.lstrip().startswith(">>>"):
            lines[number] = re.sub(
                r"``.*?``|[|*]", lambda found: found[0] if found[0][1:] else "\\" + found[0], line
            )


def with_aliases(
    _app: Sphinx, _what: str, _name: str, _value: object, _options: object, *shown: str | None
) -> tuple[str | None, ...]:
    """Write a type alias by its name: in a union, autodoc shows the object that stands for it."""
    return tuple(text and re.sub(r"TypeAliasForwardRef\('(.*?)'\)", r"\1", text) for text in shown)


def with_public_bases(
    _app: Sphinx, _name: str, value: type, _options: object, bases: list[type]
) -> None:
    """Show the base that has a page, in place of those derived from it."""
    bases[:] = [
        base for base in value.__mro__[1:] if getattr(goodinit, base.__name__, None) is base
    ][:1]


def setup(app: Sphinx) -> None:
    """Register what this file adds."""
    app.connect("autodoc-process-docstring", escape, priority=400)  # before napoleon's
    app.connect("autodoc-process-signature", with_aliases)
    app.connect("autodoc-process-bases", with_public_bases)
    app.connect("html-page-context", add_links)
    app.connect("doctree-read", add_keywords)
