"""``goodinit plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from goodinit.cli import options
from goodinit.cli.output import check_writable, end_with, naming_file_errors


def plan(
    target: options.TargetText,
    recipe: options.Recipe = "standard",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="save the plan as JSON")
    ] = None,
    arg: options.Args = None,
    input_: options.Inputs = None,
    seed: options.Seed = 0,
    full: options.Full = False,
    json: options.AsJson = False,
) -> None:
    """Show what a recipe would draw, parameter by parameter. Draws nothing.

        goodinit plan hf:llama --arg num_hidden_layers=4 -o plan.json
        goodinit plan mymodels:make_net --arg width=256 --input 8x3x32x32

    The exit code is 1 if a finding of the plan is a warning or an error.
    """
    from goodinit.cli.building import build_and_plan
    from goodinit.cli.targets import find_target
    from goodinit.recipes.by_name import as_recipe

    found = find_target(target, arg or ())
    if out is not None:
        check_writable(out)
    _, planned = build_and_plan(found, as_recipe(recipe), input_ or (), seed)
    if out is not None:
        with naming_file_errors(out):
            planned.save(out)
    end_with(planned, full=full, json=json)
