"""``goodinit verify``: compare a file with the weights that a recipe and a seed draw."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from json import loads
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import torch
import typer
from torch import Tensor

import goodinit as gi
from goodinit._common.text import count
from goodinit.cli import options, weights
from goodinit.cli.building import build_and_plan, draw_weights, parse_recipe
from goodinit.cli.inputs import parse_inputs
from goodinit.cli.output import (
    CommandError,
    print_json,
    print_result,
    progress_bar,
    wrap_for_terminal,
)
from goodinit.cli.targets import find_target
from goodinit.errors import RecipeError

__all__ = ["verify"]

MAX_SHOWN = 4  # differences of each kind, to keep the text on one screen; --json lists all
KINDS = {
    "missing": "not in the file",
    "extra": "only in the file",
    "shape": "of another shape",
    "dtype": "of another dtype",
    "values": "of other values",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between the file and what was drawn.

    Attributes:
        what: "seed", "recipe", "plan", "streams", "metadata", "missing", "extra", "shape",
            "dtype" or "values".
        where: a tensor's name, or "".
        text: what the file contains, and what was expected.
    """

    what: str
    where: str
    text: str


def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="weights that goodinit wrote", show_default=False)
    ],
    target: options.TargetText,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", metavar="R", help="recipe to use instead of the file's"),
    ] = None,
    seed: options.OwnSeed = None,
    arg: options.Args = None,
    input_: options.Inputs = None,
    json: options.AsJson = False,
) -> None:
    """Draw a file's weights again and compare them bit by bit.

        goodinit verify weights.safetensors demo:gpt
        goodinit verify weights.safetensors demo:gpt --recipe gpt2 --seed 0

    Recipe and seed are read from the file unless given. The exit code is 1 if
    anything differs.
    """
    with weights.open_weights(file) as stored:
        found = find_target(target, arg or ())
        metadata: dict[str, str] = stored.metadata() or {}
        origin = weights.read_origin(metadata)
        if origin is None and (recipe is None or seed is None):
            raise CommandError(
                f"{file} was not written by goodinit, so its recipe and seed are unknown. Pass "
                f"--recipe and --seed"
            )
        different: list[Difference] = []
        if origin is not None and weights.metadata_changed(metadata):
            different.append(Difference("metadata", "", "changed after the file was written"))
        try:
            chosen = _choose_recipe(recipe, origin, file)
            number = _choose_seed(seed, origin)
            specs = input_ or _stored_inputs(origin)
        except DamagedError as error:
            different.append(Difference("metadata", "", str(error)))
            _print_and_exit(file, different, {}, json=json)
        model, plan = build_and_plan(found, chosen, specs, number)
        model, _ = draw_weights(found, model, plan, number)
        if origin is not None:
            asked = weights.Origin(chosen.to_toml(), str(number), plan.digest, found.text)
            different += _compare_origins(origin, asked, chosen.name)
        tensors = weights.state_tensors(model)
        with progress_bar("comparing", len(tensors)) as step:
            different += _compare_tensors(stored, tensors, step)
    groups = weights.names_by_tensor(tensors)
    facts = {
        "target": found.text,
        "recipe": chosen.name,
        "seed": number,
        "digest": plan.digest,
        "tensors": len(groups),
        "values": sum(tensors[names[0]].numel() for names in groups),
    }
    _print_and_exit(file, different, facts, json=json)


class DamagedError(CommandError):
    """The metadata can't be read, so the weights can't be drawn again."""


def _choose_recipe(text: str | None, origin: weights.Origin | None, file: Path) -> gi.Recipe:
    if text is not None or origin is None:
        return parse_recipe(text or "")
    try:
        return gi.Recipe.from_toml(origin.recipe, f"the recipe in {file}")
    except RecipeError as error:
        raise DamagedError(f"{error}. Pass --recipe") from error


def _choose_seed(seed: int | None, origin: weights.Origin | None) -> int:
    if seed is not None or origin is None:
        return seed or 0
    if not re.fullmatch("[0-9]{1,20}", origin.seed) or int(origin.seed) > options.LARGEST_SEED:
        raise DamagedError(f"its seed is {origin.seed!r:.40}. Pass --seed")
    return int(origin.seed)


def _stored_inputs(origin: weights.Origin | None) -> list[str]:
    if origin is None:
        return []
    try:
        given: object = loads(origin.inputs)
        specs = [str(each) for each in cast("list[object]", given)]
        parse_inputs(specs)
    except (ValueError, TypeError, CommandError) as error:
        raise DamagedError(f"its inputs are {origin.inputs!r:.80}. Pass --input") from error
    return specs


def _compare_origins(
    file: weights.Origin, asked: weights.Origin, recipe: str
) -> Iterator[Difference]:
    if file.streams != asked.streams:
        text = f"{file.streams} drew the file, and this goodinit has {asked.streams}"
        yield Difference("streams", "", text)
    if file.seed != asked.seed:
        yield Difference("seed", "", f"{file.seed} in the file, {asked.seed} asked for")
    if file.recipe != asked.recipe:
        yield Difference("recipe", "", f"the file was drawn by another recipe than {recipe}")
    if file.digest != asked.digest:
        of = f" for {file.target}" if file.target != asked.target else ""
        text = f"{file.digest} in the file{of}, {asked.digest} for {asked.target}"
        yield Difference("plan", "", text)


def _compare_tensors(
    stored: Any, tensors: dict[str, Tensor], step: Callable[[], None]
) -> Iterator[Difference]:
    """Compare a file with the weights that were drawn. One tensor of the file is read at a time."""
    unread = set(cast("list[str]", stored.keys()))
    for names in weights.names_by_tensor(tensors):
        here = [name for name in names if name in unread]
        unread.difference_update(here)
        if not here:
            text = f"not in the file, shape {_shape_text(tensors[names[0]].shape)} in the model"
            yield Difference("missing", names[0], text)
        for name in here:
            yield from _compare_values(name, stored, tensors[name])
            step()
    for name in sorted(unread):
        text = f"only in the file, shape {_shape_text(stored.get_slice(name).get_shape())}"
        yield Difference("extra", name, text)


def _compare_values(name: str, stored: Any, drawn: Tensor) -> Iterator[Difference]:
    shape: list[int] = stored.get_slice(name).get_shape()
    if shape != list(drawn.shape):
        text = f"shape {_shape_text(shape)} in the file, {_shape_text(drawn.shape)} drawn"
        yield Difference("shape", name, text)
        return
    value: Tensor = stored.get_tensor(name)
    if value.dtype != drawn.dtype:
        yield Difference("dtype", name, f"{value.dtype} in the file, {drawn.dtype} drawn")
        return
    # Bits, not numbers: NaN equals NaN, and -0. does not equal 0.
    bits = [x.contiguous().reshape(-1).view(torch.uint8) for x in (value, drawn)]
    if torch.equal(*bits):
        return
    wrong = (bits[0] != bits[1]).view(-1, drawn.itemsize).any(1).nonzero().flatten()
    first = int(wrong[0])
    place = [int(i) for i in torch.unravel_index(wrong[0], drawn.shape)]
    of = f"{len(wrong):,} of {count(drawn.numel(), 'value')} differ"
    pair = [_exact_number(x.reshape(-1)[first]) for x in (value, drawn)]
    text = f"{of}, first {place}: {pair[0]} in the file, {pair[1]} drawn"
    yield Difference("values", name, text)


def _exact_number(value: Tensor) -> str:
    """Return a number with enough digits to distinguish it from its neighbors."""
    number = value.item()
    if not isinstance(number, float):
        return str(number)
    digits = {torch.float64: 17, torch.float32: 9}.get(value.dtype, 5)
    return f"{number:.{digits}g}"


def _shape_text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "()"


def _difference_lines(different: list[Difference]) -> Iterator[str]:
    """Yield the differences of the metadata, then the first tensors of each kind."""
    for what in dict.fromkeys(each.what for each in different):
        alike = [each for each in different if each.what == what]
        for each in alike[:MAX_SHOWN]:
            yield f"{each.where or what}: {each.text}"
        if (more := len(alike) - MAX_SHOWN) > 0:
            yield f"and {count(more, 'more tensor')} {KINDS[what]}; --json lists all"


def _print_and_exit(
    file: Path, different: list[Difference], facts: Mapping[str, object], *, json: bool
) -> NoReturn:
    if json:
        listed = [asdict(each) for each in different]
        print_json({"file": str(file), "equal": not different, **facts, "differences": listed})
    elif different:
        print_result(f"different: {file}", "bold red")
        for line in _difference_lines(different):
            print_result(wrap_for_terminal(line, "  "))
    else:
        drawn = "recipe {recipe} and seed {seed} draw for {target}".format_map(facts)
        print_result(f"equal: {file}", "green")
        print_result(wrap_for_terminal(f"is what {drawn}:", "  "))
        print_result("  {tensors:,} tensors, {values:,} values, plan {digest}".format_map(facts))
    raise typer.Exit(int(bool(different)))
