"""Networks that are ill in ways that people report, and healthy ones that look like them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.findings.test_agreement import few_recipes  # noqa: F401  # a fixture
from tests.signal.made import Calls, zeroed
from tests.signal.sick import noise
from torch import Tensor, nn

import goodinit as gi
from goodinit.explanation.explain import explained
from goodinit.signal.measure import measured

F = nn.functional
N = 32
X, IMAGES, SERIES = noise(64, N), noise(8, 3, 8, 8), noise(4, 12, N)
CLASSES, HALVES = torch.arange(64) % 10, (torch.arange(64) % 2).float()


def found(findings: Any) -> set[tuple[str, str]]:
    return {(f.code, f.severity) for f in findings if f.severity != "info"}


# Experts.


def experts(router: float, *, alike: bool, stacked: bool = False) -> nn.Module:
    gate = nn.Linear(N, 4, bias=False)
    gate.weight.data.mul_(router)
    if stacked:
        weight = torch.randn(4, N, N) * N**-0.5
        weight = nn.Parameter(weight[:1].repeat(4, 1, 1) if alike else weight)
        return Calls(
            lambda s, x: (
                torch.einsum("nd,edf->nef", x, s.w) * s.gate(x).softmax(-1)[..., None]
            ).sum(1),
            gate=gate, w=weight,
        )  # fmt: skip
    layers = nn.ModuleList(nn.Linear(N, N) for _ in range(4))
    for layer in layers if alike else ():
        layer.load_state_dict(layers[0].state_dict())

    def run(s: Any, x: Tensor) -> Tensor:
        shares = s.gate(x).softmax(-1)
        return sum(shares[:, n : n + 1] * layer(x) for n, layer in enumerate(s.layers))

    return Calls(run, gate=gate, layers=layers)


def unused_expert() -> nn.Module:
    layers = nn.ModuleList(nn.Linear(N, N) for _ in range(2))
    layers[1].load_state_dict(layers[0].state_dict())
    return Calls(lambda s, x: s.layers[0](x), layers=layers)


def twins() -> nn.Module:
    online, target = (nn.Sequential(nn.Linear(N, N), nn.Linear(N, N)) for _ in range(2))
    target.load_state_dict(online.state_dict())
    return Calls(lambda s, x: s.online(x) + s.target(x), online=online, target=target)


WARNED, STUCK = {("GI124", "warning")}, {("GI124", "error")}
CLONES: dict[str, tuple[Callable[[], nn.Module], set[Any], set[Any]]] = {
    "equal, router drawn": (lambda: experts(1.0, alike=True), WARNED, WARNED),
    "equal, router 0": (lambda: experts(0.0, alike=True), STUCK, WARNED),
    "drawn, router 0": (lambda: experts(0.0, alike=False), set(), set()),
    "equal, in one tensor": (lambda: experts(1.0, alike=True, stacked=True), WARNED, WARNED),
    "drawn, in one tensor": (lambda: experts(0.0, alike=False, stacked=True), set(), set()),
    "one is not reached": (unused_expert, WARNED, WARNED),
    "twins with one gradient": (twins, WARNED, set()),
}


@pytest.mark.parametrize("name", CLONES)
def test_layers_that_start_as_one(name: str) -> None:
    make, by_measure, by_explain = CLONES[name]
    torch.manual_seed(0)
    net = make()
    assert found(measured(net, X).findings) == by_measure
    assert found(explained(net, X).findings) == by_explain


# Losses.

CROSS, NLL = F.cross_entropy, F.nll_loss
HEADS: dict[str, tuple[nn.Module, Callable[[Tensor], Tensor], bool]] = {
    "softmax twice": (nn.Softmax(-1), lambda y: CROSS(y, CLASSES), True),
    "softmax, moved": (nn.Softmax(-1), lambda y: CROSS(y[None].mT, CLASSES[None]), True),
    "sigmoid and softmax": (nn.Sigmoid(), lambda y: CROSS(y, CLASSES), True),
    "relu": (nn.ReLU(), lambda y: CROSS(y, CLASSES), True),
    "tanh alone": (nn.Tanh(), lambda y: CROSS(y, CLASSES), True),
    "relu of one class": (
        nn.ReLU(), lambda y: F.binary_cross_entropy_with_logits(y[:, 0], HALVES), True
    ),
    "logits": (nn.Identity(), lambda y: CROSS(y, CLASSES), False),
    "tanh": (nn.Tanh(), lambda y: CROSS(5 * y, CLASSES), False),
    "log of softmax": (nn.LogSoftmax(-1), lambda y: NLL(y, CLASSES), False),
    "no log": (nn.Softmax(-1), lambda y: NLL(y, CLASSES), True),
    "log": (nn.Softmax(-1), lambda y: NLL(y.log(), CLASSES), False),
    "sigmoid twice": (
        nn.Sigmoid(), lambda y: F.binary_cross_entropy_with_logits(y[:, 0], HALVES), True
    ),
    "sigmoid": (nn.Sigmoid(), lambda y: F.binary_cross_entropy(y[:, 0], HALVES), False),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_logits_that_are_squashed_before_the_loss(name: str) -> None:
    last, loss, ill = HEADS[name]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(N, 10), last)
    expected = {("GI143", "warning")} if ill else set()
    assert found(measured(net, X, loss).findings) == expected


def test_the_bound_of_a_squashed_loss_is_right() -> None:
    net = nn.Sequential(nn.Linear(N, 10), nn.Softmax(-1))
    (finding,) = measured(net, X, lambda y: CROSS(y, CLASSES)).findings
    sure = CROSS(torch.eye(10), torch.arange(10)).item()
    assert f"below {sure:.3g}" in finding.cause


# Norms, probabilities, outputs.


def normed(width: int, norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(N, width), norm, nn.Linear(width, 10))


def pooled(groups: int) -> nn.Module:
    parts = nn.Conv2d(3, 16, 3), nn.AdaptiveAvgPool2d(1), nn.GroupNorm(groups, 16)
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(16, 10))


def probabilities(std: float, bias: float = 0.0) -> nn.Module:
    net = nn.Sequential(nn.Linear(N, 10), nn.Sigmoid())
    nn.init.normal_(net[0].weight, std=std)
    nn.init.constant_(net[0].bias, bias)
    return net


def sampled(std: float) -> nn.Module:
    layer = nn.Linear(N, N)
    nn.init.normal_(layer.weight, std=std)
    return Calls(lambda s, x: s.layer(x).exp(), layer=layer)


def shifted(share: float) -> nn.Module:
    """A layer that is nearly its bias, whose output is added to another of that share."""
    shift, scale = nn.Linear(N, N), nn.Linear(N, N)
    for layer, std, bias in ((shift, 1e-3, 1.0), (scale, share, 0.0)):
        nn.init.normal_(layer.weight, std=std * N**-0.5)
        nn.init.constant_(layer.bias, bias)
    return Calls(
        lambda s, x: s.last((s.shift(x) + s.scale(x)).relu()),
        shift=shift, scale=scale, last=nn.Linear(N, 10),
    )  # fmt: skip


def forgetful(bias: float) -> nn.Module:
    layer = nn.LSTM(N, N, batch_first=True)
    for name, p in layer.named_parameters():
        if "bias" in name:
            nn.init.zeros_(p)
            p.data[N : 2 * N] = bias
    return Calls(lambda s, x: s.head(s.layer(x)[0]), layer=layer, head=nn.Linear(N, 10))


def adapted(*, b: bool) -> nn.Module:
    base = nn.Linear(N, N).requires_grad_(False)
    a, up = zeroed(nn.Linear(N, 4, bias=False)), nn.Linear(4, N, bias=False)
    up = zeroed(up) if b else up
    return Calls(lambda s, x: s.base(x) + s.lora_B(s.lora_A(x)), base=base, lora_A=a, lora_B=up)


def gammas_of_zero(activation: nn.Module) -> nn.Module:
    norm = zeroed(nn.BatchNorm2d(8))
    parts = nn.Conv2d(3, 8, 3, padding=1), norm, activation, nn.Conv2d(8, 8, 3, padding=1)
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(512, 10))


def one_kernel() -> nn.Module:
    first = nn.Conv2d(3, 16, 3)
    first.weight.data.copy_(first.weight[:1].expand_as(first.weight))
    return nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))


EMPTY, NONE = {("GI144", "warning")}, set[Any]()
ZERO, SHUT = {("GI122", "error")}, {("GI122", "warning")}
Case = tuple[Callable[[], nn.Module], Any, set[Any] | None, set[Any] | None]
CASES: dict[str, Case] = {
    "a norm over one value": (lambda: normed(1, nn.LayerNorm(1)), X, EMPTY, NONE),
    "a norm over four": (lambda: normed(4, nn.LayerNorm(4)), X, NONE, NONE),
    "a root mean square over one": (lambda: normed(1, nn.RMSNorm(1)), X, NONE, NONE),
    "as many groups as numbers": (lambda: pooled(16), IMAGES, EMPTY, NONE),
    "four groups": (lambda: pooled(4), IMAGES, NONE, NONE),
    "sure both ways": (
        lambda: probabilities(9.0),
        X,
        {("GI107", "warning")},
        {("GI107", "warning")},
    ),
    "a prior": (lambda: probabilities(0.01, -math.log(999)), X, NONE, NONE),
    "exp of much": (lambda: sampled(1.0), X, {("GI103", "error")}, None),
    "exp of more": (lambda: sampled(1.5), X, {("GI101", "error"), ("GI103", "error")}, None),
    "exp of little": (lambda: sampled(0.1), X, NONE, None),
    "a bias alone": (lambda: shifted(0.0), X, {("GI132", "warning"), ("GI104", "warning")}, None),
    "a shift": (lambda: shifted(2.0), X, NONE, None),
    "no memory": (lambda: forgetful(-5.0), SERIES, NONE, {("GI128", "warning")}),
    "half a memory": (lambda: forgetful(0.0), SERIES, NONE, NONE),
    "both factors 0": (lambda: adapted(b=True), X, ZERO, ZERO),
    "one factor 0": (lambda: adapted(b=False), X, NONE, NONE),
    "gammas 0 before relu": (lambda: gammas_of_zero(nn.ReLU()), IMAGES, None, ZERO),
    "gammas 0 before tanh": (lambda: gammas_of_zero(nn.Tanh()), IMAGES, None, SHUT),
    "one kernel for all": (one_kernel, IMAGES, {("GI123", "warning")}, {("GI123", "warning")}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_people_report(name: str) -> None:
    make, inputs, by_measure, by_explain = CASES[name]
    torch.manual_seed(0)
    net = make()
    if by_measure is not None:
        assert found(measured(net, inputs).findings) == by_measure
    if by_explain is not None:
        assert found(explained(net, inputs).findings) == by_explain


def test_explain_and_measure_agree_on_gammas_of_zero() -> None:
    for activation in (nn.ReLU(), nn.Tanh()):
        net = gammas_of_zero(activation)
        by_both = [
            {f.severity for f in look(net, IMAGES).findings if f.code == "GI122"}
            for look in (measured, explained)
        ]
        assert by_both[0] == by_both[1]


def test_lines_set_biases_and_scales_that_are_to_blame() -> None:
    torch.manual_seed(0)
    gated = nn.Sequential(nn.Linear(N, N), nn.ReLU(), nn.Linear(N, 10))
    nn.init.constant_(gated[0].bias, -99.0)
    dead = next(f for f in gi.measure(gated, X).findings if f.code == "GI104")
    assert dead.remedy == 'gi.init_(model, {"*.bias": gi.Zeros()})'
    block = [Calls(lambda s, x: s.g * s.a(x), g=nn.Parameter(torch.full((N,), 1e-6)),
                   a=nn.Linear(N, N)) for _ in range(4)]  # fmt: skip
    scaled = nn.Sequential(*block, nn.Linear(N, 10))
    lost = next(f for f in gi.measure(scaled, X).findings if f.code == "GI108")
    assert lost.remedy == 'gi.init_(model, {"*.g": gi.Ones()})'
