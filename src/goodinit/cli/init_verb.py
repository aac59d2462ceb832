"""``goodinit init``."""

from __future__ import annotations

import shlex
from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goodinit._common.text import count
from goodinit.cli import options
from goodinit.cli.output import (
    CommandError,
    byte_size,
    check_writable,
    print_json,
    print_note,
    print_result,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    import goodinit as gi
    from goodinit.cli.shard_file import ShardFile
    from goodinit.cli.targets import Target

PICKLED = (".bin", ".ckpt", ".pt", ".pth")  # as torch.save writes


def _check_file(out: Path) -> None:
    """Refuse a name that torch.load would read, and can't, and a place that can't be written."""
    if out.suffix in PICKLED:
        raise CommandError(
            f"-o {out}: the file is in the safetensors format, which torch.load doesn't read. "
            f"Write -o {out.with_suffix('.safetensors')}"
        )
    check_writable(out)


def init(
    target: options.TargetText,
    out: options.Out,
    recipe: options.Recipe = "standard",
    seed: options.Seed = 0,
    arg: options.Args = None,
    input_: options.Inputs = None,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="K/N", help="rows of rank K of N, from 0")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Draw a model's weights and write them to a safetensors file.

        goodinit init demo:gpt --recipe gpt2 --seed 0 -o weights.safetensors
        goodinit init hf:llama -r llama --shard 3/8 -o part-3.safetensors

    The file stores what `goodinit verify` needs.
    """
    from goodinit.cli import weights
    from goodinit.cli.building import build_and_plan, draw_weights
    from goodinit.cli.shard_file import parse_shard
    from goodinit.cli.targets import find_target
    from goodinit.recipes.by_name import as_recipe

    rank, size = parse_shard(shard) if shard is not None else (0, 1)
    _check_file(out)
    found = find_target(target, arg or ())
    chosen = as_recipe(recipe)
    model, plan = build_and_plan(found, chosen, input_ or (), seed)
    inputs = dumps(input_ or [])
    origin = weights.Origin(chosen.to_toml(), str(seed), plan.digest, found.text, inputs)
    check_writable(out, sum(row.size * row.dtype.itemsize for row in plan) // size)
    if shard is None:
        model, drawn = draw_weights(found, model, plan, seed)
        tensors, length = weights.write_weights(out, model, origin)
    else:
        held, drawn = _shard(found, model, plan, seed, rank, size)
        tensors, length = weights.write_tensors(
            out, held.tensors, held.groups, origin, held.read, f"{rank}/{size}"
        )
    for finding in drawn.findings:
        if finding.severity != "info":
            print_note(str(finding), label="finding")
    facts: dict[str, object] = {
        "file": str(out),
        "tensors": tensors,
        "bytes": length,
        "target": found.text,
        "recipe": chosen.name,
        "seed": seed,
        "digest": plan.digest,
        "drawn": sum(not row.kept for row in plan),
        "kept": sum(row.kept for row in plan),
        "findings": drawn.to_dict()["findings"],
    }
    if json:
        print_json(facts | ({"shard": shard} if shard else {}))
    else:
        _report(out, facts, shard)


def _report(out: Path, facts: Mapping[str, Any], shard: str | None) -> None:
    print_result(f"{out}: {count(facts['tensors'], 'tensor')}, {byte_size(facts['bytes'])}")
    print_result("recipe {recipe}, seed {seed}, plan {digest}".format_map(facts))
    kept = f", {facts['kept']} kept as the constructor made them" if facts["kept"] else ""
    print_result(f"{facts['drawn']} drawn{kept}")
    if shard is None:
        print_result(f"to check: goodinit verify {shlex.quote(str(out))} {facts['target']}")


def _shard(
    target: Target, model: nn.Module, plan: gi.Plan, seed: int, rank: int, size: int
) -> tuple[ShardFile, gi.Plan]:
    """Return a rank's part, drawn as it is written or, where that can't be, cut from the whole."""
    from goodinit.cli import weights
    from goodinit.cli.building import draw_weights
    from goodinit.cli.shard_file import ShardFile, shard_of, streamed_shard

    streamed = streamed_shard(model, plan, seed, rank, size)
    if streamed is not None:
        return streamed, plan
    print_note(f"{target.text} keeps values that its constructor computes: it is drawn in memory")
    model, drawn = draw_weights(target, model, plan, seed)
    whole = weights.state_tensors(model)
    buffers = dict(model.named_buffers(remove_duplicate=False))
    tensors = {n: shard_of(tensor, n in buffers, rank, size) for n, tensor in whole.items()}
    return ShardFile(tensors, weights.names_by_tensor(whole), tensors.__getitem__), drawn
