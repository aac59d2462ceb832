"""Families whose code is a research package: a line for each model, with what differs.

PYTHONPATH=src:build/research:. python -m tests.battery.research_families
"""

import json
from collections.abc import Callable

import torch
from tests import outside_pytest  # noqa: F401 (lets diffusers import torchvision)
from tests.recipes.agreement import differences, planned
from tests.recipes.families import Family
from torch import nn


def _e3nn(make: Callable[[], nn.Module], *sizes: int) -> Family:
    return Family("e3nn", "e3nn", make, lambda: tuple(torch.randn(8, size) for size in sizes))


def found() -> dict[str, Family]:
    """Each model by its name."""
    from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DModel
    from e3nn import o3
    from e3nn.nn import FullyConnectedNet
    from torch_geometric.nn import GAT, GATConv

    here, there = "16x0e+8x1o", "4x0e+4x1o"
    edges = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])

    def left_to_torch(build: Callable[[], nn.Module], *inputs: object, **named: object) -> Family:
        return Family("of torch", "torch_default", build, lambda: named or inputs)

    flux = {
        "patch_size": 1, "in_channels": 16, "num_layers": 1, "num_single_layers": 1,
        "attention_head_dim": 16, "num_attention_heads": 4, "joint_attention_dim": 32,
        "pooled_projection_dim": 32, "axes_dims_rope": [4, 4, 8],
    }  # fmt: skip
    sd3 = {
        "sample_size": 8, "patch_size": 2, "in_channels": 4, "num_layers": 1,
        "num_attention_heads": 4, "attention_head_dim": 16, "joint_attention_dim": 32,
        "caption_projection_dim": 64, "pooled_projection_dim": 32, "out_channels": 4,
    }  # fmt: skip
    unet = {
        "sample_size": 8, "block_out_channels": (32, 64), "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"), "layers_per_block": 1,
    }  # fmt: skip
    time, text, pooled = torch.ones(2), torch.randn(2, 6, 32), torch.randn(2, 32)
    prompt = {"timestep": time, "encoder_hidden_states": text, "pooled_projections": pooled}
    places = {"img_ids": torch.zeros(8, 3), "txt_ids": torch.zeros(6, 3)}

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
        "diffusers, Flux": left_to_torch(
            lambda: FluxTransformer2DModel(**flux),
            hidden_states=torch.randn(2, 8, 16),
            **prompt,
            **places,
        ),
        "diffusers, SD3": left_to_torch(
            lambda: SD3Transformer2DModel(**sd3), hidden_states=torch.randn(2, 4, 8, 8), **prompt
        ),
        "diffusers, a UNet": left_to_torch(
            lambda: UNet2DModel(**unet), torch.randn(2, 3, 8, 8), time
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
