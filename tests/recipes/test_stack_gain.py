"""Plain stacks under ``standard``: which law, and what becomes of the signal."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.recipes.deferred import DEEP, WIDEST

WIDTH = 256
X = torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(0))


class Sin(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sin()


ACTIVATIONS = (
    nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.Tanh, nn.Hardswish,
    nn.Softplus, nn.Sigmoid, Sin,
)  # fmt: skip
STEEP = {nn.SiLU: 17, nn.Hardswish: 13}  # plain layers that the slope of the variance map allows
ALIKE = {nn.Softplus: 7, nn.Sigmoid: 4}  # after which all inputs are alike


def stack(activation: type[nn.Module], depth: int, width: int = WIDTH) -> nn.Sequential:
    layers = [part for _ in range(depth) for part in (nn.Linear(width, width), activation())]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_signal_of_twenty_plain_layers(activation: type[nn.Module]) -> None:
    """Within a factor 30 of 1, for each of two seeds; what isn't well has a finding.

    Of 100 draws by normal laws of these variances the farthest was a factor 23 off (silu).
    """
    net = stack(activation, 20)
    plan = gi.plan(net, "standard", inputs=X)
    lowest = 0 if activation is nn.Hardswish else 1 / 30  # it decays: 13 layers are allowed
    for seed in range(2):
        gi.apply_(net, plan, seed=seed)
        with torch.no_grad():
            moment = net(X).square().mean().item()
        assert lowest < moment < 30
    causes = [f.cause for f in plan.findings if f.code == "GI136"]
    allowed = STEEP.get(activation) or ALIKE.get(activation)
    assert len(causes) == (allowed is not None)
    if allowed is not None:
        assert f"about {allowed} plain layers; this stack has 20" in causes[0]


@pytest.mark.parametrize("inputs", [X, None], ids=["flow", "types"])
def test_a_deep_stack_is_orthogonal(inputs) -> None:
    for activation, depth, law in (
        (nn.Tanh, DEEP - 1, gi.VarianceScaling),
        (nn.Tanh, DEEP, gi.Orthogonal),
        (nn.ReLU, DEEP - 1, gi.HeNormal),
        (nn.ReLU, DEEP, gi.Orthogonal),
        (nn.GELU, DEEP - 1, gi.VarianceScaling),
        (nn.GELU, DEEP, gi.Orthogonal),
    ):
        rows = gi.plan(stack(activation, depth), "standard", inputs=inputs).rows
        laws = [type(row.scheme) for row in rows if row.part != "bias"]
        assert laws == [law] * (depth - 1) + [gi.LeCunNormal]


@pytest.mark.parametrize(("activation", "most"), [(nn.SiLU, 22), (nn.GELU, 38), (nn.Hardswish, 17)])
def test_a_stack_that_would_explode_has_the_gain_of_large_signals(activation, most: int) -> None:
    """slope^(layers - 1) passes 20; relu's gain, which these functions approach from below."""
    law = gi.plan(stack(activation, most), "standard")["0.weight"].scheme
    assert isinstance(law, gi.Orthogonal)
    law = gi.plan(stack(activation, most + 1), "standard")["0.weight"].scheme
    assert law == gi.VarianceScaling(2.0)


def test_orthogonal_only_where_it_has_the_variance_and_costs_little() -> None:
    """A matrix with more outputs than inputs would need another factor."""
    sizes = [8, *[16] * 4, 32, *[16] * (DEEP - 6), 8]
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    rows = gi.plan(nn.Sequential(*layers[:-1]), "standard").rows
    shapes = {row.shape for row in rows if isinstance(row.scheme, gi.HeNormal)}
    assert shapes == {(16, 8), (32, 16)}
    with torch.device("meta"):
        wide = stack(nn.ReLU, DEEP, WIDEST + 1)
    assert isinstance(gi.plan(wide, "standard")["0.weight"].scheme, gi.HeNormal)


def test_kernels_keep_the_second_moment() -> None:
    """Orthogonal rows of inputs * taps have the variance of LeCun's law, times the gain."""
    layers = [part for _ in range(DEEP + 1) for part in (nn.Conv2d(12, 12, 3, groups=2), nn.Tanh())]
    net = nn.Sequential(*layers[:-1])
    row = gi.plan(net, "standard", inputs=torch.randn(1, 12, 30, 30))["2.weight"]
    assert isinstance(row.scheme, gi.Orthogonal)
    assert row.std == pytest.approx(row.scheme.gain / math.sqrt(6 * 9))


def test_a_branch_keeps_its_law() -> None:
    """A norm before, the stream behind: no gain, no matter how many layers."""

    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.down(nn.functional.gelu(self.up(self.norm(x))))

    model = nn.Sequential(*(Branch() for _ in range(DEEP)))
    plan = gi.plan(model, "standard", inputs=torch.randn(2, 8))
    assert plan["0.up.weight"].scheme == gi.LeCunNormal()
    assert plan["0.down.weight"].std == pytest.approx((1 / 32 / 2 / DEEP) ** 0.5)


@pytest.mark.parametrize(
    ("activation", "depth", "found"),
    [(nn.GELU, 28, False), (nn.GELU, 30, True), (nn.ReLU, 100, False), (nn.Tanh, 100, False)],
)
def test_the_depth_that_the_variance_map_allows(activation, depth: int, found: bool) -> None:
    """GELU: 1.0836 to the power of 28.7 is 10."""
    for recipe in ("standard", "xavier"):
        for inputs in (X, None):
            plan = gi.plan(stack(activation, depth), recipe, inputs=inputs)
            assert ("GI136" in {f.code for f in plan.findings}) == found


def test_the_remedies_of_a_deep_stack() -> None:
    for activation, norm in ((nn.GELU, nn.LayerNorm), (nn.Sigmoid, nn.BatchNorm1d)):
        layers = [
            part for _ in range(40) for part in (nn.Linear(WIDTH, WIDTH), norm(WIDTH), activation())
        ]
        net = nn.Sequential(*layers, nn.Linear(WIDTH, WIDTH))
        plan = gi.init_(net, "standard", inputs=X, seed=0)
        assert not [f for f in plan.findings if f.code == "GI136"]
        with torch.no_grad():
            y = net(X)
        assert 1 / 30 < y.square().mean() < 30
        assert (y - y.mean(0)).square().mean() > 0.1 * y.square().mean()


def test_a_kept_stack_has_no_finding() -> None:
    plan = gi.plan(stack(nn.SiLU, 40), gi.Recipe([gi.Rule(gi.sel.all(), gi.Keep())], name="keep"))
    assert not plan.findings
