"""Running recorded calls again: ``Computed``, a tensor as a function of its sources.

Only torch functions that the tape recorded are run, never a module or a user's function. Numbers
are float32 on the CPU, random numbers are the replay's own, and what may be written to is a copy.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from goodinit._common.torch_private import storage_key
from goodinit.dataflow.tape import Entry, Ref, Source, Tape, replaced
from goodinit.trace import tensors_in
from goodinit.trace.meta import without_devices
from goodinit.trace.process import RandomNumbers, process_restored

# The largest tensor that is computed again, in elements (256 MiB in float32), and the largest sum
# over the calls: a plan should not take minutes, nor more memory than the model's largest weight.
LARGEST = 2**26
LARGEST_SUM = 2**28

_SEED = 20140
_HALVES = frozenset((torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2))


class ReplayError(Exception):
    """Recorded calls can't be run again; the message says why."""


@contextmanager
def replaying() -> Generator[None]:
    """A context for replays, which restores the process and torch's modes."""
    with (
        process_restored((), ()),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.device("cpu"),
    ):
        yield


class Computed:
    """Recorded tensors as a function of the values of parameters and activations.

    Args:
        tape: the recorded calls.
        entries: those that compute the tensors, in order.
        targets: the numbers of the tensors.

    Attributes:
        sources: number -> what the entries take and none of them makes.
        elements: how many numbers the entries take and make.

    Raises:
        ReplayError: too large, or a value isn't known.
    """

    def __init__(self, tape: Tape, entries: Sequence[int], targets: Sequence[int]) -> None:
        if not targets:
            raise ReplayError("no numbers come of it")
        self.entries = [tape.entries[index] for index in entries]
        self.targets = tuple(targets)
        self._tape = tape
        self._writes = any(entry.writes or entry.role == "other" for entry in self.entries)
        self.sources: dict[int, Source] = {}
        made = set[int]()
        for taken, results in [*((e.inputs, e.outputs) for e in self.entries), (self.targets, ())]:
            for number in taken:
                if number not in made:
                    self.sources[number] = self._source(number)
            made.update(results)
        self._check_size()
        last = {n: index for index, e in enumerate(self.entries) for n in (*e.inputs, *e.outputs)}
        self._done: list[list[int]] = [[] for _ in self.entries]
        for number, index in last.items():
            if number not in self.targets:
                self._done[index].append(number)

    def _source(self, number: int) -> Source:
        tape = self._tape
        given = Source(tape.shapes[number], tape.dtypes[number], live=True)
        return tape.sources.get(number, given)

    def shape(self, number: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self._tape.shapes[number]

    def dtype(self, number: int) -> torch.dtype:
        """Return the dtype that a tensor had when it was recorded."""
        return self._tape.dtypes[number]

    def _check_size(self) -> None:
        sizes = [
            math.prod(self._tape.shapes[n]) for e in self.entries for n in (*e.inputs, *e.outputs)
        ]
        self.elements = sum(sizes) or 1
        if max(sizes, default=0) > LARGEST or self.elements > LARGEST_SUM:
            raise ReplayError(f"it takes more than {LARGEST} numbers")

    def __call__(self, values: Mapping[int, Tensor]) -> Tensor:
        """Return the tensors' elements, real and in one row, for values of all sources."""
        made: dict[int, Tensor] = {}
        numbers = RandomNumbers(torch.Generator().manual_seed(_SEED))

        def value(item: Any) -> Any:
            if isinstance(item, Ref):
                if item.number not in made:
                    given = values[item.number]
                    made[item.number] = given.clone() if self._writes else given
                return made[item.number]
            if isinstance(item, torch.dtype) and item in _HALVES:
                return torch.float32
            return torch.device("cpu") if isinstance(item, torch.device) else item

        for entry, done in zip(self.entries, self._done, strict=True):
            args, kwargs = replaced((entry.args, entry.kwargs), value)
            made |= self._results(entry, args, kwargs, numbers)
            del args, kwargs
            for number in done:  # no later call takes it
                made.pop(number, None)
        rows = [_row(value(Ref(number))) for number in self.targets]
        row = rows[0] if len(rows) == 1 else torch.cat(rows)
        given = {storage_key(value) for value in values.values()}
        return row.clone() if storage_key(row) in given else row  # callers write to it

    def _results(
        self, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any], numbers: RandomNumbers
    ) -> dict[int, Tensor]:
        """Run a call, and return its results by their numbers."""
        results = _run(entry, args, kwargs, numbers)
        if entry.writes and not results:
            results = [args[0]]
        if len(results) != len(entry.outputs):
            raise ReplayError(f"{entry.name} gives {len(results)} tensors when it runs again")
        found: dict[int, Tensor] = {}
        for number, result in zip(entry.outputs, results, strict=True):
            if tuple(result.shape) != self._tape.shapes[number]:
                raise ReplayError(f"{entry.name} gives another shape when it runs again")
            found[number] = result.float() if result.dtype in _HALVES else result
        return found


def _run(
    entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any], numbers: RandomNumbers
) -> list[Tensor]:
    if entry.name in ("cuda", "cpu", "xpu"):
        return [args[0]]
    if entry.name in ("to", "type_as", "as_tensor", "tensor"):
        args, kwargs = without_devices(args, kwargs)
    given = [(t, t._version) for t in tensors_in((args, kwargs))] if entry.role == "other" else []
    try:
        results = list(tensors_in(numbers.drawn_apart(entry.name, entry.function, args, kwargs)))
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise ReplayError(f"{entry.name} raised {type(error).__name__}: {first}") from error
    if any(tensor._version != version for tensor, version in given) and not entry.writes:
        raise ReplayError(f"{entry.name} changes its arguments")
    return results


def _row(tensor: Tensor) -> Tensor:
    tensor = tensor.to_dense()
    row = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return row.reshape(-1).to(torch.float64 if row.dtype == torch.float64 else torch.float32)
