"""Models built without memory, except for what only their constructors know: ``skeleton``."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from goodinit._common.torch_private import storage_key
from goodinit.anatomy.held import RECORDED, held_by
from goodinit.anatomy.modules import is_known_type
from goodinit.anatomy.zeros import NEARLY_ZERO

# Of a class's own parameters up to this size the value is recorded. Scales, tokens, A_log and the
# like are smaller, and a megabyte is little for a model.
LARGEST_RECORDED = 2**18

_EMPTY = frozenset(("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"))

# Writes that say what a part of a tensor is, whatever it held before. Others are random, or are
# computed from what it held.
_SETTING = frozenset("__setitem__ copy_ fill_ zero_ constant_ index_fill_ masked_fill_".split())


@contextmanager
def skeleton() -> Generator[None]:
    """Build models with parameters on meta, and keep what only a constructor knows.

    ``torch.device("meta")`` puts everything on meta, so that what is computed in ``__init__`` is
    lost: RoPE's frequencies, a causal mask, LayerScale's 1e-5. Here parameters move to meta when
    modules register them, and buffers stay real. A large model takes hardly any memory (each
    parameter is allocated for a moment, and never written). Recorded are the values of a class's
    own parameters, unless they are large and no single value or pattern, and of parameters of
    torch's modules what they were set to: one value (a zero convolution), or numbers written into
    all parts of a small one (the bias of a spatial transformer), or normal or uniform numbers so
    small that nothing passes at first (gMLP's gates).
    ``gi.init_(model, recipe, materialize="cpu")`` completes the model: what a recipe keeps gets
    its recorded value. Ties stay. Lazy parameters and other subclasses of ``nn.Parameter`` are
    left alone.

    Example:
        >>> with skeleton():
        ...     net = nn.Sequential(nn.Linear(1000, 1000), nn.BatchNorm1d(3))
        >>> net[0].weight.device.type, net[1].weight.device.type, net[1].running_var.device.type
        ('meta', 'meta', 'cpu')
    """
    made = WeakTensorKeyDictionary()  # a parameter registered twice stays one
    recorder = _Recorder()

    def to_meta(module: nn.Module, _name: str, parameter: object) -> nn.Parameter | None:
        if type(parameter) is not nn.Parameter or parameter.is_meta:
            return None
        known = cast("nn.Parameter | None", made.get(parameter))
        if known is None:
            known = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
            vars(known).update(vars(parameter))
            made[parameter] = known
            unset = recorder.is_unset(parameter)
            waits = unset and is_known_type(module)  # for torch's own reset_parameters
            recorder.add(known, None if waits else _worth_recording(parameter), unset=unset)
        return known

    handle = register_module_parameter_registration_hook(cast("Any", to_meta))
    try:
        with recorder:
            yield
    finally:
        handle.remove()
        recorder.finish()


def _worth_recording(parameter: nn.Parameter) -> Tensor | None:
    """Return the value of a class's own parameter, in as little memory as it takes."""
    held = held_by(parameter)
    if held.what == "constant":
        value = torch.full((), held.value, dtype=parameter.dtype, device="cpu")
        return value.expand(parameter.shape)
    if parameter.numel() <= LARGEST_RECORDED or held.what == "pattern":
        return parameter.detach().clone()
    return None


class _Recorder(TorchFunctionMode):
    """Follows the values of parameters on meta while a model is built, by their memory."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, nn.Parameter] = {}
        self._values: dict[int, Tensor] = {}
        self._unset: set[int] = set()  # memory that torch.empty gave, and nobody wrote to
        self._partly: set[int] = set()  # known in part: NaN stands for the rest

    def add(self, parameter: nn.Parameter, value: Tensor | None, *, unset: bool) -> None:
        """Follow a parameter from now on."""
        key = storage_key(parameter)
        self._made[key] = parameter
        if value is not None:
            self._values[key] = value
        (self._unset.add if unset else self._unset.discard)(key)

    def is_unset(self, parameter: nn.Parameter) -> bool:
        """Return whether a parameter holds what was in memory before."""
        return storage_key(parameter) in self._unset

    def finish(self) -> None:
        """Note on each parameter the value that it has now."""
        for key in self._values.keys() - self._unset:
            value = self._values[key]
            if key not in self._partly or not bool(value.isnan().any()):
                vars(self._made[key])[RECORDED] = value

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not args and "tensor" in kwargs:  # so torch.nn.init's functions are passed on
            args = (kwargs.pop("tensor"),)
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        target = args[0] if args else None
        self._note_memory(name, result, args)
        writes = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        if writes and isinstance(target, Tensor) and name not in ("requires_grad_", "detach_"):
            key = storage_key(target)
            self._unset.discard(key)
            if target.is_meta and key in self._made:
                self._write(key, target, name, func, args[1:], kwargs)
        return result

    def _note_memory(self, name: str, result: object, args: tuple[Any, ...]) -> None:
        """Note whether a new tensor's memory was written to; a view counts as its base."""
        if not isinstance(result, Tensor) or result.is_meta or result.layout is not torch.strided:
            return
        key = storage_key(result)
        if name in _EMPTY:
            self._unset.add(key)
        elif all(storage_key(t) != key for t in args[:1] if isinstance(t, Tensor)):
            self._unset.discard(key)  # the address of memory that was freed

    def _write(
        self,
        key: int,
        target: Tensor,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Do with the recorded value what is done with the parameter, or forget it."""
        made, before = self._made[key], self._values.pop(key, None)
        whole = target.shape == made.shape
        number = 0.0 if name == "zero_" else None
        if name in ("fill_", "constant_"):
            number = args[0] if args else kwargs.get("val", kwargs.get("value"))
        if whole and isinstance(number, (int, float)):
            value = torch.full((), number, dtype=target.dtype, device="cpu")
            self._values[key] = value.expand(target.shape)
            return
        if whole and _is_little(name, made, args, kwargs):
            value = torch.empty(made.shape, dtype=made.dtype, device="cpu")
            random = torch.Generator().manual_seed(0)  # what is drawn elsewhere doesn't change
            with torch.no_grad():
                self._values[key] = func(value, *args, **{**kwargs, "generator": random})
            return
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if before is None:
            before = _unknown(made) if name in _SETTING else None
            self._partly.add(key)
        if before is None or any(value.is_meta for value in given):
            return
        value = before.clone()  # an expanded one can't be written to
        if not whole and value.stride() != made.stride():
            return
        place = value.as_strided(target.shape, target.stride(), target.storage_offset())
        with torch.no_grad():
            func(value if whole else place, *args, **kwargs)
        self._values[key] = value


def _is_little(name: str, made: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a small weight of a layer is drawn so near to 0 that nothing passes it at first."""
    if name not in ("normal_", "uniform_") or made.dim() < 2 or made.numel() > LARGEST_RECORDED:
        return False
    names = ("mean", "std") if name == "normal_" else ("a", "b")
    numbers = dict(zip(names, (0.0, 1.0), strict=True)) | dict(zip(names, args, strict=False))
    first, second = ({**numbers, **kwargs}[key] for key in names)
    if not (isinstance(first, (int, float)) and isinstance(second, (int, float))):
        return False
    rms = math.hypot(first, second) if name == "normal_" else max(abs(first), abs(second))
    return 0 < rms * (made.numel() / made.shape[0]) ** 0.5 <= NEARLY_ZERO


def _unknown(parameter: nn.Parameter) -> Tensor | None:
    """Return NaN for each number of a small parameter with unknown values."""
    floats = parameter.is_floating_point() or parameter.is_complex()
    if not floats or parameter.numel() > LARGEST_RECORDED:
        return None
    return torch.full_like(parameter, math.nan, device="cpu")
