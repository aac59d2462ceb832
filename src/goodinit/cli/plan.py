"""``goodinit plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from goodinit.cli import options, targets
from goodinit.cli.building import prepare, recipe_of
from goodinit.cli.narrow import fitted
from goodinit.cli.output import emit, emit_json, grave, saving
from goodinit.cli.weights import check_place

__all__ = ["plan"]


def plan(
    target: options.TargetText,
    recipe: options.Recipe = "standard",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="save the plan as JSON")
    ] = None,
    arg: options.Args = None,
    input_: options.Inputs = None,
    seed: options.Seed = 0,
    json: options.AsJson = False,
) -> None:
    """Show what a recipe would draw, parameter by parameter. Nothing is drawn.

        goodinit plan demo:gpt --recipe gpt2
        goodinit plan hf:llama --arg num_hidden_layers=4 -o plan.json
        goodinit plan mymodels:make_net --arg width=256 --input 8x3x32x32

    The exit code is 1 if a finding of the plan is a warning or an error.
    """
    found = targets.find(target, arg or ())
    if out is not None:
        check_place(out)
    _, planned = prepare(found, recipe_of(recipe), input_ or (), seed)
    if out is not None:
        with saving(out):
            planned.save(out)
    if json:
        emit_json(planned.to_dict())
    else:
        emit(fitted(str(planned)))
    if grave(planned.findings):
        raise typer.Exit(1)
