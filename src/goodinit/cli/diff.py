"""``goodinit diff``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, cast

import typer

import goodinit as gi
from goodinit._common.text import count, grouped_name, shape_text, without_numbers
from goodinit.cli import options
from goodinit.cli.output import CommandError, print_json, print_result, wrap_for_terminal

if TYPE_CHECKING:
    from goodinit.cli.targets import Target

REASONS = ("rule", "why", "shadowed")
"""Fields that explain a row: not shown, since a change of the values themselves is."""


def diff(
    a: Annotated[
        str, typer.Argument(metavar="A", help="a plan file, or a recipe", show_default=False)
    ],
    b: Annotated[
        str, typer.Argument(metavar="B", help="another plan file, or recipe", show_default=False)
    ],
    target: Annotated[
        str | None,
        typer.Option(
            "--target", "-t", metavar="TARGET", help="the model on which to compare recipes"
        ),
    ] = None,
    arg: options.Args = None,
    input_: options.Inputs = None,
    json: options.AsJson = False,
) -> None:
    """Compare two plans, or two recipes on one target.

        goodinit diff old.json new.json
        goodinit diff he xavier --target demo:mlp
        goodinit diff plan.json gpt2 --target hf:gpt2

    A and B are saved plans (.json) or, with --target, recipes. The exit code is 1
    if they differ.
    """
    from goodinit.cli.targets import find_target

    model = None if target is None else find_target(target, arg or ())
    first, second = (_load_or_plan(text, model, input_ or []) for text in (a, b))
    found = gi.diff(first, second)
    if json:
        changed = {name: _changed_fields(first[name], second[name]) for name in found.changed}
        removed, added = ([row.name for row in rows] for rows in (found.removed, found.added))
        print_json({"equal": not found, "removed": removed, "added": added, "changed": changed})
    elif found:
        print_result("\n".join(_difference_lines(first, second, found)))
        parts = (found.changed, "changed"), (found.removed, "only in A"), (found.added, "only in B")
        print_result(", ".join(f"{count(len(rows), 'row')} {how}" for rows, how in parts if rows))
    else:
        print_result(f"no difference: {count(len(first), 'row')}")
    raise typer.Exit(int(bool(found)))


def _load_or_plan(text: str, target: Target | None, specs: list[str]) -> gi.Plan:
    if text.endswith(".json"):
        return gi.Plan.load(text)
    if target is None:
        fix = "to compare recipes, pass --target"
        raise CommandError(f"{text!r} is not a plan file (.json); {fix}")
    from goodinit.cli.building import build_and_plan, parse_recipe

    return build_and_plan(target, parse_recipe(text), specs, 0)[1]


def _changed_fields(a: gi.PlanRow, b: gi.PlanRow) -> dict[str, list[object]]:
    """Return both values of each field that differs, the std included, as plain data."""
    from goodinit.plans.json_file import write_row

    first, second = ({**write_row(row), "std": row.std} for row in (a, b))
    return {key: [first[key], second[key]] for key in first if first[key] != second[key]}


def _difference_lines(first: gi.Plan, second: gi.Plan, found: gi.Diff) -> Iterator[str]:
    """Yield one line for all rows that differ in the same way."""
    for sign, rows in (("-", found.removed), ("+", found.added)):
        schemes = {row.name: _scheme_text(row) for row in rows}
        for names in _group_equal(schemes):
            yield wrap_for_terminal(f"{grouped_name(names)}: {schemes[names[0]]}", f"{sign} ")
    changed = found.changed.items()
    lines = {name: _change_lines(first[name], second[name], fields) for name, fields in changed}
    shown = {name: text for name, text in lines.items() if text}
    for names in _group_equal(shown):
        yield f"~ {grouped_name(names)}"
        yield from (wrap_for_terminal(line, "    ") for line in shown[names[0]])
    if len(shown) < len(lines):
        yield f"  {count(len(lines) - len(shown), 'row')} drawn alike, by other rules"


def _change_lines(
    a: gi.PlanRow, b: gi.PlanRow, fields: Mapping[str, tuple[object, object]]
) -> tuple[str, ...]:
    out: list[str] = []
    for field, (old, new) in fields.items():
        if field == "scheme":
            out.append(f"{_scheme_text(a)} -> {_scheme_text(b)}")
        elif field == "blocks":
            out += [] if a.scheme and b.scheme else _block_changes(a, b)
        elif field not in REASONS:
            out.append(f"{field}: {_value_text(old)} -> {_value_text(new)}")
    return tuple(out)


def _block_changes(a: gi.PlanRow, b: gi.PlanRow) -> Iterator[str]:
    first, second = ({block.name: block for block in row.blocks} for row in (a, b))
    if first.keys() != second.keys():
        yield f"blocks: {', '.join(first) or 'none'} -> {', '.join(second) or 'none'}"
        return
    for name, block in first.items():
        if block.scheme != second[name].scheme:
            yield f"{name}: {block.scheme!r} -> {second[name].scheme!r}"


def _scheme_text(row: gi.PlanRow) -> str:
    if row.scheme is None:
        return f"by block ({', '.join(block.name for block in row.blocks)})"
    std = row.std
    return f"{row.scheme!r}{f' std {std:.3g}' if std and 'std=' not in repr(row.scheme) else ''}"


def _value_text(value: object) -> str:
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        if items and all(isinstance(item, int) for item in items):
            return shape_text(cast("tuple[int, ...]", items))
        return ", ".join(map(str, items)) or "none"
    return repr(value)


def _group_equal(lines: Mapping[str, object]) -> list[list[str]]:
    """Group names that differ only in their numbers and have equal lines."""
    groups: dict[object, list[str]] = {}
    for name, text in lines.items():
        groups.setdefault((without_numbers(name), text), []).append(name)
    return list(groups.values())
