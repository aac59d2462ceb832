"""GI104 by the weights of a chain, and as measured: one threshold, the same verdict."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import nn

from goodinit.explanation.explain import explained
from goodinit.findings import Finding
from goodinit.findings.likeness import ALIKE_COSINE
from goodinit.signal.measure import measured
from goodinit.signal.rows import Signal

# 1 - cosine of a few samples and outputs scatters by as much: within it chance decides.
SCATTER = 2.0
WIDTH = 96


class Sine(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x)


ACTIVATIONS = (
    *(nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU),
    *(nn.Tanh, nn.Hardswish, nn.Softplus, nn.Sigmoid, Sine),
)


def net(activation: type[nn.Module], depth: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(depth)
        sizes = [48, *[WIDTH] * depth]
        layers = [
            part
            for size, after in pairwise(sizes)
            for part in (nn.Linear(size, after), activation())
        ]
        return nn.Sequential(*layers, nn.Linear(WIDTH, WIDTH))


def inputs() -> torch.Tensor:
    return torch.randn(32, 48, generator=torch.Generator().manual_seed(0))


def codes(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    return {(f.code, f.severity) for f in findings if f.code in ("GI104", "GI122")}


def difference(signal: Signal) -> float:
    cosine = signal.rows[-1].forward.across_samples
    assert cosine is not None
    return 1 - cosine


@pytest.mark.battery
@pytest.mark.parametrize("depth", range(1, 7))
def test_explain_and_measure_agree_on_plain_nets(depth: int) -> None:
    judged = 0
    for activation in ACTIVATIONS:
        model, x = net(activation, depth), inputs()
        signal = measured(model, x)
        apart = difference(signal) / (1 - ALIKE_COSINE)
        if apart > SCATTER or apart < 1 / SCATTER:
            judged += 1
            assert codes(explained(model, x).findings) == codes(signal.findings), activation
    assert judged >= len(ACTIVATIONS) - 2


@pytest.mark.parametrize(
    ("activation", "depth", "alike"),
    [(nn.Sigmoid, 2, False), (nn.Sigmoid, 3, True), (nn.Tanh, 5, False), (nn.GELU, 6, True)],
)
def test_as_torch_draws_them(activation: type[nn.Module], depth: int, alike: bool) -> None:
    """Samples are alike behind the third sigmoid."""
    model, x = net(activation, depth), inputs()
    wanted = {("GI104", "warning")} if alike else set()
    assert codes(explained(model, x).findings) == wanted
    assert codes(measured(model, x).findings) == wanted


@pytest.mark.parametrize("layer", [0, -1])
def test_they_agree_on_zeros(layer: int) -> None:
    model, x = net(nn.Tanh, 3), inputs()
    nn.init.zeros_(model[layer].weight)
    nn.init.zeros_(model[layer].bias)
    assert codes(explained(model, x).findings) == codes(measured(model, x).findings)


def test_a_prior_is_meant() -> None:
    model, x = net(nn.ReLU, 2), inputs()
    nn.init.normal_(model[-1].weight, 0, 0.001)
    nn.init.constant_(model[-1].bias, -4.6)
    assert not codes(explained(model, x).findings) | codes(measured(model, x).findings)


def test_without_inputs_nothing_is_said() -> None:
    model = net(nn.Sigmoid, 5)
    assert not codes(explained(model).findings)


def test_a_bias_hides_what_has_become_small() -> None:
    model, x = net(nn.GELU, 6), inputs()
    found = {f.where for f in explained(model, x).findings if f.code == "GI132"}
    said = [f for f in measured(model, x).findings if f.code == "GI132"]
    assert said
    assert said[0].severity == "warning"
    assert {f"{said[0].where.partition(':')[0]}.bias"} <= found
