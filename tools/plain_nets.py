"""Print the table of plain nets in docs/default.md: what becomes of the signal, by three tools.

    python tools/plain_nets.py

Plain nets of 10, 20 and 50 linear layers of 256 units on inputs from N(0, 1), ten seeds each.
AnyInit is compared where it can be imported; goodinit doesn't depend on it.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

import goodinit as gi

WIDTH, SAMPLES, SEEDS, DEPTHS = 256, 64, 10, (10, 20, 50)


class Sin(nn.Module):
    """sin(x), which torch has no module for."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the sine."""
        return x.sin()


ACTIVATIONS: tuple[type[nn.Module], ...] = (
    *(nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.Tanh, nn.Hardswish),
    *(nn.Softplus, nn.Sigmoid, Sin),
)
Draw = Callable[[int], object]


def plain(activation: type[nn.Module], layers: int) -> nn.Sequential:
    """Return so many linear layers with activations between them."""
    parts = [part for _ in range(layers) for part in (nn.Linear(WIDTH, WIDTH), activation())]
    return nn.Sequential(*parts[:-1])


def by_recipe(recipe: str) -> Callable[[nn.Module, Tensor], Draw]:
    """Return what plans a net, and returns what draws it by a seed."""

    def plan(net: nn.Module, x: Tensor) -> Draw:
        planned = gi.plan(net, recipe, inputs=x)
        return lambda seed: gi.apply_(net, planned, seed=seed)

    return plan


def by_anyinit(net: nn.Module, x: Tensor) -> Draw:
    """Return what initializes a net by AnyInit's own default."""
    initialize = importlib.import_module("anyinit").initialize
    return lambda seed: initialize(net, "analytic", tuple(x.shape), seed=seed)


def cell(tool: Callable[[nn.Module, Tensor], Draw], net: nn.Module, x: Tensor) -> str:
    """Return the second moment of the outputs over the seeds, and how much of it differs."""
    draw = tool(net, x)
    moments: list[float] = []
    own: list[float] = []
    for seed in range(SEEDS):
        draw(seed)
        with torch.no_grad():
            y = net(x).double()
        moments.append(y.square().mean().item())
        own.append((y - y.mean(0)).square().mean().item() / max(moments[-1], 1e-300))
    low, high = min(moments), max(moments)
    middle = math.exp(sum(math.log(max(m, 1e-300)) for m in moments) / SEEDS)
    return f"{middle:.2g} ({low:.1g} to {high:.1g}), {sum(own) / SEEDS:.0e}"


def main() -> None:
    """Print the table as Markdown."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    columns = {"`standard`": by_recipe("standard"), "`torch_default`": by_recipe("torch_default")}
    if importlib.util.find_spec("anyinit"):
        columns[f"AnyInit {importlib.import_module('anyinit').__version__}"] = by_anyinit
    print(f"| activation | layers | {' | '.join(columns)} | finding |")
    print(f"|---|---|{'---|' * len(columns)}---|")
    for activation in ACTIVATIONS:
        for layers in DEPTHS:
            net, x = plain(activation, layers), torch.randn(SAMPLES, WIDTH)
            cells = [cell(tool, net, x) for tool in columns.values()]
            codes = " ".join(f.code for f in gi.plan(net, "standard", inputs=x).findings)
            print(
                f"| {' | '.join([activation.__name__, str(layers), *cells, codes])} |", flush=True
            )


if __name__ == "__main__":
    main()
