"""``goodinit explain``."""

from __future__ import annotations

import typer

import goodinit as gi
from goodinit.cli import options, targets, weights
from goodinit.cli.building import build, inputs_for, with_inputs
from goodinit.cli.output import emit, emit_json, grave

__all__ = ["explain"]


def explain(
    target: options.TargetText,
    file: options.Weights = None,
    arg: options.Args = None,
    input_: options.Inputs = None,
    seed: options.Seed = 0,
    json: options.AsJson = False,
) -> None:
    """Say which initialization a model has, and what is wrong with it.

        goodinit explain torchvision:resnet18
        goodinit explain mymodels:make_net --weights weights.safetensors

    Without --weights it is what the constructor draws. The exit code is 1 if a
    finding is a warning or an error.
    """
    found = targets.find(target, arg or ())
    model = build(found, seed)
    if file is not None:
        weights.load(model, file, found.text)
    inputs = inputs_for(found, model, input_ or ())
    told = with_inputs(found, inputs, bool(input_), lambda given: gi.explain(model, given))
    if json:
        emit_json(told.to_dict())
    else:
        emit(str(told))
    if grave(told.findings):
        raise typer.Exit(1)
