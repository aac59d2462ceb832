"""Measure the models of one package in a process of its own, as lines of JSON."""

from __future__ import annotations

import json
import random
import sys
import warnings
from fnmatch import fnmatch

import numpy as np
import torch
from torch import Tensor, nn

import goodinit as gi

from . import (  # noqa: F401 (they register their models)
    models_further,
    models_later,
    models_more,
    models_recent,
)
from .models import PACKAGES

# Zeros that are added to a signal and tell positions or streams apart once they are drawn.
PLACEHOLDERS = (
    "*stream_emb",
    "*stream_embed",
    "*persistent_memory",
    "*pos_emb*",
    "*cls_token",
    "*_positions",
)


def seeded(build, seed: int):
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    net, inputs = build()
    return net, inputs


def is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def special(net: nn.Module, again: nn.Module) -> tuple[set[str], set[str]]:
    """Return the parameters that their author meant, and those that everybody starts so.

    An author meant what follows from no chance (equal for two seeds) and what is frozen. Ones
    and zeros of norms and zeros of biases are ordinary; if one changes, that counts all the same.
    """
    other = dict(again.named_parameters(remove_duplicate=False))
    meant, ordinary = set(), set()
    for path, module in net.named_modules():
        for name, p in module.named_parameters(path, recurse=False):
            if not p.numel() or not (torch.equal(p, other[name]) or not p.requires_grad):
                continue
            neutral = is_norm(module) and ((p == 0).all() or (p == 1).all())
            zero_bias = not p.any() and name.endswith("bias")
            (ordinary if neutral or zero_bias else meant).add(name)
    return meant, ordinary


def call(net: nn.Module, inputs):
    return net(**inputs) if isinstance(inputs, dict) else net(*inputs)


def measure(package: str, name: str, build) -> dict[str, object]:
    row: dict[str, object] = {"package": package, "model": name}
    net, inputs = seeded(build, 1)
    net.eval()
    with torch.no_grad():
        call(net, inputs)
    again, _ = seeded(build, 2)
    meant, ordinary = special(net, again)
    start = {n: p.detach().clone() for n, p in net.named_parameters()}
    row |= {"parameters": len(start), "special": len(meant)}
    for way, given in (("with", inputs), ("without", None)):
        with torch.no_grad():
            for n, p in net.named_parameters():
                p.copy_(start[n])
        try:
            plan = gi.init_(net, "standard", inputs=given, seed=0)
        except gi.errors.ParametrizationError as error:  # says what can't be written, and the fix
            row[way] = {"refused": str(error)[:200]}
            continue
        except Exception as error:  # the point: any error on a model that runs is a fault
            row[way] = {"error": f"{type(error).__name__}: {error}"[:400]}
            continue
        row[way] = compare(net, plan, start, meant, ordinary)
    return row


def compare(net: nn.Module, plan, start, meant, ordinary) -> dict[str, object]:
    rows = {alias: one for one in plan for alias in (one.name, *one.tied, *one.stored)}
    lost = {}
    for name, p in net.named_parameters():
        same = name not in meant | ordinary or torch.equal(p, start[name])
        if same or may_be_drawn(net, name, start):
            continue
        row = rows[name]
        if name in ordinary and row.kind == "norm" and row.part == "out" and len(p.unique()) == 1:
            continue  # a branch that ends with a norm is as large as any other branch
        scheme = str(row.scheme)[:60]
        lost[name] = [row.kind, row.part, scheme, row.guessed, list(p.shape)]
    return {
        "how": plan.how,
        "lost": lost,
        "guessed": sum(r.guessed for r in plan if r.part != "buffer"),
    }


def may_be_drawn(net: nn.Module, name: str, start: dict[str, Tensor]) -> bool:
    """Zeros that are placeholders, and torch's norms that were set to 0: drawing them is right."""
    path, _, _ = name.rpartition(".")
    owner = type(net.get_submodule(path))
    zero = not start[name].any()
    torchs = owner.__module__.startswith("torch.nn.modules") and is_norm(net.get_submodule(path))
    return zero and (torchs or any(fnmatch(name, pattern) for pattern in PLACEHOLDERS))


def main(package: str = "", pattern: str = "*") -> None:
    """Measure a package's models; without one, say which there are."""
    import tests.outside_pytest  # noqa: F401 (declares what torchvision asks for)

    warnings.simplefilter("ignore")
    if not package:
        print(json.dumps({"packages": list(PACKAGES)}))
        return
    torch.set_num_threads(1)
    for name, build in PACKAGES[package].items():
        if not fnmatch(name, pattern):
            continue
        try:
            row = measure(package, name, build)
        except Exception as error:
            row = {
                "package": package,
                "model": name,
                "broken": f"{type(error).__name__}: {error}"[:400],
            }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
