"""Running a model without its weights: what depends on them has a shape and no values.

A parameter or a floating input enters as a tensor on the meta device, so whatever depends on
one costs no memory. Integers, masks and tables that depend on neither (position ids, causal
masks, rotary tables) are computed for real, so that a model may ask ``mask.all()`` or
``lengths.tolist()``. Every tensor claims to be on the model's device. Nothing that came from
outside is ever written to: a stand-in enters instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from goodinit._common.by_tensor import ByTensor
from goodinit._common.torch_private import without_function_modes
from goodinit.trace.calls import Call, Observer, map_arguments, name_of, tensors_in, tensors_of
from goodinit.trace.known_results import KnownResults
from goodinit.trace.process import RandomNumbers
from goodinit.trace.tensor_types import dtype_of, type_text

# Getters and queries that make no tensor: passed on, not shown.
QUERIES = frozenset(
    "shape dtype requires_grad is_leaf grad_fn layout ndim grad names is_quantized is_sparse "
    "is_mkldnn is_nested itemsize nbytes _version size dim numel stride storage_offset "
    "is_contiguous element_size is_floating_point is_complex is_inference nelement ndimension "
    "is_same_size has_names __len__ __hash__ __repr__ __format__ requires_grad retain_grad "
    "is_tensor is_storage _base is_neg is_conj is_signed untyped_storage storage data_ptr "
    "__dir__ __reduce_ex__ __deepcopy__ register_hook result_type can_cast broadcast_shapes".split()
)
DIFFERENTIATED = "autograd_grad"
"""What a gradient that the model takes itself is called; ``x.grad`` is another thing."""
FAST_PATH = "_nested_tensor_from_mask_left_aligned"
"""Asked by nn.TransformerEncoder whether it may leave padding out, in one fused call that shows
nothing. Its other fused calls are not made under a mode."""

# Where torch computes shapes for the meta device in Python. Code that no mode sees, such as a
# TorchScript function, gets there under this one. If its tensors claimed to be on another device,
# the result would be there too, with values that nobody wrote.
_META_KERNELS = ("torch._prims", "torch._refs", "torch._meta_registrations", "torch._decomp")

_PLACE = frozenset(("is_meta", "is_cuda", "is_cpu", "is_xpu", "is_mps"))
_MOVES = frozenset(("to", "cuda", "cpu", "xpu", "type_as", "as_tensor", "asarray", "tensor"))


class MetaTracer(TorchFunctionMode):
    """Shows each call of a public torch function to an observer.

    Args:
        observer: what listens.
        inputs: the model's inputs; floating ones go to meta.
        home: the device that every tensor claims to be on.
        real: compute everything for real, with the model's own weights.
        numbers: how the run draws random numbers.

    Attributes:
        differentiates: whether the model has taken a gradient itself.
    """

    def __init__(
        self,
        observer: Observer,
        inputs: Iterable[Tensor],
        home: torch.device,
        real: bool,
        numbers: RandomNumbers,
    ) -> None:
        super().__init__()
        self.path: list[str] = [""]
        self._observer = observer
        self._inputs = {id(tensor) for tensor in inputs}
        self._home = home
        self._real = real
        self._numbers = numbers
        self._known = KnownResults()
        self.differentiates = False
        self._made = ByTensor[bool]()
        self._stand_ins: dict[int, tuple[Tensor, Tensor]] = {}
        self._written: set[int] = set()  # ids of tensors whose stand-ins their views share

    def stand_in(self, tensor: Tensor) -> Tensor:
        """Return what takes a tensor's place: itself if the trace made it."""
        pair = self._stand_ins.get(id(tensor))
        if pair is not None and pair[0] is tensor:
            return pair[1]
        base = tensor._base if self._written else None
        if base is not None and id(base) in self._written:
            return self._view(tensor, self._stand_ins[id(base)][1])
        if self._made.get(tensor):
            return tensor
        followed = isinstance(tensor, nn.Parameter) or id(tensor) in self._inputs
        valueless = followed and (tensor.is_floating_point() or tensor.is_complex())
        if tensor.is_meta or (valueless and not self._real):
            twin = _on_meta(tensor)
        else:
            twin = tensor.detach().clone()
        self._observer.source(tensor, twin)
        return self._replace(tensor, twin)

    def _replace(self, tensor: Tensor, twin: Tensor) -> Tensor:
        self._stand_ins[id(tensor)] = (tensor, twin)
        self._remember(twin)
        return twin

    def _write(self, tensor: Tensor) -> Tensor:
        """Return the stand-in of a tensor with values, once one without values is written to it.

        A view stays a view: what is written to it is in the whole.
        """
        whole = tensor if tensor._base is None else tensor._base
        twin = self._replace(whole, _on_meta(whole))
        self._observer.source(whole, twin)
        self._written.add(id(whole))
        return twin if whole is tensor else self._view(tensor, twin)

    def _view(self, tensor: Tensor, whole: Tensor) -> Tensor:
        place = tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())
        with without_function_modes():
            view = whole.as_strided(*place)
        path, taken = self.path[-1], (whole, *place)
        self._observer.call(Call(path, "as_strided", False, taken, {}, view, Tensor.as_strided))
        return self._replace(tensor, view)

    def _remember(self, value: object) -> None:
        if isinstance(value, Tensor):
            self._made[value] = True
            return
        for tensor in tensors_in(value):
            self._made[tensor] = True

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if _is_inside_torch(inspect.currentframe()):
            return func(*args, **(kwargs or {}))
        if func is torch.broadcast_tensors:  # several views, none a view of another
            shape = cast("torch.Size", torch.broadcast_shapes(*(tensor.shape for tensor in args)))
            return tuple(self._run_call(Tensor.expand, (tensor, shape), {}) for tensor in args)
        return self._run_call(func, args, kwargs or {})

    def _run_call(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        name, inplace = name_of(func)
        if name == "iter":
            return iter(self._run_call(Tensor.unbind, args[:1], {}))
        if inplace and name in ("data", "grad"):
            return args[0]  # nothing that is set on a tensor may outlive the trace
        if inplace and name == "requires_grad":
            func(self.stand_in(args[0]), *args[1:], **kwargs)
            return args[0]
        if func is Tensor.type:
            kind = dtype_of([*args[1:], *kwargs.values(), None][0])
            if kind is None:
                return type_text(args[0], self._home)
            func, args, kwargs = Tensor.to, (args[0], kind), {}
        if func is torch.autograd.grad or name == "backward":
            self.differentiates, name = True, DIFFERENTIATED
        if name in QUERIES:
            return func(*args, **kwargs)
        if name == FAST_PATH:
            return False
        if name in ("device", "get_device") or name in _PLACE:
            return self._claimed_place(name)
        first = args[0] if args else None
        args, kwargs = map_arguments(args, kwargs, self.stand_in)
        given, given_kwargs, called = args, kwargs, func
        places = {t.is_meta for t in tensors_of(args, kwargs) if not self._real}
        if True in places:
            if inplace and args and isinstance(args[0], Tensor) and not args[0].is_meta:
                given = (self._write(args[0]), *args[1:])
            if name in ("getitem", "setitem", "masked_select") and len(args) > 1:
                args = (args[0], _with_positions(args[1]), *args[2:])
                func = Tensor.__getitem__ if name == "masked_select" else func
                places.add(False)  # positions of a mask
            if False in places:
                args, kwargs = map_arguments(args, kwargs, self._to_meta)
        if name in _MOVES:
            args, kwargs = without_devices(args, kwargs)
            if name in ("cuda", "cpu", "xpu"):
                func, args, kwargs = Tensor.to, args[:1], {}
        key, result = None, None if torch.is_grad_enabled() else _quick_result(name, args, kwargs)
        if result is None and not inplace and not self._real:
            key, result = self._known.result(name, func, args, kwargs)
        if name in ("nonzero", "where", "argwhere") and len(args) == 1 and args[0].is_meta:
            result = _positions(args[0])
            as_tuple = name == "where" or kwargs.get("as_tuple", False)
            result = result if as_tuple else torch.stack(result, -1)
        if result is None:
            result = self._numbers.drawn_apart(name, func, args, kwargs)
            if key is not None:
                self._known.note(key, result, tensors_of(args, kwargs))
        if name in _MOVES and isinstance(first, nn.Parameter) and args and result is args[0]:
            return first  # module.to(device) would put another one in its place
        self._remember(result)
        call = Call(self.path[-1], name, inplace, given, given_kwargs, result, called)
        self._observer.call(call)
        return result

    def _claimed_place(self, name: str) -> object:
        if name == "device":
            return self._home
        if name == "get_device":
            return -1 if self._home.type == "cpu" else self._home.index
        if name in ("is_cuda", "is_cpu"):
            return self._home.type == name[3:]
        return False

    def _to_meta(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        pair = self._stand_ins.get(id(tensor))
        return pair[1] if pair is not None and pair[1].is_meta else _on_meta(tensor)


def _is_inside_torch(frame: FrameType | None) -> bool:
    """Whether a frame was called by torch's own code for the meta device."""
    caller = None if frame is None else frame.f_back
    return caller is not None and str(caller.f_globals.get("__name__")).startswith(_META_KERNELS)


def _on_meta(tensor: Tensor) -> Tensor:
    with without_function_modes():
        if tensor.layout is not torch.strided:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _with_positions(index: Any) -> Any:
    """Return an index with masks as positions, so that their number is known."""
    if isinstance(index, Tensor) and index.dtype is torch.bool:
        where = _positions(index)
        return where if len(where) != 1 else where[0]
    if not isinstance(index, tuple):
        return index
    places: list[Any] = []
    for item in cast("tuple[Any, ...]", index):
        place = _with_positions(item)
        places.extend(cast("tuple[Any, ...]", place) if isinstance(place, tuple) else (place,))
    return tuple(places)


def _positions(mask: Tensor) -> tuple[Tensor, ...]:
    """Return where a mask is true; a mask of unknown values counts as true everywhere.

    So every expert that a token may choose runs, each with all tokens.
    """
    with without_function_modes():
        known = torch.ones(mask.shape, dtype=torch.bool, device="cpu") if mask.is_meta else mask
        return known.nonzero(as_tuple=True)


def _quick_result(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return a result on meta if torch's own kernel is limited or slow; else None.

    That of ``grouped_mm`` takes bfloat16 only; those of ``linear`` and ``batch_norm`` take
    milliseconds in Python, that of ``linear`` seconds the first time.
    """
    if name == "batch_norm" and args and _channels_fit((*args, *kwargs.values())):
        return torch.empty_like(args[0])
    if name not in ("linear", "grouped_mm", "_grouped_mm") or len(args) < 2:
        return None
    a, b = args[:2]
    if not a.is_meta or torch.is_autocast_enabled("cpu"):
        return None
    if name != "linear":
        stacked = b.shape[:1] if a.ndim == b.ndim else ()
        shape, dtype = (*stacked, a.shape[-2], b.shape[-1]), kwargs.get("out_dtype")
    elif b.ndim == 2 and a.ndim and a.shape[-1] == b.shape[1] and a.dtype == b.dtype:
        shape, dtype = (*a.shape[:-1], b.shape[0]), None
    else:
        return None  # let torch say what is wrong
    return torch.empty(shape, dtype=dtype or a.dtype, device="meta")


def _channels_fit(given: tuple[Any, ...]) -> bool:
    """Whether a batch norm's tensors are on meta and fit, more than one value a channel."""
    x, *rest = [a for a in given if isinstance(a, Tensor)]
    channels = x.shape[1] if x.is_meta and x.ndim > 1 else 0
    fits = all(t.shape == (channels,) and t.dtype == x.dtype for t in rest)
    return channels > 0 and fits and x.numel() > channels


def without_devices(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments without those that name a device."""
    kept = args[:1] + tuple(a for a in args[1:] if isinstance(a, (torch.dtype, Tensor)))
    if [a for a in args[1:] if isinstance(a, bool)][1:] == [True]:  # non_blocking, copy
        kwargs = kwargs | {"copy": True}
    return kept, {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking")}
