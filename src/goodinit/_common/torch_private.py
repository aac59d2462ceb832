"""The private names of torch that goodinit asks for, and what happens in a torch without them.

torch may rename any of these. ``CONSEQUENCES`` says what then fails, which is never the import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pkgutil import resolve_name
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn

FAST = "the native kernels are off: torch code draws the same values, several times slower"
CONSEQUENCES = {
    "torch:_C._dispatch_keys": FAST,
    "torch:_C._len_torch_dispatch_stack": FAST,
    "torch:_C._len_torch_function_stack": FAST,
    "torch:_C._get_function_stack_at": FAST,
    "torch.utils._device:DeviceContext": FAST,
    "torch:_C._functorch.peek_interpreter_stack": FAST,
    "torch:_C._functorch.is_batchedtensor": (
        "a model that maps over its parameters by torch.vmap can't be measured"
    ),
    "torch:_C._functorch.get_unwrapped": (
        "a forecast takes a model's own values where a model maps over its parameters by torch.vmap"
    ),
    "torch:_C._get_tracing_state": FAST,
    "torch:_C._is_torch_function_all_disabled": (
        "the backward pass of a forecast draws by torch code, several times slower"
    ),
    "torch:_C.DisableTorchFunction": "torch's calls inside goodinit's may be reported",
    "torch:_C._autograd._top_saved_tensors_default_hooks": (
        "gradient checkpointing is not noticed where a calibration takes gradients"
    ),
    "torch:UntypedStorage._cdata": "on meta, tensors that share memory are not recognized",
    "torch.autograd:Variable._execution_engine.run_backward": (
        "a forecast can't run checkpointed parts of a model a second time"
    ),
    "torch.multiprocessing.reductions:StorageWeakRef": "nothing: Python's weak references serve",
    "torch.nn.modules.batchnorm:_BatchNorm": (
        "a norm that isn't a subclass of torch's public batch norms isn't checked for statistics"
    ),
    "torch.nn.modules.linear:NonDynamicallyQuantizableLinear": (
        "the bias of an attention's output is said to be drawn as a linear layer's; torch zeroes it"
    ),
}
"""Name, in the form of ``pkgutil.resolve_name`` -> what is lost without it."""


def missing(name: str = "") -> tuple[str, ...]:
    """Return the names that this torch doesn't have: of all, or of the one that is given.

    >>> missing("torch:Tensor")
    ()
    >>> missing("torch:_C._renamed")
    ('torch:_C._renamed',)
    """
    return tuple(n for n in ((name,) if name else CONSEQUENCES) if _find(n) is None)


def _find(name: str) -> Any:
    try:
        return resolve_name(name)
    except (AttributeError, ImportError):
        return None


def _zero() -> int:
    return 0


def _none() -> None:
    return None


dispatch_modes: Callable[[], int] = _find("torch:_C._len_torch_dispatch_stack") or _zero
"""How many ``TorchDispatchMode`` are active."""
_function_modes: Callable[[], int] = _find("torch:_C._len_torch_function_stack") or _zero
_disabled: Callable[[], bool] = _find("torch:_C._is_torch_function_all_disabled") or (lambda: False)
without_function_modes: Callable[[], AbstractContextManager[Any]] = (
    _find("torch:_C.DisableTorchFunction") or nullcontext
)
"""A context in which no mode or subclass sees torch's functions called."""

_norms: Any = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
BatchNorm: type[nn.BatchNorm2d] = _find("torch.nn.modules.batchnorm:_BatchNorm") or _norms
"""What ``isinstance`` takes for all batch norms: their base, or the public ones."""


class _Absent(nn.Linear):
    """The type of no module."""


AttentionOutput: type[nn.Linear] = (
    _find("torch.nn.modules.linear:NonDynamicallyQuantizableLinear") or _Absent
)
"""The type of ``nn.MultiheadAttention.out_proj``."""

_keys: Callable[[Tensor], Any] | None = _find("torch:_C._dispatch_keys")
_mode_at: Callable[[int], object] | None = _find("torch:_C._get_function_stack_at")
_device_context: type | None = _find("torch.utils._device:DeviceContext")
_interpreter: Callable[[], object] = _find("torch:_C._functorch.peek_interpreter_stack") or _none
_tracer: Callable[[], object] = _find("torch:_C._get_tracing_state") or _none
_batched: Callable[[Tensor], bool] | None = _find("torch:_C._functorch.is_batchedtensor")
_unwrapped: Callable[[Tensor], Tensor] | None = _find("torch:_C._functorch.get_unwrapped")
_hooks: Callable[[bool], object] | None = _find(
    "torch:_C._autograd._top_saved_tensors_default_hooks"
)
_COMPLETE = not any(loss is FAST and missing(name) for name, loss in CONSEQUENCES.items())


def transforms() -> bool:
    """Return whether a transform of torch.func or a tracer is active."""
    return _interpreter() is not None or bool(_tracer())


def is_mapped(tensor: Tensor) -> bool:
    """Return whether a tensor is one of ``torch.vmap``, whose numbers can't be read."""
    return _batched is not None and _batched(tensor)


def unmapped(tensor: Tensor) -> Tensor:
    """Return the tensor that ``torch.vmap`` maps over; another tensor as it is."""
    while _unwrapped is not None and is_mapped(tensor):
        tensor = _unwrapped(tensor)
    return tensor


def saves_by_hooks() -> bool:
    """Return whether hooks store what the backward pass needs, as in a checkpoint."""
    return _hooks is not None and _hooks(False) is not None


def dispatch_keys(tensor: Tensor) -> object:
    """Return the dispatch keys of a tensor; None where a name that kernels need is missing."""
    if not _COMPLETE or _keys is None:
        return None
    found = _keys(tensor)
    try:
        return found.raw_repr()
    except AttributeError:  # torch 2.4 has no number for a set of keys, only a text
        return repr(found)


def function_modes() -> int:
    """Return how many ``TorchFunctionMode`` see calls: none inside of ``without_function_modes``.

    Autograd runs a forecast's hooks under the mode that watches the model.
    """
    return 0 if _disabled() else _function_modes()


def device_contexts_only() -> bool:
    """Return whether all function modes are ``torch.device`` contexts: these only place tensors."""
    if _mode_at is None or _device_context is None:
        return not function_modes()
    return all(isinstance(_mode_at(i), _device_context) for i in range(function_modes()))


def storage_key(tensor: Tensor) -> int:
    """Return a number that two living tensors share if they share memory, on meta too.

    Sparse tensors and some wrappers have no memory of their own; each has a number to itself.
    """
    try:
        storage = tensor.untyped_storage()
        return getattr(storage, "_cdata", None) or storage.data_ptr() or -id(tensor)
    except (NotImplementedError, RuntimeError):  # torch's, for tensors without memory of their own
        return -id(tensor)


def freed(storage: torch.UntypedStorage) -> Callable[[], bool]:
    """Return a function that says whether a storage's memory has been freed.

    >>> weight = torch.empty(2)
    >>> is_freed = freed(weight.untyped_storage())
    >>> is_freed()
    False
    >>> del weight
    >>> is_freed()
    True
    """
    reference = _find("torch.multiprocessing.reductions:StorageWeakRef")
    if reference is not None:
        return reference(storage).expired
    weak = ref(storage)
    return lambda: weak() is None


_engine: Callable[..., tuple[Tensor | None, ...]] | None = _find(
    "torch.autograd:Variable._execution_engine.run_backward"
)


def run_backward(
    total: Tensor, leaves: Sequence[Tensor], *, accumulate: bool
) -> tuple[Tensor | None, ...]:
    """Differentiate a scalar as ``torch.autograd.grad`` does, with active modes left active.

    A function mode sees ``torch.autograd.grad`` called, and nothing that runs inside of it.

    Args:
        total: what is differentiated.
        leaves: by what; of one that it doesn't depend on the gradient is None.
        accumulate: add the gradients to ``.grad`` instead, as ``backward()`` does.

    >>> x = torch.ones(2, requires_grad=True)
    >>> run_backward((3 * x).sum(), [x], accumulate=False)
    (tensor([3., 3.]),)
    """
    if _engine is None:
        if not accumulate:
            return torch.autograd.grad(total, leaves, allow_unused=True)
        total.backward()  # pyright: ignore[reportUnknownMemberType]
        return ()
    start = (torch.ones_like(total),)
    inputs = () if accumulate else tuple(leaves)
    return _engine((total,), start, False, False, inputs, True, accumulate)
