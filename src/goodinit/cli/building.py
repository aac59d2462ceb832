"""A target built, planned and drawn."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

import goodinit as gi
from goodinit._common.progress import progress_line
from goodinit._common.threads import one_thread
from goodinit._common.torch_private import BatchNorm
from goodinit.cli.inputs import parse_inputs
from goodinit.cli.output import (
    CommandError,
    print_note,
    running_model,
    stdout_to_stderr,
    user_traceback,
)
from goodinit.cli.targets import Target, find_target
from goodinit.errors import MetaModelError, SignalError, TraceError, UnresolvedError
from goodinit.recipes.by_name import as_recipe
from goodinit.trace import Inputs
from goodinit.trace.run import first_line

T = TypeVar("T")


def build_and_plan(
    target: Target, recipe: gi.Recipe, specs: Sequence[str], seed: int
) -> tuple[nn.Module, gi.Plan]:
    """Build a model without memory for its weights, and plan it.

    ``specs`` are the values of ``--input``; if empty, the target's own inputs are used. ``seed``
    seeds the constructor's random numbers.

    Raises:
        CommandError: the model can't be built, or raises on the inputs that the user gave.
    """
    model = _build_on_meta(target, seed)
    inputs = _inputs_for(target, model, specs)
    plan = _call_with_inputs(
        target, inputs, bool(specs), lambda given: gi.plan(model, recipe, inputs=given)
    )
    # A kept value has no memory on meta, but `draw_weights` builds the model with its values.
    rows = tuple(replace(row, unresolved=False) for row in plan)
    return model, replace(plan, rows=rows)


def read_target(
    text: str,
    args: Sequence[str] | None,
    file: Path | None,
    specs: Sequence[str] | None,
    seed: int,
    read: Callable[[nn.Module, Inputs | None], T],
) -> T:
    """Build a target, load the weights of a file if one is given, and read its values.

    Raises:
        CommandError: the model can't be built or run, or the file doesn't fit.
    """
    from goodinit.cli.weights import load_weights  # safetensors, which most verbs don't need

    target = find_target(text, args or ())
    model = build_model(target, seed)
    if file is not None:
        load_weights(model, file, target.text)
    inputs = _inputs_for(target, model, specs or ())
    return _call_with_inputs(target, inputs, bool(specs), lambda given: read(model, given))


def draw_weights(
    target: Target, model: nn.Module, plan: gi.Plan, seed: int
) -> tuple[nn.Module, gi.Plan]:
    """Apply a plan to the model of ``build_and_plan``, or to one that is built with its values.

    Raises:
        CommandError: not enough memory.
    """
    drawn = sum(not row.kept for row in plan)
    with progress_line("drawing", drawn) as step, stdout_to_stderr():
        try:
            return model, gi.apply_(model, plan, seed=seed, materialize="cpu", progress=step)
        except (UnresolvedError, MetaModelError):
            # The plan keeps values that only the constructor can compute.
            model = build_model(target, seed)
            return model, gi.apply_(model, plan, seed=seed, materialize="cpu", progress=step)
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
            raise CommandError(f"not enough memory for {target.text}: {error}") from error


def build_model(target: Target, seed: int, *, skeleton: bool = False) -> nn.Module:
    """Build a model; one seed determines all random numbers of its constructor.

    Raises:
        CommandError: the factory raised (its traceback is shown), or returned no module.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    numpy: Any = sys.modules.get("numpy")
    if numpy:
        numpy.random.seed(seed % 2**32)
    # One thread: the constructor may call LAPACK, whose last bits depend on the thread count.
    with progress_line(f"building {target.text}"), one_thread(), stdout_to_stderr():
        try:
            with gi.skeleton() if skeleton else nullcontext():
                model = target.make()
        except CommandError:
            raise
        except (Exception, SystemExit) as error:
            message = f"{target.text} can't be built: it raised {first_line(error)}"
            raise CommandError(message, user_traceback(error)) from error
    if isinstance(model, nn.Module):
        return model
    kind = type(model).__name__
    raise CommandError(f"{target.text} returned a {kind}, and an nn.Module is needed")


def _inputs_for(target: Target, model: nn.Module, specs: Sequence[str]) -> Inputs | None:
    """Return the inputs of ``--input``, or else the target's own; None if it has none."""
    if specs:
        return parse_inputs(specs)
    try:
        return target.example(model)
    except Exception as error:  # a configuration may lack fields, or have them in another form
        print_note(
            f"no inputs can be made up for {target.text} ({first_line(error)}): pass --input"
        )
        return None


def _call_with_inputs(
    target: Target, inputs: Inputs | None, given: bool, call: Callable[[Inputs | None], T]
) -> T:
    """Call with inputs; if the model raises on inputs that the user did not give, without them.

    Raises:
        CommandError: the model raised on the inputs that the user gave.
    """
    try:
        with progress_line(f"reading {target.text}"), running_model():
            return call(inputs)
    except TraceError as error:
        cause = error.__cause__ or error
        if given:
            message = f"{target.text} raised on the --input given: {first_line(cause)}"
            raise CommandError(message, user_traceback(cause)) from error
        print_note(
            f"{target.text} raised {first_line(cause)} on inputs made up for it: read by its "
            f"module types. Pass --input"
        )
    with progress_line(f"reading {target.text}"), running_model():
        return call(None)


def run_measurement(
    target: Target, model: nn.Module, specs: Sequence[str], call: Callable[[Inputs], T]
) -> T:
    """Call a function that measures the model on its inputs.

    A batch norm without statistics divides by those of the batch, as at the start of training.
    Otherwise the model is left as its library builds it, usually without dropout.

    Raises:
        CommandError: there are no inputs, or the model raises on them.
    """
    inputs = _inputs_for(target, model, specs)
    if inputs is None:
        raise CommandError(f"{target.text} must be run to be measured: pass --input")
    for module in model.modules():
        if isinstance(module, BatchNorm):
            batches = module.num_batches_tracked
            if batches is None or not batches:
                module.train()
    try:
        with progress_line(f"measuring {target.text}"), running_model():
            return call(inputs)
    except (SignalError, TraceError) as error:
        if error.__cause__ is None:
            raise
        where = "the --input given" if specs else "inputs made up for it; pass --input"
        raise CommandError(
            f"{target.text}, run on {where}: {error}", user_traceback(error.__cause__)
        ) from error


def parse_recipes(text: str) -> dict[str, gi.Recipe]:
    """Return the recipes of a list such as ``he:mode=fan_out,distribution=uniform,mine.toml``.

    A part that contains ``=`` and no colon before it is another option of the preceding recipe.

    Raises:
        CommandError: an empty name, or the same recipe twice.

    >>> list(parse_recipes("he:mode=fan_out,distribution=uniform,xavier"))
    ['he:mode=fan_out,distribution=uniform', 'xavier']
    """
    entries: list[str] = []
    for part in text.split(","):
        name, sign, _ = part.partition("=")
        if entries and sign and ":" not in name:
            entries[-1] += f",{part}"
        else:
            entries.append(part.strip())
    if "" in entries:
        raise CommandError(f"--recipes {text!r}: a name is missing between commas or at an end")
    for entry in entries:
        if entries.count(entry) > 1:
            raise CommandError(f"--recipes: {entry!r} is listed twice")
    return {entry: as_recipe(entry) for entry in entries}


def _build_on_meta(target: Target, seed: int) -> nn.Module:
    try:
        return build_model(target, seed, skeleton=True)
    except CommandError as error:
        if not error.details:
            raise
    # Its constructor reads values of its parameters. (Or it fails again, and the error is shown.)
    return build_model(target, seed)
