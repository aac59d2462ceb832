"""`RescaledRun`: a run in which weights are multiplied by factors, or brought to their aims."""

# Methods that an observer has are documented in trace.calls.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from goodinit._common.by_tensor import ByTensor
from goodinit.anatomy.names import Slot
from goodinit.dataflow.functions import ADD_FIRST, role_of
from goodinit.signal.aims import LEFT_ALONE, Aims
from goodinit.signal.attention_products import ATTENTION, OUT, bound, in_products
from goodinit.signal.parameters import Weights, norm_of
from goodinit.trace.calls import Call, NullObserver, map_tensors, tensors_in
from goodinit.trace.real_run import Change

STEADY = 0.005  # relative: a factor nearer to 1 is 1, so that a second calibration writes nothing
LOOKED_UP = frozenset(("embedding", "embedding_bag"))
HIDDEN = -1e3  # a score below it was masked

Function = Callable[..., Any]
Given = tuple[tuple[Any, ...], dict[str, Any]]  # the arguments with which a call is run


@dataclass(frozen=True, slots=True)
class Use:
    """One call that multiplies by a weight.

    Attributes:
        second: second moment of its result, before it is brought to its aim.
        factor: what the weight must be multiplied by, as it was in this run, to reach the aim.
    """

    second: float
    factor: float


@dataclass(slots=True)
class _Known:
    """What is known of a tensor.

    Attributes:
        signal: whether it depends on an input.
        params: the parameters that it was made from, if it doesn't.
        computed: whether it has other numbers than they.
    """

    signal: bool
    params: tuple[str, ...] = ()
    computed: bool = False


@dataclass(slots=True)
class RescaledRun(NullObserver):
    """Runs the calls of a model, its weights multiplied by factors; nothing is written.

    Args:
        weights: the model's.
        slots: of the model.
        inputs: all tensors that go into it.
        aims: what to aim at.
        factors: of parameters, by name; 1 where there is none.
        moved: the weights whose every use is brought to its aim in flight: the model goes on with
            a result that has the second moment aimed at. Biases come along.
        along: bias -> the weights to whose products an earlier run added it.

    Attributes:
        uses: of each weight that is aimed at, in execution order.
        together: weight -> why it can't be calibrated by itself.
        computed: weight -> the norm of what was computed from it, and multiplies.
        loudest: the largest second moment of what an attention takes the softmax of.
    """

    weights: Weights
    slots: Iterable[Slot]
    inputs: Iterable[Tensor]
    aims: Aims
    factors: Mapping[str, float]
    moved: frozenset[str] = frozenset()
    along: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    uses: defaultdict[str, list[Use]] = field(
        default_factory=lambda: defaultdict[str, list[Use]](list), init=False
    )
    together: dict[str, str] = field(default_factory=dict[str, str], init=False)
    computed: dict[str, float] = field(default_factory=dict[str, float], init=False)
    loudest: float = field(default=0.0, init=False)
    _known: ByTensor[_Known] = field(default_factory=ByTensor[_Known], init=False)
    _params: dict[int, str] = field(default_factory=dict[int, str], init=False)
    _written_through: set[str] = field(default_factory=set[str], init=False)

    def __post_init__(self) -> None:
        for slot in self.slots:
            for tensor in slot.tensors:
                if slot.buffer:
                    self._remember(tensor, signal=False)
                else:
                    self._params[id(tensor)] = slot.name
            if slot.how != "plain":  # what is stored isn't what is rescaled
                self._written_through.add(slot.name)
        for tensor in self.inputs:
            self._remember(tensor, signal=True)

    def leave(self, path: str, module: nn.Module, result: object) -> None:
        for tensor in tensors_in(result):
            if self._known.get(tensor) is None and id(tensor) not in self._params:
                self._remember(tensor, signal=True)  # made by code that shows no calls

    def change(self, func: Function, call: Call) -> object:
        """Run a call, and return what the model goes on with."""
        taken = call.tensors
        names = {name: None for t in taken for name in self._names(t)}
        signal = any(map(self._is_signal, taken))
        args, kwargs = call.args, dict(call.kwargs)
        through = self.weights.change
        scaled = any(self.factors.get(name, 1.0) != 1 for name in names)
        if names and not call.inplace and (scaled or through is not None):
            args, kwargs = map_tensors((args, kwargs), lambda t: self._at_hand(t, signal))
        if through is not None:
            func = partial(_run_through, through, func, call)
        if call.function == ATTENTION:
            func = _repeatable(func, taken)
        result = func(*args, **kwargs)
        if signal and names and not call.inplace:
            result = self._use(func, call, (args, kwargs), list(names), result)
        self._note_scores(call, result)
        made_from = () if signal else tuple(names)
        same = role_of(call.function) in ("view", "cast")
        computed = not same or any(k.computed for t in taken if (k := self._known.get(t)))
        for tensor in tensors_in(result):
            if id(tensor) not in self._params:
                self._remember(tensor, signal, made_from, computed=computed)
        if call.inplace and call.args and isinstance(call.args[0], Tensor) and signal:
            self._remember(call.args[0], signal=True)
            if call.args[0]._base is not None:  # what a view is written to
                self._remember(call.args[0]._base, signal=True)
        return result

    def _note_scores(self, call: Call, result: object) -> None:
        scores = next(iter(call.tensors), None)
        if scores is None or not isinstance(result, Tensor) or not result.numel():
            return
        if call.function == "softmax" and scores.dim() > 2:  # of [samples, positions, positions]
            found = second_moment(scores.detach().masked_fill(scores < HIDDEN, 0))
        elif call.function == "scaled_dot_product_attention":
            query, key = call.tensors[:2]
            scale = call.kwargs.get("scale") or query.shape[-1] ** -0.5
            found = scale**2 * query.shape[-1] * second_moment(query) * second_moment(key)
        else:
            return
        self.loudest = max(self.loudest, found)

    def _at_hand(self, tensor: Tensor, signal: bool) -> Tensor:
        """Return a tensor as it will be once the factors are written."""
        name = self._params.get(id(tensor))
        if name is None and signal:  # computed by a parametrization, which is written through
            name = next((n for n in self._names(tensor) if n in self._written_through), None)
        elif name in self._written_through:
            name = None
        factor = 1.0 if name is None else self.factors.get(name, 1.0)
        value = self.weights.value(tensor)
        return value if factor == 1 else value * factor

    def _use(
        self,
        func: Function,
        call: Call,
        given: Given,
        names: list[str],
        result: object,
    ) -> object:
        """Note the use of a weight, and bring its result to the aim if it is moved."""
        weights = [name for name in names if name in self.aims.targets]
        looked_up = call.function in LOOKED_UP
        if call.function == ATTENTION and weights:
            return self._attention(func, call, given, result)
        role = role_of(call.function)
        if not looked_up and role != "contract":
            for name in weights if role in ("opaque", "attention") else ():
                self.together.setdefault(name, f"its product is inside of {call.function}")
            return result
        if not weights or not isinstance(result, Tensor) or not result.numel():
            return result
        if len(weights) > 1:
            for name in weights:
                others = ", ".join(n for n in weights if n != name)
                self.together[name] = f"one call multiplies by {others} as well"
            return result
        name, others = weights[0], [n for n in names if n != weights[0]]
        fixed = [n for n in others if n not in self.aims.biases]
        if meaning := [n for n in fixed if self.aims.reasons.get(n) == LEFT_ALONE["ssm"]]:
            self.together[name] = f"{meaning[0]} is added to its output: {LEFT_ALONE['ssm']}"
            return result
        for bias in others:
            if bias in self.aims.biases:
                self.along.setdefault(bias, set()).add(name)
        return self._calibrated(func, call, given, name, result)

    def _calibrated(
        self,
        func: Function,
        call: Call,
        given: Given,
        name: str,
        result: Tensor,
    ) -> Tensor:
        along = {name} | {b for b, ws in self.along.items() if ws == {name}}
        belonging = [(old, new) for old, new in _pairs(call, given) if self._belongs(old, along)]
        scaled = {id(new) for _, new in belonging}
        if not any(name in self._names(old) for old, _ in belonging):
            self.together[name] = "it is added to another weight before it multiplies"
            return result
        for old, _ in belonging:
            known = self._known.get(old)
            if known is not None and known.computed and name in known.params:
                self.computed[name] = norm_of(old)
        beside = any(
            id(new) not in scaled and self._is_added(call, old) for old, new in _pairs(call, given)
        )

        def run(factor: float) -> Tensor:
            args, kwargs = map_tensors(given, lambda t: t * factor if id(t) in scaled else t)
            return cast("Tensor", func(*args, **kwargs))

        factor = self._note_use(name, second_moment(result - run(0.0) if beside else result))
        return result if factor == 1 else run(factor)

    def _note_use(self, name: str, second: float) -> float:
        """Note the second moment of a weight's output; return the factor to go on with."""
        target = self.aims.targets[name]
        factor = steady(math.sqrt(target / second)) if 0 < second < math.inf else 1.0
        self.uses[name].append(Use(second, factor))
        return factor if name in self.moved else 1.0

    def _attention(
        self,
        func: Function,
        call: Call,
        given: Given,
        result: object,
    ) -> object:
        """Note the projections inside of torch's attention, and bring them to their aims."""
        theirs, ours = bound(call.args, call.kwargs), bound(*given)

        def bring(weight: str, bias: str, products: Callable[[], list[Tensor]]) -> bool:
            name = self._argument(theirs, weight)
            if name not in self.aims.targets:
                return False
            along = self._argument(theirs, bias)
            if along in self.aims.biases:
                self.along.setdefault(along, set()).add(name)
            seconds = [second_moment(product) for product in products()]
            factor = self._note_use(name, sum(seconds) / len(seconds))
            for argument in (weight, bias) if self.along.get(along) == {name} else (weight,):
                if factor != 1:
                    ours[argument] = ours[argument] * factor
            return factor != 1

        changed = [bring(*each) for each in in_products(ours)]
        if any(changed):
            result = func(**ours)
        out = next(tensors_in(result))
        return func(**ours) if bring(*OUT, lambda: [out]) else result

    def _argument(self, given: Mapping[str, Any], argument: str) -> str:
        """Return the name of the parameter that an argument is, or ""."""
        value = given.get(argument)
        names = self._names(value) if isinstance(value, Tensor) else ()
        return names[0] if len(names) == 1 else ""

    def _belongs(self, tensor: Tensor, along: set[str]) -> bool:
        names = self._names(tensor)
        return bool(names) and set(names) <= along

    def _is_added(self, call: Call, tensor: Tensor) -> bool:
        """Whether a call adds a tensor to the product: a bias that stays, addmm's first."""
        if call.function in ADD_FIRST and call.args and tensor is call.args[0]:
            return True
        return any(name not in self.aims.targets for name in self._names(tensor))

    def _is_signal(self, tensor: Tensor) -> bool:
        known = self._known.get(tensor)
        return known is not None and known.signal

    def _names(self, tensor: Tensor) -> tuple[str, ...]:
        """Return the parameters that a tensor is, or that alone determine it."""
        if id(tensor) in self._params:
            return (self._params[id(tensor)],)
        known = self._known.get(tensor)
        return () if known is None else known.params

    def _remember(
        self, tensor: Tensor, signal: bool, params: tuple[str, ...] = (), computed: bool = False
    ) -> None:
        self._known[tensor] = _Known(signal, params, computed)


def _run_through(through: Change, func: Function, call: Call, *args: Any, **kwargs: Any) -> object:
    return through(func, replace(call, args=args, kwargs=kwargs))


def _repeatable(func: Function, taken: list[Tensor]) -> Function:
    """Return a function whose calls all draw the random numbers of the first: its dropout."""
    devices = {t.device for t in taken if t.is_cuda}
    before, on_gpus = torch.get_rng_state(), [(d, torch.cuda.get_rng_state(d)) for d in devices]
    first = True

    def call(*args: Any, **kwargs: Any) -> object:
        nonlocal first
        if not first:
            torch.set_rng_state(before)
            for device, state in on_gpus:
                torch.cuda.set_rng_state(state, device)
        first = False
        return func(*args, **kwargs)

    return call


def _pairs(call: Call, given: Given) -> Iterable[tuple[Tensor, Tensor]]:
    """Return each tensor of a call as the model passed it, and as it is run."""
    return zip(call.tensors, tensors_in(given), strict=True)


def steady(factor: float) -> float:
    """Return a factor, or exactly 1 if it is within ``STEADY`` of it."""
    return 1.0 if abs(factor - 1) < STEADY else factor


def second_moment(tensor: Tensor) -> float:
    """Return the mean square."""
    with torch.autocast(tensor.device.type, enabled=False):
        return norm_of(tensor) ** 2 / tensor.numel()
