"""Calibration: every free weight on its target, only scales changed, the rest left alone."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.signal.ways import normal
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

import goodinit as gi
from goodinit.errors import ModelError, SignalError, WriteError

WIDTH = 32


def plain(layers: int = 12, width: int = WIDTH) -> nn.Module:
    bodies = [layer for _ in range(layers) for layer in (nn.Linear(width, width), nn.GELU())]
    return nn.Sequential(*bodies, nn.Linear(width, 4))


class Residual(nn.Module):
    def __init__(self, blocks: int = 5) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.up = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(blocks))
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(functional.gelu(up(x)))
        return self.head(x)


class Repeated(nn.Module):
    """One layer, used ten times."""

    def __init__(self, f: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.first, self.again = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 4)
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(10):
            x = self.f(self.again(x))
        return self.head(x)


class Mixed(nn.Module):
    """What is left alone, beside a convolution and a linear layer that aren't."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.frozen = nn.Conv2d(8, 8, 1).requires_grad_(False)
        self.body = nn.Linear(8, 16)
        self.cell = nn.LSTM(16, 16, batch_first=True)
        self.head = nn.Linear(16, 4)
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()
        x = self.frozen(x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()).relu()
        x = self.body(x.flatten(2).mT).tanh()
        return self.head(self.cell(x)[0][:, -1])


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


CASES: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "plain": (plain, normal(64, WIDTH)),
    "residual": (Residual, normal(64, WIDTH)),
    "mixed": (Mixed, normal(4, 3, 6, 6)),
    "repeated": (Repeated, normal(64, WIDTH)),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_are_on_target_and_only_scales_changed(case: str) -> None:
    torch.manual_seed(0)
    build, inputs = CASES[case]
    model = build()
    before = state(model)
    found = gi.calibrate_(model, inputs)
    assert found.ok
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name] * found[name].factor), name
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name
    for row in gi.measure(model, inputs, backward=False).rows:
        for name in row.params:
            if row.kind == "contract" and found[name].uses:
                bound = 1.05 if found[name].uses == 1 else 2.0
                assert 1 / bound < row.forward.second / found[name].target < bound
    after = state(model)
    again = gi.calibrate_(model, inputs)
    assert equal(state(model), after)
    assert all(row.factor == 1 for row in again)


@pytest.mark.parametrize("f", [torch.relu, functional.leaky_relu, nn.Identity()])
def test_a_weight_with_many_uses_has_one_factor_that_settles(f: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    model, x = Repeated(f), normal(64, WIDTH)
    found = gi.calibrate_(model, x)
    assert not found.notes
    assert found["again.weight"].uses == 10
    assert found["again.weight"].off < 2
    assert found["first.weight"].off == pytest.approx(1, abs=0.012)
    assert all(row.factor == 1 for row in gi.calibrate_(model, x))


def test_a_residual_end_gets_its_share() -> None:
    torch.manual_seed(0)
    found = gi.calibrate_(Residual(), normal(64, WIDTH))
    assert [found[name].target for name in ("first.weight", "up.3.weight", "down.3.weight")] == [
        1,
        1,
        1 / 5,
    ]


def test_what_is_left_alone_is_listed_with_the_reason() -> None:
    torch.manual_seed(0)
    found = gi.calibrate_(Mixed(), normal(4, 3, 6, 6))
    assert {row.name for row in found.aimed} == {"conv.weight", "body.weight"}
    for name, reason in {
        "gate.weight": "a gate: how far it is open",
        "frozen.weight": "frozen",
        "norm.weight": "a norm's",
        "cell.weight_hh_l0": "it makes the gates of a cell",
        "head.weight": "it makes the model's output",
        "unused.weight": "no call that was observed multiplies by it",
        "conv.bias": "scaled along with conv.weight",
        "head.bias": "a bias whose weight is left alone",
    }.items():
        assert found[name].why.startswith(reason), name
    assert "2 weights calibrated (forward), all on target; 2 rescaled." in str(found)
    assert "Left alone: gate.weight: a gate" in str(found)


def test_zeros_stay_zeros_and_a_dead_net_comes_to_life() -> None:
    torch.manual_seed(0)
    dead = plain(6)
    with torch.no_grad():
        for parameter in dead.parameters():
            parameter.mul_(1e-12)
    assert gi.calibrate_(dead, normal(64, WIDTH)).ok
    zero = Residual(2)
    last = zero.down[1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    found = gi.calibrate_(zero, normal(64, WIDTH))
    assert found["down.1.weight"].why.startswith("it holds zeros")
    assert not last.weight.any()
    assert found.ok


class Standardized(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Linear's name
        weight = self.weight / self.weight.std(1, keepdim=True)
        return functional.linear(input, weight, self.bias)


def test_weights_that_are_computed() -> None:
    torch.manual_seed(0)
    with pytest.warns(FutureWarning, match="weight_norm"):
        normed = nn.utils.weight_norm(nn.Linear(WIDTH, WIDTH))
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)),
        nn.ReLU(),
        normed,
        nn.ReLU(),
        Standardized(WIDTH, WIDTH),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH)),
        nn.ReLU(),
        nn.Linear(WIDTH, 4),
    )
    before = normed.weight.detach().clone()
    found = gi.calibrate_(model, normal(64, WIDTH))
    assert {row.name for row in found.aimed} == {"0.weight", "2.weight"}
    torch.testing.assert_close(normed.weight, before * found["2.weight"].factor)
    assert found["4.weight"].why.startswith("its product doesn't follow its scale")
    assert found["6.weight"].why.startswith("spectral_norm divides")
    signal = gi.measure(model, normal(64, WIDTH), backward=False)
    assert [round(signal[name].forward.second, 2) for name in ("0", "2")] == [1, 1]


class Doubled(nn.Module):
    """Twice what is stored; what can't be stored after a while."""

    refuses = False

    def forward(self, value: Tensor) -> Tensor:
        return 2 * value

    def right_inverse(self, value: Tensor) -> Tensor:
        if self.refuses:
            raise ValueError("not today")
        return value / 2


def test_all_is_as_it_was_after_a_failed_write() -> None:
    torch.manual_seed(0)
    last, doubled = nn.Linear(WIDTH, WIDTH), Doubled()
    parametrize.register_parametrization(last, "weight", doubled)
    model = nn.Sequential(plain(3), nn.Linear(4, WIDTH), nn.ReLU(), last, nn.Tanh())
    model.append(nn.Linear(WIDTH, 3))
    before = state(model)
    doubled.refuses = True
    with pytest.raises(WriteError, match=r"3\.weight: not today \(everything is as it was\)"):
        gi.calibrate_(model, normal(64, WIDTH))
    assert equal(state(model), before)
    doubled.refuses = False
    assert gi.calibrate_(model, normal(64, WIDTH))["3.weight"].met


def test_attention_inside_of_one_call() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.3, batch_first=True)
    attention, x = model.self_attn, normal(8, 6, 16)
    found = gi.calibrate_(model, x)
    assert all(row.off == pytest.approx(1, abs=0.012) for row in found.aimed)
    model = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    attention = model.self_attn
    found = gi.calibrate_(model, x)
    ends = {"self_attn.out_proj.weight": 1 / 2, "linear2.weight": 1 / 2}
    targets = {row.name: row.target for row in found.aimed}
    assert targets == {"self_attn.in_proj_weight": 1, "linear1.weight": 1, **ends}
    assert found.ok
    made = functional.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    assert made.square().mean().item() == pytest.approx(1, rel=0.02)
    assert attention(x, x, x)[0].square().mean().item() == pytest.approx(1 / 2, rel=0.02)
    separate = nn.MultiheadAttention(16, 2, kdim=8, vdim=8, batch_first=True)
    query, key = normal(4, 5, 16), normal(4, 5, 8)
    found = gi.calibrate_(separate, (query, key, key))
    assert found["k_proj_weight"].met
    made = functional.linear(key, separate.k_proj_weight)
    assert made.square().mean().item() == pytest.approx(1, rel=0.02)


class Undivided(nn.Module):
    """Attention that divides nothing by the root of the width, as T5's."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(64, 64, bias=False) for _ in range(3))
        self.out, self.head = nn.Linear(64, 64), nn.Linear(64, 4)
        nn.init.normal_(self.q.weight, std=1 / 64)

    def forward(self, x: Tensor) -> Tensor:
        shares = (self.q(x) @ self.k(x).mT).softmax(-1)
        return self.head(x + self.out(shares @ self.v(x)))


def test_queries_and_keys_without_a_divisor_are_left_alone() -> None:
    torch.manual_seed(0)
    found = gi.calibrate_(Undivided(), normal(4, 8, 64))
    assert {row.name for row in found.aimed} == {"v.weight", "out.weight"}
    assert found["q.weight"].why.startswith("on target, queries and keys would make attention")


def test_the_remedy_of_a_plain_stack_that_is_too_deep_works() -> None:
    torch.manual_seed(0)
    layers = [part for _ in range(25) for part in (nn.Linear(64, 64), nn.SiLU())]
    model, x = nn.Sequential(*layers, nn.Linear(64, 4)), normal(64, 64)
    plan = gi.init_(model, "standard", inputs=x, seed=0)
    assert [f.code for f in plan.findings] == ["GI136"]
    assert "gi.calibrate_(model, inputs)" in plan.findings[0].remedy
    before = gi.measure(model, x, backward=False).layers[-2].forward.second
    assert not 0.3 < before < 3
    # 24 slopes at a second moment of 32 make less than 2, at 16 they make 2.3, at 1 they make 46.
    found = gi.calibrate_(model, x)
    assert {round(row.target) for row in found.aimed} == {32}
    signal = gi.measure(model, x, backward=False)
    assert signal.layers[-2].forward.second == pytest.approx(32, rel=0.02)


@pytest.mark.parametrize(
    ("activation", "layers", "target"),
    [(nn.GELU, 18, 1), (nn.GELU, 19, 8), (nn.ReLU, 50, 1), (nn.Tanh, 50, 1), (nn.Sigmoid, 50, 1)],
)
def test_the_target_is_where_samples_keep_their_sizes(
    activation: type[nn.Module], layers: int, target: float
) -> None:
    torch.manual_seed(0)
    inside = [part for _ in range(layers - 1) for part in (nn.Linear(WIDTH, WIDTH), activation())]
    model, x = nn.Sequential(*inside, nn.Linear(WIDTH, 4)), normal(64, WIDTH)
    found = gi.calibrate_(model, x)
    assert found.ok
    assert [row.target for row in found.aimed] == pytest.approx([target] * (layers - 1))
    assert all(row.factor == 1 for row in gi.calibrate_(model, x))


def test_a_steady_size_is_no_aim_of_gradients() -> None:
    torch.manual_seed(0)
    model, x = plain(20), normal(64, WIDTH)
    assert {round(row.target) for row in gi.calibrate_(model, x).aimed} == {8}
    found = gi.calibrate_(model, x, criterion="backward")
    assert {row.target for row in found.aimed} == {1}


def funnel() -> nn.Sequential:
    sizes = [32, 128, 32, 64]
    pairs = pairwise(sizes)
    layers = [m for a, b in pairs for m in (nn.Linear(a, b, bias=False), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(64, 4))


@pytest.mark.parametrize(
    ("criterion", "gain"),
    [  # of ReLU, by the mean field: the last weight's output comes after no further slope
        ("forward", lambda a, b: (1 if a == 32 and b == 128 else 2) / a),
        ("backward", lambda a, b: (1 if b == 64 else 2) / b),
    ],
)
def test_relus_variances_are_those_of_he(criterion: str, gain: Callable[[int, int], float]) -> None:
    torch.manual_seed(0)
    model, x = funnel(), normal(512, 32)
    found = gi.calibrate_(model, x, criterion=criterion)
    assert found.ok
    assert len(found.aimed) == 3
    for layer in model[:-1:2]:
        rows, columns = layer.weight.shape
        # One network, of at least 32 units a layer: its moments are off by a few times 1/sqrt(32).
        assert layer.weight.square().mean().item() == pytest.approx(gain(columns, rows), rel=0.5)
    assert all(row.factor == 1 for row in gi.calibrate_(model, x, criterion=criterion))


def test_a_compromise_is_the_harmonic_mean() -> None:
    torch.manual_seed(0)
    x, models = normal(256, 32), [funnel() for _ in range(3)]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    ways = ("forward", "backward", "compromise")
    found = [gi.calibrate_(m, x, criterion=c) for m, c in zip(models, ways, strict=True)]
    for ahead, back, between in zip(*found, strict=True):
        assert between.factor == pytest.approx((2 / (ahead.factor**-2 + back.factor**-2)) ** 0.5)


def test_the_backward_criterion_holds_gradients_of_residual_and_shared_layers() -> None:
    torch.manual_seed(0)
    found = gi.calibrate_(Residual(2), normal(64, WIDTH), criterion="backward")
    assert found.ok
    assert not found.notes
    assert [found[n].target for n in ("first.weight", "up.1.weight", "down.1.weight")] == [
        1,
        0.5,
        0.5,
    ]
    shared = gi.calibrate_(Repeated(torch.relu), normal(64, WIDTH), criterion="backward")
    assert shared["first.weight"].off == pytest.approx(1, abs=0.02)


class Checkpointed(nn.Sequential):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Sequential's name
        return checkpoint(super().forward, input, use_reentrant=False)


def test_gradients_through_a_checkpoint_are_refused() -> None:
    model = nn.Sequential(Checkpointed(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 2))
    with pytest.raises(SignalError, match="gradient checkpointing must be off"):
        gi.calibrate_(model, normal(8, 8), criterion="backward")
    assert gi.calibrate_(model, normal(8, 8)).ok


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"method": "lsvu"}, SignalError, "method='lsvu': pass 'lsuv'. Did you mean 'lsuv'"),
        ({"criterion": "both"}, SignalError, "criterion='both': pass 'forward' or 'backward'"),
        ({"inputs": normal(8, 3)}, SignalError, "the model raised"),
        ({"inputs": normal(8, WIDTH) * torch.inf}, SignalError, "NaN or infinite"),
        ({"inputs": torch.zeros(8, WIDTH)}, SignalError, "all inputs are 0"),
        ({"model": plain(2).to("meta")}, ModelError, "on the meta device"),
        ({"model": "resnet"}, ModelError, "takes a torch.nn.Module"),
        ({"seed": 0}, TypeError, "unknown argument 'seed'"),
    ],
)
def test_bad_input_is_named_and_nothing_written(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = plain(2)
    before = state(model)
    call: Any = {"model": model, "inputs": normal(8, WIDTH), **given}
    with pytest.raises(error, match=message):
        gi.calibrate_(**call)
    assert equal(state(model), before)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(SignalError, match="each process would rescale"):
        gi.calibrate_(plain(2), normal(8, WIDTH))
