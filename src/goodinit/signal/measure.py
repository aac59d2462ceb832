"""`measure`: a model run for real on a batch, and what became of the signal and the gradient."""

# Methods that an observer has are documented in trace.calls.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from goodinit.anatomy.functions import role_of
from goodinit.anatomy.names import Slot, slots, walk
from goodinit.errors import MetaModelError, SignalError
from goodinit.signal.axes import CHANNELS, Keys, batch_of, floating, shapes_with
from goodinit.signal.moments import Axes, moments_of
from goodinit.signal.rows import Gradient, Signal, SignalRow
from goodinit.signal.verdicts import verdicts
from goodinit.streams import Law, Stream
from goodinit.trace.calls import Call, tensors_in
from goodinit.trace.live import live
from goodinit.trace.run import Inputs, arguments

__all__ = ["Loss", "Meter", "checked", "line_of", "loss_of", "measure", "scalar", "unwrapped"]

Loss = Callable[[Any], Tensor]

DEAD = frozenset(("relu", "relu6", "threshold", "hardshrink", "softshrink", "hardtanh"))
SATURATED = {"tanh": (-0.99, 0.99), "sigmoid": (0.01, 0.99), "hardsigmoid": (0.0, 1.0)}


def measure(
    model: nn.Module, inputs: Inputs, loss: Loss | None = None, backward: bool = True
) -> Signal:
    """Run a model on a batch and return what became of the signal, a row a call.

    The model is run as it is: in its mode, with its dropout, under the caller's autocast.
    Buffers, gradients, random state, attributes and mode are as before afterwards, also if the
    model raises. No activation is kept beyond what the backward pass keeps.

    Args:
        model: with weights, on any device; compiled or wrapped for data parallelism is unwrapped.
        inputs: a tensor, a tuple of positional arguments or a mapping of keyword arguments; the
            batch along the first axis. The cosine across samples needs two.
        loss: called with the output; returns a scalar. Without one the gradient comes from a
            random projection of all floating outputs, so that its size means nothing, only how
            it changes.
        backward: whether to measure gradients.

    Returns:
        Rows in execution order, gradients of parameters, and findings.

    Raises:
        MetaModelError: the model has no weights.
        SignalError: the model or the loss raised, the loss is no scalar, nothing floating comes
            out, or nothing of it depends on a parameter.

    Example:
        >>> import goodinit as gi
        >>> net = nn.Sequential(*[nn.Linear(256, 256, bias=False), nn.ReLU()] * 1)
        >>> plan = gi.init_(net, "he", seed=0)
        >>> signal = gi.measure(net, torch.randn(64, 256, generator=torch.manual_seed(0)))
        >>> [(row.key, round(row.forward.second, 1)) for row in signal.rows]
        [('0:linear', 2.0), ('1:relu', 1.0)]
        >>> signal.ok
        True
    """
    model = unwrapped(model)
    checked(model)
    names = {id(module): path for path, module in reversed(list(walk(model)))}
    found = [slot for slot in slots(model) if not slot.buffer]
    batch = batch_of(inputs)
    fewer = shapes_with(model, inputs, batch, names)
    args, kwargs = arguments(inputs)
    meter = Meter(found, tensors_in((args, dict(kwargs))), batch, fewer)
    with live(model) as run:
        try:
            output = run(meter, names, lambda: model(*args, **kwargs))
            total = loss_of(output, loss, run, meter, names) if backward or loss else None
        except SignalError:
            raise
        except Exception as error:
            where = f" in {meter.last}" if meter.last else ""
            raise SignalError(f"the model raised{where}: {line_of(error)}") from error
        gradients = _gradients(total, found) if backward and total is not None else []
    signal = Signal(meter.rows, gradients, batch=batch, notes=_notes(batch, fewer))
    if loss is not None and total is not None:
        signal.loss = total.item()
    signal.findings = verdicts(signal, meter)
    return signal


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside of torch.compile and data parallelism.

    >>> net = nn.Linear(2, 2)
    >>> unwrapped(nn.DataParallel(net)) is net
    True
    """
    inner: object = getattr(model, "_orig_mod", None)
    if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = cast("object", model.module)
    return unwrapped(inner) if isinstance(inner, nn.Module) else cast("nn.Module", model)


def checked(model: nn.Module) -> None:
    """Raise MetaModelError unless all parameters have memory."""
    for name, tensor in model.named_parameters():
        if tensor.is_meta:
            raise MetaModelError(
                f"{name} is on the meta device, and measuring needs weights: "
                "gi.apply_(model, plan, materialize='cpu') first"
            )


class Meter:
    """Observes a run: a row for each floating call on the way from the inputs."""

    def __init__(
        self,
        found: Iterable[Slot],
        inputs: Iterable[Tensor],
        batch: int,
        fewer: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.rows: list[SignalRow] = []
        self.last = ""
        self.entropy: tuple[int, float] | None = None
        self.input_cosine: float | None = None
        self._keys = Keys()
        self._batch = batch
        self._fewer = fewer
        self._params = {id(t): slot.name for slot in found for t in slot.tensors}
        # id -> (the tensor, the number of its row, its axis of features or None for the last)
        self._known: dict[int, tuple[weakref.ref[Tensor], int, int | None]] = {}
        for tensor in inputs:
            self._remember(tensor, -1, None)
            if self.input_cosine is None and tensor.is_floating_point() and tensor.dim() > 1:
                axes = Axes(0 if tensor.shape[0] == batch else None, None)
                self.input_cosine = moments_of(tensor, axes, batch).across_samples

    def source(self, original: Tensor, stand_in: Tensor) -> None: ...
    def leave(self, path: str, module: nn.Module, result: object) -> None: ...

    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.last = path

    def call(self, call: Call) -> None:
        result = floating(call.result)
        if result is None:
            self._pass_on(call)
            return
        key = self._keys.of(call)
        takes = [number for t in tensors_in((call.args, dict(call.kwargs)))
                 if (number := self._number(t)) is not None]  # fmt: skip
        if not takes:
            return
        features = self._features(call, result)
        axes = Axes(self._samples(key, result), features)
        row = SignalRow(
            key,
            call.path,
            role_of(call.function),
            call.function,
            tuple(result.shape),
            moments_of(result, axes, self._batch, _idle(call.function, result, axes)),
            takes=tuple(takes),
            params=tuple(
                self._params[id(t)]
                for t in tensors_in((call.args, dict(call.kwargs)))
                if id(t) in self._params
            ),
        )
        number = len(self.rows)
        self.rows.append(row)
        for tensor in tensors_in(call.result):
            self._remember(tensor, number, features if tensor.dim() == result.dim() else None)
        if call.inplace and call.args and isinstance(call.args[0], Tensor):
            self._remember(call.args[0], number, features)
        self._note_entropy(call)
        if result.requires_grad:
            result.register_hook(partial(self._arrived, row, axes))  # pyright: ignore[reportUnknownMemberType]

    def _arrived(self, row: SignalRow, axes: Axes, gradient: Tensor) -> None:
        with torch.no_grad():
            row.backward = moments_of(gradient, axes, self._batch)

    def _pass_on(self, call: Call) -> None:
        """What is chosen by the inputs, indices say, depends on them as well."""
        numbers = [self._number(t) for t in tensors_in((call.args, dict(call.kwargs)))]
        known = [number for number in numbers if number is not None]
        for tensor in tensors_in(call.result) if known else ():
            self._remember(tensor, max(known), None)

    def _remember(self, tensor: Tensor, number: int, features: int | None) -> None:
        self._known[id(tensor)] = (weakref.ref(tensor), number, features)

    def _look(self, tensor: Tensor) -> tuple[int, int | None] | None:
        known = self._known.get(id(tensor))
        return None if known is None or known[0]() is not tensor else known[1:]

    def _number(self, tensor: Tensor) -> int | None:
        known = self._look(tensor)
        return None if known is None else known[0]

    def _samples(self, key: str, result: Tensor) -> int | None:
        shape, fewer = tuple(result.shape), self._fewer.get(key)
        if self._batch < 2:
            return None
        if fewer is None or len(fewer) != len(shape):
            return 0 if shape and shape[0] == self._batch else None
        for axis, (size, less) in enumerate(zip(shape, fewer, strict=True)):
            if size != less:
                whole = size % self._batch == 0 and size // self._batch * (self._batch - 1) == less
                return axis if whole else None
        return None

    def _features(self, call: Call, result: Tensor) -> int | None:
        """Return the axis of channels: that of a convolution, as long as the shape stays."""
        if call.function.startswith(CHANNELS) and result.dim() > 2:
            windows = [int(c) for c in call.function if c.isdigit()]
            return result.dim() - windows[0] - 1 if windows else 1
        for tensor in tensors_in(call.args):
            known = self._look(tensor)
            if known is not None and known[1] is not None and tensor.dim() == result.dim():
                pooled = role_of(call.function) == "pool"
                if pooled or tensor.shape == result.shape:
                    return known[1]
        return result.dim() - 1 if result.dim() > 1 else None

    def _note_entropy(self, call: Call) -> None:
        if call.function == "cross_entropy" and isinstance(call.result, Tensor):
            logits = next(tensors_in(call.args), None)
            if logits is not None and call.result.numel() == 1 and logits.dim():
                classes = logits.shape[1] if logits.dim() > 1 else logits.shape[0]
                self.entropy = (classes, call.result.item())


@torch.no_grad()
def _idle(function: str, result: Tensor, axes: Axes) -> float | None:
    """Return the share of dead units, or of saturated values."""
    if function in SATURATED:
        low, high = SATURATED[function]
        return ((result <= low) | (result >= high)).float().mean().item()
    if function not in DEAD or axes.features is None:
        return None
    others = [axis for axis in range(result.dim()) if axis != axes.features]
    alive = result.detach() != 0
    return 1 - (alive.any(tuple(others)) if others else alive).float().mean().item()


def loss_of(
    output: object, loss: Loss | None, run: Any, meter: Meter, names: Mapping[int, str]
) -> Tensor:
    """Return the loss, or a random projection of the floating outputs."""
    if loss is not None:
        return scalar(run(meter, names, lambda: loss(output)))
    outputs = [t for t in tensors_in(output) if t.is_floating_point() and t.numel()]
    if not outputs:
        raise SignalError(
            "the model returns no floating tensor: pass loss=, a function of what it returns"
        )
    total = torch.zeros((), device=outputs[0].device)
    for number, tensor in enumerate(outputs):
        signs = Stream(0).draw(f"output.{number}", Law.normal(), tuple(tensor.shape))
        total = total + (tensor.float() * signs.to(tensor.device)).sum()
    return total


def scalar(total: object) -> Tensor:
    """Return the loss; raise SignalError unless it is one number."""
    if not isinstance(total, Tensor) or total.numel() != 1:
        said = tuple(total.shape) if isinstance(total, Tensor) else type(total).__name__
        raise SignalError(f"loss must return a scalar, and returned {said}: take its mean")
    return total


def _gradients(total: Tensor, found: Iterable[Slot]) -> list[Gradient]:
    """Run the backward pass, which the rows' hooks watch, and read the parameters' gradients."""
    if not total.requires_grad:
        raise SignalError(
            "nothing that the model returns depends on a parameter that requires a gradient: "
            "pass backward=False, or call model.requires_grad_()"
        )
    wanted = [(slot, t) for slot in found for t in slot.tensors if t.requires_grad]
    given = torch.autograd.grad(total, [t for _, t in wanted], allow_unused=True)
    ratios: list[Gradient] = []
    for (slot, tensor), gradient in zip(
        wanted, cast("tuple[Tensor | None, ...]", given), strict=True
    ):
        if gradient is None:
            ratios.append(Gradient(slot.name, None))
            continue
        g, w = _norm(gradient), _norm(tensor)
        ratios.append(Gradient(slot.name, g / w if w else math.inf if g else 0.0))
    return ratios


def _norm(tensor: Tensor) -> float:
    return cast("Tensor", torch.linalg.vector_norm(tensor.detach().float())).item()


def _notes(batch: int, fewer: Mapping[str, tuple[int, ...]]) -> list[str]:
    if batch < 2:
        return ["One sample: cosines across samples and errors need two or more."]
    if not fewer:
        why = "The model can't be run on meta with fewer samples"
        return [f"{why}: the first axis is that of the samples where its size is the batch's."]
    return []


def line_of(error: Exception) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
