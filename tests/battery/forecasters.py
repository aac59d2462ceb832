"""Prints how far two forecasts are from what is measured, model by model; needs anyinit.

    PYTHONPATH=src:build/research python -m tests.battery.forecasters

AnyInit predicts second moments of layers for weights that it scales itself, and its report measures
them; goodinit forecasts those of its plan, and `gi.measure` measures. Each is compared with its own
draws: the median and the 95th percentile over the layers of |log2(forecast / mean over three
draws)|, and the number of layers. goodinit forecasts the very draws (exact), and by three other
seeds, whose mean differs from that of the three by chance.
"""

from __future__ import annotations

import importlib.metadata
import math
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from tests import outside_pytest  # noqa: F401 (lets torchvision be imported beside another torch)
from tests.models import zoo, zoo_hf
from torch import Tensor, nn

import goodinit as gi

SEEDS = 3


def mlp() -> tuple[nn.Module, Tensor]:
    layers = [part for _ in range(8) for part in (nn.Linear(256, 256), nn.GELU())]
    return nn.Sequential(*layers), torch.randn(64, 256)


def resnet50() -> tuple[nn.Module, Tensor]:
    import torchvision

    return torchvision.models.resnet50().train(), torch.randn(8, 3, 64, 64)


MODELS: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "MLP, GELU": mlp,
    "ResNet-50 (torchvision)": resnet50,
    "ViT (plain torch)": lambda: zoo.build("vit"),
    "GPT (plain torch)": lambda: zoo.build("gpt"),
    **{
        f"{name} (transformers)": lambda name=name: zoo_hf.build(name)
        for name in ("gpt2", "llama", "bert", "t5", "mixtral", "mamba")
    },
}


def errors(pairs: list[tuple[float, float]]) -> str:
    """Return the median and the 95th percentile of |log2(forecast / measured)|, as text."""
    found = sorted(abs(math.log2(a / b)) if a > 0 and b > 0 else math.inf for a, b in pairs)
    if not found:
        return "nothing forecast"
    return (
        f"{found[len(found) // 2]:.2f} / {found[int(0.95 * (len(found) - 1))]:.2f} ({len(found)})"
    )


def by_anyinit(make: Callable[[], tuple[nn.Module, Any]]) -> str:
    """Return the errors of AnyInit's analytic predictions, or what it raised."""
    import anyinit

    predicted: dict[str, list[float]] = {}
    measured: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        model, inputs = make()
        batch = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
        try:
            report = anyinit.initialize(model, "analytic", batch, seed=seed)
        except Exception as error:
            return f"raises {type(error).__name__}"
        for layer in report.layers:
            if layer.predicted is not None and layer.measured is not None:
                predicted.setdefault(layer.name, []).append(layer.predicted)
                measured.setdefault(layer.name, []).append(layer.measured)
    pairs = [(sum(predicted[n]), sum(measured[n])) for n in predicted]
    return errors(pairs)


def by_goodinit(make: Callable[[], tuple[nn.Module, Any]]) -> tuple[str, ...]:
    """Return the errors of exact forecasts, and of forecasts with other seeds."""
    model, inputs = make()
    plan = gi.plan(model, "standard", inputs=inputs)
    exact, other, measured = Counter[str](), Counter[str](), Counter[str]()
    for seed in range(SEEDS):
        for sums, exactly in ((exact, True), (other, False)):
            chosen = seed if exactly else SEEDS + seed
            signal = gi.forecast(model, inputs, plan, seed=chosen, backward=False, exact=exactly)
            sums.update({row.key: row.forward.second for row in signal.layers})
    for seed in range(SEEDS):
        gi.apply_(model, plan, seed=seed)
        drawn = gi.measure(model, inputs, backward=False)
        measured.update({row.key: row.forward.second for row in drawn.layers})
    forecasts = (exact, other)
    return tuple(errors([(sums[key], measured[key]) for key in measured]) for sums in forecasts)


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    version = importlib.metadata.version("anyinit")
    print(f"| model | anyinit {version} | goodinit, exact | goodinit, other seeds |")
    print("|---|---|---|---|")
    for name, make in MODELS.items():
        torch.manual_seed(0)
        print(f"| {' | '.join((name, by_anyinit(make), *by_goodinit(make)))} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
