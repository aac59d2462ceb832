"""Record what goodinit does, and compare two records: for changes that must change nothing.

    python tools/behavior.py record before.json [--plans]
    python tools/behavior.py record after.json [--plans]
    python tools/behavior.py compare before.json after.json            # every byte
    python tools/behavior.py compare before.json after.json --no-prose # numbers and names alone
    python tools/behavior.py compare before.json after.json --counts   # how often fields differ

A record holds the streams' values, the plans of the tests' models by several recipes, what is
drawn by them, signals, explanations and the output of the command line; with --plans the plans
alone. Only the public face is called, so that this file serves before and after a change inside:
PYTHONPATH says which checkout's src is recorded.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

root = Path(__file__).parents[1]
sys.path[:0] = [str(root / "tests" / "models"), str(root)]

from tests import outside_pytest  # first: no network, torchvision's operators  # noqa: F401

# isort: split
import torch
import zoo
import zoo_hf
from torch import Tensor

import goodinit as gi
from goodinit.streams import Law, Stream

RECIPES = ("standard", "he", "gpt2", "vit", "lstm", "orthogonal", "torch_default")
PROSE = {"why", "cause", "remedy", "how", "expected", "looks_like", "text"}
COMMANDS = (
    "plan demo:mlp",
    "plan demo:gpt --recipe gpt2",
    "plan demo:resnet --recipe he --json",
    "plan demo:moe --input int:2x8:50",
    "recipes",
    "recipes standard",
    "diff he xavier --target demo:cnn",
    "explain demo:cnn",
    "explain demo:gpt --json",
    "check demo:cnn --recipe xavier --seed 1",
    "check demo:lstm --json",
    "compare demo:mlp --recipes he,xavier --seeds 2",
    "plan demo:nothing",
    "plan demo:mlp --recipe hee",
)


def main() -> int:
    """Record or compare, as the arguments ask."""
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["record", path, *options]:
            found = plans() if "--plans" in options else record()
            Path(path).write_text(json.dumps(dict(found), indent=1), encoding="utf-8")
            return 0
        case ["compare", before, after, *options]:
            one, other = (json.loads(Path(path).read_text("utf-8")) for path in (before, after))
            if "--counts" in options:
                return count(one, other)
            return compare(one, other, prose="--no-prose" not in options)
        case _:
            print(__doc__)
            return 2


def record() -> Iterator[tuple[str, Any]]:
    """Yield each thing that is recorded, by name."""
    for law in (Law.normal(0.0, 0.02), Law.uniform(-1.0, 1.0), Law.truncated(0.0, 1.0, -2.0, 2.0)):
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            values = Stream(7).draw("a.weight", law, (1001, 37), dtype=dtype)
            yield f"stream {law} {dtype}", digest(values)
    for name, build in models():
        yield from plans_of(name, build)
        yield from of_model(name, build)
    for command in COMMANDS:
        yield f"cli {command}", run(command)


def plans() -> Iterator[tuple[str, Any]]:
    """Yield the plans of all models."""
    for name, build in models():
        yield from plans_of(name, build)


def models() -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Yield the names of the tests' models, each with what builds it."""
    for builders, build in ((zoo.PLAIN, zoo.build), (zoo_hf.HF, zoo_hf.build)):
        yield from ((name, build) for name in builders)


def plans_of(name: str, build: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    """Yield a model's plans, as data and as text."""
    for recipe in RECIPES:
        for how in ("inputs", "types"):
            model, inputs = build(name)
            plan = guarded(gi.plan, model, recipe, inputs=inputs if how == "inputs" else None)
            key = f"plan {name} {recipe} {how}"
            yield key, plan if isinstance(plan, str) else plan.to_dict()
            yield f"text {key}", str(plan)


def of_model(name: str, build: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    """Yield a model's weights as drawn, its signal and what explains it."""
    model, inputs = build(name)
    guarded(gi.init_, model, "standard", inputs=inputs, seed=0)
    yield f"weights {name}", {key: digest(value) for key, value in model.state_dict().items()}
    if name in ("mlp", "lstm", "resnet", "gpt_plain", "llama", "vit", "bert"):
        model.eval()
        signal = guarded(gi.measure, model, inputs)
        yield f"signal {name}", signal if isinstance(signal, str) else signal.to_dict()
        explained = guarded(gi.explain, model, inputs)
        key = f"explain {name}"
        yield key, explained if isinstance(explained, str) else explained.to_dict()
        yield f"text {key}", str(explained)


def guarded(call: Callable[..., Any], *args: object, **options: object) -> Any:
    """Return the result, or the error as text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call(*args, **options)
    except gi.GoodinitError as error:
        return f"{type(error).__name__}: {error}"


def digest(values: Tensor) -> str:
    """Return a hash of a tensor's bits."""
    flat = values.detach().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def run(command: str) -> list[object]:
    """Return the exit code and both outputs of a command line."""
    done = subprocess.run(
        [sys.executable, "-m", "goodinit", *command.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    return [done.returncode, done.stdout, done.stderr]


def compare(before: dict[str, Any], after: dict[str, Any], *, prose: bool) -> int:
    """Print what differs; return 1 if anything does."""
    wrong = 0
    for key in sorted(before.keys() | after.keys()):
        if not prose and key.split()[0] in ("text", "cli"):
            continue
        lines = differences(before.get(key), after.get(key), key, prose)
        wrong += len(lines)
        print(*lines[:6], sep="\n", end="\n" if lines else "")
    print(f"{len(before)} records, {wrong} differences")
    return int(wrong > 0)


def count(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Print how often each kind of record, field and finding differs; return 1 if any does."""
    counts: Counter[tuple[str, str]] = Counter()
    for key in before.keys() | after.keys():
        kind, found = key.split()[0], (before.get(key), after.get(key))
        for line in differences(*found, "", prose=True):
            place = re.sub(r"\[\d+\]", "", line.partition(":")[0])
            counts[kind, place.lstrip(".") or "text"] += 1
        codes = [Counter(f["code"] for f in one.get("findings", ())) if isinstance(one, dict)
                 else Counter[str]() for one in found]  # fmt: skip
        for code in (codes[0] - codes[1]) | (codes[1] - codes[0]):
            counts[kind, f"{code} {'gone' if codes[0][code] > codes[1][code] else 'new'}"] += 1
    for (kind, place), number in sorted(counts.items()):
        print(f"{number:>5}  {kind}: {place}")
    print(f"{len(before)} records")
    return int(bool(counts))


def differences(one: Any, other: Any, place: str, prose: bool) -> list[str]:
    """Return a line for each leaf that differs; without prose, sentences don't count."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [k for k in {**one, **other} if prose or k not in PROSE]
        pairs = [(one.get(k), other.get(k), f"{place}.{k}") for k in keys]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(a, b, f"{place}[{n}]") for n, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        if not prose and isinstance(one, str) and isinstance(other, str) and " " in one:
            one, other = re.findall(r"-?\d[\d.e+-]*", one), re.findall(r"-?\d[\d.e+-]*", other)
        return [] if one == other else [f"{place}:\n  - {one!r:.300}\n  + {other!r:.300}"]
    return [line for pair in pairs for line in differences(*pair, prose)]


if __name__ == "__main__":
    sys.exit(main())
