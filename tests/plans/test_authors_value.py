"""What a class gave a parameter on purpose stands against recipes of the library."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.anatomy.held import RECORDED

WIDTH = 16


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.manual_seed(0))


class Uses(nn.Module):
    """A residual block around a function of one raw parameter."""

    def __init__(self, value: Tensor, use: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.p, self.use = nn.Linear(WIDTH, WIDTH), nn.Parameter(value), use

    def forward(self, x: Tensor) -> Tensor:
        return x + self.use(self.inner(x), self.p)


def scaled(y: Tensor, p: Tensor) -> Tensor:
    return y * p


# What an author sets, and how it is used.
SETTINGS: dict[str, tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]] = {
    "LayerScale": (torch.full((WIDTH,), 1e-5), scaled),
    "ReZero": (torch.zeros(()), scaled),
    "ReZero of a channel": (torch.zeros(1, WIDTH), scaled),
    "scale of unit vectors": (
        torch.full((WIDTH,), 8**0.5),
        lambda y, p: nn.functional.normalize(y, dim=-1) * p,
    ),
    "cosine scale": (torch.tensor(20.0), lambda y, p: nn.functional.normalize(y, dim=-1) * p),
    "temperature": (torch.tensor(0.07), lambda y, p: (y / p).softmax(-1)),
    "log temperature": (torch.tensor(math.log(14.3)), lambda y, p: y * p.exp()),
    "StarReLU": (torch.tensor(0.8944), lambda y, p: p * y.relu() ** 2),
    "StarReLU's offset": (torch.tensor(-0.4472), lambda y, p: y.relu() ** 2 + p),
    "Snake": (torch.full((WIDTH,), 0.5), lambda y, p: y + (p * y).sin() ** 2 / p),
    "beta of Swish": (torch.tensor(1.5), lambda y, p: y * (p * y).sigmoid()),
    "tanh gate": (torch.tensor(0.0), lambda y, p: p.tanh() * y),
    "log std": (torch.full((WIDTH,), -2.0), lambda y, p: y + p.exp().expand_as(y)),
    "threshold": (torch.ones(WIDTH), lambda y, p: (y - p).sigmoid()),
    "decay": (torch.full((WIDTH,), 0.9), lambda y, p: p.clamp(0, 1) * y),
    "prior": (torch.full((WIDTH,), -4.6), lambda y, p: y + p),
    "signs": (torch.tensor([1.0, -1.0]).repeat(WIDTH // 2), scaled),
    "slopes": (2.0 ** -torch.arange(1.0, WIDTH + 1), scaled),
    "A_log": (
        torch.arange(1.0, 9.0).log().repeat(WIDTH, 1),
        lambda y, p: y * (-p.exp()).exp().sum(-1),
    ),
    "mixing, one-hot": (torch.eye(WIDTH)[3], scaled),
    "mixing, identity": (torch.eye(WIDTH), lambda y, p: y @ p),
    "mixing, permutation": (torch.eye(WIDTH).roll(1, 0), lambda y, p: y @ p),
    "average": (torch.full((WIDTH, WIDTH), 1 / WIDTH), lambda y, p: y @ p),
    "grid": (
        torch.linspace(-1, 1, 9).repeat(WIDTH, 1),
        lambda y, p: (-((y.unsqueeze(-1) - p) ** 2)).exp().mean(-1),
    ),
    "Sobel": (
        torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).expand(1, 1, 3, 3).clone(),
        lambda y, p: nn.functional.conv2d(y.unflatten(-1, (1, 4, 4)), p, padding=1).flatten(1),
    ),
}


@pytest.mark.parametrize("recipe", ["standard", "he", "gpt2"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_stands(name: str, recipe: str) -> None:
    for inputs in (normal(4, WIDTH), None):
        value, use = SETTINGS[name]
        net = nn.Sequential(*[Uses(value.clone(), use) for _ in range(2)])
        plan = gi.init_(net, recipe, inputs=inputs, seed=0)
        assert torch.equal(net[0].p, value)
        assert plan["0.p"].kept
        assert not plan["0.inner.weight"].kept


def test_why_says_the_value() -> None:
    net = nn.Sequential(Uses(torch.full((WIDTH,), 1e-5), scaled), nn.Linear(WIDTH, 2))
    plan = gi.plan(net, "standard", inputs=normal(4, WIDTH))
    assert plan["0.p"].why == "keeps the value 1e-05 that its class gave it"
    (finding,) = plan.findings
    assert (finding.code, finding.severity, finding.where) == ("GI119", "info", "0.p")
    assert finding.cause == "1 scale keeps the value that its class gave it"


def test_trained_scales_stay_and_the_remedy_draws_them_anew() -> None:
    net = nn.Sequential(*[Uses(normal(WIDTH), scaled) for _ in range(12)])
    x = normal(4, WIDTH)
    plan = gi.init_(net, "standard", inputs=x, seed=0)
    assert torch.equal(net[11].p, normal(WIDTH))
    (finding,) = [f for f in plan.findings if f.code == "GI119"]
    assert finding.cause == "12 scales keep the value that their class gave them"
    assert 'gi.Rule(gi.sel.kind("scale"), gi.Neutral())' in finding.remedy
    anew = gi.recipe("standard").override(gi.Rule(gi.sel.kind("scale"), gi.Neutral()))
    plan = gi.init_(net, anew, inputs=x, seed=0)
    assert torch.equal(net[11].p, torch.ones(WIDTH))
    assert plan.findings == ()


def test_a_rule_of_the_user_draws_what_it_matches() -> None:
    x = normal(4, WIDTH)
    for optional in (False, True):
        net = Uses(torch.full((WIDTH,), 1e-5), scaled)
        net.inner.requires_grad_(False)
        rules = [
            gi.Rule("p", gi.Constant(0.25), optional=optional),
            gi.Rule("inner.weight", gi.Constant(3.0), optional=optional),
        ]
        gi.init_(net, gi.recipe("standard").override(*rules), inputs=x, seed=0)
        assert net.p.tolist() == [0.25] * WIDTH
        assert net.inner.weight.unique().tolist() == [3.0]


def test_a_lone_scheme_is_the_users_rule_for_weights() -> None:
    net = Uses(torch.full((WIDTH, WIDTH), 0.5), lambda y, p: y @ p)
    net.inner.requires_grad_(False).weight.zero_()
    plan = gi.init_(net, gi.XavierUniform(), inputs=normal(4, WIDTH), seed=0)
    assert plan["p"].scheme == gi.XavierUniform()
    assert plan["inner.weight"].scheme == gi.XavierUniform()


def test_a_recipes_file_draws_what_the_recipe_draws() -> None:
    recipe = gi.Recipe.from_toml(gi.recipe("standard").to_toml())
    assert recipe == gi.recipe("standard")
    net = Uses(torch.full((WIDTH, WIDTH), 0.5), lambda y, p: y @ p)
    assert gi.plan(net, recipe, inputs=normal(4, WIDTH))["p"].kept


# Frozen parameters.


def test_frozen_parameters_stand_where_others_train() -> None:
    net = nn.Sequential(nn.Linear(4, 8).requires_grad_(False), nn.ReLU(), nn.Linear(8, 2))
    before = net[0].weight.clone()
    plan = gi.init_(net, "he", seed=0)
    assert torch.equal(net[0].weight, before)
    assert plan["0.weight"].why == "keeps its values: frozen"
    (finding,) = [f for f in plan.findings if f.code == "GI119"]
    assert finding.cause == "2 frozen parameters keep the value that their class gave them"
    assert not plan["2.weight"].kept


@pytest.mark.parametrize(
    "normed", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm], ids=["hook", "new"]
)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weight_norm_is_frozen_where_its_directions_are(normed, outputs: int) -> None:
    """DINO's head has lengths of 1 that stay, and directions that train."""
    net = nn.Sequential(nn.Linear(1, outputs), nn.ReLU(), normed(nn.Linear(outputs, 1, bias=False)))
    lengths, directions = net[2].parameters()
    lengths.requires_grad_(False)
    assert not gi.plan(net, "he")["2.weight"].frozen
    lengths.requires_grad_(True)
    directions.requires_grad_(False)
    assert gi.plan(net, "he")["2.weight"].frozen


def test_a_network_that_is_frozen_as_a_whole_is_drawn() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).requires_grad_(False)
    plan = gi.init_(net, "he", seed=0)
    assert not any(row.kept for row in plan)


def test_a_frozen_parameter_on_meta_is_unresolved() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(4, 8).requires_grad_(False), nn.Linear(8, 2))
    plan = gi.plan(net, "he")
    assert plan["0.weight"].unresolved
    (finding,) = [f for f in plan.findings if f.code == "GI119"]
    assert finding.cause == "1 parameter on meta has lost the value that its class computes"
    assert plan["0.bias"].scheme == gi.Zeros()  # nothing is lost of what a law doesn't draw


# Zeros.


def zeroed(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Adapter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(WIDTH, WIDTH)
        self.down = nn.Linear(WIDTH, 2, bias=False)
        self.zero = zeroed(nn.Linear(2, WIDTH, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 2 * self.zero(self.down(x))


class Modulated(nn.Module):
    """adaLN-zero."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.zero = zeroed(nn.Linear(WIDTH, 3 * WIDTH))
        self.up, self.out = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        scale, shift, gate = self.zero(nn.functional.silu(x.mean(0, keepdim=True))).chunk(3, -1)
        return x + gate * self.out(nn.functional.gelu(self.up(self.norm(x) * (1 + scale) + shift)))


class SideBranch(nn.Module):
    """A zero convolution's linear sister, through a function and a reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.zero = nn.Linear(WIDTH, WIDTH), zeroed(nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk(x) + self.zero(x.tanh()).tanh().view(-1, 4, 4).flatten(1)


class GatedUnit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value, self.zero = nn.Linear(WIDTH, WIDTH), zeroed(nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x) * self.zero(x).sigmoid()


class ZeroNorm(nn.Module):
    """The last norm of a residual branch, of weight 0."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.zero = nn.Linear(WIDTH, WIDTH), zeroed(nn.LayerNorm(WIDTH))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.zero(self.inner(self.norm(x)))


class Rotation(nn.Module):
    """An orthogonal adapter: a Cayley transform of zeros is the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.zero = nn.Linear(WIDTH, WIDTH), nn.ParameterDict()
        self.base.requires_grad_(False)
        self.zero["weight"] = nn.Parameter(torch.zeros(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        w, eye = self.zero["weight"], torch.eye(WIDTH)
        return self.base(x @ (eye - (w - w.T)))


class Merged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(normal(WIDTH, WIDTH))
        self.a = nn.Parameter(normal(2, WIDTH))
        self.zero = nn.ParameterDict({"weight": nn.Parameter(torch.zeros(WIDTH, 2))})

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.w + self.zero["weight"] @ self.a)


class Query(nn.Module):
    """A query of zeros averages the values."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = zeroed(nn.Linear(WIDTH, WIDTH))
        self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = x.unsqueeze(0)
        score = self.zero(y) @ self.k(y).transpose(-1, -2) / 4
        return x + self.out(score.softmax(-1) @ self.v(y)).squeeze(0)


REASONS = {Rotation: "it tunes frozen weights"}
MEANT = [Adapter, Modulated, SideBranch, GatedUnit, ZeroNorm, Rotation, Merged, Query]


def between(make: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), make(), nn.Linear(WIDTH, 3))


@pytest.mark.parametrize("make", MEANT)
def test_zeros_beside_the_signal_stand(make: Callable[[], nn.Module]) -> None:
    net = between(make)
    plan = gi.init_(net, "standard", inputs=normal(4, WIDTH), seed=0)
    row = plan["2.zero.weight"]
    assert row.kept
    carried = "something else carries the signal"
    assert row.why.startswith(f"keeps the value 0: {REASONS.get(make, carried)}")
    assert not dict(net.named_parameters())["2.zero.weight"].any()


@pytest.mark.parametrize("make", [make for make in MEANT if make is not Merged])
def test_they_stand_without_inputs(make: Callable[[], nn.Module]) -> None:
    assert gi.plan(between(make), "standard")["2.zero.weight"].kept


@pytest.mark.parametrize("make", [make for make in MEANT if make is not Adapter])
def test_a_model_of_zeros_comes_alive(make: Callable[[], nn.Module]) -> None:
    for inputs in (normal(4, WIDTH), None):
        net = between(make).requires_grad_()
        for parameter in net.parameters():
            nn.init.zeros_(parameter)
        gi.init_(net, "standard", inputs=inputs, seed=0)
        weights = [m.weight for m in net.modules() if isinstance(m, nn.Linear)]
        assert all(bool(weight.any()) for weight in weights)


def test_zeros_in_the_trunk_are_drawn() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    for inputs in (normal(4, 8), None):
        zeroed(net[2])
        plan = gi.init_(net, "standard", inputs=inputs, seed=0)
        assert isinstance(plan["2.weight"].scheme, gi.HeNormal)


def test_a_head_of_zeros_stands() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), zeroed(nn.Linear(8, 3)))
    for inputs in (normal(4, 8), None):
        plan = gi.init_(net, "standard", inputs=inputs, seed=0)
        assert plan["2.weight"].kept
        assert not plan["0.weight"].kept


def test_a_placeholder_of_zeros_is_drawn() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.b = nn.Parameter(torch.zeros(8, 16)), nn.Parameter(torch.zeros(16))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.w + self.b

    for inputs in (normal(4, 8), None):
        net = nn.Sequential(Dense(), nn.ReLU(), nn.Linear(16, 3))
        plan = gi.init_(net, "standard", inputs=inputs, seed=0)
        std = plan["0.w"].std
        assert std is not None
        assert net[0].w.std().item() == pytest.approx(std, rel=0.3)  # 128 values: 5 / sqrt(256)


def test_two_gates_of_zeros_would_never_learn() -> None:
    """Each is the factor of the other's gradient, so that both are drawn."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = zeroed(nn.Linear(8, 8)), zeroed(nn.Linear(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.a(x).tanh() * self.b(x)

    net = nn.Sequential(nn.Linear(8, 8), Gated(), nn.Linear(8, 3))
    plan = gi.plan(net, "standard", inputs=normal(4, 8))
    assert not plan["1.a.weight"].kept
    assert not plan["1.b.weight"].kept


class SpatialGate(nn.Module):
    """gMLP's: values near 0, or one value, and a bias of 1."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.near = nn.Linear(WIDTH, WIDTH)
        nn.init.normal_(self.near.weight, mean=value, std=0.0 if value else 1e-6)
        nn.init.ones_(self.near.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.near(x)


@pytest.mark.parametrize("value", [0.0, 1e-3])
def test_values_near_zero_stand_with_their_bias(value: float) -> None:
    for inputs in (normal(4, WIDTH), None):
        net = between(lambda: SpatialGate(value))
        before = net[2].near.weight.clone()
        gi.init_(net, "standard", inputs=inputs, seed=0)
        assert torch.equal(net[2].near.weight, before)
        assert net[2].near.bias.tolist() == [1.0] * WIDTH


def test_one_value_that_is_not_near_zero_is_drawn() -> None:
    net = between(lambda: SpatialGate(0.01))  # .01 * sqrt(16) = .04 of its input
    assert not gi.plan(net, "standard", inputs=normal(4, WIDTH))["2.near.weight"].kept


# Norms, and what is guessed.


class UnitOffsetNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, (WIDTH,)) * (self.gamma + 1)


def test_a_norm_of_unit_offset_stays_at_0() -> None:
    for inputs in (normal(4, WIDTH), None):
        net = between(UnitOffsetNorm)
        plan = gi.init_(net, "standard", inputs=inputs, seed=0)
        assert plan["2.gamma"].kind == "norm"
        assert not net[2].gamma.any()


def test_a_norm_of_ones_is_drawn_as_ones() -> None:
    class RootNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.g = nn.Parameter(torch.ones(WIDTH))

        def forward(self, x: Tensor) -> Tensor:
            return x * x.square().mean(-1, keepdim=True).rsqrt() * self.g

    for inputs in (normal(4, WIDTH), None):
        net = between(RootNorm)
        net[2].g.data.uniform_(0.9, 1.1)
        assert gi.plan(net, "standard", inputs=inputs)["2.g"].scheme == gi.Ones()


@pytest.mark.parametrize("shape", [(WIDTH, 1, 1), (1, WIDTH, 1, 1), (WIDTH,)])
def test_on_meta_a_setting_is_unresolved_and_named(shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, WIDTH, 3), Scale(torch.full(shape, 1e-6)))
    plan = gi.plan(net, "standard")
    assert plan["1.gamma"].unresolved
    with pytest.raises(gi.errors.UnresolvedError, match=r"1\.gamma.*gi\.Constant"):
        gi.init_(net, "standard", materialize="cpu")


class Scale(nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.gamma = nn.Parameter(value)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


# Skeletons.


class Wide(nn.Module):
    """A raw matrix of one value, too large to be kept in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.p = nn.Linear(WIDTH, 600), nn.Parameter(torch.full((600, 600), 1 / 600))
        self.out = nn.Linear(600, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(self.inner(x) @ self.p)


@pytest.mark.parametrize("make", [*MEANT, Wide, UnitOffsetNorm])
def test_a_skeleton_is_drawn_as_the_model(make: Callable[[], nn.Module]) -> None:
    x = normal(4, WIDTH)
    real = between(make).requires_grad_()
    gi.init_(real, "standard", inputs=x, seed=0)
    with gi.skeleton():
        ghost = between(make).requires_grad_()
    assert ghost[0].weight.is_meta
    gi.init_(ghost, "standard", inputs=x, seed=0, materialize="cpu")
    kept = dict(real.named_parameters())
    for name, parameter in ghost.named_parameters():
        assert torch.equal(parameter, kept[name]), name


@pytest.mark.parametrize("name", SETTINGS)
def test_a_skeleton_keeps_settings(name: str) -> None:
    value, use = SETTINGS[name]
    for inputs in (normal(4, WIDTH), None):
        with gi.skeleton():
            net = nn.Sequential(*[Uses(value.clone(), use) for _ in range(2)])
        assert net[0].inner.weight.is_meta
        gi.init_(net, "standard", inputs=inputs, seed=0, materialize="cpu")
        assert torch.equal(net[0].p, value)


def test_a_skeleton_records_no_memory_that_nobody_wrote_to() -> None:
    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.never = nn.Parameter(torch.empty(3, 4))
            self.part = nn.Parameter(torch.empty(6)[:3])
            self.drawn = nn.Parameter(torch.empty(50, 40))
            nn.init.normal_(self.drawn)
            self.filled = nn.Parameter(torch.empty(4).fill_(2.0))
            self.later = nn.Parameter(torch.empty(4))
            nn.init.ones_(self.later)

    with gi.skeleton():
        net = Raw()
    recorded = {n: vars(p).get(RECORDED) for n, p in net.named_parameters()}
    assert [n for n, value in recorded.items() if value is None] == ["never", "part"]
    assert recorded["drawn"].std().item() == pytest.approx(1, rel=5 / 4000**0.5)
    assert recorded["filled"].tolist() == [2.0] * 4
    assert recorded["later"].tolist() == [1.0] * 4
