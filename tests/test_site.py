"""What `make docs` would find, without Sphinx: links, names, translations."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest
import torch
from tools import site_examples, site_search

import goodinit as gi

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CATALOGS = DOCS / "_site" / "locale" / "zh_CN" / "LC_MESSAGES"
PAGES = sorted(DOCS.rglob("*.md"))

# Pages that tools/site_pages.py writes.
GENERATED = re.compile(
    r"(recipes/\w+|reference/options|changes|architecture|decisions|contributing)\.md"
)
LINK = re.compile(r"\]\((?![a-z]+:)([^()\s]*)\)")
FENCED = re.compile(r"^(```+|:::+).*?^\1", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    titles = [re.sub(r"\]\([^)]*\)|[`\[\]]", "", title) for title in HEADING.findall(text)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text())
    wrong = []
    for link in LINK.findall(text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            if not GENERATED.fullmatch(target.relative_to(DOCS).as_posix()):
                wrong.append(link)
        elif anchor and anchor not in anchors(FENCED.sub("", target.read_text())):
            wrong.append(link)
    assert not wrong


def public_names() -> set[str]:
    """Return every public name, without the folders that it is in."""
    rooms = {"adapters", "errors", "mup", "testing", "theory"}
    names = set(gi.__all__) - rooms - {"recipes", "schemes"}
    for room in rooms:
        names |= set(import_module(f"goodinit.{room}").__all__)
    inits = set(import_module("goodinit.nn.init").__all__)
    return names | {name for name in inits if f"{name}_" not in inits}  # no deprecated ones


def test_the_reference_has_each_public_name_once_with_an_example() -> None:
    text = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    listed = re.findall(r"^(?: {3}|\.\. py:data:: )goodinit\.([.\w]+)$", text, re.MULTILINE)
    counts = Counter(listed)
    assert not [name for name, count in counts.items() if count > 1]
    assert not public_names() - {name.rpartition(".")[2] for name in counts}
    documented = re.findall(r"^ {3}goodinit\.([.\w]+)$", text, re.MULTILINE)
    values = {name: reduce(getattr, name.split("."), gi) for name in documented}
    assert not [name for name, value in values.items() if not example(value)]


def example(value: object) -> str:
    """Return the example on a name's page, if a reader can copy it: all its names are bound."""
    lines = site_examples.with_imports((inspect.getdoc(value) or "").splitlines(), value)
    free = [name for name in site_examples.unbound("\n".join(lines)) if name != "trainer"]
    return "" if free else "\n".join(line for line in lines if line.lstrip().startswith(">>>"))


def test_examples_are_shown_with_imports_that_work() -> None:
    for value in (gi.init_, gi.HeNormal, gi.theory.chi, gi.adapters.timm, gi.Plan, gi.measure):
        names: dict[str, object] = {}
        imports = [line for line in example(value).splitlines() if "import" in line]
        exec("\n".join(line.strip()[4:] for line in imports), names)
        assert len(names) > 1
    assert ">>> from goodinit import init_" in example(gi.init_)
    used = site_examples.unbound(">>> [i for i in x]; y = y + x; (lambda z: z)(y)")
    assert sorted(used) == ["x", "y"]


def test_names_of_torch_exist() -> None:
    for line in (DOCS / "_site" / "inventories" / "torch.txt").read_text().splitlines():
        value = torch
        for part in line.split()[0].split(".")[1:]:
            value = getattr(value, part)


CODE = re.compile(r"`[^`]+`")
MESSAGE = re.compile(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def messages(catalog: Path) -> dict[str, str]:
    """Return what a gettext catalog translates."""

    def text(lines: str) -> str:
        return "".join(ast.literal_eval(line) for line in lines.splitlines())

    return {
        text(said): text(translated) for said, translated in MESSAGE.findall(catalog.read_text())
    }


def one_line(text: str) -> str:
    return " ".join(text.replace("\\|", "|").split())


def test_these_pages_are_in_chinese() -> None:
    wanted = {"index.md", "start.md", "which-recipe.md", "guide.md", "coming-from.md"}
    wanted |= {f"howto/{page.name}" for page in (DOCS / "howto").glob("*.md")}
    have = {
        path.relative_to(CATALOGS).with_suffix(".md").as_posix() for path in CATALOGS.rglob("*.po")
    }
    assert have == wanted


@pytest.mark.parametrize("catalog", sorted(CATALOGS.rglob("*.po")), ids=lambda path: path.stem)
def test_a_translation_is_of_what_the_page_says(catalog: Path) -> None:
    page = one_line((DOCS / catalog.relative_to(CATALOGS).with_suffix(".md")).read_text())
    translated = messages(catalog)
    assert len(translated) > 3
    assert not translated.pop("").count("fuzzy")
    stale = [said for said in translated if one_line(said) not in page]
    assert not stale
    for said, chinese in translated.items():
        assert set(CODE.findall(chinese)) == set(CODE.findall(said))
        assert sorted(LINK.findall(chinese)) == sorted(LINK.findall(said))


def test_the_chinese_readme_shares_its_code() -> None:
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh.md"))
    blocks = BLOCK.findall(chinese)
    assert len(blocks) > 5
    assert not [block for block in blocks if block not in BLOCK.findall(english)]


def test_each_search_names_a_page() -> None:
    pairs = site_search.searches(chinese=False) + site_search.searches(chinese=True)
    assert len(pairs) > 50
    assert not [page for _, page in pairs if not (DOCS / f"{page}.md").exists()]
    assert set(site_search.keywords("howto/dead-relu", chinese=False)) == {"dead", "relu"}


def test_results_are_ordered_as_the_browser_orders_them() -> None:
    index: dict[str, object] = {
        "docnames": ["changes", "howto/lstm", "lessons/rnn", "anatomy"],
        "titles": ["Changelog", "Initialize an LSTM", "RNNs", "Anatomy"],
        "terms": {"lstm": [0, 3], "bias": 1, "orthogon": [0, 1, 2, 3]},
        "titleterms": {"lstm": [1], "orthogon": 2},
    }
    found = {
        "lstm": ["howto/lstm", "anatomy", "changes"],
        "lstm bias": ["howto/lstm"],
        "orthogon": ["lessons/rnn", "howto/lstm", "anatomy", "changes"],
        "an lstm": ["howto/lstm", "anatomy", "changes"],  # words of two letters may be missing
        "gru": [],
    }
    for typed, pages in found.items():
        assert site_search.results(index, typed.split()) == pages
    assert site_search.split("GPT-2 init") == ["gpt", "init"]
