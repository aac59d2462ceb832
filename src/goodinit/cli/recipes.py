"""``goodinit recipes``."""

from __future__ import annotations

import inspect
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import Annotated

import typer

import goodinit as gi
from goodinit.cli import docs, options
from goodinit.cli.building import recipe_of
from goodinit.cli.output import CommandError, emit, emit_json, paragraph
from goodinit.recipes.by_name import maker, names

__all__ = ["recipes"]


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="a name, name:option=value or file.toml")
    ] = None,
    toml: Annotated[bool, typer.Option("--toml", help="the recipe as a file to change")] = False,
    json: options.AsJson = False,
) -> None:
    """List the recipes, or show one: its law, options and rules.

        goodinit recipes
        goodinit recipes he
        goodinit recipes he:mode=fan_out --toml > mine.toml

    Such a file is a recipe as well: --recipe mine.toml.
    """
    if name is None:
        if toml:
            raise CommandError("--toml takes the name of a recipe: goodinit recipes he --toml")
        _list(json=json)
        return
    recipe = recipe_of(name)
    build = None if name.endswith(".toml") else maker(name.partition(":")[0])
    doc = inspect.cleandoc(build.__doc__ or "") if build else recipe.why
    known = _options(build) if build else {}
    if json:
        emit_json(
            {
                "name": recipe.name,
                "doc": doc,
                "options": known,
                "rules": [rule.text for rule in recipe.rules],
                "toml": recipe.to_toml(),
            }
        )
    elif toml:
        emit(recipe.to_toml().rstrip("\n"))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
        called = _called(name.partition(":")[0], known, doc, width)
        parts = (docs.shown(doc, width), called, _rules(recipe, width))
        emit("\n\n".join(part for part in parts if part))


def _list(*, json: bool) -> None:
    """Print a line for each recipe; two names of one share theirs."""
    by_maker: dict[Callable[..., gi.Recipe], list[str]] = {}
    for name in names():
        by_maker.setdefault(maker(name), []).append(name)
    listed = [(called, docs.first_line(build.__doc__ or "")) for build, called in by_maker.items()]
    if json:
        emit_json([{"names": called, "what": what} for called, what in listed])
        return
    width = max(len(", ".join(called)) for called, _ in listed)
    for called, what in listed:
        emit(paragraph(what, f"{', '.join(called):<{width}}  "))


def _options(build: Callable[..., gi.Recipe]) -> dict[str, object]:
    return {name: option.default for name, option in inspect.signature(build).parameters.items()}


def _called(name: str, known: dict[str, object], doc: str, width: int) -> str:
    """Return the options as they are given to ``--recipe``, with what is said of each."""
    if not known:
        return ""
    said = docs.arguments(doc)
    lines = [f"options, as in --recipe {name}:{next(iter(known))}=..."]
    for key, default in known.items():
        text = f"{key}={default}  {said.get(key, '')}".rstrip()
        lines += textwrap.wrap(text, width, initial_indent="  ", subsequent_indent=" " * 6)
    return "\n".join(lines)


def _rules(recipe: gi.Recipe, width: int) -> str:
    lines = ["rules, of which the last that matches wins"]
    for number, rule in enumerate(recipe.rules, start=1):
        lines += textwrap.wrap(
            rule.text,
            width,
            initial_indent=f"{number:>4}  ",
            subsequent_indent=" " * 6,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)
