"""``goodinit init``."""

from __future__ import annotations

import shlex
from json import dumps

from goodinit._common.text import count
from goodinit.cli import options
from goodinit.cli.output import byte_size, check_writable, print_json, print_note, print_result

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

    The file also stores the recipe, the seed and the plan's digest, for
    `goodinit verify`.
    """
    from goodinit.cli import weights
    from goodinit.cli.building import build_and_plan, draw_weights, parse_recipe
    from goodinit.cli.targets import find_target

    check_writable(out)
    found = find_target(target, arg or ())
    chosen = parse_recipe(recipe)
    model, plan = build_and_plan(found, chosen, input_ or (), seed)
    origin = weights.Origin(
        chosen.to_toml(), str(seed), plan.digest, found.text, dumps(input_ or [])
    )
    check_writable(out, sum(row.size * row.dtype.itemsize for row in plan))
    model, drawn = draw_weights(found, model, plan, seed)
    tensors, length = weights.write_weights(out, model, origin)
    for finding in drawn.findings:
        if finding.severity != "info":
            print_note(str(finding), label="finding")
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
        print_json(facts)
        return
    print_result(f"{out}: {count(tensors, 'tensor')}, {byte_size(length)}")
    print_result(f"recipe {chosen.name}, seed {seed}, plan {plan.digest}")
    kept = f", {facts['kept']} kept as the constructor made them" if facts["kept"] else ""
    print_result(f"{facts['drawn']} drawn{kept}")
    print_result(f"to check: goodinit verify {shlex.quote(str(out))} {found.text}")
