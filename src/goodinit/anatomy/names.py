"""Which parameters and buffers a model has, under which names, and which are one tensor.

A parameter has one canonical (logical) name and any number of aliases: tied weights, shared
modules. Wrappers that add a level to the dotted path (``torch.compile``, activation
checkpointing, data parallel) are looked through by their type, and a parametrized tensor goes
by the name that a reader of the model would write, ``conv.weight``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from goodinit._common.dtensors import is_dtensor
from goodinit._common.torch_private import storage_key
from goodinit.anatomy.flat_shards import (
    FLAT,
    FlatShard,
    flat_parameters,
    original_parameters,
    zero3_shard,
)
from goodinit.errors import LazyParameterError, ModelError
from goodinit.trace.run import first_line

How = Literal["plain", "parametrized", "weight_norm", "spectral_norm", "pruned"]


@dataclass(slots=True)
class Slot:
    """Where one logical parameter or buffer lives in a model.

    Attributes:
        name: canonical dotted name, prefix included.
        owner: the module that holds it.
        attr: its attribute name there.
        tensors: what stores it: itself, or a parametrization's originals.
        stored: the dotted names of those, where they differ from ``name``.
        how: what stands between the attribute and the stored tensors; ``weight_norm``,
            ``spectral_norm`` and ``pruned`` are those of ``torch.nn.utils`` that work by a hook.
        buffer: whether it is a buffer.
        tied: the other names.
        elsewhere: the other places, (module, attribute).
        flat: which of its elements are here, if FSDP 1 or ZeRO-3 flattened and split it.
    """

    name: str
    owner: nn.Module
    attr: str
    tensors: tuple[Tensor, ...]
    stored: tuple[str, ...] = ()
    how: How = "plain"
    buffer: bool = False
    # Tuples: with two empty lists a slot, the garbage collector was half of a small plan's cost.
    tied: tuple[str, ...] = ()
    elsewhere: tuple[tuple[nn.Module, str], ...] = ()
    flat: FlatShard | None = None

    @property
    def places(self) -> tuple[tuple[nn.Module, str], ...]:
        """Every (module, attribute) that holds this tensor, the first one included."""
        return ((self.owner, self.attr), *self.elsewhere)

    @property
    def tensor(self) -> Tensor:
        """The stored tensor; of several, the largest, which are weight_norm's directions."""
        if len(self.tensors) == 1 or self.how == "weight_norm":
            return self.tensors[-1]
        return max(reversed(self.tensors), key=Tensor.numel)

    @property
    def logical_shape(self) -> tuple[int, ...]:
        """Shape of the value that the module sees; of a shard, that of the whole."""
        if self.flat is not None:
            return self.flat.shape
        if self.how != "parametrized":
            return tuple(self.tensor.shape)
        if any(map(is_dtensor, self.tensors)):  # to read it would ask other processes
            return tuple(max(self.tensors, key=Tensor.numel).shape)
        lists = self.owner.parametrizations
        assert isinstance(lists, nn.ModuleDict)
        with torch.no_grad(), in_eval(lists[self.attr]):  # spectral_norm counts its runs
            return tuple(self.read().shape)

    def read(self) -> Tensor:
        """Return the logical value: what the module sees under this name."""
        return self.tensors[0] if self.how == "plain" else getattr(self.owner, self.attr)


_PLAIN = (Tensor, nn.Parameter)


def slots(model: nn.Module, prefix: str = "") -> list[Slot]:
    """Return every logical parameter and buffer of a model once, in registration order.

    Raises:
        LazyParameterError: a lazy module, whose shapes aren't known yet.
        ModelError: the class of a parameter refuses torch's functions.

    Example:
        >>> net = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10))
        >>> net[1].weight = net[0].weight
        >>> [(slot.name, slot.tied) for slot in slots(net, prefix="lm")]
        [('lm.0.weight', ('lm.1.weight',)), ('lm.1.bias', ())]
    """
    found: dict[object, Slot] = {}
    again: dict[int, list[Slot]] = {}  # the first slot of a tensor -> its others
    pieces: dict[int, FlatShard] = {}
    for path, module in walk(model, prefix):
        if "_handle" in vars(module):
            pieces.update(original_parameters(module))
        for slot in _own(module, path):
            if slot.flat is None and not slot.buffer:
                first = slot.tensors[0]
                slot.flat = pieces.get(id(first)) or zero3_shard(first)
            address = _address(slot)
            if not address and any(map(is_lazy, slot.tensors)):
                raise LazyParameterError(
                    f"{slot.name} of {type(module).__name__} has no shape yet: run the model "
                    f"once, model(inputs), then initialize it; gi.init_(model, inputs=inputs) does "
                    f"both"
                )
            _check_readable(slot)
            first = found.setdefault(address or _identity(slot), slot)
            if first is not slot and address and not _alike(first.tensor, slot.tensor):
                first = found.setdefault(_identity(slot), slot)  # a view of the same memory
            if first is not slot:
                again.setdefault(id(first), []).append(slot)
    for first in found.values():
        others = again.get(id(first), ())
        first.elsewhere = tuple((slot.owner, slot.attr) for slot in others)
        first.tied = tuple(slot.name for slot in others if slot.name != first.name)
    return list(found.values())


def walk(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield (dotted path, module) for every place in the tree, shared modules several times.

    >>> [path for path, _ in walk(nn.Sequential(nn.Sequential(nn.ReLU())))]
    ['', '0', '0.0']
    """
    # No recursion: modules nest deeper than Python's stack (a chain of blocks).
    above, waiting = set[int](), [(prefix, model, False)]
    while waiting:
        path, module, left = waiting.pop()
        if left:
            above.discard(id(module))
            continue
        yield path, module
        if not module._modules or id(module) in above:  # a module that contains itself
            continue
        above.add(id(module))
        waiting.append((path, module, True))
        hidden = _hidden_level(module)
        waiting += [
            (path if name == hidden else join(path, name), child, False)
            for name, child in reversed(module._modules.items())
            if child is not None
        ]


def join(path: str, name: str) -> str:
    """Return a dotted name; an empty half is left out.

    >>> join("encoder", "weight"), join("", "weight")
    ('encoder.weight', 'weight')
    """
    return f"{path}.{name}" if path and name else path or name


def type_of(module: nn.Module) -> type[nn.Module]:
    """Return a module's class as its author wrote it: without what parametrize puts before."""
    kind = type(module)
    if "parametrizations" not in module._modules:
        return kind
    return parametrize.type_before_parametrizations(module)


@contextmanager
def in_eval(module: nn.Module) -> Generator[None]:
    """Put a module into evaluation mode for as long as this lasts."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _hidden_level(module: nn.Module) -> str | None:
    """Return the attribute of a wrapper's one child, by the wrapper's type, never by name."""
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return "module"
    kind = type(module)
    if kind.__name__ == "OptimizedModule" and kind.__module__.startswith("torch._dynamo"):
        return "_orig_mod"
    if kind.__name__ == "FullyShardedDataParallel" and kind.__module__.startswith(
        "torch.distributed"
    ):
        return "_fsdp_wrapped_module"
    if kind.__name__ == "CheckpointWrapper" and kind.__module__.startswith("torch.distributed"):
        return "_checkpoint_wrapped_module"
    return None


def _own(module: nn.Module, path: str) -> Iterator[Slot]:
    """Yield the slots of a module's own tensors, not of its children's."""
    inner: set[str] = set()  # attributes that belong to a slot of another name
    for attr, (ends, how) in _hooks(module).items() if module._forward_pre_hooks else ():
        inner.update(attr + end for end in ends)
        tensors = tuple(getattr(module, attr + end) for end in ends)
        stored = tuple(join(path, attr + end) for end in ends)
        yield Slot(join(path, attr), module, attr, tensors, stored, how)
    if "parametrizations" in module._modules and parametrize.is_parametrized(module):
        lists = module.parametrizations
        assert isinstance(lists, nn.ModuleDict)
        for attr, entry in lists.items():
            names = [n for n in entry._parameters if n.startswith("original")]
            names += [n for n in entry._buffers if n.startswith("original")]
            tensors = tuple(getattr(entry, name) for name in names)
            stored = tuple(join(path, f"parametrizations.{attr}.{name}") for name in names)
            buffer = not any(isinstance(tensor, nn.Parameter) for tensor in tensors)
            yield Slot(join(path, attr), module, attr, tensors, stored, "parametrized", buffer)
    if isinstance(module, parametrize.ParametrizationList):
        inner.update(name for name in (*module._parameters, *module._buffers)
                     if name.startswith("original"))  # fmt: skip
    if FLAT in module._parameters:
        paths = {id(child): place for place, child in walk(module, path)}
        for owner, attr, shard in flat_parameters(module):
            inner.add(FLAT)
            yield Slot(join(paths[id(owner)], attr), owner, attr, (shard.local,), flat=shard)
    for owned, buffer in ((module._parameters, False), (module._buffers, True)):
        for attr, tensor in owned.items():
            if tensor is None or attr in inner:
                continue
            yield Slot(join(path, attr), module, attr, (tensor,), buffer=buffer)


def _hooks(module: nn.Module) -> dict[str, tuple[tuple[str, ...], How]]:
    """Return the attributes that torch.nn.utils' hooks recompute before each forward."""
    found: dict[str, tuple[tuple[str, ...], How]] = {}
    for hook in module._forward_pre_hooks.values():  # pyright: ignore[reportUnknownVariableType]
        if isinstance(hook, WeightNorm):
            found[hook.name] = (("_g", "_v"), "weight_norm")
        elif isinstance(hook, SpectralNorm):
            found[hook.name] = (("_orig",), "spectral_norm")
        elif isinstance(hook, BasePruningMethod):
            found[hook._tensor_name] = (("_orig",), "pruned")
    return found


def _check_readable(slot: Slot) -> None:
    """Raise if a parameter's class stops torch's functions, as that of points on a manifold may."""
    for tensor in slot.tensors:
        if type(tensor) in (Tensor, nn.Parameter):
            continue
        try:
            tensor.numel()
        except Exception as error:
            raise ModelError(
                f"{slot.name} is a {type(tensor).__name__}, whose class refuses torch's functions "
                f"({first_line(error)}): initialize the model's other modules one by one"
            ) from error


def _address(slot: Slot) -> int:
    """Return where a plain tensor's memory begins, which nearly always identifies it; or 0."""
    tensor = slot.tensors[0]
    if slot.flat is not None:  # two of them may be empty, or one tensor tied
        return 0
    plain = len(slot.tensors) == 1 and type(tensor) in _PLAIN and tensor.layout is torch.strided
    return tensor.data_ptr() if plain else 0


def _alike(first: Tensor, second: Tensor) -> bool:
    same = first.shape == second.shape and first.stride() == second.stride()
    return same and first.dtype == second.dtype


def _identity(slot: Slot) -> object:
    """Return a key that is equal for two slots on the same memory in the same shape."""
    if slot.flat is not None:
        return slot.flat.key
    tensor = slot.tensors[0]
    plain = type(tensor) in _PLAIN and tensor.layout is torch.strided
    if len(slot.tensors) > 1 or not plain or not tensor.numel():
        return tuple(id(tensor) for tensor in slot.tensors)
    storage = storage_key(tensor)
    return storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype
