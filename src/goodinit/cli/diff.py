"""``goodinit diff``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, cast

import typer

import goodinit as gi
from goodinit.cli import options, targets
from goodinit.cli.building import prepare, recipe_of
from goodinit.cli.output import CommandError, count, emit, emit_json, paragraph
from goodinit.plans.diff import Diff
from goodinit.plans.json_file import write_row
from goodinit.plans.rows import PlanRow
from goodinit.plans.table import called

__all__ = ["diff"]

FOLLOWS = ("rule", "why", "shadowed")
"""Fields that say why something is drawn: not shown where what is drawn differs as well."""


def diff(
    a: Annotated[
        str, typer.Argument(metavar="A", help="a plan file, or a recipe", show_default=False)
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="likewise", show_default=False)],
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", metavar="TARGET", help="the model, to compare recipes on"),
    ] = None,
    arg: options.Args = None,
    input_: options.Inputs = None,
    json: options.AsJson = False,
) -> None:
    """Compare two plans, or two recipes on one target.

        goodinit diff old.json new.json
        goodinit diff he xavier --target demo:mlp
        goodinit diff plan.json gpt2 --target hf:gpt2

    A and B are plans that were saved (.json) or, with --target, recipes. The exit
    code is 1 if they differ.
    """
    model = None if target is None else targets.find(target, arg or ())
    first, second = (_plan(text, model, input_ or []) for text in (a, b))
    found = gi.diff(first, second)
    if json:
        emit_json(
            {
                "equal": not found,
                "removed": [row.name for row in found.removed],
                "added": [row.name for row in found.added],
                "changed": {name: _change(first[name], second[name]) for name in found.changed},
            }
        )
    elif found:
        emit("\n".join(_report(first, second, found)))
        parts = (found.changed, "changed"), (found.removed, "only in A"), (found.added, "only in B")
        emit(", ".join(f"{count(len(rows), 'row')} {how}" for rows, how in parts if rows))
    else:
        emit(f"no difference: {count(len(first), 'row')}")
    raise typer.Exit(int(bool(found)))


def _plan(text: str, target: targets.Target | None, specs: list[str]) -> gi.Plan:
    if text.endswith(".json"):
        return gi.Plan.load(text)
    if target is None:
        raise CommandError(f"{text!r} is no plan file (.json); to compare recipes pass --target")
    return prepare(target, recipe_of(text), specs, 0)[1]


def _change(a: PlanRow, b: PlanRow) -> dict[str, list[object]]:
    """Return the fields that differ as plain data, with both values; the std beside them."""
    first, second = ({**write_row(row), "std": row.std} for row in (a, b))
    return {key: [first[key], second[key]] for key in first if first[key] != second[key]}


def _report(first: gi.Plan, second: gi.Plan, found: Diff) -> Iterator[str]:
    """Yield the lines: rows that differ alike share theirs."""
    for sign, rows in (("-", found.removed), ("+", found.added)):
        for names in _alike({row.name: _drawn(row) for row in rows}):
            yield paragraph(
                f"{called(names)}: {_drawn((second if sign == '+' else first)[names[0]])}",
                f"{sign} ",
            )
    lines = {name: _lines(first[name], second[name], what) for name, what in found.changed.items()}
    told = {name: text for name, text in lines.items() if text}
    for names in _alike(told):
        yield f"~ {called(names)}"
        yield from (paragraph(line, "    ") for line in told[names[0]])
    if len(told) < len(lines):
        yield f"  {count(len(lines) - len(told), 'row')} drawn alike, by other rules"


def _lines(a: PlanRow, b: PlanRow, what: Mapping[str, tuple[object, object]]) -> tuple[str, ...]:
    out: list[str] = []
    for field, (old, new) in what.items():
        if field == "scheme":
            out.append(f"{_drawn(a)} -> {_drawn(b)}")
        elif field == "blocks":
            out += [] if a.scheme and b.scheme else _blocks(a, b)
        elif field not in FOLLOWS:
            out.append(f"{field}: {_text(old)} -> {_text(new)}")
    return tuple(out)


def _blocks(a: PlanRow, b: PlanRow) -> Iterator[str]:
    first, second = ({block.name: block for block in row.blocks} for row in (a, b))
    if first.keys() != second.keys():
        yield f"blocks: {', '.join(first) or 'none'} -> {', '.join(second) or 'none'}"
        return
    for name, block in first.items():
        if block.scheme != second[name].scheme:
            yield f"{name}: {block.scheme!r} -> {second[name].scheme!r}"


def _drawn(row: PlanRow) -> str:
    if row.scheme is None:
        return f"by block ({', '.join(block.name for block in row.blocks)})"
    std = row.std
    return f"{row.scheme!r}{f' std {std:.3g}' if std and 'std=' not in repr(row.scheme) else ''}"


def _text(value: object) -> str:
    return (
        "x".join(map(str, cast("tuple[int, ...]", value)))
        if isinstance(value, tuple)
        else repr(value)
    )


def _alike(lines: Mapping[str, object]) -> list[list[str]]:
    """Return the names whose lines are equal, and that are equal but for their numbers."""
    groups: dict[object, list[str]] = {}
    for name, text in lines.items():
        groups.setdefault((re.sub(r"\d+", "#", name), text), []).append(name)
    return list(groups.values())
