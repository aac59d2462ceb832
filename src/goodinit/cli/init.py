"""``goodinit init``."""

from __future__ import annotations

import shlex
from json import dumps

from goodinit.cli import options, targets, weights
from goodinit.cli.building import draw, prepare, recipe_of
from goodinit.cli.output import count, emit, emit_json, note, size

__all__ = ["init"]


def init(
    target: options.TargetText,
    out: options.Out,
    recipe: options.Recipe = "standard",
    seed: options.Seed = 0,
    arg: options.Args = None,
    input_: options.Inputs = None,
    json: options.AsJson = False,
) -> None:
    """Draw a model's weights and write them to a safetensors file.

        goodinit init demo:gpt --recipe gpt2 --seed 0 -o weights.safetensors
        goodinit init mymodels:make_net -r mine.toml -o weights.safetensors

    Recipe, seed and the plan's digest go into the file, for `goodinit verify`.
    """
    weights.check_place(out)
    found = targets.find(target, arg or ())
    chosen = recipe_of(recipe)
    model, plan = prepare(found, chosen, input_ or (), seed)
    origin = weights.Origin(
        chosen.to_toml(), str(seed), plan.digest, found.text, dumps(input_ or [])
    )
    weights.check_place(out, sum(row.size * row.dtype.itemsize for row in plan))
    model, drawn = draw(found, model, plan, seed)
    tensors, length = weights.write(out, model, origin)
    for finding in drawn.findings:
        if finding.severity != "info":
            note(str(finding), label="finding")
    facts = {
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
        emit_json(facts)
        return
    emit(f"{out}: {count(tensors, 'tensor')}, {size(length)}")
    emit(f"recipe {chosen.name}, seed {seed}, plan {plan.digest}")
    kept = f", {facts['kept']} kept as the constructor made them" if facts["kept"] else ""
    emit(f"{facts['drawn']} drawn{kept}")
    emit(f"to check: goodinit verify {shlex.quote(str(out))} {found.text}")
