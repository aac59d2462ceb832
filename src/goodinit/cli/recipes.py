"""``goodinit recipes``.

A recipe's docstring is its documentation: its law, its source and its options. It is written for
lines of 100 characters; here its paragraphs and tables are wrapped to the terminal's width.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Annotated

import typer

import goodinit as gi
from goodinit._common.text import WIDTH, terminal_width, wrap
from goodinit.cli import options
from goodinit.cli.output import CommandError, print_json, print_result, wrap_for_terminal


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="a name, name:option=value or file.toml")
    ] = None,
    toml: Annotated[bool, typer.Option("--toml", help="print the recipe as a TOML file")] = False,
    json: options.AsJson = False,
) -> None:
    """List the recipes, or show the law, options and rules of one.

        goodinit recipes
        goodinit recipes he
        goodinit recipes he:mode=fan_out --toml > mine.toml

    Such a file can be used as a recipe: --recipe mine.toml.
    """
    from goodinit.recipes.by_name import as_recipe, maker

    if name is None:
        if toml:
            raise CommandError("--toml takes the name of a recipe: goodinit recipes he --toml")
        _print_list(json=json)
        return
    recipe = as_recipe(name)
    build = None if name.endswith(".toml") else maker(name.partition(":")[0])
    doc = inspect.cleandoc(build.__doc__ or "") if build else recipe.why
    parameters = inspect.signature(build).parameters.values() if build else ()
    defaults: dict[str, object] = {option.name: option.default for option in parameters}
    if json:
        rules = [rule.text for rule in recipe.rules]
        data = {"name": recipe.name, "doc": doc, "options": defaults, "rules": rules}
        print_json(data | {"toml": recipe.to_toml()})
    elif toml:
        print_result(recipe.to_toml().rstrip("\n"))
    else:
        width = terminal_width() or WIDTH
        described = _option_lines(name.partition(":")[0], defaults, doc, width)
        parts = (_wrapped_docstring(doc, width), described, _rule_lines(recipe))
        print_result("\n\n".join(part for part in parts if part))


def _print_list(*, json: bool) -> None:
    from goodinit.recipes.by_name import maker, names

    by_maker: dict[Callable[..., gi.Recipe], list[str]] = {}
    for name in names():
        by_maker.setdefault(maker(name), []).append(name)
    listed = [(aliases, first_line(build.__doc__ or "")) for build, aliases in by_maker.items()]
    if json:
        print_json([{"names": aliases, "what": what} for aliases, what in listed])
        return
    width = max(len(", ".join(aliases)) for aliases, _ in listed)
    for aliases, what in listed:
        print_result(wrap_for_terminal(what, f"{', '.join(aliases):<{width}}  "))


def _option_lines(name: str, known: dict[str, object], doc: str, width: int) -> str:
    """Return the options as ``--recipe`` takes them, with their descriptions."""
    if not known:
        return ""
    descriptions = _argument_descriptions(doc)
    lines = [f"options, as in --recipe {name}:{next(iter(known))}=..."]
    for key, default in known.items():
        text = f"{key}={default}  {descriptions.get(key, '')}".rstrip()
        lines += textwrap.wrap(text, width, initial_indent="  ", subsequent_indent=" " * 6)
    return "\n".join(lines)


def _rule_lines(recipe: gi.Recipe) -> str:
    lines = ["rules; the last one that matches wins"]
    for number, rule in enumerate(recipe.rules, start=1):
        lines += wrap(rule.text, f"{number:>4}  ")
    return "\n".join(lines)


def first_line(doc: str) -> str:
    """Return the first line without markup.

    >>> first_line("As in ``standard``.")
    'As in standard.'
    """
    return doc.partition("\n")[0].replace("``", "")


def _wrapped_docstring(doc: str, width: int) -> str:
    r"""Return a docstring's paragraphs and tables wrapped to a width, without its arguments.

    >>> print(_wrapped_docstring("One ``two`` three\nfour.\n\nArgs:\n    five: six.", 12))
    One two
    three four.
    """
    blocks = doc.replace("``", "").split("\n\n")
    out: list[str] = []
    for block in blocks:
        if block.startswith("=="):
            out.append("\n".join(_table(block.splitlines(), width)))
        elif not block.startswith("Args:"):
            out.append(textwrap.fill(" ".join(block.split()), width, break_on_hyphens=False))
    return "\n\n".join(out)


def _argument_descriptions(doc: str) -> dict[str, str]:
    r"""Return the description of each argument.

    >>> _argument_descriptions("Law.\n\nArgs:\n    mode: which\n        fan.\n    gain: a factor.")
    {'mode': 'which fan.', 'gain': 'a factor.'}
    """
    block = doc.replace("``", "").partition("Args:\n")[2].partition("\n\n")[0]
    items = re.split(r"^    (?=\w+: )", block, flags=re.MULTILINE)[1:]
    pairs = (item.partition(": ") for item in items)
    return {name: " ".join(text.split()) for name, _, text in pairs}


def _table(lines: list[str], width: int) -> Iterator[str]:
    """Wrap the last column. A line with an empty cell continues the row above it."""
    start = lines[0].rindex(" ") + 1
    rows: list[tuple[list[str], list[str]]] = []
    for line in lines:
        if line.startswith("="):
            continue
        left, right = line[:start].rstrip(), line[start:].strip()
        if not rows or (left and right):
            rows.append(([], []))
        rows[-1][0].extend([left] if left else [])
        rows[-1][1].append(right)
    for left, right in rows:
        wrapped = textwrap.wrap(" ".join(right), width - start, break_on_hyphens=False)
        for a, b in zip_longest(left, wrapped, fillvalue=""):
            yield f"{a:<{start}}{b}".rstrip()
