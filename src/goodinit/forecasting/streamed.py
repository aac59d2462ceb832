"""`StreamedWeights`: runs a model whose parameters aren't in memory.

A parameter gets its value at the call that takes it, and loses it afterwards. Where autograd saves
a parameter or a view of it for the backward pass, only its name is saved, and the same value is
drawn again. Its gradient is reduced to a norm.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import get_ident
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from goodinit._common.memory import return_free_memory
from goodinit._common.text import grouped_names
from goodinit._common.torch_private import (
    freed,
    run_backward,
    storage_key,
    without_function_modes,
)
from goodinit.anatomy.names import Slot
from goodinit.applying.planned_values import PlannedValues
from goodinit.dataflow.functions import role_of
from goodinit.errors import SignalError
from goodinit.forecasting.boxes import LARGE, Overview, looked_up
from goodinit.forecasting.parameter import INSTEAD, Parameter, comes_from_vmap
from goodinit.signal.attention_weights import CHOOSING, Concentration, concentration_of
from goodinit.signal.parameters import Weights, gradient_of, gradients_by_backward, norm_of
from goodinit.signal.rows import Gradient
from goodinit.trace.around import modules_hidden
from goodinit.trace.calls import Call, NullObserver, Observer, map_tensors, tensors_in
from goodinit.trace.real_run import Change
from goodinit.trace.snapshot import tensors_written

KEPT_WHOLE = 2**16
"""Elements up to which a parameter's value stays for the findings; of a larger one a row stays."""
RETURNED_AFTER = 2**25
"""Bytes of values; what was freed of them goes back to the system, or it would add up."""
PLACES = frozenset(("is_meta", "is_cuda", "is_cpu", "is_xpu", "is_mps", "device", "get_device"))


class _Saved(NamedTuple):
    """A parameter, or a view of it, that autograd saved: its place in the value's memory."""

    parameter: Parameter
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


class _Unchanged(NamedTuple):
    """Another saved tensor, and what its version was."""

    tensor: Tensor
    version: int


class _Take(torch.autograd.Function):
    """Gives a parameter its value; what comes back is its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(one: Tensor, weights: StreamedWeights, parameter: Parameter) -> Tensor:  # noqa: ARG004
        return weights.draw(parameter)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.parameter = inputs[2]
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if gradient is not None:
            with without_function_modes(), torch.no_grad():
                ctx.parameter.add(gradient)
        return None, None, None


class StreamedWeights(Weights):
    """The parameters of a model, drawn where they are used.

    Args:
        found: the model's slots.
        values: what they hold.
        device: where they are while they are used.
        step: called after each draw.

    Attributes:
        drawn: how many numbers were drawn or copied.
        live: whose memory is in use, by its key.
    """

    def __init__(
        self,
        found: Sequence[Slot],
        values: PlannedValues,
        device: torch.device,
        step: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(found)
        self.drawn = 0
        self.values = values
        self.device = device
        self._step = step
        self._found = [slot for slot in found if not slot.buffer]
        self._one = torch.ones((), device=device, requires_grad=True)
        self._by_id: dict[int, Parameter] = {}
        self._by_storage: dict[int, list[Parameter]] = {}
        self.live: dict[int, tuple[Parameter, Callable[[], bool]]] = {}
        self._contents: dict[str, Tensor] = {}
        self._observer: Observer = NullObserver()
        self._backward = False
        self._concentration: Concentration | None = None
        self._since_returned = 0
        for slot in self._found:
            for number, tensor in enumerate(slot.tensors):
                if not values.is_own(slot.name, number):
                    self._add(Parameter(tensor, slot.name, number))

    def _add(self, parameter: Parameter) -> None:
        tensor = parameter.tensor
        if getattr(tensor, "_backward_hooks", None):
            raise SignalError(
                f"{parameter.name} has a hook that changes its gradient, and in a forecast it has "
                f"none as a whole: remove the hook, or {INSTEAD}"
            )
        self._by_id[id(tensor)] = parameter
        self._by_storage.setdefault(storage_key(tensor), []).append(parameter)

    def give_twin(self, parameter: Parameter) -> None:
        """Let views of a parameter be taken on meta."""
        tensor = parameter.tensor
        if tensor.is_meta:
            parameter.twin = tensor
            return
        size, stride = tensor.size(), tensor.stride()
        twin = torch.empty_strided(size, stride, dtype=tensor.dtype, device="meta")
        parameter.twin = twin.requires_grad_(tensor.requires_grad)
        self._by_storage[storage_key(twin)] = [parameter]

    # What `measured` asks of weights.

    @contextmanager
    def around(self, observer: Observer) -> Generator[None]:
        """Set buffers, and see what autograd saves and custom functions get."""
        self._observer = observer
        with (
            self.values.in_buffers(),
            saved_tensors_hooks(self._pack, self._unpack),
            _custom_functions(self._value_passed),
        ):
            yield
        self._observer = NullObserver()  # the two refer to each other

    @property
    def change(self) -> Change:
        """What runs a call in the model's place."""
        return self._run_call

    def _run_call(self, func: Callable[..., Any], call: Call) -> object:
        """Run a call with values in place of parameters."""
        args, kwargs = call.args, call.kwargs
        first = args[0] if args else None
        if call.function in PLACES and isinstance(first, Tensor) and self._of(first) is not None:
            return self._claimed(call.function)
        if call.inplace and call.function == "data" and self._sets_what_is_there(args):
            return None
        self._refuse(call)
        if call.function == "embedding":
            result = looked_up(self, call)
            if result is not None:
                return result
        originals: dict[int, Tensor] = {}

        def value_of(tensor: Tensor) -> Tensor:
            value = self.value(tensor)
            originals[id(value)] = tensor
            return value

        args, kwargs = map_tensors((args, dict(kwargs)), value_of)
        if not self._backward and role_of(call.function) in CHOOSING:
            with without_function_modes():  # now, while its weights have values
                self._concentration = concentration_of(replace(call, args=args, kwargs=kwargs))
        result = func(*args, **kwargs)
        # A call that changes nothing, such as weight.to(its dtype), returns the parameter itself.
        return originals.get(id(result), result) if len(originals) == 1 else result

    def concentration(self, call: Call) -> Concentration | None:  # noqa: ARG002
        """Return how concentrated the attention of the last call was."""
        return self._concentration

    def contents(self, name: str) -> Tensor:
        """Return what the findings look at: a small parameter, or a row of a large one, repeated.

        The row is the one that holds the largest number: zero, or not finite, if the whole is.
        """
        slot = self.slots[name]
        if self.values.is_own(name, len(slot.tensors) - 1):
            return slot.tensors[-1]
        if name not in self._contents:
            self.draw(self._by_id[id(slot.tensors[-1])])
        return self._contents[name].requires_grad_(slot.tensors[-1].requires_grad)

    def gradients(
        self, total: Tensor, given: list[Tensor], run: Callable[..., Any], reentrant: bool
    ) -> list[Gradient]:
        """Run the backward pass; return what the parameters' gradients were."""
        wanted = [(slot, t) for slot in self._found for t in slot.tensors if t.requires_grad]
        own = [t for _, t in wanted if id(t) not in self._by_id]
        self._backward = True
        leaves = [self._one, *own]
        if reentrant:
            back = partial(run_backward, total, (), accumulate=True)
            found = gradients_by_backward(total, leaves, given, lambda: self._running(run, back))
        else:
            back = partial(run_backward, total, leaves, accumulate=False)
            found = cast("tuple[Tensor | None, ...]", self._running(run, back))
        self._close()
        by_id = {id(t): g for t, g in zip(own, found[1:], strict=True)}
        return [self._gradient(slot, t, by_id) for slot, t in wanted]

    def _close(self) -> None:
        """Reduce what arrived of gradients, where more could have come."""
        for parameter in self.parameters():
            parameter.close()

    def _running(self, run: Callable[..., Any], back: Callable[[], object]) -> object:
        """Run the backward pass; what checkpoints compute a second time takes parameters too."""
        return run(NullObserver(), {}, back, self.change)

    def _gradient(self, slot: Slot, tensor: Tensor, own: Mapping[int, Tensor | None]) -> Gradient:
        parameter = self._by_id.get(id(tensor))
        if parameter is None:
            return gradient_of(slot.name, own[id(tensor)], tensor)
        if parameter.size is None:
            return Gradient(slot.name, None)
        return Gradient.of_norms(slot.name, parameter.size, parameter.weight or 0.0)

    def notes(self) -> list[str]:
        """Return where the parameters came from."""
        planned = {p.name for p in self.parameters() if self.values.row(p.name) is not None}
        own = [slot.name for slot in self._found if slot.name not in planned]
        texts = (("Drawn where used", self.drawn_names()), ("Own values", own))
        return [f"{text}: {grouped_names(names, len(names))}." for text, names in texts if names]

    def drawn_names(self) -> list[str]:
        """Return the parameters that were drawn by the plan."""
        drawn = (p.name for p in self.parameters() if p.uses and self.values.row(p.name))
        return list(dict.fromkeys(drawn))

    def parameters(self) -> list[Parameter]:
        """Return the parameters that have a value only while a call takes them."""
        return list(self._by_id.values())

    # Values.

    def value(self, tensor: Tensor) -> Tensor:
        """Return what a call gets for a tensor: a parameter's value, or the tensor itself."""
        parameter = self._of(tensor)
        if parameter is not None:
            return self._take(parameter)
        if comes_from_vmap(tensor, self._by_storage):
            return tensor
        beside = self._by_storage.get(storage_key(tensor)) if tensor.layout is torch.strided else ()
        for parameter in beside or ():
            if _windows_meet(parameter.base(tensor), tensor):
                return self._part(parameter, tensor)
        if tensor.is_meta:
            raise SignalError(
                f"a tensor on meta of shape {tuple(tensor.shape)} isn't a parameter, and has no "
                f"values: build the model inside `with gi.skeleton():`, which leaves it real; a "
                f"parameter copied as a whole has none either: {INSTEAD}"
            )
        return tensor

    def draw(self, parameter: Parameter) -> Tensor:
        """Return a new tensor with a parameter's value."""
        self.about_to_draw(parameter)
        with without_function_modes(), modules_hidden(), torch.no_grad():
            try:
                value = self.values.of(parameter.name, parameter.number)
            except (RuntimeError, MemoryError) as error:
                if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
                    raise
                size = parameter.tensor.numel() * parameter.tensor.element_size() / 2**30
                raise SignalError(
                    f"not enough memory for {parameter.name}, {tuple(parameter.tensor.shape)} of "
                    f"{parameter.tensor.dtype}: it alone takes {size:.3g} GiB"
                ) from error
            self._count(value)
            self._remember(parameter, value)
            self._step()
            return value

    def about_to_draw(self, parameter: Parameter) -> None:
        """Do what has to be done before a parameter's value is drawn, or a part of it."""

    def large_with_rows(self, tensor: object) -> Parameter | None:
        """Return the large parameter that a tensor is, if its rows can be drawn apart."""
        parameter = self._of(tensor) if isinstance(tensor, Tensor) else None
        if parameter is None or parameter.tensor.numel() < LARGE:
            return None
        return parameter if self.values.has_rows(parameter.name, parameter.number) else None

    def draw_rows(self, parameter: Parameter, start: int, stop: int) -> Tensor:
        """Return a new tensor with rows of a parameter's value."""
        with without_function_modes(), modules_hidden(), torch.no_grad():
            value = self.values.rows(parameter.name, parameter.number, start, stop)
            self._count(value)
            return value

    def note_overview(self, parameter: Parameter, overview: Overview) -> None:
        """Keep what the findings ask of a parameter that was seen in boxes."""
        if parameter.weight is None:
            parameter.weight = overview.norm if parameter.tensor.requires_grad else 0.0
            if parameter.tensor is self.slots[parameter.name].tensors[-1]:
                assert overview.row is not None
                self._contents[parameter.name] = overview.row.expand(parameter.tensor.shape)

    def take(self, parameter: Parameter) -> Tensor:
        """Note that a call takes a parameter in parts; return what its gradient comes to."""
        self.about_to_draw(parameter)
        if not self._backward:
            parameter.uses += 1
        return self._one if parameter.tensor.requires_grad else self._one.detach()

    def _count(self, value: Tensor) -> None:
        self.drawn += value.numel()
        self._since_returned += value.numel() * value.element_size()
        if self._since_returned > RETURNED_AFTER:
            self._since_returned = 0
            return_free_memory()

    def _remember(self, parameter: Parameter, value: Tensor) -> None:
        for key in [key for key, (_, is_freed) in self.live.items() if is_freed()]:
            del self.live[key]
        storage = value.untyped_storage()
        # As long as a weak reference is there, no other storage gets the address.
        self.live[storage_key(value)] = (parameter, freed(storage))
        if parameter.weight is None:
            parameter.weight = norm_of(value) if parameter.tensor.requires_grad else 0.0
            if parameter.tensor is self.slots[parameter.name].tensors[-1]:
                self._contents[parameter.name] = _content(value)

    def _of(self, tensor: Tensor) -> Parameter | None:
        parameter = self._by_id.get(id(tensor))
        return parameter if parameter is not None and parameter.tensor is tensor else None

    def _take(self, parameter: Parameter) -> Tensor:
        if not self._backward:
            parameter.uses += 1
        if not (parameter.tensor.requires_grad and torch.is_grad_enabled()):
            return self.draw(parameter)
        with without_function_modes():
            return cast("Tensor", _Take.apply(self._one, self, parameter))

    def _part(self, parameter: Parameter, part: Tensor) -> Tensor:
        """Return the part of a parameter's value that another tensor shows of its memory."""
        if part.dtype != parameter.tensor.dtype:
            raise SignalError(
                f"{parameter.name} is read as {part.dtype}, and is {parameter.tensor.dtype}: "
                f"{INSTEAD}"
            )
        offset = part.storage_offset() - parameter.base(part).storage_offset()
        with torch.set_grad_enabled(torch.is_grad_enabled() and part.requires_grad):
            return self._take(parameter).as_strided(part.size(), part.stride(), offset)

    def _value_passed(self, tensor: Tensor) -> Tensor:
        """Return what a custom function gets, whose calls then take it without asking here."""
        if tensor.layout is not torch.strided or not self._is_parameter(tensor):
            return tensor
        value = self.value(tensor)
        self._observer.source(tensor, value)
        return value

    def _is_parameter(self, tensor: Tensor) -> bool:
        return self._of(tensor) is not None or storage_key(tensor) in self._by_storage

    def _claimed(self, name: str) -> object:
        home = self.device
        if name == "device":
            return home
        if name == "get_device":
            return -1 if home.type == "cpu" else home.index
        return name.removeprefix("is_") == home.type

    def _refuse(self, call: Call) -> None:
        """Raise where a model changes a parameter, or asks for a gradient by it."""
        func: Any = call.func
        written = list(tensors_written(func, call.function, call.inplace, call.args, call.kwargs))
        if call.inplace and call.function == "data":
            written = list(tensors_in(call.args[:1]))
        for tensor in written:
            parameter = self._of(tensor) or self._shown_by(tensor)
            if parameter is not None:
                raise SignalError(
                    f"{call.path or 'the model'} writes to {parameter.name} while it runs "
                    f"({call.function}), and a forecast draws it again at each use: {INSTEAD}"
                )
        if func is torch.autograd.grad or call.function == "backward":
            by = call.args[1:2] or call.kwargs.get("inputs", ())
            taken = any(self._is_parameter(t) for t in tensors_in(by) if t.layout is torch.strided)
            if taken or (not self._backward and func is not torch.autograd.grad):
                raise SignalError(
                    f"{call.path or 'the model'} takes a gradient by its parameters while it runs, "
                    f"and in a forecast they have none: {INSTEAD}"
                )

    def _sets_what_is_there(self, args: tuple[Any, ...]) -> bool:
        """Whether ``parameter.data`` is set to its own value, as ``module.to(dtype)`` does."""
        parameter, value = self._of(args[0]), args[1]
        same = parameter is not None and self._shown_by(value) is parameter
        return same and value.shape == args[0].shape and value.dtype == args[0].dtype

    def _shown_by(self, tensor: Tensor) -> Parameter | None:
        """Return the parameter whose value's memory a tensor shows."""
        if tensor.layout is not torch.strided:
            return None
        key = storage_key(tensor)
        if key in self._by_storage:
            return self._by_storage[key][0]
        live = self.live.get(key)
        return None if live is None else live[0]

    # What autograd saves.

    def _pack(self, tensor: Tensor) -> object:
        with without_function_modes():
            parameter = self._shown_by(tensor)
            plain = not (tensor.is_conj() or tensor.is_neg())
            if parameter is None or not plain or tensor.dtype != parameter.tensor.dtype:
                return _Unchanged(tensor, tensor._version)
            return _Saved(parameter, *_place(tensor))

    def _unpack(self, saved: Any) -> Tensor:
        with without_function_modes():
            if isinstance(saved, _Saved):
                return self.draw(saved.parameter).as_strided(*saved[1:])
            if saved.tensor._version != saved.version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    "inplace operation"
                )
            return saved.tensor


@contextmanager
def _custom_functions(change: Callable[[Tensor], Tensor]) -> Generator[None]:
    """Change the tensors that this thread's custom autograd functions get.

    They aren't torch functions, and no mode sees them called.
    """
    function, thread = torch.autograd.Function, get_ident()
    before = vars(function)["apply"]

    def apply(cls: type[torch.autograd.Function], *args: Any, **kwargs: Any) -> Any:
        if get_ident() == thread:
            args, kwargs = map_tensors((args, kwargs), change)
        return before.__get__(None, cls)(*args, **kwargs)  # torch 2.15's is written in C

    function.apply = classmethod(apply)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        function.apply = before


def _content(value: Tensor) -> Tensor:
    """Return as much of a value as the findings look at."""
    if value.numel() > KEPT_WHOLE and value.dim() > 1 and value.is_floating_point():
        rows = value.reshape(-1, value.shape[-1])
        row = rows[rows.abs().amax(1).argmax()].clone()
        return row.expand(value.shape)
    return value.clone()


def _windows_meet(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors on one storage may show the same element."""
    (first, end), (start, last) = _window(a), _window(b)
    return first < last and start < end


def _place(tensor: Tensor) -> tuple[torch.Size, tuple[int, ...], int]:
    return tensor.size(), tensor.stride(), int(tensor.storage_offset())


def _window(tensor: Tensor) -> tuple[int, int]:
    size, stride, offset = _place(tensor)
    span = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    start = offset * tensor.element_size()
    return start, start + (span + 1) * tensor.element_size() * bool(tensor.numel())
