"""A target built, planned and drawn."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import goodinit as gi
from goodinit._common.threads import one_thread
from goodinit.cli.inputs import inputs_of
from goodinit.cli.output import CommandError, aside, note, running, their_traceback, working
from goodinit.cli.targets import Target, argument
from goodinit.errors import MetaModelError, SignalError, TraceError, UnresolvedError
from goodinit.trace import Inputs

__all__ = [
    "build",
    "draw",
    "inputs_for",
    "measured",
    "prepare",
    "recipe_of",
    "recipes_of",
    "with_inputs",
]

T = TypeVar("T")


def prepare(
    target: Target, recipe: gi.Recipe, specs: Sequence[str], seed: int
) -> tuple[nn.Module, gi.Plan]:
    """Build a model without memory for its weights, and plan it.

    Args:
        target: what to build.
        recipe: what to plan.
        specs: the inputs, as ``--input`` has them; none takes the target's own.
        seed: of the constructor's random numbers.

    Raises:
        CommandError: the model can't be built, or raises on inputs that the user gave.
    """
    model = _skeleton(target, seed)
    inputs = inputs_for(target, model, specs)
    plan = with_inputs(
        target, inputs, bool(specs), lambda given: gi.plan(model, recipe, inputs=given)
    )
    # What is kept has no memory here, but has in a model that `draw` builds for real.
    rows = tuple(replace(row, unresolved=False) for row in plan)
    return model, replace(plan, rows=rows)


def draw(target: Target, model: nn.Module, plan: gi.Plan, seed: int) -> tuple[nn.Module, gi.Plan]:
    """Write what is planned into a model that ``prepare`` made, or into one built for real.

    Raises:
        CommandError: not enough memory.
    """
    drawn = sum(not row.kept for row in plan)
    with working("drawing", drawn) as step, aside():
        try:
            return model, gi.apply_(model, plan, seed=seed, materialize="cpu", progress=step)
        except (UnresolvedError, MetaModelError):
            # The plan keeps what a constructor computes: that takes a constructor that does.
            model = build(target, seed)
            return model, gi.apply_(model, plan, seed=seed, materialize="cpu", progress=step)
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
            raise CommandError(f"not enough memory for {target.text}: {error}") from error


def build(target: Target, seed: int, *, skeleton: bool = False) -> nn.Module:
    """Build a model, with one seed for all that its constructor draws.

    Raises:
        CommandError: the factory raised, which is shown as its own; it returned no module.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    numpy: Any = sys.modules.get("numpy")
    if numpy:
        numpy.random.seed(seed % 2**32)
    # One thread: the constructor may call LAPACK, whose last bits change with their number.
    with working(f"building {target.text}"), one_thread(), aside():
        try:
            with gi.skeleton() if skeleton else nullcontext():
                model = target.make()
        except CommandError:
            raise
        except (Exception, SystemExit) as error:
            message = f"{target.text} can't be built: it raised {_line(error)}"
            raise CommandError(message, their_traceback(error)) from error
    if isinstance(model, nn.Module):
        return model
    kind = type(model).__name__
    raise CommandError(f"{target.text} returned a {kind}, and an nn.Module is needed")


def inputs_for(target: Target, model: nn.Module, specs: Sequence[str]) -> Inputs | None:
    """Return the inputs of ``--input``, else the target's own; None where none can be made up."""
    if specs:
        return inputs_of(specs)
    try:
        return target.example(model)
    except Exception as error:  # whatever a configuration lacks or has in another form
        note(f"no inputs can be made up for {target.text} ({_line(error)}): pass --input")
        return None


def with_inputs(
    target: Target, inputs: Inputs | None, given: bool, call: Callable[[Inputs | None], T]
) -> T:
    """Call with inputs; where the model raises on those that were made up, without.

    Raises:
        CommandError: the model raised on inputs that the user gave.
    """
    try:
        with working(f"reading {target.text}"), running():
            return call(inputs)
    except TraceError as error:
        cause = error.__cause__ or error
        if given:
            message = f"{target.text} raised on the --input given: {_line(cause)}"
            raise CommandError(message, their_traceback(cause)) from error
        note(
            f"{target.text} raised {_line(cause)} on inputs made up for it: read by its module "
            f"types. Pass --input"
        )
    with working(f"reading {target.text}"), running():
        return call(None)


def measured(
    target: Target, model: nn.Module, specs: Sequence[str], call: Callable[[Inputs], T]
) -> T:
    """Call something that measures the model on its inputs.

    Batch norms that have seen no data divide by the batch's statistics, as training starts; all
    else is as the target's library builds it: without dropout, most often.

    Raises:
        CommandError: there are no inputs, or the model raises on them.
    """
    inputs = inputs_for(target, model, specs)
    if inputs is None:
        raise CommandError(f"{target.text} must be run to be measured: pass --input")
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not _has_seen(module):
            module.train()
    try:
        with working(f"measuring {target.text}"), running():
            return call(inputs)
    except (SignalError, TraceError) as error:
        if error.__cause__ is None:
            raise
        where = "the --input given" if specs else "inputs made up for it; pass --input"
        raise CommandError(
            f"{target.text}, run on {where}: {error}", their_traceback(error.__cause__)
        ) from error


def _has_seen(module: _BatchNorm) -> bool:
    counted = module.num_batches_tracked
    return counted is not None and bool(counted)


def recipes_of(text: str) -> dict[str, gi.Recipe]:
    """Return the recipes of a list such as ``he:mode=fan_out,distribution=uniform,mine.toml``.

    A part with ``=`` and no colon before it is one more option of the recipe before.

    Raises:
        CommandError: the same recipe twice.

    >>> list(recipes_of("he:mode=fan_out,distribution=uniform,xavier"))
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
            raise CommandError(f"--recipes: {entry!r} twice")
    return {entry: recipe_of(entry) for entry in entries}


def recipe_of(text: str) -> gi.Recipe:
    """Return the recipe of a name, a name with options or a TOML file.

    >>> recipe_of("he:mode=fan_out").rules[-1].scheme
    ReluGain(HeNormal(mode='fan_out'), else HeNormal(mode='fan_out'))
    """
    if text.endswith(".toml"):
        return gi.Recipe.load(text)
    name, colon, rest = text.partition(":")
    options = dict(argument(pair, "--recipe") for pair in rest.split(",")) if colon else {}
    return gi.recipe(name, **options)


def _skeleton(target: Target, seed: int) -> nn.Module:
    try:
        return build(target, seed, skeleton=True)
    except CommandError as error:
        if not error.details:
            raise
    # It needed values of its parameters (or it fails anyway, and says so).
    return build(target, seed)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
