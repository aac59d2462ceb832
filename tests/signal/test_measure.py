"""`gi.measure`: the right numbers at the right places, and nothing left behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

import goodinit as gi
from goodinit.errors import MetaModelError, SignalError
from goodinit.signal.measure import measured
from goodinit.signal.moments import Axes, moments_of

N = 256


def inputs(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def deep(
    layers: int, activation: Callable[[], nn.Module], recipe: str, width: int = N
) -> nn.Module:
    net = nn.Sequential(
        *(part for _ in range(layers) for part in (nn.Linear(width, width), activation()))
    )
    gi.init_(net, recipe, inputs=inputs(2, width), seed=0)
    return net


def codes(signal: gi.Signal) -> list[str]:
    return [finding.code for finding in signal.findings]


# Moments.


def slowly(x: Tensor, axes: Axes) -> tuple[float | None, float | None]:
    """Both cosines, pair by pair."""
    x = x.double()

    def mean_cosine(rows: list[Tensor]) -> list[float]:
        kept = [row.flatten() for row in rows if row.any()]
        return [
            ((a / a.norm()) @ (b / b.norm())).item()
            for i, a in enumerate(kept)
            for b in kept[i + 1 :]
        ]

    assert axes.samples is not None
    samples = list(x.unbind(axes.samples))
    between = mean_cosine(samples)
    assert axes.features is not None
    feature = axes.features - (axes.features > axes.samples)
    within: list[float] = []
    for sample in samples:
        places = sample.movedim(feature, -1).reshape(-1, sample.shape[feature])
        if len(places) > 1 and places.shape[1] > 1:
            within += mean_cosine(list(places))
    return (
        sum(between) / len(between) if between else None,
        sum(within) / len(within) if within else None,
    )


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    axes=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    seed=st.integers(0, 1000),
    power=st.sampled_from([0, 12, -12, 25]),
)
def test_moments(sizes: list[int], axes: tuple[int, int], seed: int, power: int) -> None:
    samples, features = (axis % len(sizes) for axis in axes)
    if samples == features:
        features = (features + 1) % len(sizes)
    sizes[samples] = max(2, sizes[samples])
    x = inputs(*sizes, seed=seed).relu() * 10.0**power
    found = moments_of(x, Axes(samples, features), sizes[samples])
    assert found.mean == pytest.approx(x.double().mean().item(), rel=1e-4)
    assert found.second == pytest.approx(x.double().square().mean().item(), rel=1e-4)
    between, within = slowly(x, Axes(samples, features))
    assert found.across_samples == pytest.approx(between, abs=1e-4)
    assert found.across_positions == pytest.approx(within, abs=1e-4)


def test_each_row_is_what_hooks_see() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                        nn.Linear(8 * 16, 10))  # fmt: skip
    x, seen, gradients = inputs(4, 3, 6, 6).requires_grad_(), [], {}
    handles = []
    for number, layer in enumerate(net):
        see = layer.register_forward_hook(lambda _m, _a, out: seen.append(out.detach().clone()))
        arrive = layer.register_full_backward_hook(
            lambda _m, _i, out, n=number: gradients.update({n: out[0].clone()})
        )
        handles += [see, arrive]
    target = torch.tensor([0, 1, 2, 3])
    F.cross_entropy(net(x), target).backward()
    for handle in handles:
        handle.remove()
    signal = gi.measure(net, x, lambda out: F.cross_entropy(out, target))
    rows = [row for row in signal.rows if row.name]
    assert [row.function for row in rows] == ["conv2d", "batch_norm", "relu", "flatten", "linear"]
    for number, (row, out) in enumerate(zip(rows, seen, strict=True)):
        assert row.forward.second == pytest.approx(out.square().mean().item(), rel=1e-4)
        assert row.backward is not None
        arrived = gradients[number].square().mean().item()
        assert row.backward.second == pytest.approx(arrived, rel=1e-4)
    for gradient, (name, parameter) in zip(signal.gradients, net.named_parameters(), strict=True):
        assert gradient.name == name
        assert parameter.grad is not None
        if parameter.norm():
            ratio = (parameter.grad.norm() / parameter.norm()).item()
            assert gradient.ratio == pytest.approx(ratio, rel=1e-3, abs=1e-6)
    assert signal.loss == pytest.approx(F.cross_entropy(seen[-1], target).item())


# What survives.


def test_thirty_layers() -> None:
    """He et al. (2015): He keeps the second moment, Xavier halves it in each layer."""
    error = 5 * math.sqrt(5 * 30 / N)
    for recipe, halvings in (("he", 0), ("xavier", 30)):
        signal = measured(deep(30, nn.ReLU, recipe), inputs(64, N))
        change = math.log(signal.rows[-1].forward.second) + halvings * math.log(2)
        assert abs(change) < error
        assert signal.ok == (recipe == "he"), codes(signal)
        if recipe == "xavier":
            assert codes(signal) == ["GI102", "GI108"]


def test_torch_s_default_forgets_its_inputs() -> None:
    net = nn.Sequential(*(part for _ in range(20) for part in (nn.Linear(N, N), nn.ReLU())))
    gi.init_(net, "torch_default", seed=0)
    signal = measured(net, inputs(64, N))
    assert "GI104" in codes(signal)
    cosines = [row.forward.across_samples for row in signal.rows if row.function == "relu"]
    assert all(b > a - 0.01 for a, b in pairwise(cosines) if a is not None and b is not None)


def test_selu_stays_at_0_and_1() -> None:
    """Klambauer et al. (2017), 100 layers."""
    signal = gi.measure(deep(100, nn.SELU, "lecun"), inputs(64, N))
    last = signal.rows[-1].forward
    assert abs(last.mean) < 0.1
    assert abs(last.second - 1) < 0.2
    assert signal.ok


@pytest.mark.accuracy
def test_ten_thousand_convolutions() -> None:
    """Xiao et al. (2018): delta-orthogonal kernels keep the norm through 10,000 linear layers."""
    layers = [
        nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular", bias=False) for _ in range(10_000)
    ]
    net = nn.Sequential(*layers)
    gi.init_(net, {nn.Conv2d: gi.DeltaOrthogonal()}, seed=0)
    signal = gi.measure(net, inputs(2, 16, 6, 6))
    first, last = signal.layers[0], signal.layers[-1]
    assert len(signal.layers) == 10_000
    print(f"signal {last.forward.second / first.forward.second:.6f}")
    assert last.forward.second == pytest.approx(first.forward.second, rel=1e-3)
    assert first.backward is not None
    assert last.backward is not None
    assert first.backward.second == pytest.approx(last.backward.second, rel=1e-3)
    assert signal.ok


def test_other_findings() -> None:
    dead = nn.Sequential(nn.Linear(N, N), nn.ReLU(), nn.Linear(N, 4))
    with torch.no_grad():
        dead[0].bias.fill_(-10.0)
    assert "GI106" in codes(measured(dead, inputs(64, N)))
    saturated = nn.Sequential(nn.Linear(N, N), nn.Tanh(), nn.Linear(N, 4))
    gi.init_(saturated, {"0.weight": gi.Normal(1.0)}, seed=0)
    assert "GI107" in codes(measured(saturated, inputs(64, N)))
    loud = nn.Sequential(nn.Embedding(1000, N), nn.Linear(N, 1000, bias=False))
    loud[1].weight = loud[0].weight
    gi.init_(loud, {nn.Embedding: gi.Normal(1.0)}, seed=0)
    ids = torch.arange(40).view(4, 10)
    signal = gi.measure(
        loud, ids, lambda out: F.cross_entropy(out.flatten(0, 1), ids.flatten() + 1)
    )
    assert "GI110" in codes(signal)
    broken = nn.Sequential(nn.Linear(N, N), nn.ReLU())
    with torch.no_grad():
        broken[0].weight[0, 0] = math.nan
    found = gi.measure(broken, inputs(4, N)).findings
    assert [(f.code, f.where) for f in found] == [("GI101", "0:linear")]


# Models of all kinds.


class Odd(nn.Module):
    """Shared layers, in-place calls, checkpoints, a nested output, an unused parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.5)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor, *, fail: bool = False) -> dict[str, object]:
        self.kept = x  # pyright: ignore[reportUninitializedInstanceVariable]
        x = self.layer(x)
        x = F.relu_(self.layer(x))
        x = self.drop(self.norm(x))
        if fail:
            raise RuntimeError("half-way")
        x = checkpoint(self.layer, x, use_reentrant=False)
        x += 1
        return {"logits": [x], "ids": torch.arange(3)}


def test_odd_models_and_nothing_left_behind() -> None:
    net = Odd()
    net.layer.weight.grad = torch.ones(16, 16)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    for fail in (False, True):
        given = {"x": inputs(8, 16), "fail": fail}
        if fail:
            with pytest.raises(SignalError, match="half-way"):
                gi.measure(net, given)
        else:
            signal = gi.measure(net, given)
            keys = [row.key for row in signal.rows]
            assert len(set(keys)) == len(keys)
            assert {"layer:linear", "layer:linear#2", "layer:linear#3"} <= set(keys)
            assert all(row.backward is not None for row in signal.rows), signal
            assert codes(signal) == ["GI109"]
            assert signal.ok
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
        assert torch.equal(net.layer.weight.grad, torch.ones(16, 16))
        assert net.norm.weight.grad is None
        assert net.training
        assert not hasattr(net, "kept")
        assert not net._forward_hooks


def test_the_axis_of_samples_is_found() -> None:
    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.transpose(0, 1) * 2  # [time, batch, width]
            heads = x.reshape(6, -1, 2, 8).permute(1, 2, 0, 3)
            return heads.reshape(-1, 6, 8) + 1

    net, x = Turned(), inputs(4, 6, 16)
    x[:, :, 0] += 5
    signal = gi.measure(net, x, backward=False)
    moments = moments_of(x, Axes(0, 2), 4)
    assert signal[":mul"].forward.across_samples == pytest.approx(moments.across_samples, abs=1e-5)
    assert signal[":mul"].forward.across_positions == pytest.approx(
        moments.across_positions, abs=1e-5
    )
    assert signal[":add"].forward.across_samples is not None


def test_one_sample_and_no_batch() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    signal = gi.measure(net, inputs(1, 8))
    assert signal.rows[0].forward.across_samples is None
    assert "One sample" in signal.notes[0]
    assert "One sample" in str(signal)
    assert gi.measure(net, inputs(8)).rows[0].forward.second > 0


def test_wrapped_and_compiled_models_are_unwrapped() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    x = inputs(4, 8)
    keys = [row.key for row in gi.measure(net, x).rows]
    assert [row.key for row in gi.measure(nn.DataParallel(net), x).rows] == keys
    assert [row.key for row in gi.measure(torch.compile(net, backend="eager"), x).rows] == keys


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():  # as a kernel of one's own would
            return x * 2

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * 2


def test_what_no_call_shows_has_a_row_and_a_note() -> None:
    class Hides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(Doubled.apply(self.first(x)))

    signal = gi.measure(Hides(), inputs(4, 8))
    assert [row.key for row in signal.rows] == ["first:linear", ":unseen", "last:linear"]
    assert all(row.backward for row in signal.rows)
    assert "shows no calls" in signal.notes[0]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@pytest.mark.parametrize("backward", [True, False])
def test_scripted_modules_are_one_row(backward: bool) -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
    net = nn.Sequential(nn.Linear(8, 8), scripted, nn.Linear(8, 8))
    signal = gi.measure(net, inputs(4, 8), backward=backward)
    assert [row.key for row in signal.rows] == ["0:linear", "1:unseen", "2:linear"]
    samples, unseen = signal.notes  # a scripted module computes with its own weights
    assert "can't be run on meta" in samples
    assert "shows no calls" in unseen


def test_writes_into_memory_made_before() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            out = torch.zeros(2, *x.shape)
            out[0] = self.layer(x)
            out[1].copy_(x)
            return self.layer(out)

    keys = [row.key for row in gi.measure(Writes(), inputs(4, 8)).rows]
    assert {":setitem", ":copy", "layer:linear#2"} <= {*keys}, keys


def test_reentrant_checkpoints() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.inner, self.first(x), use_reentrant=True)

    net = Outer()
    net.first.weight.grad = torch.ones(8, 8)
    signal = gi.measure(net, inputs(4, 8))
    assert all(gradient.ratio for gradient in signal.gradients)
    assert "use_reentrant=False" in signal.notes[0]
    assert torch.equal(net.first.weight.grad, torch.ones(8, 8))
    assert net.inner.weight.grad is None
    net.inner.weight.register_post_accumulate_grad_hook(lambda p: p.data.zero_())
    with pytest.raises(SignalError, match="use_reentrant=False"):
        gi.measure(net, inputs(4, 8))


def test_eval_mode_without_statistics_is_said() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)).eval()
    assert "1 is in eval mode" in gi.measure(net, inputs(4, 8)).notes[0]
    net.train()(inputs(4, 8))
    assert gi.measure(net.eval(), inputs(4, 8)).notes == ()


def test_many_positions_are_compared_by_a_few() -> None:
    x = inputs(2, 16, 64, 64) + inputs(2, 16, 1, 64, seed=1) + inputs(2, 16, 1, 1, seed=2)
    rows = x.flatten(2).transpose(1, 2).double()
    units = rows / rows.norm(dim=2, keepdim=True)
    cosines = units @ units.transpose(1, 2)
    n = cosines.shape[1]
    expected = (cosines.sum((1, 2)) - n).mean() / (n * (n - 1))
    # 128 of 4096 places: each one's mean cosine with the others has a spread of about .1.
    found = moments_of(x, Axes(0, 1), 2).across_positions
    assert found == pytest.approx(expected.item(), abs=5 * 0.1 / math.sqrt(2 * 128) * 2)


def test_autocast_and_half() -> None:
    net = nn.Sequential(nn.Linear(N, N), nn.ReLU())
    with torch.autocast("cpu", torch.bfloat16):
        signal = gi.measure(net, inputs(8, N))
    plain = gi.measure(net, inputs(8, N))
    assert signal.rows[-1].forward.second == pytest.approx(plain.rows[-1].forward.second, rel=0.02)
    assert gi.measure(net.bfloat16(), inputs(8, N).bfloat16()).rows[-1].forward.second > 0


def _writes_over(out: Tensor) -> Tensor:
    out = out.exp()
    total = out.square().sum()
    out.zero_()
    return total


def test_what_can_t_be_measured() -> None:
    net = nn.Linear(8, 8)
    with pytest.raises(MetaModelError, match=r"weight is on the meta device.*apply_"):
        gi.measure(nn.Linear(8, 8, device="meta"), inputs(2, 8))
    with pytest.raises(SignalError, match=r"raised.*shapes cannot be multiplied"):
        gi.measure(net, inputs(2, 9))
    with pytest.raises(SignalError, match="scalar, but returned \\(2, 8\\)"):
        gi.measure(net, inputs(2, 8), loss=lambda out: out)
    with pytest.raises(SignalError, match=r"backward pass raised.*backward=False"):
        gi.measure(net, inputs(2, 8), loss=_writes_over)
    with pytest.raises(SignalError, match=r"requires a gradient.*backward=False"):
        gi.measure(net.requires_grad_(False), inputs(2, 8))
    assert gi.measure(net, inputs(2, 8), backward=False).rows[0].backward is None

    class Chooses(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.argmax(-1)

    with pytest.raises(SignalError, match=r"no floating tensor.*measure takes loss="):
        gi.measure(Chooses(), inputs(2, 8))
    with pytest.raises(SignalError, match=r"empty tensor \(2x0x8\): pass inputs of which no size"):
        gi.measure(net, inputs(2, 0, 8))


@pytest.mark.parametrize("asks_for_values", [False, True])
def test_a_model_runs_once_on_meta_and_once_for_real(asks_for_values: bool) -> None:
    batches: list[int] = []  # on meta there is one sample fewer

    class Counts(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            batches.append(len(x))
            if asks_for_values and x.mean().item() > N:
                x = x / 2
            return super().forward(x)

    gi.measure(Counts(N, N), inputs(8, N), lambda y: y.square().mean())
    assert batches == [7, 8]
