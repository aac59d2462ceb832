"""Recipes for networks that represent fields: images, shapes and scenes as functions."""

from __future__ import annotations

from goodinit.recipes.deferred import FirstLayer
from goodinit.recipes.library.general import REST, WEIGHTS, by_scheme, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import sel
from goodinit.schemes import TorchDefault, Uniform, VarianceScaling, XavierUniform


def siren(omega: float = 30.0) -> Recipe:
    """SIREN: the first layer U(+-1/fan_in), all others U(+-sqrt(6/fan_in)/omega).

    Sitzmann et al. 2020 (2006.09661), theorem 1.8 and section 3.2; vsitzmann/siren
    explore_siren.ipynb, ``SineLayer``. Biases are left to torch: U(+-1/sqrt(fan_in)). The first
    layer is the one that the model's input goes into; without ``inputs`` a plan says that it is
    taken for a later one.

    Args:
        omega: the factor in sin(omega (W x + b)); the first layer's own omega isn't in its law.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from goodinit.plans.plan import plan
        >>> net = nn.Sequential(nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 1))
        >>> made = plan(net, siren(), inputs=torch.ones(4, 2))
        >>> [round(made[f"{number}.weight"].std * 3**0.5, 5) for number in range(3)]
        [0.5, 0.01021, 0.01021]
    """
    first = VarianceScaling(1 / 3, "fan_in", "uniform").scaled(fan_in=-0.5)
    others = VarianceScaling(2 / omega**2, "fan_in", "uniform")
    rules = (
        library(sel.kind("linear") & sel.part("bias"), TorchDefault(), "PyTorch's own"),
        library(WEIGHTS, FirstLayer(first, others)),
    )
    return Recipe((*REST, *rules), "siren")


def nerf() -> Recipe:
    """NeRF: Xavier uniform, biases 0.

    Mildenhall et al. 2020; bmild/nerf run_nerf_helpers.py leaves its Dense layers to Keras'
    default. Ports to PyTorch that leave them to torch draw other values.

    Example:
        >>> nerf().rules[-1].scheme
        XavierUniform()
    """
    return by_scheme("nerf", XavierUniform(), "Keras' default")


def instant_ngp() -> Recipe:
    """Instant-NGP: hash tables U(+-1e-4), Xavier uniform for the small network, biases 0.

    Müller et al. 2022 (2201.05989), section 4, "Initialization": small random features help
    against chance at the start, and don't bias the field.

    Example:
        >>> instant_ngp().rules[-1].scheme
        Uniform(low=-0.0001, high=0.0001)
    """
    tables = library(sel.kind("embedding"), Uniform(-1e-4, 1e-4), "hash tables")
    return Recipe((*REST, library(WEIGHTS, XavierUniform()), tables), "instant_ngp")
