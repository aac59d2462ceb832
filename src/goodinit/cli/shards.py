"""``goodinit shards``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer

import goodinit as gi
from goodinit._common.text import shape_text, table
from goodinit.cli import options
from goodinit.cli.output import CommandError, byte_size, print_json, print_result

if TYPE_CHECKING:
    from goodinit.plans.rows import PlanBlock
    from goodinit.streams import Box
    from goodinit.streams.part import Runs

COPIES = ("rep", "replicate", "ddp", "dp_replicate")
"""Mesh axes of these names hold copies."""
FIRST = ("dp", "fsdp", "dp_shard")
"""Mesh axes of these names cut the first axis of everything, as fully_shard does."""


@dataclass(frozen=True)
class Held:
    """What a rank holds of a row, and the values that it has to draw for that."""

    name: str
    shape: tuple[int, ...]
    local: tuple[int, ...]
    held: int
    drawn: int
    size: int
    bytes: int


Numbers = dict[str, int]
Cut = tuple[str, str, int]  # the mesh axis, a glob of names, the tensor axis


def shards(
    target: options.TargetText,
    mesh: Annotated[str, typer.Option("--mesh", metavar="AXES", help="dp=128,tp=8; rep= copies")],
    rank: Annotated[int, typer.Option("--rank", metavar="N", min=0, help="which process")] = 0,
    cut: Annotated[
        list[str] | None,
        typer.Option("--cut", metavar="AXIS:GLOB=DIM", help="what an axis cuts, instead of roles"),
    ] = None,
    recipe: options.Recipe = "standard",
    arg: options.Args = None,
    input_: options.Inputs = None,
    json: options.AsJson = False,
) -> None:
    """Show what one process of a cluster would hold and draw. Draws nothing.

        goodinit shards hf:llama -r llama --mesh dp=128,tp=8 --rank 77
        goodinit shards demo:gpt --mesh dp=2,tp=2 --cut "tp:*.fc1.weight=0"

    tp cuts ends of residual branches along inputs, other layers along outputs.
    """
    from goodinit.cli.building import build_and_plan
    from goodinit.cli.targets import find_target
    from goodinit.recipes.by_name import as_recipe

    axes = _parse_mesh(mesh)
    coordinate = _coordinate(axes, rank)
    cuts = [_parse_cut(text, axes) for text in cut or ()]
    known = {*COPIES, *FIRST, "tp", *(axis for axis, _, _ in cuts)}
    if name := next((axis for axis in axes if axis not in known), None):
        raise CommandError(
            f"--mesh {mesh}: what {name} cuts isn't known, as it is of {', '.join(FIRST)} (first "
            f"axes), tp (layers) and rep (nothing): say it, --cut '{name}:*.experts.*=0'"
        )
    _, plan = build_and_plan(find_target(target, arg or ()), as_recipe(recipe), input_ or (), 0)
    for axis, glob, _ in cuts:
        if not any(fnmatchcase(row.name, glob) for row in plan):
            raise CommandError(f"--cut {axis}:{glob} matches no parameter")
    linear = (row for row in plan if row.layout and row.layer is not None and row.kind == "linear")
    layers = {row.name.rpartition(".")[0]: row for row in linear}
    found = [_held(row, axes, coordinate, cuts, layers) for row in plan if not row.kept]
    if json:
        print_json({"rank": rank, "coordinate": coordinate, "rows": [vars(one) for one in found]})
        return
    where = ", ".join(f"{name} {at}" for name, at in coordinate.items())
    held, size = sum(one.held for one in found), sum(one.size for one in found)
    drawn, taken = sum(one.drawn for one in found), sum(one.bytes for one in found)
    more = f"; {drawn:,} are drawn, as some matrices need the whole" if drawn > held else ""
    head = f"rank {rank} ({where}) holds {held:,} of {size:,} values, {byte_size(taken)}{more}"
    cells = [
        (one.name, shape_text(one.shape), shape_text(one.local), f"{one.held:,}", f"{one.drawn:,}")
        for one in found
    ]
    lines = table(("name", "shape", "here", "held", "drawn"), cells, right={3, 4})
    print_result("\n".join([head, "", *lines]))


def _held(
    row: gi.PlanRow,
    axes: Numbers,
    coordinate: Numbers,
    cuts: list[Cut],
    layers: dict[str, gi.PlanRow],
) -> Held:
    from goodinit.streams.part import chunk_bounds, cut_runs, run_size

    runs: list[Runs] = [((0, size),) for size in row.shape]
    for name in reversed(axes):  # the last axis cuts first, as fully_shard over the others does
        dim = _dim_of(row, name, cuts, layers)
        if dim is not None:
            start, stop = chunk_bounds(run_size(runs[dim]), axes[name], coordinate[name])
            runs[dim] = cut_runs(runs[dim], start, stop)
    part = gi.Part(row.shape, tuple(runs))
    drawn = sum(_needed(row, block, box) for box, _ in part.pieces() for block in row.parts())
    held = math.prod(part.local_shape)
    taken = held * row.dtype.itemsize
    return Held(row.name, row.shape, part.local_shape, held, drawn, row.size, taken)


def _needed(row: gi.PlanRow, block: PlanBlock, box: Box) -> int:
    """Return how many values have to be drawn for what a box holds of a block."""
    from goodinit.streams.part import box_shape, intersect, within

    shared = None if isinstance(block.scheme, gi.Keep) else intersect(box, block.box)
    if shared is None:
        return 0
    needed, _ = block.scheme.reach(row.site(block), within(shared, block.box))
    return math.prod(box_shape(needed))


def _dim_of(
    row: gi.PlanRow, axis: str, cuts: list[Cut], layers: dict[str, gi.PlanRow]
) -> int | None:
    """Return the tensor axis that a mesh axis cuts, or None."""
    mine = [(glob, dim) for name, glob, dim in cuts if name == axis]
    for glob, dim in mine:
        if fnmatchcase(row.name, glob):
            if not -len(row.shape) <= dim < len(row.shape):
                raise CommandError(f"--cut {axis}:{glob}={dim}: {row.name} has no such axis")
            return dim % len(row.shape)
    if mine or axis in COPIES or not row.shape:
        return None
    if axis != "tp":
        return 0
    layer = layers.get(row.name.rpartition(".")[0])
    if layer is None or layer.layout is None:
        return None
    if row is not layer:  # its bias is added to outputs: to all of them where inputs are cut
        return None if layer.ends_residual or row.part != "bias" else 0
    along = layer.layout.inputs if layer.ends_residual else layer.layout.outputs
    return along[0] if along else None


def _parse_mesh(text: str) -> Numbers:
    axes: Numbers = {}
    for word in text.split(","):
        name, _, size = word.partition("=")
        if not (name and size.isdecimal() and int(size) > 0) or name in axes:
            raise CommandError(f"--mesh {text}: write each axis once, as in dp=128,tp=8")
        axes[name] = int(size)
    return axes


def _coordinate(axes: Numbers, rank: int) -> Numbers:
    """Return where a rank is in the mesh, whose last axis runs fastest."""
    left, places = rank, list[int]()
    for size in reversed(axes.values()):
        left, place = divmod(left, size)
        places.append(place)
    if left:
        raise CommandError(f"--rank {rank} isn't among the {math.prod(axes.values())} of the mesh")
    return dict(zip(axes, reversed(places), strict=True))


def _parse_cut(text: str, axes: Numbers) -> Cut:
    axis, _, rest = text.partition(":")
    glob, _, dim = rest.rpartition("=")
    if axis not in axes or not glob or not dim.removeprefix("-").isdecimal():
        raise CommandError(f"--cut {text}: write an axis of the mesh, as in tp:*.fc1.weight=0")
    return axis, glob, int(dim)
