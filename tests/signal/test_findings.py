"""The findings of a measurement: each where it belongs, none of a healthy model."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.models import zoo, zoo_hf
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import goodinit as gi
from goodinit.signal.measure import measured

F = nn.functional
N = 256
INPUTS = torch.randn(64, N, generator=torch.Generator().manual_seed(0))


def tower(activation: type[nn.Module], layers: int, width: int = N) -> nn.Sequential:
    return nn.Sequential(
        *(part for _ in range(layers) for part in (nn.Linear(width, width), activation()))
    )


def drawn(net: nn.Module, recipe: Any = "he", seed: int = 0) -> nn.Module:
    gi.init_(net, recipe, seed=seed)
    return net


def codes(signal: gi.Signal) -> list[str]:
    return [finding.code for finding in signal.findings]


def matched(activation: str) -> gi.Recipe:
    """LeCun's law times the activation's true gain."""
    weights = gi.VarianceScaling(gi.gain(activation) ** 2, "fan_in", "normal")
    return gi.Recipe([gi.Rule("*", gi.Zeros()), gi.Rule("*.weight", weights)], "matched")


@pytest.mark.parametrize("name", ["gelu", pytest.param("silu", marks=pytest.mark.battery)])
def test_right_gains_do_not_save_gelu_and_silu(name: str) -> None:
    """The slope of their variance map is 1.144 and 1.173: an error in it grows by that a layer."""
    activation = {"gelu": nn.GELU, "silu": nn.SiLU}[name]
    changes = []
    for seed in range(3):
        signal = measured(drawn(tower(activation, 30), matched(name), seed), INPUTS)
        assert "GI135" in codes(signal)
        finding = next(f for f in signal.findings if f.code == "GI135")
        assert finding.where == "0:linear to 58:linear"
        assert "norms" in finding.remedy
        changes.append(abs(math.log(signal.layers[-1].forward.second / 2)))
    relu = measured(drawn(tower(nn.ReLU, 30)), INPUTS)
    assert codes(relu) == []
    # log q drifts off by more than the 30 layers' finite width does to relu, 5 * 30 / N.
    assert sorted(changes)[1] > math.sqrt(5 * 30 / N)


def test_what_goes_around_or_resets_is_stable() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(N, N) for _ in range(30))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = x + 0.1 * F.silu(layer(x))
            return x

    normed = nn.Sequential(
        *(part for _ in range(30) for part in (nn.Linear(N, N), nn.LayerNorm(N), nn.SiLU()))
    )
    for net in (Residual(), normed):
        assert codes(measured(drawn(net), INPUTS)) == []


def test_clones() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, batch_first=True), 3)
    x = torch.randn(4, 6, 32, generator=torch.Generator().manual_seed(0))
    (finding,) = measured(encoder, x).findings
    assert finding.code == "GI124"
    assert finding.where.startswith("layers.1.")
    assert codes(measured(drawn(encoder, "standard"), x)) == []


def test_a_norm_around_zero() -> None:
    net = drawn(nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU()))
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert codes(measured(net, x)) == []
    gi.init_(net, {nn.BatchNorm2d: gi.Normal(0.02)}, seed=0)
    (finding,) = measured(net, x).findings
    assert (finding.code, finding.where) == ("GI111", "1:batch_norm")
    gi.init_(net, {nn.BatchNorm2d: gi.Zeros()}, seed=0)  # the end of a residual branch, meant
    assert "GI111" not in codes(measured(net, x))


def test_a_bias_that_dominates() -> None:
    net = drawn(nn.Sequential(nn.Linear(N, N), nn.Tanh(), nn.Linear(N, 10)))
    gi.init_(net, {"2.bias": gi.Constant(-9.0)})
    assert codes(measured(net, INPUTS)) == []  # the last word: a prior
    gi.init_(net, {"2.bias": gi.Zeros(), "0.bias": gi.Constant(9.0)})
    assert "GI132" in codes(measured(net, INPUTS))
    net[1] = nn.Sigmoid()  # a gate, say
    assert "GI132" not in codes(measured(net, INPUTS))
    net[1] = nn.Sequential(nn.BatchNorm1d(N), nn.ReLU())  # which subtracts it
    assert codes(measured(net, INPUTS)) == []
    net[1] = nn.Sequential(nn.LayerNorm(N), nn.ReLU())  # does so as well, while it is one number
    assert codes(measured(net, INPUTS)) == []
    gi.init_(net, {"0.bias": gi.Normal(9.0)}, seed=0)
    assert "GI132" in codes(measured(net, INPUTS))


def test_biases_behind_a_dead_layer_are_fixed_as_well() -> None:
    net = nn.Sequential(*[p for _ in range(2) for p in (nn.Linear(N, N), nn.ReLU())])
    net.append(nn.Linear(N, 4))
    gi.init_(net, {"*.weight": gi.HeNormal(), "*.bias": gi.Constant(-30.0)}, seed=0)
    found = {finding.code: finding.remedy for finding in gi.measure(net, INPUTS).findings}
    assert found["GI132"] == 'gi.init_(model, {"*.bias": gi.Zeros()})'


def test_the_remedies_of_parameters_run() -> None:
    net = drawn(nn.Sequential(nn.Linear(N, N), nn.BatchNorm1d(N), nn.ReLU(), nn.Linear(N, N),
                              nn.Tanh(), nn.Linear(N, 10)))  # fmt: skip
    gi.init_(net, {nn.BatchNorm1d: gi.Normal(0.02), "3.bias": gi.Constant(9.0)}, seed=0)
    signal = gi.measure(net, INPUTS)
    found = {finding.code: finding.remedy for finding in signal.findings}
    assert {"GI111", "GI132"} <= found.keys()
    for code in ("GI111", "GI132"):
        exec(found[code], {"gi": gi, "model": net})
    assert not {"GI111", "GI132"} & {*codes(measured(net, INPUTS))}


def test_bad_numbers_are_named_where_they_begin() -> None:
    net = drawn(nn.Sequential(nn.Linear(N, N), nn.ReLU(), nn.Linear(N, 4)))
    x = INPUTS.clone()
    x[0, 0] = math.nan
    (finding,) = measured(net, x).findings
    assert (finding.code, finding.where) == ("GI101", "inputs")

    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(N, N)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).relu().sqrt()  # its slope at 0 is infinite

    (finding,) = measured(drawn(Root()), INPUTS).findings
    assert finding.code == "GI101"
    assert "gradient" in finding.cause

    class Scaled(Root):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(N))

        def forward(self, x: Tensor) -> Tensor:  # calls on parameters alone have no row
            return self.layer(x) * self.scale.square().sum().sqrt() + x

    signal = measured(drawn(Scaled(), {"layer.*": gi.LeCunNormal(), "*.bias": gi.Zeros()}), INPUTS)
    (finding,) = signal.findings
    assert (finding.code, finding.where) == ("GI101", "scale")
    ratio = next(g for g in signal.gradients if g.name == "scale").ratio
    assert ratio is not None
    assert math.isnan(ratio)


def test_ratios_of_tiny_and_of_complex_gradients() -> None:
    net = drawn(tower(nn.Tanh, 40, 64), {"*": gi.Normal(0.02), "*.bias": gi.Zeros()})
    signal = gi.measure(net, INPUTS[:, :64], lambda y: y.mean())
    double = net.double()
    total = double(INPUTS[:, :64].double()).mean()
    names = [name for name, p in double.named_parameters() if p.any()]
    own = torch.autograd.grad(total, [double.get_parameter(name) for name in names])
    ratios = {g.name: g.ratio for g in signal.gradients}
    for name, gradient in zip(names, own, strict=True):
        expected = (gradient.norm() / double.get_parameter(name).norm()).item()
        if name != "78.weight":
            assert 0 < expected < 1e-20
        assert ratios[name] == pytest.approx(expected, rel=1e-3)

    class Filter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.complex(INPUTS[0, :33], INPUTS[1, :33]))

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft(torch.fft.rfft(x) * self.weight)

    filtered = Filter()
    (ratio,) = gi.measure(filtered, INPUTS[:, :64], lambda y: y.square().mean()).gradients
    (gradient,) = torch.autograd.grad(filtered(INPUTS[:, :64]).square().mean(), [filtered.weight])
    assert ratio.ratio == pytest.approx((gradient.norm() / filtered.weight.norm()).item(), rel=1e-4)


def test_masks_are_no_bad_numbers() -> None:
    class Masked(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value, self.layer = value, nn.Linear(N, N)

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x)
            hidden = torch.ones(N, N).triu(1).bool()
            return (x @ x.T)[:N].masked_fill(hidden[: len(x), : len(x)], self.value).softmax(-1)

    for value in (-math.inf, torch.finfo(torch.float32).min):
        signal = measured(drawn(Masked(value)), INPUTS)
        assert codes(signal) == []
        masked = signal[":masked_fill"].forward
        before = signal[":getitem"].forward
        assert masked.bad == 0
        assert 0.3 * before.second < masked.second < before.second


def test_deep_units_are_not_called_dead_for_being_alike() -> None:
    net = drawn(tower(nn.ReLU, 40, 64), "torch_default")
    x = INPUTS[:, :64]
    assert "GI106" not in codes(measured(net, x))


def test_weights_under_parametrizations_are_layers() -> None:
    net = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(8, 8)),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(8, 4)),
    )
    layers = measured(net, INPUTS[:, :8]).layers
    assert [row.params for row in layers] == [("0.weight", "0.bias"), ("2.weight", "2.bias")]


# What is left alone. The rate is in docs/measure.md.

KNOWN = {
    "seq2seq": ["GI124"],  # nn.TransformerEncoder copies its layer: it is so
    # A tied table as torch draws it, N(0, 1): the logits are as wide as the root of the width.
    "gpt": ["GI112"],
    "gpt_right": ["GI112"],
}
NO_BACKWARD = {"rwkv"}  # its loop in Python writes over what its gradient needs
# A measurement takes half a second: these are left to the battery, since the signal goes through
# blocks as in gpt_right, moe, t5 or convnet.
ALIKE = {*"clip deberta_v2 wav2vec2 convnext swin mixtral gpt2 llama vit".split()}


def marks(where: Any, name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.battery] if name in ALIKE else where.marks(name)


MODELS = [
    *(pytest.param(zoo, name, id=name, marks=marks(zoo, name)) for name in zoo.PLAIN),
    *(pytest.param(zoo_hf, name, id=f"hf-{name}", marks=marks(zoo_hf, name)) for name in zoo_hf.HF),
]


@pytest.mark.parametrize(("where", "name"), MODELS)
def test_no_alarm_of_a_healthy_model(where: Any, name: str) -> None:
    model, inputs = where.build(name)
    backward = name not in NO_BACKWARD
    signal = measured(model, inputs, backward=backward)
    assert [f.code for f in signal.findings if f.severity != "info"] == KNOWN.get(name, [])
    gi.init_(model, "standard", inputs=inputs, seed=0)
    assert measured(model, inputs, backward=backward).ok


def test_memory_that_is_not_written_yet_is_no_signal() -> None:
    """Switch Transformers jitter a router's input so; what lies there first may be NaN."""

    class Jitters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(N, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.router(x * torch.empty_like(x).uniform_(0.99, 1.01))

    signal = measured(Jitters(), INPUTS)
    assert [row.key for row in signal.rows] == [":mul", "router:linear"]


def test_a_last_layer_drawn_small_is_no_vanishing() -> None:
    net = nn.Sequential(tower(nn.ReLU, 6), nn.Linear(N, 10))
    drawn(net)
    gi.init_(net, {"1.weight": gi.Normal(1e-4)}, seed=0)
    assert codes(measured(net, INPUTS)) == []


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.first, self.second = nn.Linear(N, N), nn.Linear(N, 10), nn.Linear(N, 10)
        gi.init_(self, "standard", seed=0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x).relu()
        return self.first(x), self.second(x)


@pytest.mark.parametrize("bad", ["first", "second"])
def test_each_output_is_judged(bad: str) -> None:
    net = Heads()
    assert codes(measured(net, INPUTS)) == []
    gi.init_(net, {f"{bad}.weight": gi.Normal(1e-4), f"{bad}.bias": gi.Normal(1.0)}, seed=0)
    (finding,) = measured(net, INPUTS).findings
    assert (finding.code, finding.where) == ("GI104", f"{bad}:linear")


CLASSES = torch.arange(64) % 10


@pytest.mark.parametrize("bad", ["first", "second"])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_head_with_the_large_loss_is_named(bad: str, swapped: bool) -> None:
    net = Heads()

    def loss(heads: tuple[Tensor, Tensor]) -> Tensor:
        a, b = reversed(heads) if swapped else heads
        return F.cross_entropy(a, CLASSES) + F.cross_entropy(b, CLASSES)

    gi.init_(net, {f"{bad}.weight": gi.Normal(4.0)}, seed=0)
    (finding,) = gi.measure(net, INPUTS, loss).findings
    assert finding.code == "GI110"
    assert f'"{bad}.weight"' in finding.remedy
    exec(finding.remedy, {"gi": gi, "model": net})
    assert codes(measured(net, INPUTS, loss)) == []


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: F.cross_entropy(z, CLASSES),
        lambda z: F.cross_entropy(z, CLASSES, reduction="sum"),
        lambda z: F.cross_entropy(z, CLASSES, reduction="none").mean(),
        lambda z: F.nll_loss(z.log_softmax(-1), CLASSES),
    ],
)
def test_forms_of_cross_entropy(loss: Any) -> None:
    net = drawn(nn.Sequential(nn.Linear(N, N), nn.ReLU(), nn.Linear(N, 10)), "standard")
    assert codes(measured(net, INPUTS, loss)) == []
    gi.init_(net, {"2.weight": gi.Normal(4.0)}, seed=0)
    signal = gi.measure(net, INPUTS, loss)
    assert codes(signal) == ["GI110"]
    exec(signal.findings[0].remedy, {"gi": gi, "model": net})
    assert codes(measured(net, INPUTS, loss)) == []


@pytest.mark.parametrize(
    ("norm", "activation", "bad", "code"),
    [
        (nn.BatchNorm1d(N), nn.ReLU(), {"1.bias": gi.Constant(-10.0)}, "GI106"),
        (nn.LayerNorm(N), nn.Tanh(), {"1.weight": gi.Constant(50.0)}, "GI107"),
    ],
)
def test_a_norm_that_kills_is_what_the_remedy_mends(
    norm: nn.Module, activation: nn.Module, bad: dict[str, gi.Scheme], code: str
) -> None:
    net = drawn(nn.Sequential(nn.Linear(N, N), norm, activation, nn.Linear(N, 10)))
    gi.init_(net, bad)
    found = next(f for f in gi.measure(net, INPUTS).findings if f.code == code)
    exec(found.remedy, {"gi": gi, "model": net})
    assert codes(measured(net, INPUTS)) == []


def test_large_inputs_are_to_be_scaled() -> None:
    net = drawn(nn.Sequential(nn.Linear(N, N), nn.Tanh(), nn.Linear(N, 10)), "xavier")
    found = next(f for f in measured(net, 200 * INPUTS).findings if f.code == "GI107")
    assert found.remedy.startswith("scale the inputs, whose second moment is 4.03e+04")


def test_a_norm_written_by_hand() -> None:
    class Rms(nn.Module):
        def __init__(self, offset: float) -> None:
            super().__init__()
            self.weight, self.offset = nn.Parameter(torch.ones(N)), offset

        def forward(self, x: Tensor) -> Tensor:
            x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
            return x * (self.offset + self.weight) if self.offset else self.weight * x

    for offset in (0.0, 1.0):
        net = drawn(nn.Sequential(nn.Linear(N, N), Rms(offset), nn.Linear(N, N)))
        gi.init_(net, {"1.weight": gi.Normal(0.02)}, seed=0)
        found = [f for f in gi.measure(net, INPUTS).findings if f.code == "GI111"]
        assert bool(found) != bool(offset)  # 1 + a small weight is as it should be
        for finding in found:
            exec(finding.remedy, {"gi": gi, "model": net})
            assert codes(measured(net, INPUTS)) == []


def test_one_bad_layer_is_named() -> None:
    net = drawn(tower(nn.ReLU, 12))
    gi.init_(net, {"10.weight": gi.Normal(1e-6)}, seed=0)
    (found,) = (f for f in measured(net, INPUTS).findings if f.code == "GI102")
    assert "most of it at 10:linear" in found.cause
    found = next(f for f in measured(drawn(tower(nn.ReLU, 30), "xavier"), INPUTS).findings)
    assert "a layer" in found.cause


def test_the_words_of_a_remedy_leave_gates_out() -> None:
    class Highway(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.gate = nn.Linear(64, 64), nn.Linear(64, 64)

        def forward(self, x: Tensor) -> Tensor:
            share = self.gate(x).sigmoid()
            return share * self.inner(x).relu() + (1 - share) * x

    net = nn.Sequential(*[Highway() for _ in range(15)])
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.05, generator=torch.manual_seed(0))
            nn.init.zeros_(layer.bias)
    found = next(f for f in measured(net, INPUTS[:, :64]).findings if f.code == "GI102")
    assert "residual connections" in found.remedy
    assert "sigmoid" not in found.remedy


# What is meant so.


def test_what_recipes_start_from_on_purpose() -> None:
    """RetinaNet's prior; identity kernels; gates that are open or shut."""
    convolutions = [p for _ in range(4) for p in (nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())]
    net = drawn(nn.Sequential(*convolutions, nn.Conv2d(64, 18, 3, padding=1), nn.Sigmoid()))
    gi.init_(net, {"*": gi.Normal(0.01), "*.bias": gi.Zeros(), "8.bias": gi.Constant(-4.6)}, seed=0)
    images = INPUTS.view(4, 64, 8, 8)
    assert codes(measured(net, images)) == []

    blocks = [p for _ in range(4) for p in (nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))]
    net = drawn(nn.Sequential(*blocks), {nn.Conv2d: gi.Dirac(), "*.bias": gi.Zeros()})
    assert codes(measured(net, images[:, :8])) == []

    class Highway(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.gate = nn.Linear(N, N), nn.Linear(N, N)

        def forward(self, x: Tensor) -> Tensor:
            open_ = self.gate(x).sigmoid()
            return self.layer(x).tanh() * open_ + x * (1 - open_)

    net = drawn(nn.Sequential(*[Highway() for _ in range(4)]), "standard")
    gi.init_(net, {"*.gate.bias": gi.Constant(-5.0)})
    assert codes(measured(net, INPUTS)) == []


def test_statistics_of_batch_norm_that_a_file_brought() -> None:
    """Files from before the counter leave it at 0."""
    net = nn.Sequential(nn.Linear(N, N), nn.BatchNorm1d(N), nn.ReLU()).eval()
    assert any("none have been taken" in note for note in measured(net, INPUTS).notes)
    net[1].running_mean += 0.1
    assert not measured(net, INPUTS).notes


class LinearAttention(nn.Module):
    """A column of ones makes the divisor, as in EfficientViT."""

    def __init__(self, divides: bool) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(64, 192, bias=False), nn.Linear(64, 64, bias=False)
        self.divides = divides

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        y = q.relu() @ (k.relu().mT @ F.pad(v, (0, 1), value=1.0))
        return self.out(y[..., :-1] / (y[..., -1:] + 1e-6) if self.divides else y[..., :-1])


@pytest.mark.parametrize("divides", [True, False])
def test_a_signal_that_is_divided_by_a_part_of_itself_does_not_explode(divides: bool) -> None:
    net = nn.Sequential(tower(nn.ReLU, 5, 64), LinearAttention(divides))
    inputs = torch.randn(2, 1024, 64, generator=torch.Generator().manual_seed(0))
    assert ("GI103" in codes(gi.measure(drawn(net), inputs))) is not divides
