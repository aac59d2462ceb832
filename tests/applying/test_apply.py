"""Plans written to models."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import goodinit as gi
from goodinit.errors import MetaModelError, PlanError, UnresolvedError, WriteError


def z_of_std(values: torch.Tensor, std: float, kappa: float) -> float:
    """How many standard errors off a sample's second moment is: SE = sqrt((kappa - 1)/n)."""
    ratio = values.double().square().mean().item() / std**2
    return (ratio - 1) / math.sqrt((kappa - 1) / values.numel())


@pytest.mark.parametrize(
    ("scheme", "kappa"), [(gi.HeNormal(), 3.0), (gi.HeUniform(), 1.8), (gi.LeCunNormal(), 3.0)]
)
def test_planned_moments_are_drawn(scheme: gi.Scheme, kappa: float) -> None:
    net = nn.Conv2d(64, 512, 3, groups=2)
    row = gi.init_(net, scheme, seed=1)["weight"]
    assert row.fan_in == 288
    assert abs(z_of_std(net.weight, row.std, kappa)) < 5
    assert abs(z_of_std(net.weight * 1.02, row.std, kappa)) > 5  # 2 % off is noticed


def test_lecun_keeps_the_second_moment_through_an_lstm_gate_and_attention() -> None:
    torch.manual_seed(0)
    for net, name in ((nn.LSTM(256, 64), "weight_ih_l0"), (nn.MultiheadAttention(256, 4), None)):
        gi.init_(net, gi.LeCunNormal(), seed=2)
        weight = getattr(net, name) if name else net.in_proj_weight
        x = torch.randn(4000, 256)
        y = x @ weight.T
        # given W, E y^2 = |w|^2 by output; over W its relative spread is sqrt(2/(n_w))
        assert abs(y.square().mean().item() - 1) < 5 * math.sqrt(2 / weight.numel() + 2 / 4000)


def test_same_seed_same_bits_and_torch_seed_rules() -> None:
    a, b = nn.Linear(9, 9), nn.Linear(9, 9)
    gi.init_(a, "xavier", seed=5)
    gi.init_(b, "xavier", seed=5)
    assert torch.equal(a.weight, b.weight)
    torch.manual_seed(1)
    seed = gi.init_(a, "xavier").seed
    torch.manual_seed(1)
    assert gi.init_(b, "xavier").seed == seed
    assert torch.equal(a.weight, b.weight)


def test_prefix_makes_a_part_equal_to_its_part_of_the_whole() -> None:
    whole = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4))
    part = nn.LSTM(4, 4)
    gi.init_(whole, "lstm", seed=3)
    gi.init_(part, "lstm", seed=3, prefix="1")
    assert all(
        torch.equal(a, b) for a, b in zip(whole[1].parameters(), part.parameters(), strict=True)
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes_are_casts_of_float32(dtype: torch.dtype) -> None:
    a, b = nn.Linear(33, 7), nn.Linear(33, 7, dtype=dtype)
    gi.init_(a, "he", seed=0)
    gi.init_(b, "he", seed=0)
    assert torch.equal(a.weight.to(dtype), b.weight)


def test_strides_do_not_matter() -> None:
    a, b = nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    for recipe in ("he", "orthogonal"):
        gi.init_(a, recipe, seed=0)
        gi.init_(b, recipe, seed=0)
        assert torch.equal(a.weight, b.weight)
    assert b.weight.is_contiguous(memory_format=torch.channels_last)


def test_nothing_but_values_changes() -> None:
    net = nn.Linear(3, 3)
    net.bias.requires_grad_(False)
    optimizer = torch.optim.Adam([net.weight])
    net(torch.ones(3)).sum().backward()
    optimizer.step()
    weight, grad, version = net.weight, net.weight.grad, net.weight._version
    moment = optimizer.state[weight]["exp_avg"].clone()
    plan = gi.init_(net, "he")
    assert net.weight is weight
    assert weight.grad is grad
    assert weight._version > version
    assert torch.equal(optimizer.state[weight]["exp_avg"], moment)
    assert weight.requires_grad
    assert plan["bias"].frozen
    assert not net.bias.requires_grad


def test_tied_is_drawn_once_and_padding_stays_zero() -> None:
    net = nn.Sequential(nn.Embedding(40, 16, padding_idx=3), nn.Linear(16, 40, bias=False))
    net[1].weight = net[0].weight
    plan = gi.init_(net, "standard", seed=0)
    assert len(plan) == 1
    assert plan["1.weight"].tied == ("1.weight",)
    assert net[1].weight is net[0].weight
    assert net[0].weight[3].count_nonzero() == 0
    assert net[0].weight[4].count_nonzero() > 0
    assert gi.Plan.from_dict(plan.to_dict())["0.weight"].zero_rows == (3,)


def test_orthogonal_block_by_block() -> None:
    net = nn.LSTM(5, 8)
    gi.init_(net, "lstm", seed=0)
    for gate in net.weight_hh_l0.detach().chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), atol=1e-5, rtol=0)
    assert (net.bias_ih_l0[8:16] == 1).all()
    assert net.bias_hh_l0.count_nonzero() == 0
    assert net.bias_ih_l0.sum().item() == 8


def parametrized(kind: str) -> tuple[nn.Module, bool]:
    net = nn.Linear(12, 9)
    match kind:
        case "weight_norm":
            return parametrizations.weight_norm(net), True
        case "spectral_norm":
            return parametrizations.spectral_norm(net), False
        case "orthogonal":
            return parametrizations.orthogonal(net), False
        case _:
            with pytest.warns(FutureWarning):
                return nn.utils.weight_norm(net), True


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "orthogonal", "old weight_norm"])
def test_written_through_parametrizations(kind: str) -> None:
    net, exact = parametrized(kind)
    plain = nn.Linear(12, 9)
    plan = gi.init_(net, "he", seed=0)
    gi.init_(plain, "he", seed=0)
    assert next(row.name for row in plan if not row.buffer and row.part != "other")
    net(torch.ones(12))
    if exact:
        torch.testing.assert_close(net.weight, plain.weight)
    else:
        assert "lost" in plan["weight"].why
    assert not any(f.code == "GI116" for f in plan.findings)


def test_old_spectral_norm() -> None:
    net = nn.utils.spectral_norm(nn.Linear(12, 9))
    plain = nn.Linear(12, 9)
    gi.init_(net, "he", seed=0)
    gi.init_(plain, "he", seed=0)
    assert torch.equal(net.weight_orig, plain.weight)


def test_a_parametrization_that_changes_values_is_a_finding() -> None:
    class Symmetric(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.triu() + x.triu(1).T

        def right_inverse(self, x: torch.Tensor) -> torch.Tensor:
            return x.triu()

    net = nn.Linear(6, 6)
    parametrize.register_parametrization(net, "weight", Symmetric())
    plan = gi.init_(net, "he", seed=0)
    assert [f.code for f in plan.findings] == ["GI116"]
    assert "changed the values" in plan["weight"].why


def test_another_models_plan_is_refused_before_writing() -> None:
    plan = gi.plan(nn.Linear(3, 4), "he")
    other = nn.Linear(4, 3, bias=False)
    before = other.weight.clone()
    with pytest.raises(PlanError, match=r"no bias.*weight: shape \(4, 3\).*\(3, 4\)"):
        gi.apply_(other, plan)
    with pytest.raises(PlanError, match="dtype"):
        gi.apply_(nn.Linear(3, 4, dtype=torch.float64), plan)
    assert torch.equal(other.weight, before)


def test_a_failing_write_names_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def broken(site: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise ZeroDivisionError
        return torch.zeros(())

    net = nn.Linear(3, 4)
    recipe = gi.Recipe([gi.Rule("*", gi.Ones()), gi.Rule("bias", gi.Function(broken))])
    plan = gi.plan(net, recipe)  # looks at the values, and so does applying
    calls = 3
    with pytest.raises(WriteError, match=r"^bias: .*1 rows") as caught:
        gi.apply_(net, plan)
    assert caught.value.written == ("weight",)


def test_meta_needs_a_device() -> None:
    with torch.device("meta"):
        net = nn.LSTM(3, 4)
    with pytest.raises(MetaModelError, match="materialize='cpu'"):
        gi.init_(net, "lstm")
    for nowhere in ("meta", "cup", 3.5):
        with pytest.raises(MetaModelError, match="pass 'cpu'"):
            gi.init_(net, "lstm", materialize=nowhere)
    gi.init_(net, "lstm", seed=0, materialize="cpu")
    real = nn.LSTM(3, 4)
    gi.init_(real, "lstm", seed=0)
    x = torch.ones(2, 3)
    torch.testing.assert_close(net(x)[0], real(x)[0])


def test_materialised_tensors_stay_who_they_are() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9), nn.BatchNorm1d(9))
        net[1].weight = net[0].weight
    net[1].bias.requires_grad_(False)
    weight = net[0].weight
    weight.mark = "mine"
    optimizer = torch.optim.SGD([weight], lr=0.1)
    gi.init_(net, "standard", seed=0, materialize="cpu")
    assert net[1].weight is net[0].weight is weight is optimizer.param_groups[0]["params"][0]
    assert weight.mark == "mine"
    assert weight.requires_grad
    assert not net[1].bias.requires_grad
    assert not any(t.is_meta for t in net.state_dict().values())
    assert (net[2].running_var == 1).all()
    assert net[2].num_batches_tracked == 0
    net.train()(torch.arange(9)).sum().backward()
    optimizer.step()


def test_what_cannot_be_rebuilt_is_refused() -> None:
    net = nn.Linear(2, 2)
    net.register_buffer("inv_freq", torch.ones(3))
    net = net.to("meta")
    with pytest.raises(UnresolvedError, match=r"inv_freq.*skeleton"):
        gi.init_(net, "he", materialize="cpu")
    assert net.weight.is_meta


def test_skeleton() -> None:
    shared = nn.Parameter(torch.ones(3))
    with gi.skeleton():
        with gi.skeleton():
            net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5), nn.BatchNorm1d(5))
        net[1].weight = net[0].weight
        a, b = nn.Module(), nn.Module()
        a.p = b.p = shared
    assert all(p.is_meta for p in net.parameters())
    assert not any(b.is_meta for b in net.buffers())
    assert net[1].weight is net[0].weight
    assert a.p is b.p
    assert a.p.is_meta
    assert not nn.Linear(2, 2).weight.is_meta
    with pytest.raises(ZeroDivisionError), gi.skeleton():
        raise ZeroDivisionError
    assert not nn.Linear(2, 2).weight.is_meta
    gi.init_(net, "standard", seed=0, materialize="cpu")
    assert net[1].weight is net[0].weight


def set_layers() -> nn.Module:
    """Layers of torch's own with parameters that were written to, or replaced."""
    plain, constant, parts = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6)
    nn.init.constant_(constant.bias, -2.0)
    parts.bias.data[:3] = 1.0
    parts.bias.data[3:].fill_(0.0)
    copied, replaced = nn.Linear(6, 6), nn.Linear(6, 6)
    copied.weight.data.copy_(torch.eye(6))
    nn.init.zeros_(copied.bias)
    copied.bias.data[2] = 3.0
    replaced.bias = nn.Parameter(torch.linspace(2.0, 3.0, 6))
    replaced.step = nn.Parameter(torch.tensor(0.05))
    return nn.Sequential(plain, constant, parts, copied, replaced)


def test_a_skeleton_keeps_what_layers_were_set_to() -> None:
    with gi.skeleton():
        net = set_layers()
    gi.init_(net, "standard", seed=0, materialize="cpu")
    given = dict(set_layers().named_parameters())
    kept = [n for n, p in net.named_parameters() if torch.equal(p, given[n])]
    assert kept == ["1.bias", "2.bias", "3.weight", "3.bias", "4.bias", "4.step"]


def test_a_skeleton_keeps_nothing_that_was_set_in_part() -> None:
    with gi.skeleton():
        layer = nn.Linear(4, 6)
        layer.bias.data[:3] = 1.0
    gi.init_(layer, "standard", seed=0, materialize="cpu")
    assert not layer.bias.any()


def gates(normal: bool) -> nn.Linear:
    gate = nn.Linear(20, 20)
    if normal:
        nn.init.normal_(gate.weight, std=1e-6)
    else:
        gate.weight.data.uniform_(-5e-5, 5e-5)
    nn.init.ones_(gate.bias)
    return gate


@pytest.mark.parametrize("normal", [True, False])
def test_a_skeleton_keeps_what_is_nearly_zero(normal: bool) -> None:
    """gMLP's gates, which open by their biases alone."""
    with gi.skeleton():
        net = nn.Sequential(nn.Linear(20, 20), gates(normal), nn.Linear(20, 20, bias=False))
    plan = gi.init_(net, "standard", inputs=torch.randn(4, 20), seed=0, materialize="cpu")
    assert (plan["1.weight"].kind, plan["1.weight"].guessed) == ("linear", False)
    assert 0 < net[1].weight.abs().max() < 1e-4 < net[0].weight.abs().max()
    with gi.skeleton():
        usual = nn.init.normal_(nn.Linear(20, 20).weight, std=0.02)
    assert not hasattr(usual, "_goodinit_value")


@pytest.mark.parametrize("shape", [(3,), (20, 30), (8, 4, 3, 3)])
def test_one_tensor(shape: tuple[int, ...]) -> None:
    tensor = nn.Parameter(torch.empty(shape))
    plan = gi.init_(tensor, gi.Normal(2.0), seed=0)
    assert len(plan) == 1
    assert tensor.isfinite().all()
    assert plan.seed == 0
    if len(shape) > 1:
        assert gi.init_(torch.empty(shape), gi.LeCunNormal())["tensor"].fan_in == math.prod(
            shape[1:]
        )
    else:
        with pytest.raises(gi.GoodinitError, match="fan_in"):
            gi.init_(tensor, gi.LeCunNormal())
