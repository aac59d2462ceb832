"""The pages of the site that are made from the code, and from the files beside docs/."""

from __future__ import annotations

import inspect
import posixpath
import re
import sys
import textwrap
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

import click
import typer

import goodinit as gi
from goodinit.cli.app import app
from goodinit.recipes.by_name import ALIASES

# Files beside docs/ that are pages too, and their names on the site.
BESIDE = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "DECISIONS.md": "decisions.md",
}
LINK = re.compile(r"\]\(([^()\s:#]+)(#[^()\s]*)?\)")
SECTION = re.compile(r"^(Args|Returns|Raises|Example|Examples|Note):$", re.MULTILINE)


def generated(root: Path) -> dict[str, str]:
    """Return the text of each generated page by its name below docs/."""
    pages = {site: page_beside((root / file).read_text()) for file, site in BESIDE.items()}
    pages |= {f"recipes/{names[0]}.md": recipe_page(names, root) for names in recipe_names()}
    pages["recipes/index.md"] = recipes_index()
    pages["reference/options.md"] = options_page()
    return pages


def page_beside(text: str) -> str:
    """Return a page of the root folder with links as they are below docs/."""

    def moved(link: re.Match[str]) -> str:
        target, anchor = link[1], link[2] or ""
        target = BESIDE.get(target, target.removeprefix("docs/"))
        inside = target.endswith(".md") and not target.startswith("../")
        return f"]({target}{anchor})" if inside else f"]({link[1]}{anchor})"

    return LINK.sub(moved, text)


def with_pages_beside(text: str, depth: int) -> str:
    """Return a page with links to files beside docs/ as links to their pages, or as plain text."""
    up = "../" * depth
    for file, site in BESIDE.items():
        text = text.replace(f"]({up}{file}", f"]({up[3:]}{site}")
    return re.sub(rf"\[([^\[\]]+)\]\({re.escape(up)}[^()\s]+\)", r"\1", text)


TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.MULTILINE | re.DOTALL)


def with_unlisted(index: str, pages: dict[str, bytes]) -> str:
    """Return the first page with UNLISTED replaced by the pages that no toctree has."""
    patterns = []
    for name, content in pages.items():
        folder = name.rpartition("/")[0]
        for tree in TOCTREE.findall(content.decode() if name.endswith(".md") else ""):
            lines = [line.strip() for line in tree.splitlines() if line and line[0] != ":"]
            patterns += [posixpath.normpath(posixpath.join(folder, line)) for line in lines]
    names = [name.rpartition(".")[0] for name in pages if name.endswith((".md", ".ipynb"))]
    unlisted = [
        name
        for name in names
        if name != "index" and not any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    return index.replace("UNLISTED\n", "".join(f"{name}\n" for name in unlisted))


# Recipes.


def recipe_names() -> list[list[str]]:
    """Return the library's recipes, each with its other names after it: he, kaiming, ..."""
    by_function: dict[object, list[str]] = {}
    preferred = sorted(gi.recipes.names(), key=lambda name: name in ("glorot", "kaiming"))
    for name in preferred:
        by_function.setdefault(gi.recipes.maker(name), []).append(name)
    return sorted(by_function.values())


def recipes_index() -> str:
    """Return the page that lists the recipes' pages."""
    rows, entries = [], []
    for names in recipe_names():
        law = docstring(gi.recipes.maker(names[0]))[0].partition("\n\n")[0]
        rows.append((f"[{', '.join(names)}]({names[0]}.md)", " ".join(law.split())))
        entries.append(names[0])
    said = (
        "Each recipe of the library: its law, its source, its options, the numbers that the tests"
    )
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *entries, "```"])
    text = f"{said} hold it to, and its rules. [Which one for my model?](../which-recipe.md)"
    return "\n\n".join(["# Recipe by recipe", text, table(("recipe", "law"), rows), toctree]) + "\n"


def recipe_page(names: list[str], root: Path) -> str:
    """Return the page of one recipe: law, source, options, headline numbers, rules."""
    name = names[0]
    maker = gi.recipes.maker(name)
    text, options = docstring(maker)
    law, _, source = text.partition("\n\n")
    aliases = [*names[1:], *(alias for alias, (of, given) in ALIASES.items() if of in names)]
    parts = [f"# {name}", law, call(name, maker), source]
    if options:
        defaults = inspect.signature(maker).parameters
        rows = [(f"`{k}={defaults[k].default!r}`", v) for k, v in options.items()]
        parts += ["## Options", table(("option", "what"), rows)]
    if aliases:
        parts += ["Other names that find it: " + ", ".join(f"`{one}`" for one in aliases) + "."]
    parts += [*plots(name, root), *headlines(names), *rules(name)]
    parts += ["[All recipes](../recipes.md) · [Which recipe for my model?](../which-recipe.md)"]
    return "\n\n".join(filter(None, parts)) + "\n"


def docstring(function: object) -> tuple[str, dict[str, str]]:
    """Return a docstring's text as Markdown, without its sections, and its arguments."""
    whole = (inspect.getdoc(function) or "").replace("``", "`")
    pieces = SECTION.split(whole)
    sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    arguments: dict[str, str] = {}
    for line in textwrap.dedent(sections.get("Args", "").strip("\n")).splitlines():
        if line and not line[0].isspace():
            name, _, said = line.partition(": ")
            arguments[name] = said
        elif arguments:
            arguments[next(reversed(arguments))] += " " + line.strip()
    return pieces[0].strip(), arguments


def call(name: str, maker: object) -> str:
    """Return the lines that use a recipe."""
    lines = ["import goodinit as gi", ""]
    if "base" in inspect.signature(maker).parameters:  # type: ignore[arg-type]
        lines += [f'recipe = gi.recipe("{name}", base=256)  # the width that was tuned']
        lines += ["plan = gi.init_(model, recipe, inputs=inputs, seed=0)"]
    else:
        lines += [f'plan = gi.init_(model, "{name}", inputs=inputs, seed=0)']
    return "\n".join(["```python", *lines, "print(plan)", "```"])


def plots(name: str, root: Path) -> Iterator[str]:
    """Yield the recipe's plot of the gallery, where it has one."""
    if (root / "docs" / "img" / "gallery" / f"{name}.svg").exists():
        yield "## Signal"
        gallery = f"[gallery](../gallery.md#{name})"
        yield f"One model under `{name}` and under PyTorch's default ({gallery})."
        yield f"![Signal and gradient of {name}, over depth](../img/gallery/{name}.svg)"


def headlines(names: list[str]) -> Iterator[str]:
    """Yield the numbers that the tests hold a recipe to, each with its source."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    found = [
        one
        for one in import_module("tests.recipes.test_headlines").HEADLINES
        if one.recipe in names
    ]
    if found:
        yield "## Headline numbers"
        yield (
            "The tests hold the recipe to these numbers, on the plan and on drawn values "
            "(`tests/recipes/test_headlines.py` has the models):"
        )
        yield table(
            ("parameter", "law", "std, or value", "options", "source"),
            [
                (
                    f"`{one.parameter}` of {one.model}",
                    one.law + (f", mean {one.mean:g}" if one.mean else ""),
                    f"{one.std:.4g}",
                    " ".join(f"`{k}={v!r}`" for k, v in one.options.items()),
                    one.source,
                )
                for one in found
            ],
        )


def rules(name: str) -> Iterator[str]:
    """Yield the recipe's rules, as it prints."""
    yield "## Rules"
    yield "The last rule that matches a parameter wins."
    yield f"```text\n{gi.recipe(name)}\n```"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    cells = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells
    )


# The command line.


def options_page() -> str:
    """Return the arguments and options of each verb of the command line."""
    group = typer.main.get_command(app)
    parts = [
        "# Options of the command line",
        "What `goodinit VERB --help` says. [The command line](../cli.md) has examples.",
    ]
    for verb, command in group.commands.items():  # type: ignore[attr-defined]
        said = inspect.cleandoc(command.help or "").split("\f")[0]
        head, _, example = said.partition("\n\n")
        rows = [
            (signature(one), one.help or "", default(one))
            for one in command.params
            if getattr(one, "help", None)
        ]
        parts += [f"## goodinit {verb}", " ".join(head.split())]
        parts += [example]
        parts += [table(("argument or option", "what", "default"), rows)] if rows else []
    return "\n\n".join(filter(None, parts)) + "\n"


def signature(one: click.Parameter) -> str:
    """Return how an argument or option is written."""
    if one.param_type_name == "argument":
        return f"`{(one.metavar or one.name or '').upper()}`"
    return ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))


def default(one: click.Parameter) -> str:
    """Return a default that says something."""
    return (
        ""
        if one.default in (None, (), [], False, "") or callable(one.default)
        else f"`{one.default}`"
    )
