"""``goodinit verify``: compare a file with the weights that a recipe and a seed draw."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer

import goodinit as gi
from goodinit._common.progress import progress_line
from goodinit._common.text import count
from goodinit.cli import options
from goodinit.cli.output import (
    CommandError,
    print_json,
    print_result,
    wrap_for_terminal,
)
from goodinit.errors import RecipeError

if TYPE_CHECKING:
    from goodinit.cli import weights
    from goodinit.cli.differences import Difference

MAX_SHOWN = 4  # differences of each kind, to keep the text on one screen; --json lists all
KINDS = {
    "missing": "not in the file",
    "extra": "only in the file",
    "shape": "of another shape",
    "dtype": "of another dtype",
    "values": "of other values",
}


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
    from goodinit.cli import weights
    from goodinit.cli.building import build_and_plan, draw_weights
    from goodinit.cli.differences import Difference, compare_origins, compare_tensors
    from goodinit.cli.targets import find_target

    with weights.open_weights(file) as stored:
        found = find_target(target, arg or ())
        metadata: dict[str, str] = stored.metadata() or {}
        origin = weights.read_origin(metadata)
        if weights.SHARD in metadata:
            what = f"is shard {metadata[weights.SHARD]} of a model, and verify draws whole ones"
            raise CommandError(f"{file} {what}. Write it again with init --shard and compare")
        if origin is None and (recipe is None or seed is None):
            what = "was not written by goodinit, so its recipe and seed are unknown"
            raise CommandError(f"{file} {what}. Pass --recipe and --seed")
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
        model = draw_weights(found, model, plan, number)[0]
        if origin is not None:
            asked = weights.Origin(chosen.to_toml(), str(number), plan.digest, found.text)
            different += compare_origins(origin, asked, chosen.name)
        tensors = weights.state_tensors(model)
        with progress_line("comparing", len(tensors)) as step:
            different += compare_tensors(stored, tensors, step)
    sizes = [tensors[names[0]].numel() for names in weights.names_by_tensor(tensors)]
    facts = {"target": found.text, "recipe": chosen.name, "seed": number, "digest": plan.digest}
    facts |= {"tensors": len(sizes), "values": sum(sizes)}
    _print_and_exit(file, different, facts, json=json)


class DamagedError(CommandError):
    """The metadata can't be read, so the weights can't be drawn again."""


def _choose_recipe(text: str | None, origin: weights.Origin | None, file: Path) -> gi.Recipe:
    from goodinit.recipes.by_name import as_recipe

    if text is not None or origin is None:
        return as_recipe(text or "")
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
    from goodinit.cli.inputs import parse_inputs

    if origin is None:
        return []
    try:
        given: object = loads(origin.inputs)
        specs = [str(each) for each in cast("list[object]", given)]
        parse_inputs(specs)
    except (ValueError, TypeError, CommandError) as error:
        raise DamagedError(f"its inputs are {origin.inputs!r:.80}. Pass --input") from error
    return specs


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
