"""Families whose code is a research package: a line for each model, with what differs.

PYTHONPATH=src:build/research:. python -m tests.battery.research_families
"""

import json
from collections.abc import Callable

import torch
from tests.recipes.agreement import differences, planned
from tests.recipes.families import Family
from torch import nn


def _e3nn(make: Callable[[], nn.Module], *sizes: int) -> Family:
    return Family("e3nn", "e3nn", make, lambda: tuple(torch.randn(8, size) for size in sizes))


def found() -> dict[str, Family]:
    """Each model by its name."""
    from e3nn import o3
    from e3nn.nn import FullyConnectedNet
    from torch_geometric.nn import GAT, GATConv

    here, there = "16x0e+8x1o", "4x0e+4x1o"
    edges = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])

    def graph() -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(5, 30), edges

    return {
        "e3nn, a network of radii": _e3nn(
            lambda: FullyConnectedNet([16, 64, 64, 32], nn.functional.silu), 16
        ),
        "e3nn, a linear layer": _e3nn(lambda: o3.Linear(here, "32x0e+8x1o"), 40),
        "e3nn, a tensor product": _e3nn(
            lambda: o3.FullyConnectedTensorProduct(here, there, here), 40, 16
        ),
        "torch_geometric, a layer": Family("gat", "gat", lambda: GATConv(30, 16, heads=8), graph),
        "torch_geometric, a network": Family(
            "gat", "gat", lambda: GAT(30, 64, 2, 7, heads=8), graph
        ),
    }


if __name__ == "__main__":
    for name, family in found().items():
        torch.manual_seed(0)
        upstream = family.build()
        mine, _ = planned(family, upstream)
        print(json.dumps({"model": name, "differences": differences(upstream, mine)}))
