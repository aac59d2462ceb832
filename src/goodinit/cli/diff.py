"""``goodinit diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import goodinit as gi
from goodinit._common.text import count
from goodinit.cli import options
from goodinit.cli.output import CommandError, print_json, print_result, wrap_for_terminal

if TYPE_CHECKING:
    from goodinit.cli.targets import Target


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
    from goodinit.plans.diff import difference_lines

    model = None if target is None else find_target(target, arg or ())
    first, second = (_load_or_plan(text, model, input_ or []) for text in (a, b))
    found = gi.diff(first, second)
    if json:
        changed = {name: _changed_fields(first[name], second[name]) for name in found.changed}
        removed, added = ([row.name for row in rows] for rows in (found.removed, found.added))
        print_json({"equal": not found, "removed": removed, "added": added, "changed": changed})
    elif found:
        lines = (wrap_for_terminal(text, start) for start, text in difference_lines(found))
        print_result("\n".join(lines))
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
    from goodinit.cli.building import build_and_plan
    from goodinit.recipes.by_name import as_recipe

    return build_and_plan(target, as_recipe(text), specs, 0)[1]


def _changed_fields(a: gi.PlanRow, b: gi.PlanRow) -> dict[str, list[object]]:
    """Return both values of each field that differs, the std included, as plain data."""
    from goodinit.plans.json_file import write_row

    first, second = ({**write_row(row), "std": row.std} for row in (a, b))
    return {key: [first[key], second[key]] for key in first if first[key] != second[key]}
