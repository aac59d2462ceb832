"""`independence`: whether weights and gradients are as independent as He's derivation takes them.

He et al. (2015), backward case: E|W^T g|^2 = |g|^2 |W|^2 / rows if the weights W and the gradient
g at the layer's output are independent. With most losses g depends on W.
"""

# Methods that an observer has are documented in trace.calls.
# ruff: noqa: ARG002, ARG004

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from goodinit.anatomy.functions import role_of
from goodinit.anatomy.names import slots, walk
from goodinit.errors import SignalError
from goodinit.planning.plan import Plan
from goodinit.planning.write import fill
from goodinit.signal.axes import Keys
from goodinit.signal.measure import Loss, checked, line_of, scalar, unwrapped
from goodinit.streams import Law, Stream
from goodinit.trace.calls import Call, name_of
from goodinit.trace.live import live
from goodinit.trace.run import Inputs, arguments

__all__ = ["Independence", "IndependenceRow", "independence"]

# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom; 1.96 from 31 on.
_T = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
      2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
      2.052, 2.048, 2.045, 2.042)  # fmt: skip


@dataclass(slots=True)
class IndependenceRow:
    """One call that multiplies by a weight.

    Attributes:
        name: key of the call.
        r: |dL/dx|^2 / (|dL/dy|^2 |W|^2 / rows); 1 if independent (less at a convolution's border).
        m: |f'(u) g|^2 / (mean f'(u)^2 |g|^2) of the activation that follows; None of none.
    """

    name: str
    r: float | None = None
    m: float | None = None


@dataclass(slots=True)
class Independence:
    """Whether He's assumption holds here.

    Attributes:
        ratio: R = |dL/dx|^2 at the first layer's input, over its mean when the backward pass uses
            redrawn weights: the same forward pass, masks and output gradient.
        interval: 95 %, for the redraws' number and for the weights' own chance.
        rows: r and m of each layer, in execution order.
        law: what the redrawn weights were drawn from.
    """

    ratio: float
    interval: tuple[float, float]
    rows: list[IndependenceRow] = field(default_factory=list[IndependenceRow])
    law: str = ""

    @property
    def holds(self) -> bool:
        """Whether the interval holds 1."""
        return self.interval[0] <= 1 <= self.interval[1]

    def __str__(self) -> str:
        low, high = self.interval
        said = f"true / decoupled squared gradient: {self.ratio:.3g} ({low:.3g} to {high:.3g})"
        lines = [f"{row.name}  r {_short(row.r)}  m {_short(row.m)}" for row in self.rows]
        return "\n".join([self._verdict(), said, f"Redrawn weights: {self.law}.", *lines])

    def _verdict(self) -> str:
        if self.holds:
            off = max(1 - self.interval[0], self.interval[1] - 1)
            return f"He's assumption holds here within {off:.0%}."
        said = (
            f"He's assumption doesn't hold here: the squared gradient at {self.rows[0].name} is "
            f"{self.ratio:.3g} times what it would be."
        )
        known = [(abs(math.log(row.r)), row.r, row.name) for row in self.rows if row.r]
        if not known:
            return said
        _, r, name = max(known)
        return f"{said} It is furthest off at {name}: r = {r:.3g}."


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def independence(
    model: nn.Module, inputs: Inputs, loss: Loss, plan: Plan | None = None, redraws: int = 8
) -> Independence:
    """Measure whether weights and gradients are independent, as He's backward case takes them.

    The model is run once as it is, and once more for each redraw: the forward pass with its own
    weights, the backward pass with others of the same law. Each use of a shared weight has one
    of its own. Nothing of the model is changed.

    Args:
        model: with weights; unmodified.
        inputs: as for ``measure``.
        loss: called with the output; returns a scalar.
        plan: says what the weights were drawn from; without one, redrawn ones are iid normal with
            each weight's own mean and std, and the result says so.
        redraws: how many; at least 2.

    Raises:
        SignalError: the model or the loss raised, fewer than 2 redraws, no layer with a gradient.
        MetaModelError: the model has no weights.

    Example:
        >>> import goodinit as gi
        >>> net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
        >>> plan = gi.init_(net, "he", seed=0)
        >>> x, y = torch.randn(64, 256, generator=torch.manual_seed(0)), torch.arange(64) % 10
        >>> found = gi.independence(net, x, lambda z: nn.functional.cross_entropy(z, y), plan)
        >>> found.holds
        True
    """
    model = unwrapped(model)
    checked(model)
    if redraws < 2:
        raise SignalError(f"redraws={redraws}: an interval needs at least 2")
    names = {id(module): path for path, module in reversed(list(walk(model)))}
    found = [slot for slot in slots(model) if not slot.buffer]
    weights = {id(t): slot.name for slot in found for t in slot.tensors}
    true, rows = _square(model, inputs, loss, names, _Watch(weights))
    drawn = [
        _square(model, inputs, loss, names, _Decouple(weights, plan, seed))[0]
        for seed in range(redraws)
    ]
    mean = math.fsum(drawn) / redraws
    if not mean or not math.isfinite(mean) or not math.isfinite(true):
        raise SignalError(
            "the gradient at the first layer is 0 or not finite: see goodinit.measure"
        )
    spread = math.sqrt(math.fsum((d / mean - 1) ** 2 for d in drawn) / (redraws - 1))
    wide = (
        (_T[redraws - 2] if redraws <= len(_T) + 1 else 1.96) * spread * math.sqrt(1 + 1 / redraws)
    )
    ratio = true / mean
    law = (
        "iid normal, each with its weight's own mean and std" if plan is None else "the plan's laws"
    )
    return Independence(ratio, (ratio * math.exp(-wide), ratio * math.exp(wide)), rows, law)


class _Watch:
    """Runs calls as they are, and watches the gradients at layers and activations."""

    def __init__(self, weights: Mapping[int, str]) -> None:
        self.rows: list[IndependenceRow] = []
        self.first: Tensor | None = None
        self._weights = weights
        self._keys = Keys()

    def source(self, original: Tensor, stand_in: Tensor) -> None: ...
    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None: ...
    def leave(self, path: str, module: nn.Module, result: object) -> None: ...
    def call(self, call: Call) -> None: ...

    def change(self, func: Callable[..., Any], call: Call) -> object:
        key, role = self._keys.of(call), role_of(call.function)
        places = [n for n, a in enumerate(call.args) if self._is_weight(a)]
        if role == "contract" and len(places) == 1:
            return self._layer(func, call, places[0], key)
        if (
            role == "activation"
            and self.rows
            and not call.inplace
            and not call.kwargs.get("inplace")
        ):
            return self._activation(func, call)
        return func(*call.args, **call.kwargs)

    def _is_weight(self, value: object) -> bool:
        return id(value) in self._weights and isinstance(value, Tensor) and value.dim() > 1

    def _layer(self, func: Callable[..., Any], call: Call, place: int, key: str) -> object:
        args = list(call.args)
        signals = (n for n, a in enumerate(args) if _is_signal(a) and id(a) not in self._weights)
        at = next(signals, None)
        if at is None:
            return func(*args, **call.kwargs)
        # An alias of its own, so that its gradient is what came through this call alone.
        x = args[at].view_as(args[at]) if args[at].requires_grad else args[at].detach()
        args[at] = x.requires_grad_() if not x.requires_grad else x
        if self.first is None:
            self.first = x
        return self._multiply(func, args, call.kwargs, place, key, x)

    def _multiply(
        self,
        func: Callable[..., Any],
        args: list[Any],
        kwargs: Mapping[str, Any],
        place: int,
        key: str,
        x: Tensor,
    ) -> object:
        row, sizes = IndependenceRow(key), dict[str, float]()
        self.rows.append(row)
        result = func(*args, **kwargs)
        weight: Tensor = args[place]
        outputs = weight.shape[-1 if place and _is_matmul(func) else 0]
        factor = _norm2(weight) / outputs

        def arrived(gradient: Tensor) -> None:
            sizes["y"] = _norm2(gradient)

        def left(gradient: Tensor) -> None:
            if sizes.get("y") and factor:
                row.r = _norm2(gradient) / (sizes["y"] * factor)

        _hook(result, arrived)
        _hook(x, left)
        return result

    def _activation(self, func: Callable[..., Any], call: Call) -> object:
        taken: object = call.args[0] if call.args else None
        row = self.rows[-1]
        if not isinstance(taken, Tensor) or not taken.requires_grad or row.m is not None:
            return func(*call.args, **call.kwargs)
        u, sizes = taken.view_as(taken), dict[str, float]()
        result: Tensor = func(u, *call.args[1:], **call.kwargs)
        if result.shape != u.shape:  # glu
            return result
        slope: Tensor = torch.autograd.grad(result.sum(), u, retain_graph=True)[0]
        mean = slope.double().square().mean().item()

        def arrived(gradient: Tensor) -> None:
            sizes["g"] = _norm2(gradient)

        def left(gradient: Tensor) -> None:
            if sizes.get("g") and mean:
                row.m = _norm2(gradient) / (mean * sizes["g"])

        _hook(result, arrived)
        _hook(u, left)
        return result


class _Decouple(_Watch):
    """Multiplies by the weights forward, and by redrawn ones on the way back."""

    def __init__(self, weights: Mapping[int, str], plan: Plan | None, seed: int) -> None:
        super().__init__(weights)
        self._plan, self._seed = plan, seed

    def _multiply(
        self,
        func: Callable[..., Any],
        args: list[Any],
        kwargs: Mapping[str, Any],
        place: int,
        key: str,
        x: Tensor,
    ) -> object:
        weight: Tensor = args[place]
        with torch.no_grad():
            true = func(*args, **kwargs)
            args[place] = self._redrawn(weight, self._weights[id(weight)], key)
        other = func(*args, **kwargs)
        # The values of the one, the gradient of the other.
        return cast("object", _Swap.apply(other, true))  # pyright: ignore[reportUnknownMemberType]

    def _redrawn(self, weight: Tensor, name: str, key: str) -> Tensor:
        out = torch.empty_like(weight.detach())
        seed = Stream(self._seed).key(key, "independence").key0
        if self._plan is not None:
            fill(out, self._plan[name], Stream(seed))
            return out
        std, mean = (float(v) for v in torch.std_mean(weight.detach().double()))
        return (
            out.fill_(mean) if std < 1e-15 else Stream(seed).fill_(out, name, Law.normal(mean, std))
        )

    def _activation(self, func: Callable[..., Any], call: Call) -> object:
        return func(*call.args, **call.kwargs)


class _Swap(torch.autograd.Function):
    """Returns the second tensor, and hands the gradient to the first."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return second.view_as(second)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient, None


def _is_matmul(func: Callable[..., Any]) -> bool:
    """Whether a weight on the right is [..., inputs, outputs]."""
    return name_of(func)[0] in ("matmul", "mm", "bmm", "addmm", "baddbmm")


def _is_signal(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _hook(tensor: Tensor, function: Callable[[Tensor], None]) -> None:
    if tensor.requires_grad:
        tensor.register_hook(partial(_quietly, function))  # pyright: ignore[reportUnknownMemberType]


def _quietly(function: Callable[[Tensor], None], gradient: Tensor) -> None:
    function(gradient.detach())


def _norm2(tensor: Tensor) -> float:
    return cast("Tensor", torch.linalg.vector_norm(tensor.detach().double())).item() ** 2


def _square(
    model: nn.Module, inputs: Inputs, loss: Loss, names: Mapping[int, str], watch: _Watch
) -> tuple[float, list[IndependenceRow]]:
    """Return |dL/dx|^2 at the first layer, and the rows."""
    args, kwargs = arguments(inputs)
    with live(model) as run:
        try:
            output = run(watch, names, lambda: model(*args, **kwargs), watch.change)
            total = scalar(loss(output))
        except SignalError:
            raise
        except Exception as error:
            raise SignalError(f"the model or the loss raised: {line_of(error)}") from error
        if watch.first is None or not total.requires_grad:
            raise SignalError("no layer of this model multiplies a signal by a weight")
        found = torch.autograd.grad(total, [watch.first], allow_unused=True)
        gradient = cast("tuple[Tensor | None, ...]", found)[0]
        if gradient is None:
            raise SignalError(f"the loss doesn't depend on the first layer, {watch.rows[0].name}")
        return _norm2(gradient), watch.rows
