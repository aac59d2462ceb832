"""The calls on paths from parameters to the data, kept so that they can be run again.

Where a weight is used as it is stored, nothing is kept. Where it is computed (a mask, a product of
two parameters), the calls that compute it are, and those that follow where it met the data in a
function whose sums aren't known. The tape keeps numbers in place of tensors. It keeps the
values of constants (masks, indices), and no value that depends on a parameter or an input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from goodinit._common.by_tensor import ByTensor
from goodinit._common.torch_private import storage_key
from goodinit.trace import Call


@dataclass(frozen=True, slots=True)
class Ref:
    """Stands for a tensor among the arguments of a recorded call."""

    number: int


@dataclass(frozen=True, slots=True)
class Source:
    """A tensor that no recorded call made.

    Attributes:
        shape: its shape.
        dtype: its dtype.
        param: number of the parameter; None for others.
        live: whether it depends on the model's inputs.
        kept: whether it is a parameter that isn't trained.
        value: its values; those that a parameter has at present; None if there are none, or it
            is an activation.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    param: int | None = None
    live: bool = False
    kept: bool = False
    value: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded call.

    Attributes:
        function: what was called.
        name: its plain name.
        role: what it does, as in ``functions.py``.
        args: with a ``Ref`` in each tensor's place.
        kwargs: likewise.
        inputs: numbers of its tensor arguments.
        outputs: numbers of its results.
        writes: whether its first argument was written to.
        live: whether its results are activations.
        meets: whether a parameter meets an activation in it.
        aside: whether it only says what a signal is made of.
    """

    function: Callable[..., Any]
    name: str
    role: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    writes: bool = False
    live: bool = False
    meets: bool = False
    aside: bool = False

    @property
    def result(self) -> int:
        """Number of its first result."""
        return self.outputs[0]


@dataclass(slots=True)
class Tape:
    """Recorded calls.

    Attributes:
        entries: the calls, in execution order.
        sources: number of a tensor -> what is known of it, where no entry made it.
        shapes: number of a tensor -> its shape.
        dtypes: number of a tensor -> its dtype.
        makers: number of a tensor -> the entry that made it.
        writers: number of a tensor -> the entries that wrote to its memory.
    """

    entries: list[Entry] = field(default_factory=list[Entry])
    sources: dict[int, Source] = field(default_factory=dict[int, Source])
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])
    dtypes: dict[int, torch.dtype] = field(default_factory=dict[int, torch.dtype])
    makers: dict[int, int] = field(default_factory=dict[int, int])
    writers: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    _numbers: ByTensor[int] = field(default_factory=ByTensor[int])
    _memory: dict[int, int] = field(default_factory=dict[int, int])

    def number(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor; None if it has none yet."""
        return self._numbers.get(tensor)

    def memory(self, number: int) -> int:
        """Return the number of the tensor whose memory a tensor is a view of."""
        return self._memory[number]

    def add_source(self, tensor: Tensor, source: Source) -> int:
        """Give a tensor that no entry made a number."""
        number = self._new(tensor)
        self.sources[number] = source
        return number

    def add(
        self,
        call: Call,
        role: str,
        tensors: Sequence[Tensor],
        results: Sequence[Tensor],
        *,
        live: bool,
        meets: bool,
        aside: bool,
    ) -> None:
        """Record a call, all of whose arguments have numbers."""
        inputs = [cast("int", self.number(tensor)) for tensor in tensors]
        held = {storage_key(t): self._memory[n] for t, n in zip(tensors, inputs, strict=True)}
        index, outputs = len(self.entries), list[int]()
        for result in results:
            known = self.number(result)
            if known is None:
                known = self._new(result)
                self._memory[known] = held.get(storage_key(result), known)
                self.makers[known] = index
            outputs.append(known)
        if call.inplace and inputs:
            self.writers.setdefault(self._memory[inputs[0]], []).append(index)
        args, kwargs = replaced((call.args, dict(call.kwargs)), self._referred)
        assert call.func is not None
        entry = Entry(
            call.func, call.function, role, args, kwargs, tuple(inputs), tuple(outputs),
            call.inplace, live, meets, aside,
        )  # fmt: skip
        self.entries.append(entry)

    def entries_for(self, number: int, before: int, also: frozenset[int]) -> list[int]:
        """Return the entries that compute a tensor from parameters and constants, in order.

        Args:
            number: of the tensor.
            before: the entry by which it is used.
            also: entries of activations to go through; at others their results are given.
        """
        found, stack = set[int](), [(number, before)]
        while stack:
            needed, at = stack.pop()
            makers = self.writers.get(self._memory[needed], [])
            for index in [*makers, *([self.makers[needed]] if needed in self.makers else ())]:
                passed = not self.entries[index].live or index in also
                if index < at and index not in found and passed:
                    found.add(index)
                    stack += [(input_, index) for input_ in self.entries[index].inputs]
        return sorted(found)

    def _new(self, tensor: Tensor) -> int:
        number = len(self.shapes)
        self._numbers[tensor] = number
        self.shapes[number] = tuple(tensor.shape)
        self.dtypes[number] = tensor.dtype
        self._memory[number] = number
        return number

    def _referred(self, tensor: Any) -> Any:
        return Ref(cast("int", self.number(tensor))) if isinstance(tensor, Tensor) else tensor


# What most arguments are: looked up, as a test for a mapping takes longer.
_LEAVES = frozenset((Ref, int, float, bool, str, type(None), torch.dtype, torch.device))


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a nest of tuples, lists and mappings with everything in it changed."""
    if type(value) in _LEAVES:
        return change(value)
    if type(value) in (tuple, list):
        return type(value)([replaced(item, change) for item in value])
    if isinstance(value, tuple):  # a torch.Size, a named tuple
        return tuple([replaced(item, change) for item in cast("tuple[Any, ...]", value)])
    if isinstance(value, Tensor) or not isinstance(value, Mapping):
        return change(value)
    items = cast("Mapping[Any, Any]", value).items()
    return {key: replaced(item, change) for key, item in items}
