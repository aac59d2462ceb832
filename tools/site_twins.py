"""llms.txt, a Markdown twin of each page, and what the translations lack."""

from __future__ import annotations

import inspect
import json
import re
from functools import reduce
from pathlib import Path

import site_examples

import goodinit as gi

WORDS_OF_PROSE = 3  # "policy and value networks" is translated, "OLoRA, orthogonal" may be
FENCE = re.compile(
    r"^(`{3,}|:{3,})\{([\w-]+)\}[ ]?([^\n]*)\n(.*?)^\1$\n?", re.MULTILINE | re.DOTALL
)
OPTION = re.compile(r"^:[\w-]+:.*\n?", re.MULTILINE)
IMAGE = re.compile(r"(!\[[^\]]*\]\()[^):]*?([^/)]+\))")
FOR_TESTS = re.compile(r"(?<=^```python) no-run$|^<BLANKLINE>$", re.MULTILINE)
HEADING = re.compile(r"^# (.+)$", re.MULTILINE)
ABOUT = (
    "Weight initialization for PyTorch: every weight and bias of any nn.Module in one line, a plan "
    "that says what each gets and why, the same values from the same seed on any machine, and "
    "measurements of whether signal and gradient survive."
)


def write(source: Path, html: Path) -> None:
    """Write a twin beside each page, and llms.txt, which lists them."""
    titles: dict[str, str] = {}
    for page in sorted(html.rglob("*.html")):
        name = page.relative_to(html).with_suffix("").as_posix()
        text = twin(source, name)
        if text is not None:
            (html / f"{name}.md").write_text(text)
            heading = HEADING.search(text)
            titles[name] = heading[1] if heading else name
    lines = ["# goodinit", "", f"> {ABOUT}", ""]
    lines += ["Each page is Markdown. Install: `pip install goodinit`."]
    for section, folder in (("Pages", ""), ("Recipes", "recipes"), ("Reference", "reference")):
        lines += ["", f"## {section}", ""]
        for name, title in titles.items():
            top = name.partition("/")[0]
            if top == folder or (not folder and top not in ("recipes", "reference")):
                lines.append(f"- [{title}]({name}.md)")
    (html / "llms.txt").write_text("\n".join(lines) + "\n")


def twin(source: Path, name: str) -> str | None:
    """Return a page as plain Markdown; None for one that Sphinx made by itself."""
    if name.startswith("zh/"):
        return None
    if (source / f"{name}.md").exists():
        images = rf"\1{'../' * name.count('/')}_images/\2"  # where Sphinx puts them
        return IMAGE.sub(images, plain((source / f"{name}.md").read_text()))
    if (source / f"{name}.ipynb").exists():
        return notebook((source / f"{name}.ipynb").read_text())
    if name.startswith("reference/api/"):
        return reference(name.removeprefix("reference/api/").removesuffix("-class"))
    return None


def plain(text: str) -> str:
    """Return Markdown without MyST's directives: lists of links and their texts remain."""

    def simpler(found: re.Match[str]) -> str:
        kind, argument, body = found[2], found[3], OPTION.sub("", found[4])
        if kind == "toctree":
            return ""
        if kind == "grid":
            return plain(found[4].partition("\n")[2])
        if kind in ("image", "figure"):
            alt = re.search(r"^:alt: (.+)$", found[4], re.MULTILINE)
            return f"![{alt[1]}]({argument})\n" if alt else ""  # decoration
        if kind == "eval-rst":
            names = re.findall(r"^ +(goodinit[.\w]+)$", body, re.MULTILINE)
            return "".join(f"- [{one}](api/{stub(one)}.md)\n" for one in names) or body
        link = re.search(r"^:link: (.*)$", found[4], re.MULTILINE)
        title = f"[{argument}]({link[1]}.md): " if link else argument and f"{argument}: "
        return f"{title}{plain(body.strip() + chr(10))}\n"

    return re.sub(r"\n{3,}", "\n\n", FENCE.sub(simpler, FOR_TESTS.sub("", text)))


def stub(name: str) -> str:
    """Return the name of a public name's page, as conf.py maps it."""
    return f"{name}-class" if name.rpartition(".")[2] in CLASSES_BESIDE_FUNCTIONS else name


# A class and a function whose names differ in case only: two pages need two file names, also on a
# disk that doesn't tell cases apart.
CLASSES_BESIDE_FUNCTIONS = ("Diff", "Independence", "Plan", "Recipe")


def notebook(text: str) -> str:
    """Return a notebook's cells: texts, code, and what the code printed."""
    parts: list[str] = []
    for cell in json.loads(text)["cells"]:
        content = "".join(cell["source"])
        parts.append(content if cell["cell_type"] == "markdown" else f"```python\n{content}\n```")
        for output in cell.get("outputs", ()):
            said = output.get("text") or output.get("data", {}).get("text/plain", "")
            parts += [f"```text\n{''.join(said).rstrip()}\n```"] if said else []
    return "\n\n".join(parts) + "\n"


def reference(name: str) -> str | None:
    """Return the page of a public name: how it is called, and its docstring."""
    try:
        value = reduce(getattr, name.split(".")[1:], gi)
    except AttributeError:
        return None
    try:
        called = str(inspect.signature(value)) if callable(value) else ""
    except ValueError:
        called = ""
    lines = site_examples.with_imports((inspect.getdoc(value) or "").splitlines(), value)
    said = "\n".join(lines)
    return f"# {name}\n\n```python\n{name}{called}\n```\n\n{said}\n"


def without_translation(template: Path, catalog: Path) -> list[str]:
    """Return the messages of a template that a catalog doesn't translate."""
    from babel.messages.pofile import read_po

    with template.open("rb") as wanted, catalog.open("rb") as present:
        messages, translated = read_po(wanted), read_po(present)
    known = {one.id for one in translated if one.id and one.string and not one.fuzzy}
    return [one.id for one in messages if one.id and one.id not in known and is_prose(one.id)]


def is_prose(message: str) -> bool:
    """Tell a sentence from code, links and names of models, which are the same in any language."""
    words = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", message)
    return len(re.findall(r"\b[a-z]{2,}\b", words)) >= WORDS_OF_PROSE
