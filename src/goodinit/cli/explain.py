"""``goodinit explain``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from safetensors import torch as files
from torch import nn

import goodinit as gi
from goodinit.cli import options, targets, weights
from goodinit.cli.building import build, inputs_for, with_inputs
from goodinit.cli.output import CommandError, count, emit, emit_json, grave, note

__all__ = ["explain"]


def explain(
    target: options.TargetText,
    file: Annotated[
        Path | None, typer.Option("--weights", "-w", metavar="FILE", help="a safetensors file")
    ] = None,
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
        _load(model, file, found.text)
    inputs = inputs_for(found, model, input_ or ())
    told = with_inputs(found, inputs, bool(input_), lambda given: gi.explain(model, given))
    if json:
        emit_json(told.to_dict())
    else:
        emit(str(told))
    if grave(told.findings):
        raise typer.Exit(1)


def _load(model: nn.Module, file: Path, target: str) -> None:
    """Load weights; what the model or the file has alone is said, and is no error."""
    with weights.opened(file):
        pass
    try:
        load: Callable[..., tuple[list[str], list[str]]] = files.load_model  # pyright: ignore[reportUnknownVariableType]
        missing, extra = load(model, file, strict=False)
    except RuntimeError as error:  # shapes that differ; torch lists them on lines of their own
        lines = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        more = f" And {len(lines) - 1} more" if len(lines) > 1 else ""
        raise CommandError(f"{file} isn't {target}'s: {lines[0]}{more}") from error
    if {name for name, _ in model.named_parameters()} <= {*missing}:
        raise CommandError(f"{file} holds nothing of {target}: none of its names is the model's")
    for names, what in (
        (missing, "not in the file, so as constructed"),
        (extra, "not the model's"),
    ):
        if names:
            first = min(names)
            note(f"{count(len(names), 'tensor')} {what}: {first}{', ...' * (len(names) > 1)}")
