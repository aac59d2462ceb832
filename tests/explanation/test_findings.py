"""Each finding: a model with it, a model without it, and a remedy that removes it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.explanation.explain import explained

pytestmark = pytest.mark.usefixtures("few_recipes")

Built = tuple[nn.Module, Any]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def stack(depth: int, width: int = 64, activation: Callable[[], nn.Module] = nn.ReLU):
    return nn.Sequential(
        *[m for _ in range(depth) for m in (nn.Linear(width, width), activation())][:-1]
    )


def filled(net: nn.Module, value: float) -> nn.Module:
    for parameter in net.parameters():
        nn.init.constant_(parameter, value)
    return net


def small(*names: str) -> nn.Module:
    net = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 30), nn.Tanh())
    for name in names:
        nn.init.zeros_(net.get_parameter(name))
    return net


def nan() -> nn.Module:
    net = small()
    with torch.no_grad():
        net[2].weight[3, 4] = math.nan
        net[0].bias[1] = math.inf
    return net


def nan_buffer() -> nn.Module:
    net = nn.Sequential(nn.Linear(20, 20), nn.BatchNorm1d(20))
    net[1].running_mean[3] = math.nan
    return net


def garbage() -> nn.Module:
    """Bits as they lie about: zeros, denormals, pointers read as floats."""
    net = small()
    bits = torch.randint(0, 2**31 - 2**25, (30, 30), dtype=torch.int32)
    with torch.no_grad():
        net[2].weight.copy_(bits.view(torch.float32))
    return net


def denormal() -> nn.Module:
    net = small()
    with torch.no_grad():
        net[2].weight[::2] = 4.59e-41
    return net


def dead() -> nn.Module:
    net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 30))
    gi.init_(net, "he", seed=0)
    nn.init.zeros_(net[0].weight)
    return net


def equal_rows() -> nn.Module:
    net = small()
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(20).expand(30, 20))
    return net


def clones() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)


def around_zero() -> nn.Module:
    """The much-copied DCGAN snippet."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 64, 3))
    net.append(nn.BatchNorm2d(64))
    for m in net:
        nn.init.normal_(m.weight, 0.0, 0.02)
        nn.init.zeros_(m.bias)
    return net


class Tied(nn.Module):
    def __init__(self, std: float, scale: float = 1.0) -> None:
        super().__init__()
        self.table = nn.Embedding(200, 64)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 200, bias=False)
        self.head.weight = self.table.weight
        self.scale = scale
        nn.init.normal_(self.table.weight, 0.0, std)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.table(tokens)) * self.scale)


def padded(fixed: bool) -> nn.Module:
    net = nn.Sequential(nn.Embedding(50, 16, padding_idx=0), nn.Linear(16, 4))
    if not fixed:
        nn.init.normal_(net[0].weight)
    return net


def exploding() -> nn.Module:
    net = stack(12, activation=nn.ReLU)
    for m in net:
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0.0, 1.0)
    return net


def forgetful(bias: float) -> nn.Module:
    net = nn.LSTM(12, 16)
    gi.init_(net, "lstm", seed=0)
    with torch.no_grad():
        net.bias_ih_l0[16:32] = bias
    return net


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def hooked_write() -> nn.Module:
    net = nn.Sequential(nn.utils.weight_norm(nn.Conv1d(20, 30, 5)), nn.Linear(5, 5))
    net[0].weight.data.normal_(0.0, 0.01)
    return net


def drawn_direction() -> nn.Module:
    conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(20, 30, 5))
    conv.parametrizations.weight.original1.data.normal_(0.0, 0.01)
    return nn.Sequential(conv, nn.Linear(5, 5))


def outliers() -> nn.Module:
    """timm's trunc_normal_, whose bounds are absolute: now and then a weight of 100 sigma."""
    net = nn.Sequential(nn.Linear(200, 200), nn.LayerNorm(200), nn.Linear(200, 200))
    for layer in (net[0], net[2]):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    with torch.no_grad():
        net[2].weight[3, 5], net[2].weight[77, 7] = 2.0, -2.0
    return net


def clamped() -> nn.Module:
    net = nn.Sequential(nn.Linear(200, 200), nn.LayerNorm(200))
    net[0].weight.data.normal_().clamp_(-2, 2)
    return net


def loud_bias() -> nn.Module:
    net = nn.Sequential(nn.Linear(100, 100), nn.LayerNorm(100), nn.Linear(100, 10))
    nn.init.normal_(net[0].weight, 0.0, 0.02)
    nn.init.normal_(net[0].bias, 0.0, 1.0)
    return net


def xavier_on_packed() -> nn.Module:
    net = nn.MultiheadAttention(64, 4)
    nn.init.xavier_normal_(net.in_proj_weight)
    return net


def torchs_depthwise() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(64, 64, 3, groups=64), nn.BatchNorm2d(64), nn.Conv2d(64, 99, 1))
    for conv in (net[0], net[2]):
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(conv.bias)
    return net


def one_sided() -> nn.Module:
    """``nn.init.uniform_(w)``, from 0 to 1."""
    net = stack(3)
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.weight)
    return net


class Online(nn.Module):
    """A network and its target, as in Q-learning."""

    def __init__(self) -> None:
        super().__init__()
        self.online = stack(3)
        self.target = copy.deepcopy(self.online)


def recipe(net: nn.Module, name: str) -> nn.Module:
    gi.init_(net, name, seed=0)
    return net


TOKENS = torch.arange(6).view(1, 6)

# (code, severity, has it, inputs, hasn't)
CASES: dict[str, tuple[str, str, Callable[[], nn.Module], Any, Callable[[], nn.Module]]] = {
    "nan": ("GI120", "error", nan, None, small),
    "nan buffer": ("GI120", "error", nan_buffer, None, lambda: recipe(nan_buffer(), "standard")),
    "garbage": ("GI121", "error", garbage, None, small),
    "denormal": ("GI121", "warning", denormal, None, small),
    "all zero": ("GI122", "warning", lambda: filled(stack(3), 0.0), None, lambda: stack(3)),
    "all zero, seen": (
        *("GI122", "error", lambda: filled(stack(3), 0.0), torch.randn(2, 64)),
        lambda: stack(3),
    ),
    "one zero": ("GI122", "warning", lambda: small("0.weight"), None, small),
    "zero before relu": ("GI122", "error", dead, torch.randn(2, 20), lambda: recipe(dead(), "he")),
    "all constant": ("GI123", "warning", lambda: filled(stack(3), 0.1), None, lambda: stack(3)),
    "all constant, seen": (
        *("GI123", "error", lambda: filled(stack(3), 0.1), torch.randn(2, 64)),
        lambda: stack(3),
    ),
    "equal rows": ("GI123", "warning", equal_rows, None, small),
    "clones": ("GI124", "warning", clones, None, lambda: recipe(clones(), "torch_default")),
    "a target network": ("GI124", "info", Online, None, small),
    "one-sided": ("GI134", "warning", one_sided, None, lambda: stack(3)),
    "norm around 0": (
        *("GI111", "warning", around_zero, None),
        lambda: recipe(around_zero(), "dcgan"),
    ),
    "tied": ("GI112", "warning", lambda: Tied(1.0), None, lambda: Tied(0.02)),
    "tied, seen": ("GI112", "warning", lambda: Tied(1.0), TOKENS, lambda: Tied(1.0, 64**-0.5)),
    "vanishing": (
        *("GI125", "warning", lambda: stack(20), None),
        lambda: recipe(stack(20), "he"),
    ),
    "vanishing, seen": (
        *("GI125", "warning", lambda: stack(20), torch.randn(2, 64)),
        lambda: recipe(stack(20), "he"),
    ),
    "vanishing a little": ("GI125", "info", lambda: stack(6), None, lambda: stack(3)),
    "exploding": ("GI126", "warning", exploding, None, lambda: recipe(exploding(), "he")),
    "gain": ("GI127", "info", lambda: stack(3), None, lambda: recipe(stack(3), "he")),
    "selu": (
        *("GI127", "info", lambda: recipe(stack(3, 64, nn.SELU), "he"), None),
        lambda: recipe(stack(3, 64, nn.SELU), "lecun"),
    ),
    "forget gate": ("GI128", "info", lambda: forgetful(0.0), None, lambda: forgetful(1.0)),
    "padding": ("GI129", "warning", lambda: padded(False), None, lambda: padded(True)),
    "hooked write": (
        *("GI130", "warning", hooked_write, None),
        lambda: nn.Sequential(nn.Conv1d(20, 30, 5), nn.Linear(5, 5)),
    ),
    "direction": (
        *("GI130", "warning", drawn_direction, None),
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv1d(20, 30, 5))),
    ),
    "outliers": ("GI131", "warning", outliers, None, lambda: recipe(outliers(), "gpt2")),
    "clamped": ("GI131", "warning", clamped, None, lambda: recipe(clamped(), "he")),
    "loud bias": ("GI132", "warning", loud_bias, None, lambda: recipe(loud_bias(), "he")),
    "packed": (
        *("GI133", "info", xavier_on_packed, None),
        lambda: recipe(xavier_on_packed(), "xavier"),
    ),
    "depthwise": (
        *("GI133", "info", torchs_depthwise, None),
        lambda: recipe(torchs_depthwise(), "he"),
    ),
}  # fmt: skip


def codes(found: gi.Explanation) -> dict[str, str]:
    """Code -> severity, the worst of each."""
    return {finding.code: finding.severity for finding in reversed(found.findings)}


@pytest.mark.parametrize("tail", ["exponential", "laplace", "student"])
def test_heavy_tails_are_not_called_clamped(tail: str) -> None:
    """As in trained weights: each extreme occurs once, and the tail isn't a normal law's."""
    torch.manual_seed(0)
    student = torch.distributions.StudentT(3.0)
    laplace = torch.distributions.Laplace(0.0, 1.0)
    for shape in [(3, 64), (10, 16), (10, 128), (100, 100)]:
        net = nn.Linear(shape[1], shape[0])
        if tail == "exponential":
            net.weight.data.exponential_(5.0)
        else:
            net.weight.data = (student if tail == "student" else laplace).sample(shape)
        assert "GI131" not in codes(explained(net))


def test_what_is_orthogonal_is_not_called_normal() -> None:
    """One normal law for all would explain them by their moments alone."""
    net = nn.Sequential(*[m for _ in range(3) for m in (nn.Linear(64, 64), nn.Tanh())])
    for layer in net[::2]:
        nn.init.orthogonal_(layer.weight, 2**0.5)
        nn.init.zeros_(layer.bias)
    found = gi.explain(net)
    assert found.recipe == "orthogonal"
    assert {row.looks for row in found if row.gain} == {"orthogonal, times 1.41"}
    assert len(found) == 6


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_not_found_where_it_is_not(case) -> None:
    code, severity, _, inputs, hasnt = case
    found = codes(explained(hasnt(), inputs))
    assert found.get(code) != severity, found


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_found_where_it_is_and_the_remedy_can_be_pasted_and_fixes_it(case) -> None:
    code, severity, has, inputs, _ = case
    state = torch.get_rng_state()
    model = has()
    torch.set_rng_state(state)  # the same model twice: a hook's weight can't be copied
    found = gi.explain(model, inputs)
    assert codes(found).get(code) == severity, str(found)
    assert found.ok == (not {"warning", "error"} & set(codes(found).values()))
    finding = next(f for f in found.findings if (f.code, f.severity) == (code, severity))
    if severity != "info":
        whole = has()
        exec(found.remedy, {"gi": gi, "model": whole, "inputs": inputs})
        assert explained(whole, inputs).ok, (found.remedy, str(explained(whole, inputs)))
    exec(finding.remedy, {"gi": gi, "model": model, "inputs": inputs})
    after = codes(explained(model, inputs))
    assert after.get(code) != severity, finding.remedy


def test_what_is_not_named_stays() -> None:
    model = outliers()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    exec(gi.explain(model).remedy, {"gi": gi, "model": model})
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {"2.weight"}


def test_a_residual_end_may_be_zero() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 32)
            self.out = nn.Linear(32, 16)
            nn.init.zeros_(self.out.weight)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.out(self.fc(x).relu())

    with_inputs = explained(nn.Sequential(Block(), Block()), torch.randn(2, 16))
    assert "GI122" not in codes(with_inputs)
    without = gi.explain(nn.Sequential(Block(), Block()))
    assert codes(without).get("GI122") == "info"  # inputs would decide it
    assert "inputs=" in without.to_text(full=True)


def test_heads_adapters_and_queries_may_be_zero() -> None:
    net = small()
    net.append(nn.Linear(30, 5))
    nn.init.zeros_(net[4].weight)
    assert "GI122" not in codes(explained(net, torch.randn(2, 20)))


def test_no_chain_through_a_norm_or_a_residual_sum() -> None:
    layers = [m for _ in range(20) for m in (nn.Linear(32, 32), nn.LayerNorm(32), nn.ReLU())]
    assert "GI125" not in codes(explained(nn.Sequential(*layers)))
    assert "GI125" not in codes(explained(nn.Sequential(*layers), torch.randn(2, 32)))

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(20))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = x + layer(x).relu()
            return x

    assert "GI125" not in codes(explained(Residual(), torch.randn(2, 32)))


def test_trained_weights_get_no_line_that_draws_all_of_them_again() -> None:
    net = nn.Sequential(nn.Embedding(50, 64, padding_idx=0), *stack(3, 64))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.distributions.Laplace(0.0, 0.1).sample(parameter.shape) * 3)
        net[1].weight[0, 0] = math.nan
    found = gi.explain(net)
    assert "*" not in found.remedy
    assert '"1.weight"' in found.remedy


def test_weight_norms_of_one_length_are_meant() -> None:
    """DINO's head: g is 1 by design, whatever v was drawn with."""
    conv = nn.utils.parametrizations.weight_norm(nn.Linear(64, 100, bias=False))
    conv.parametrizations.weight.original0.data.fill_(1.0)
    nn.init.normal_(conv.parametrizations.weight.original1, 0.0, 0.02)
    assert "GI130" not in codes(explained(conv))
