"""`MomentsObserver`: measures what each call of a run returns."""

# Methods that an observer has are documented in trace.calls.
# ruff: noqa: ARG002, D102

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from goodinit._common.by_tensor import ByTensor
from goodinit._common.torch_private import is_mapped, without_function_modes
from goodinit.anatomy.names import Slot
from goodinit.dataflow.functions import COMPARISONS, role_of
from goodinit.findings.units import SATURATED_BEYOND
from goodinit.signal.attention_weights import CHOOSING, Concentration, concentration_of
from goodinit.signal.batch_axis import CHANNELS, Keys, floating
from goodinit.signal.equality import (
    holds_one_number,
    is_the_same_for_all,
    units_are_equal,
    units_move_apart,
    units_move_as_one,
)
from goodinit.signal.first_loss import TAKE_LOGITS, FirstLoss, cross_entropy_of
from goodinit.signal.moments import Axes, Moments, moments_of
from goodinit.signal.rows import SignalRow
from goodinit.trace.calls import Call, NullObserver, observing_hook, tensors_in

CAN_DIE = frozenset(("relu", "relu6", "threshold", "hardshrink", "softshrink", "hardtanh"))
MIXING = frozenset(("contract", "attention", "opaque"))  # their results have the channels last
HAVE_UNITS = frozenset(("contract", "opaque"))
UNSET = frozenset(("empty_like", "new_empty", "new_empty_strided"))  # memory without values


@dataclass(slots=True)
class _Known:
    """What is known of a tensor.

    Attributes:
        number: of its row; None if it doesn't depend on an input.
        features: its axis of features; None for the last.
        params: the parameters that it was made from, if no input was used: a weight under
            weight_norm.
    """

    number: int | None
    features: int | None
    params: tuple[str, ...] = ()


class MomentsObserver(NullObserver):
    """Observes a run: makes a row for each floating call that depends on the inputs.

    Attributes:
        rows: in execution order.
        unseen: keys of those that no observed call made.
        last: path of the module that was entered last.
        outputs: numbers of the rows that the model returned.
        unchanging: those of them that are the same for all samples, bit for bit.
        equal_units: numbers of the layers whose units do the same for every input.
        zero_layers: numbers of those whose weights are 0, and whose units return one number.
        equal_gradients: those of both whose units have the same gradients, too.
        compared: numbers of those that a comparison took, through which no gradient passes.
        scores: by the number of a softmax or an attention, the std of the scores of a row.
        bad_inputs: how many numbers of the inputs are NaN or infinite.
        entropies: the cross-entropies of the loss.
        logits: by the number of a loss, the share of its logits that is 0, and the lowest.
        input_cosine: mean cosine of two samples of the first floating input.
        input_second: second moment of the largest input.
    """

    def __init__(
        self,
        found: Iterable[Slot],
        inputs: Sequence[Tensor],
        batch: int,
        fewer: Mapping[str, tuple[int, ...]],
        rank: bool = False,
        params: Mapping[str, Tensor] | None = None,
        concentration: Callable[[Call], Concentration | None] = concentration_of,
    ) -> None:
        self.rows: list[SignalRow] = []
        self.unseen: list[str] = []
        self.last = ""
        self.outputs: set[int] = set()
        self.unchanging: set[int] = set()
        self.equal_units: set[int] = set()
        self.zero_layers: set[int] = set()
        self.equal_gradients: set[int] = set()
        self.compared: set[int] = set()
        self.scores: dict[int, float] = {}
        self.bad_inputs = 0
        self.entropies: list[FirstLoss] = []
        self.logits: dict[int, tuple[float, float]] = {}
        self.input_cosine: float | None = None
        self.input_second = 0.0
        self._keys = Keys()
        self._batch = batch
        self._fewer = fewer
        self._rank = rank
        self._known = ByTensor[_Known]()
        self._nodes: list[object] = []
        self._gradients: dict[int, Moments] = {}
        self._running = [""]
        self._params: dict[int, str] = {}
        self._matrices: set[str] = set()
        self._weights = params or {}
        self._concentration = concentration
        for slot in found:
            for tensor in slot.tensors:
                if slot.buffer:
                    self._known[tensor] = _Known(None, None)
                else:
                    self._params[id(tensor)] = slot.name
                    if tensor.dim() > 1:
                        self._matrices.add(slot.name)
        floats = [tensor for tensor in inputs if tensor.is_floating_point()]
        self.empty_inputs = bool(floats) and not any(bool(t.any()) for t in floats)
        for tensor in inputs:
            self._remember(tensor, -1, None)
            if floating(tensor) is None:
                continue
            if tensor.is_floating_point():
                self.bad_inputs += int(tensor.numel() - tensor.isfinite().sum().item())
            axes = Axes(0 if tensor.shape[:1] == (batch,) else None, None)
            moments = moments_of(tensor, axes, batch)
            self.input_second = max(self.input_second, moments.second)
            if self.input_cosine is None and tensor.is_floating_point() and tensor.dim() > 1:
                self.input_cosine = moments.across_samples

    def source(self, original: Tensor, stand_in: Tensor) -> None:
        name = self._params[id(original)]
        self._known[stand_in] = _Known(None, None, (name,))

    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._note_unobserved(args, self._running[-1])
        self._running.append(path)
        self.last = path

    def leave(self, path: str, module: nn.Module, result: object) -> None:
        self._running.pop()
        self._note_unobserved(result, path, made=True)

    def returned(self, output: object) -> None:
        """Note what the model returned: of calls that can't be observed there is nothing else."""
        self._note_unobserved(output, "", made=True)
        for tensor in tensors_in(output):
            known = self._known.get(tensor)
            number = None if known is None else known.number
            if number is not None:
                self.outputs.add(number)
                self._note_unchanging(tensor, number)

    def _note_unchanging(self, output: Tensor, number: int) -> None:
        if number < 0 or not output.is_floating_point() or not output.numel():
            return
        samples = self._samples(self.rows[number].key, output)
        with without_function_modes():
            if samples is not None and is_the_same_for_all(output.detach(), samples):
                self.unchanging.add(number)

    def _note_unobserved(self, value: object, path: str, made: bool = False) -> None:
        """Make rows for the results of unobservable calls in the module at this path."""
        with without_function_modes():  # the measuring itself isn't observed
            for tensor in tensors_in(value):
                self._number(tensor, path, made)

    def finished_rows(self, spreads: Iterable[float]) -> tuple[SignalRow, ...]:
        """Return the rows with the gradients' moments and with each one's spread over seeds."""
        return tuple(
            replace(row, backward=self._gradients.get(number), spread=spread)
            for number, (row, spread) in enumerate(zip(self.rows, spreads, strict=True))
        )

    def release(self) -> None:
        """Free the graph, the last call first: torch would free a deep one by deep recursion."""
        while self._nodes:
            self._nodes.pop()

    def call(self, call: Call) -> None:
        if call.function in UNSET:
            return
        result = floating(call.result)
        if result is None and call.inplace:  # x[0] = y returns nothing
            result = floating(call.args[:1])
        if result is None:
            self._note_dependence(call)
            return
        key = self._keys.next_key(call)
        takes = [number for t in call.tensors
                 if (number := self._number(t, call.path)) is not None]  # fmt: skip
        if takes and not is_mapped(result):  # what a vmap returns gets a row, not what is inside
            self._measure(call, key, result, tuple(takes))
            return
        params = self._params_of(call)
        for tensor in tensors_in(call.result):
            self._known[tensor] = _Known(None, None, params)

    def _measure(self, call: Call, key: str, result: Tensor, takes: tuple[int, ...]) -> None:
        samples, features = self._samples(key, result), self._features(call, result)
        axes = Axes(samples, None if features == samples else features)
        idle = _idle(call.function, result, axes)
        if role_of(call.function) in CHOOSING:
            with without_function_modes():
                found = self._concentration(call)
            if found is not None:
                idle, self.scores[len(self.rows)] = found.share, found.std
        row = SignalRow(
            key,
            call.path,
            role_of(call.function),
            call.function,
            tuple(result.shape),
            result.shape[axes.features] if axes.features is not None else 1,
            moments_of(result, axes, self._batch, idle, masks=True, rank=self._rank),
            takes=takes,
            params=self._params_of(call),
        )
        number = len(self.rows)
        self.rows.append(row)
        for tensor in tensors_in(call.result):
            self._remember(tensor, number, features if tensor.dim() == result.dim() else None)
        if call.inplace and call.args and isinstance(call.args[0], Tensor):
            self._remember(call.args[0], number, features)
            if call.args[0]._base is not None:  # what a view is written to
                self._remember(call.args[0]._base, number, None)
        self._note_entropy(call)
        if row.kind in HAVE_UNITS and axes.features is not None:
            self._note_equal_units(row, number, result, axes.features)
        if result.requires_grad:
            self._nodes.append(result.grad_fn)
            hook = observing_hook(partial(self._gradient_arrived, number, axes))
            result.register_hook(hook)  # pyright: ignore[reportUnknownMemberType]

    def _note_equal_units(self, row: SignalRow, number: int, result: Tensor, features: int) -> None:
        weights = [self._weights[name] for name in row.params if name in self._matrices]
        if not weights:
            return
        with without_function_modes(), torch.no_grad():
            if units_move_as_one(result, features):
                self.equal_units.add(number)
            elif row.width > 1 and all(map(holds_one_number, weights)):
                if any(bool(w.flatten()[0]) for w in weights):
                    # Where they do, the units are those of another factor.
                    if not units_move_apart(result, features):
                        self.equal_units.add(number)
                elif bool((result == result.narrow(features, 0, 1)).all()):
                    self.zero_layers.add(number)

    def _gradient_arrived(self, number: int, axes: Axes, gradient: Tensor | None) -> None:
        if gradient is None:  # of several results this one wasn't used
            return
        with without_function_modes(), torch.no_grad():
            self._gradients[number] = moments_of(gradient, axes, self._batch)
        if number not in self.equal_units | self.zero_layers or axes.features is None:
            return
        if units_are_equal(gradient, axes.features):
            self.equal_gradients.add(number)

    def _note_dependence(self, call: Call) -> None:
        """Note that what was chosen by the inputs, such as indices, depends on them as well."""
        given = call.tensors
        numbers = [self._number(t, call.path) for t in given]
        if call.function in COMPARISONS:
            pairs = zip(given, numbers, strict=True)
            self.compared |= {n for t, n in pairs if n is not None and t.requires_grad}
        known = [number for number in numbers if number is not None]
        for tensor in tensors_in(call.result) if known else ():
            self._remember(tensor, max(known), None)

    def _params_of(self, call: Call) -> tuple[str, ...]:
        """Return the parameters that a call took, as they are or made into something."""
        names: dict[str, None] = {}
        for tensor in call.tensors:
            if id(tensor) in self._params:
                names[self._params[id(tensor)]] = None
            elif (known := self._known.get(tensor)) is not None:
                names.update(dict.fromkeys(known.params))
        return tuple(names)

    def _remember(self, tensor: Tensor, number: int, features: int | None) -> None:
        self._known[tensor] = _Known(number, features)

    def _number(self, tensor: Tensor, path: str, made: bool = False) -> int | None:
        """Return the number of a tensor's row; one that no observed call made gets a row here."""
        known = self._known.get(tensor)
        if known is not None:
            return known.number
        # What a module made, or what depends on parameters, and came from no call: scripted code.
        if not (made or tensor.grad_fn is not None) or id(tensor) in self._params:
            return None
        if floating(tensor) is None:
            return None
        call = Call(path, "unseen", False, (), {}, tensor)
        key = self._keys.next_key(call)
        self.unseen.append(key)
        self._measure(call, key, tensor, (len(self.rows) - 1,))
        return len(self.rows) - 1

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
        """Return the axis of channels: a convolution's, followed through what moves axes."""
        role, last = role_of(call.function), result.dim() - 1 if result.dim() > 1 else None
        if call.function.startswith(CHANNELS) and result.dim() > 2:
            windows = [int(c) for c in call.function if c.isdigit()]
            return result.dim() - windows[0] - 1 if windows else 1
        if role in MIXING:
            return last
        for tensor in tensors_in(call.args):
            known = self._known.get(tensor)
            if known is None or known.features is None:
                continue
            if role == "view" and (moved := _moved(tensor, known.features, result)) is not None:
                return moved
            if role != "view" and tensor.dim() == result.dim():
                return known.features
        return last

    def _note_entropy(self, call: Call) -> None:
        logits = next(tensors_in(call.args), None)
        known = None if logits is None else self._known.get(logits)
        if logits is not None and call.function in TAKE_LOGITS and logits.numel():
            with without_function_modes(), torch.no_grad():
                zeros = (logits == 0).float().mean().item()
                self.logits[len(self.rows) - 1] = zeros, logits.min().item()
        found = None
        if known is not None and known.number is not None:
            found = cross_entropy_of(call, known.number)
        if found is not None:
            self.entropies.append(found)


def _moved(tensor: Tensor, axis: int, view: Tensor) -> int | None:
    """Return where an axis of a tensor is in a view of it, by its step in memory."""
    if view.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr():
        return axis if view.shape == tensor.shape else None
    steps = [view.stride(a) if view.shape[a] > 1 else 0 for a in range(view.dim())]
    return steps.index(tensor.stride(axis)) if tensor.stride(axis) in steps else None


@torch.no_grad()
def _idle(function: str, result: Tensor, axes: Axes) -> float | None:
    """Return the share of dead units, or of saturated values."""
    if function in SATURATED_BEYOND:
        low, high = SATURATED_BEYOND[function]
        return ((result <= low) | (result >= high)).float().mean().item()
    if function not in CAN_DIE or axes.features is None:
        return None
    others = tuple(axis for axis in range(result.dim()) if axis != axes.features)
    result = result.detach()
    alive = (result.amax(others) != 0) | (result.amin(others) != 0)
    return 1 - alive.float().mean().item()
