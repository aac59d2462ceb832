"""`forecast`, streamed: every row as `init_` and `measure` give it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.overrides import BaseTorchFunctionMode
from torch.utils.checkpoint import checkpoint

import goodinit as gi
from goodinit._common.memory import kernel_may_write
from goodinit._common.torch_private import missing, without_function_modes
from goodinit.anatomy.names import slots
from goodinit.applying.planned_values import PlannedValues
from goodinit.errors import SignalError
from goodinit.forecasting.forecast import rows_by_slot
from goodinit.forecasting.streamed import StreamedWeights
from goodinit.signal.measure import measured_with
from goodinit.streams import Stream

WIDTH = 16


def batch(*shape: int) -> Tensor:
    return torch.randn(*(shape or (8, WIDTH)), generator=torch.Generator().manual_seed(0))


def tokens() -> Tensor:
    return torch.randint(1, 20, (4, 6), generator=torch.Generator().manual_seed(0))


def both(
    make: Callable[[], nn.Module], x: Any, recipe: Any = "standard", **options: Any
) -> tuple[gi.Signal, gi.Signal]:
    """Return the forecast of a model on meta, and the measurement of one that was drawn."""
    torch.manual_seed(0)
    with gi.skeleton():
        skeleton = make()
    torch.manual_seed(0)
    drawn = make()
    plan = gi.plan(skeleton, recipe, inputs=x)
    forecast = gi.forecast(skeleton, x, plan, seed=3, exact=True, **options)
    assert all(p.is_meta for p in skeleton.parameters())
    gi.apply_(drawn, plan, seed=3)
    return forecast, gi.measure(drawn, x, **options)


class Square(torch.autograd.Function):
    """Keeps its weight twice: as autograd does, and as an attribute."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.weight = weight
        return x @ weight.t()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        assert torch.equal(weight, ctx.weight)
        return gradient @ ctx.weight, gradient.t() @ x


class Odd(nn.Module):
    """A weight used in many ways: a custom function, checkpoints, views, a transpose, itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH))
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(Square.apply(x, self.weight))
        x = checkpoint(lambda y: torch.tanh(self.first(y)), x, use_reentrant=False)
        x = checkpoint(lambda y: torch.tanh(self.second(y)), x, use_reentrant=True)
        low, high = self.weight.chunk(2, dim=1)
        return x @ self.weight + x @ low @ high.t() + self.weight[0] + self.weight.diagonal()


class Words(nn.Module):
    """A table with padding, tied to the head; a shared layer; an LSTM; a custom norm."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, WIDTH, padding_idx=0)
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.rnn = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 20, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        for _ in range(3):
            x = x + torch.relu(self.layer(self.norm(x)))
        out, _ = self.rnn(x)
        return self.head(out.to(self.table.weight.device))


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)),
        nn.BatchNorm1d(WIDTH),
        nn.utils.weight_norm(nn.Linear(WIDTH, 4)),
    )


def experts() -> nn.Module:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(WIDTH, 4)
            self.up = nn.Parameter(torch.empty(4, 32, WIDTH).normal_())
            self.down = nn.Parameter(torch.empty(4, WIDTH, 32).normal_())

        def forward(self, x: Tensor) -> Tensor:
            best = self.router(x).argmax(-1)
            out = torch.zeros_like(x)
            for expert in best.unique():
                at = (best == expert).nonzero()[:, 0]
                hidden = torch.relu(nn.functional.linear(x[at], self.up[expert]))
                out = out.index_add(0, at, nn.functional.linear(hidden, self.down[expert]))
            return out

    return Experts()


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    ("make", "x"),
    [(Odd, batch()), (Words, tokens()), (normed, batch()), (experts, batch(12, WIDTH))],
)
def test_every_row_is_as_drawn_and_measured(make: Callable[[], nn.Module], x: Tensor) -> None:
    forecast, measured = both(make, x)
    assert forecast.rows == measured.rows
    assert [f.code for f in forecast.findings] == [f.code for f in measured.findings]
    assert [g.name for g in forecast.gradients] == [g.name for g in measured.gradients]
    for ours, theirs in zip(forecast.gradients, measured.gradients, strict=True):
        assert ours.size == pytest.approx(theirs.size, rel=1e-5, abs=1e-12)
        assert (ours.ratio is None) is (theirs.ratio is None)
        if theirs.ratio is not None:
            assert ours.ratio == pytest.approx(theirs.ratio, rel=1e-5)


def test_a_loss_may_take_parameters() -> None:
    def penalized(model: nn.Module) -> Callable[[Tensor], Tensor]:
        return lambda out: out.square().mean() + sum(p.square().sum() for p in model.parameters())

    with gi.skeleton():
        skeleton = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
    drawn = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
    plan = gi.plan(skeleton, "standard")
    forecast = gi.forecast(skeleton, batch(), plan, loss=penalized(skeleton), exact=True)
    gi.apply_(drawn, plan, seed=0)
    measured = gi.measure(drawn, batch(), penalized(drawn))
    assert forecast.loss == measured.loss
    sizes = [g.size for g in measured.gradients]
    assert [g.size for g in forecast.gradients] == pytest.approx(sizes, rel=1e-5)


def test_a_model_with_weights_is_forecast_by_its_own_or_by_a_plan() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), parametrizations.spectral_norm(nn.Linear(16, 4)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = gi.forecast(model, batch())
    assert own.rows == gi.measure(model, batch()).rows
    assert own.notes[-1] == "Own values: {0-1}.weight x2, {0-1}.bias x2."
    plan = gi.plan(model, {"*.weight": gi.Normal(0.1)})
    forecast = gi.forecast(model, batch(), plan, exact=True)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert forecast.notes[-2:] == (
        "Drawn where used: {0-1}.weight x2.",
        "Own values: {0-1}.bias x2.",
    )
    gi.apply_(model, plan, seed=0)
    assert forecast.rows == gi.measure(model, batch()).rows


class Attends(nn.Module):
    """Attention by torch's module, and by learned queries in the fused call."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.latents = nn.Parameter(torch.randn(4, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x, x, x, need_weights=False)[0]
        return torch.nn.functional.scaled_dot_product_attention(self.latents, x, x)


def test_how_sure_attention_is_comes_from_the_plans_values() -> None:
    x = batch(8, 5, WIDTH)
    forecast, measured = both(Attends, x, {"*": gi.Normal(2.0)})
    assert forecast.rows == measured.rows
    shares = [row.forward.idle for row in forecast.rows]
    assert any(share is not None and share > 0 for share in shares)
    model = Attends()  # whose own values say nothing of the plan's
    plan = gi.plan(model, {"*": gi.Normal(2.0)})
    assert gi.forecast(model, x, plan, seed=3, exact=True).rows == measured.rows


def test_a_prefix_changes_the_values_and_not_the_rows_names() -> None:
    model = nn.Linear(WIDTH, 4)
    plan = gi.plan(model, "lecun", prefix="body")
    forecast = gi.forecast(model, batch(), plan, exact=True)
    gi.apply_(model, plan, seed=0)
    assert forecast.rows == gi.measure(model, batch()).rows


def test_little_is_drawn_and_nothing_is_kept() -> None:
    with gi.skeleton():
        model = nn.Sequential(*[nn.Linear(300, 300) for _ in range(4)])
    x = batch(8, 300)
    found = slots(model)
    plan = gi.plan(model, "standard")
    values = PlannedValues(found, rows_by_slot(model, plan, found), Stream(0), torch.device("cpu"))
    weights = StreamedWeights(found, values, torch.device("cpu"))
    alive: list[int] = []

    def watch(_module: nn.Module, _args: object, _result: object) -> None:
        alive.append(sum(not is_freed() for _, is_freed in weights.live.values()))

    for layer in model:
        layer.register_forward_hook(watch)
    signal = measured_with(weights, model, x, None, backward=True)
    assert len(signal.rows) == 4
    assert max(alive) <= 2  # a weight and a bias
    assert weights.drawn <= 2.1 * sum(row.size for row in plan)


class Nested(nn.Module):
    """A reentrant checkpoint inside another."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        inner = partial(checkpoint, self.layer, use_reentrant=True)
        return checkpoint(inner, x, use_reentrant=True)


OLDER = torch.__version__ < (2, 11)
REASON = "torch 2.13 asks for the device of the weights, which are on meta; 2.10 doesn't"


@pytest.mark.skipif(not OLDER, reason=REASON)
def test_a_reentrant_checkpoint_inside_another_is_as_measured() -> None:
    forecast, measured = both(Nested, batch().requires_grad_())
    assert forecast.gradients == measured.gradients


@pytest.mark.skipif(OLDER, reason=REASON)
def test_a_reentrant_checkpoint_inside_another_is_refused() -> None:
    with gi.skeleton():
        net = Nested()
    plan, x = gi.plan(net, "standard"), batch().requires_grad_()
    with pytest.raises(SignalError, match=r"backward pass raised: .*use_reentrant=False"):
        gi.forecast(net, x, plan)
    assert gi.forecast(net, x, plan, backward=False).ok


@pytest.mark.skipif(
    bool(missing("torch:_C._is_torch_function_all_disabled")), reason="draws by torch code there"
)
def test_the_backward_pass_draws_by_the_kernels_too() -> None:
    with BaseTorchFunctionMode():
        assert not kernel_may_write(torch.empty(2))
        with without_function_modes():  # as in the hooks of a forecast
            assert kernel_may_write(torch.empty(2))


class Writes(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.fc, self.how = nn.Linear(WIDTH, WIDTH), how

    def forward(self, x: Tensor) -> Tensor:
        weight = self.fc.weight
        match self.how:
            case "data":
                weight.data.mul_(0.5)
            case "set":
                weight.data = weight.data * 0.5
            case "no_grad":
                with torch.no_grad():
                    weight.clamp_(-1, 1)
            case "view":
                with torch.no_grad():
                    weight.view(-1)[0] = 1.0
            case "renorm":
                nn.functional.embedding(torch.arange(3), weight, max_norm=1.0)
            case "out":
                with torch.no_grad():
                    torch.mul(x[:, :1], x[:1], out=weight.data[:8])
            case _:
                (slope,) = torch.autograd.grad(self.fc(x).sum(), [weight], allow_unused=True)
                return self.fc(x) if slope is None else self.fc(x) @ slope
        return self.fc(x)


@pytest.mark.parametrize("how", ["data", "set", "no_grad", "view", "renorm", "out", "gradient"])
def test_what_a_forecast_would_get_wrong_is_refused(how: str) -> None:
    with gi.skeleton():
        model = Writes(how)
    plan = gi.plan(model, "standard")
    does = "takes a gradient by" if how == "gradient" else "writes to fc.weight while"
    with pytest.raises(gi.errors.SignalError, match=does) as error:
        gi.forecast(model, batch(), plan, exact=True)
    assert "gi.init_(model, recipe, materialize='cpu')" in str(error.value)


def test_setting_the_data_that_is_there_changes_nothing() -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(WIDTH, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc.to(x.dtype)(x)

    forecast, measured = both(Casts, batch())
    assert forecast.rows == measured.rows


def test_parameters_without_values_are_named_before_anything_runs() -> None:
    class Decay(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(WIDTH, WIDTH)
            self.rate = nn.Parameter(torch.rand(WIDTH) + 1)
            self.start = nn.Parameter(torch.rand(WIDTH) + 1)

        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    with torch.device("meta"):
        model = Decay()
    with pytest.raises(gi.errors.UnresolvedError, match=r"^rate, start: .*gi.skeleton.*gi.Rule"):
        gi.forecast(model, batch(), gi.plan(model, "standard"))
    with pytest.raises(
        gi.errors.MetaModelError, match=r"^rate, start, fc.weight, fc.bias: .*plan="
    ):
        gi.forecast(model, batch())


def test_buffers_and_other_tensors_on_meta_are_named() -> None:
    class Holds(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.mask

    with torch.device("meta"):
        model = Holds(WIDTH, WIDTH)
        model.register_buffer("mask", torch.ones(WIDTH))
        model.register_buffer("other", torch.ones(WIDTH))
    with pytest.raises(gi.errors.MetaModelError, match=r"^mask, other: .*skeleton"):
        gi.forecast(model, batch(), gi.plan(model, "standard"))

    with torch.device("meta"):
        model = Holds(WIDTH, WIDTH)
        model.mask = torch.ones(WIDTH)
    with pytest.raises(gi.errors.SignalError, match=r"on meta of shape \(16,\) isn't a param"):
        gi.forecast(model, batch(), gi.plan(model, "standard"))


def test_statistics_on_meta_start_as_planned() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)).eval()
    plan = gi.plan(model, "standard")
    forecast = gi.forecast(model, batch(), plan, exact=True)
    assert model[1].running_var.is_meta
    gi.apply_(model, plan, seed=0, materialize="cpu")
    assert forecast.rows == gi.measure(model, batch()).rows


def test_wrong_calls_are_answered() -> None:
    model = nn.Linear(WIDTH, 4)
    with pytest.raises(gi.errors.PlanError, match=r"gi.plan\(model, 'he'\)"):
        gi.forecast(model, batch(), "he")  # pyright: ignore[reportArgumentType]
    with pytest.raises(gi.errors.PlanError, match="isn't this model's"):
        gi.forecast(model, batch(), gi.plan(nn.Linear(3, 4), "he"))
    with pytest.raises(gi.errors.SignalError) as ours:
        gi.forecast(model, batch(8, 3), gi.plan(model, "he"))
    with pytest.raises(gi.errors.SignalError) as measured:
        gi.measure(model, batch(8, 3))
    assert str(ours.value) == str(measured.value)
    with torch.device("meta"):
        large = nn.Linear(2**22, 2**22)
    plan = gi.plan(large, {"weight": gi.Normal(1.0), "bias": gi.Zeros()})
    with pytest.raises(gi.errors.SignalError, match=r"memory for weight, .* 6.55e\+04 GiB"):
        gi.forecast(large, batch(1, 2**22), plan, exact=True)


def test_a_hook_on_a_gradient_is_refused() -> None:
    model = nn.Linear(WIDTH, WIDTH)
    model.weight.register_hook(lambda g: 2 * g)
    with pytest.raises(gi.errors.SignalError, match="weight has a hook"):
        gi.forecast(model, batch(), gi.plan(model, "he"), exact=True)


def test_weights_of_a_file_are_read_where_they_are_used(tmp_path: Path) -> None:
    from safetensors.torch import save_model

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 4))

    model = make()
    model(batch(32, WIDTH))  # statistics
    model.eval()
    save_model(model, str(tmp_path / "model.safetensors"))
    with gi.skeleton():
        skeleton = make().eval()
    read = gi.measure(skeleton, batch(), weights=tmp_path / "model.safetensors")
    measured = gi.measure(model, batch())
    assert read.rows == measured.rows
    assert [g.size for g in read.gradients] == [g.size for g in measured.gradients]
    assert all(p.is_meta for p in skeleton.parameters())
    state = model.state_dict()
    with pytest.raises(gi.errors.CheckpointError, match=r"0.weight: on meta, and not in the check"):
        gi.measure(skeleton, batch(), weights={n: v for n, v in state.items() if n != "0.weight"})
    with pytest.raises(gi.errors.CheckpointError, match=r"2.bias has shape \(4,\), but \(5,\) in"):
        gi.measure(skeleton, batch(), weights=state | {"2.bias": torch.ones(5)})
    changed = gi.measure(model, batch(), weights={"2.bias": torch.full((4,), 9.0)})
    assert changed["2"].forward.mean > measured["2"].forward.mean + 5
    assert gi.measure(model, batch()).rows == measured.rows


@pytest.mark.skipif(torch.__version__ < (2, 6), reason="vmap knows no hooks of what is saved")
def test_a_parameter_may_be_taken_inside_of_vmap() -> None:
    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            return torch.vmap(lambda each: torch.tanh(self.fc(each)))(x)

    forecast, measured = both(Mapped, batch())
    assert forecast.rows == measured.rows


class Ensemble(nn.Module):
    """Members in one stack, which torch.vmap maps over."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.Parameter(torch.randn(3, WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.vmap(lambda w: (x @ w).relu())(self.members).mean(0))


def test_parameters_that_vmap_maps_over_are_measured_and_not_forecast() -> None:
    torch.manual_seed(0)
    model, x = Ensemble(), batch()
    plan = gi.init_(model, "he", inputs=x, seed=0)
    signal = gi.measure(model, x)
    with torch.no_grad():
        made = torch.stack([(x @ w).relu() for w in model.members])
    assert signal[":unseen"].forward.second == pytest.approx(made.square().mean().item())
    for exact in (True, False):
        with pytest.raises(gi.errors.SignalError, match=r"maps over members by torch\.vmap"):
            gi.forecast(model, x, plan, exact=exact)
