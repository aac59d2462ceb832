"""Observers of the backward pass: as it is, and with redrawn weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from goodinit.applying.write import fill_row_
from goodinit.dataflow.functions import ADD_FIRST, role_of
from goodinit.dataflow.labels import labels_of
from goodinit.plans.rows import PlanRow
from goodinit.signal.batch_axis import Keys
from goodinit.streams import Law, Stream
from goodinit.trace.calls import Call, NullObserver, map_tensors, observing_hook, tensors_in
from goodinit.trace.process import RandomNumbers

MULTIPLIES = frozenset(("contract", "attention", "opaque", "other"))
CONSTANT = 1e-15  # a smaller std is rounding
LEAST_SQUARE = 1e-300  # instead of 0 in a denominator


Function = Callable[..., Any]


@dataclass(slots=True)
class LayerGradients:
    """What was observed at one call that multiplies by a weight: see ``IndependenceRow``."""

    name: str
    weight: str = ""
    r: float | None = None
    m: float | None = None
    own: float | None = None
    sided: float | None = None
    square: float = 0.0


@dataclass(slots=True)
class _Weight:
    """A tensor made from parameters alone.

    Attributes:
        tensor: the tensor, kept alive, so that no other gets its id.
        name: name of the parameter.
        view: if it is a view or copy of another weight: makes it from that weight.
    """

    tensor: Tensor
    name: str
    view: Callable[[Callable[[Tensor], Tensor]], Tensor] | None = None


class GradientObserver(NullObserver):
    """Runs calls as they are, and observes the gradients at layers and activations.

    Attributes:
        rows: one for each layer.
        skipped: keys of calls whose weights are inside of one function.
        start: what the first embedding of the inputs returned; None without one.
    """

    def __init__(self, params: Mapping[str, Iterable[Tensor]], inputs: Iterable[Tensor]) -> None:
        self.rows: list[LayerGradients] = []
        self.skipped: list[str] = []
        self.start: Tensor | None = None
        self._weights = {
            id(t): _Weight(t, name) for name, tensors in params.items() for t in tensors
        }
        self._inputs = {t.untyped_storage().data_ptr() for t in inputs if not t.is_floating_point()}
        self._keys = Keys()
        self._gated: LayerGradients | None = None  # the last one with an activation after it

    def change(self, func: Function, call: Call) -> object:
        """Run a call, and return what the model gets."""
        key, role = self._keys.next_key(call), role_of(call.function)
        taken = call.tensors
        weights = [t for t in taken if id(t) in self._weights]
        matrices = [t for t in weights if t.dim() > 1]
        if weights and len(weights) == len(taken):
            return self._note_made_weight(func, call, weights, role)
        if role == "activation" and self.rows and not weights:
            return self._activation(func, call)
        factors = taken[1:] if call.function in ADD_FIRST else taken
        signal = next(
            (t for t in factors if t.is_floating_point() and id(t) not in self._weights), None
        )
        if role == "contract" and len(matrices) == 1 and signal is not None and not call.inplace:
            return self._layer(func, call, key, matrices[0], signal)
        if signal is not None and matrices and role in MULTIPLIES:
            self.skipped.append(key)
        result = func(*call.args, **call.kwargs)
        chosen = any(
            not t.is_floating_point() and t.untyped_storage().data_ptr() in self._inputs
            for t in taken
        )
        if role == "pick" and matrices and self.start is None and chosen:
            self.start = _alias(result)
            return self.start
        return result

    def _note_made_weight(
        self, func: Function, call: Call, weights: list[Tensor], role: str
    ) -> object:
        """Note what is made from parameters alone: ``W.t()``, a normed weight."""
        result = func(*call.args, **call.kwargs)
        known = [self._weights[id(t)] for t in weights]
        for at, tensor in enumerate(tensors_in(result)):
            if id(tensor) in self._weights:
                continue
            view = None
            if role in ("view", "cast") and len(weights) == 1:
                view = partial(_view_of_redrawn, func, call, weights[0], at)
            name = ", ".join(dict.fromkeys(w.name for w in known))
            self._weights[id(tensor)] = _Weight(tensor, name, view)
        return result

    def _layer(
        self, func: Function, call: Call, key: str, weight: Tensor, signal: Tensor
    ) -> object:
        x = _alias(signal)  # so that its gradient is the part that came through this call
        row, sizes = LayerGradients(key, self._weights[id(weight)].name), dict[str, float]()
        self.rows.append(row)
        result = self._multiply(func, call, weight, {id(signal): x}, key)

        def note_leaving(gradient: Tensor) -> None:
            row.square = squared_norm(gradient)
            if sizes.get("y"):
                row.r = row.square / sizes["y"]

        _hook(x, note_leaving)
        if isinstance(result, Tensor):
            self._arrival(call, row, weight, x, result, sizes)
        return result

    def _multiply(
        self, func: Function, call: Call, _weight: Tensor, other: dict[int, Tensor], _key: str, /
    ) -> object:
        return _run(func, call, other)

    def _arrival(
        self,
        call: Call,
        row: LayerGradients,
        weight: Tensor,
        x: Tensor,
        y: Tensor,
        sizes: dict[str, float],
        /,
    ) -> None:
        """When the gradient arrives at y, note how large it would leave through x."""
        rows = _outputs(call, weight, y)
        factor = squared_norm(weight) / rows if rows else 0.0
        values = y.detach().clone() if call.function == "linear" and y.dim() == x.dim() else None

        def note_arriving(gradient: Tensor) -> None:
            sizes["y"] = size = squared_norm(gradient) * factor
            if values is not None and size:
                along = (values * gradient).double().sum(-1).square()
                lengths = x.detach().double().square().sum(-1).clamp_min(LEAST_SQUARE)
                row.own = (along / lengths).sum().item() / size

        _hook(y, note_arriving)

    def _activation(self, func: Function, call: Call) -> object:
        taken: object = call.args[0] if call.args else None
        row = self.rows[-1]
        if not isinstance(taken, Tensor) or not taken.requires_grad or row is self._gated:
            return func(*call.args, **call.kwargs)
        slope = _slope(func, call, taken)
        result: Tensor = func(*call.args, **call.kwargs)
        if slope is None:
            return result
        self._gated = row

        def note_arriving(gradient: Tensor) -> None:
            size, mean = squared_norm(gradient), slope.double().square().mean().item()
            row.m = squared_norm(gradient * slope) / (mean * size) if size and mean else None
            units = gradient.double().flatten(1) if gradient.dim() > 1 else gradient.double()[None]
            if size:
                row.sided = units.sum(1).square().sum().item() / (units.shape[1] * size)

        _hook(result, note_arriving)
        return result


class RedrawnBackward(GradientObserver):
    """Multiplies by the weights forward, and by redrawn weights backward.

    Attributes:
        own: names of the weights that were redrawn with their own mean and std.
    """

    def __init__(
        self,
        params: Mapping[str, Iterable[Tensor]],
        inputs: Iterable[Tensor],
        laws: Mapping[str, PlanRow],
        seed: int,
    ) -> None:
        super().__init__(params, inputs)
        self.own: dict[str, None] = {}
        self._laws, self._seed = laws, seed

    def _multiply(
        self, func: Function, call: Call, weight: Tensor, other: dict[int, Tensor], key: str, /
    ) -> object:
        with torch.no_grad():
            values = _run(func, call, other)
            redrawn = self._redrawn(weight, key)
        result = _run(func, call, {**other, id(weight): redrawn})
        assert isinstance(result, Tensor)
        assert isinstance(values, Tensor)
        result.data.copy_(values)  # a product's backward pass needs its inputs, not its result
        return result

    def _arrival(self, *_: object) -> None: ...  # only the true backward pass has an r

    def _activation(self, func: Function, call: Call) -> object:
        return func(*call.args, **call.kwargs)

    def _redrawn(self, tensor: Tensor, key: str) -> Tensor:
        """Return another draw; each use of a shared weight gets its own."""
        weight = self._weights[id(tensor)]
        if weight.view is not None:
            return weight.view(lambda base: self._redrawn(base, key))
        out = torch.empty_like(tensor.detach())
        # The key has a number of the weight: otherwise all networks get the same draws, and their
        # mean doesn't average over them.
        first = float(tensor.detach().flatten()[0])
        stream = Stream(Stream(self._seed).key(f"{key} {first!r}", "independence").key0)
        law = self._laws.get(weight.name)
        if law is not None and tuple(law.shape) == tuple(tensor.shape):
            fill_row_(out, law, stream)
            return out
        self.own[weight.name] = None
        std, mean = (v.item() for v in torch.std_mean(tensor.detach().double(), correction=0))
        return out.fill_(mean) if std < CONSTANT else stream.fill_(out, key, Law.normal(mean, std))


def _alias(tensor: Tensor) -> Tensor:
    """Return the same values as a new tensor that requires a gradient."""
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()


def squared_norm(tensor: Tensor) -> float:
    """Return the sum of squares."""
    return cast("Tensor", torch.linalg.vector_norm(tensor.detach().double())).item() ** 2


def _run(func: Function, call: Call, other: Mapping[int, Tensor]) -> object:
    """Run a call with some of its tensors replaced."""
    args, kwargs = map_tensors((call.args, call.kwargs), lambda t: other.get(id(t), t))
    return func(*args, **kwargs)


def _view_of_redrawn(
    func: Function, call: Call, base: Tensor, at: int, redraw: Callable[[Tensor], Tensor]
) -> Tensor:
    return list(tensors_in(_run(func, call, {id(base): redraw(base)})))[at]


def _outputs(call: Call, weight: Tensor, y: Tensor) -> int | None:
    """Return how many rows a weight has, one per output; None if unknown."""
    name, shape = call.function, tuple(weight.shape)
    if name.startswith("conv_transpose"):
        # Each output gets one in stride ** axes of its taps.
        axes, stride = int(name[-2]), call.kwargs.get("stride", (*call.args[3:4], 1)[0])
        places = stride**axes if isinstance(stride, int) else math.prod(stride)
        return y.shape[-1 - axes] * places
    if name == "linear" or name.startswith("conv"):
        return shape[0]
    taken = call.tensors
    labels = labels_of(call, taken)
    own = next((axes for t, axes in zip(taken, labels, strict=False) if t is weight), None)
    if own is None:
        return None
    return math.prod(size for size, axis in zip(shape, own, strict=True) if axis in labels[-1])


def _slope(func: Function, call: Call, u: Tensor) -> Tensor | None:
    """Return f'(u) of an elementwise function."""
    with torch.enable_grad():
        leaf = u.detach().clone().requires_grad_()
        args = (leaf.clone(), *call.args[1:])
        # The default generator is every thread's: only what draws may touch it.
        result = RandomNumbers().drawn_apart(call.function, func, args, call.kwargs)
        assert isinstance(result, Tensor)
        if result.shape != u.shape:  # glu
            return None
        return torch.autograd.grad(result.sum(), leaf)[0]


def _hook(tensor: Tensor, function: Callable[[Tensor], None]) -> None:
    if tensor.requires_grad:
        tensor.register_hook(observing_hook(partial(_call_if_given, function)))  # pyright: ignore[reportUnknownMemberType]


def _call_if_given(function: Callable[[Tensor], None], gradient: Tensor | None) -> None:
    if gradient is not None:  # one of several results may be unused
        function(gradient.detach())
