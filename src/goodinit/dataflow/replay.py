"""Running recorded calls again: ``Computed``, a tensor as a function of its sources.

Only torch functions that the tape recorded are run, never a module or a user's function. Numbers
are float32 on the CPU, random numbers are the replay's own, and what may be written to is a copy.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from goodinit._common.memory import return_free_memory
from goodinit._common.torch_private import storage_key
from goodinit.dataflow.signs import Signs, is_finite
from goodinit.dataflow.tape import Entry, Ref, Source, Tape, replaced
from goodinit.dataflow.work import MOST, Rows, multiplications, rows_of
from goodinit.trace import tensors_in
from goodinit.trace.meta import without_devices
from goodinit.trace.process import RandomNumbers, process_restored

# The largest tensor that is computed again, in elements (256 MiB in float32), and the largest sum
# over the calls: a plan should not take minutes, nor more memory than the model's largest weight.
LARGEST = 2**26
LARGEST_SUM = 2**28

# From so many numbers on (16 MiB), memory that is freed goes back to the system before calls run
# again: what the C library keeps of it doubles what a plan holds, and for few numbers asking
# costs more time than the calls.
LARGE = 2**22

# Rows of a call's result that are compared with its result of these rows alone.
ROWS_TRIED = 8

# Products of two matrices take nearly all of the time. Results of so many are kept, each of which
# takes as much memory as a weight.
_PRODUCTS = frozenset(("matmul", "mm", "bmm"))
PRODUCTS_KEPT = 2

_SEED = 20140
_HALVES = frozenset((torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2))


class ReplayError(Exception):
    """Recorded calls can't be run again; the message says why."""


@contextmanager
def replaying() -> Generator[None]:
    """A context for replays, which restores the process and torch's modes."""
    # A device's context takes a call of Python for each of torch's, and mostly changes nothing.
    elsewhere = torch.get_default_device().type != "cpu"
    with (
        process_restored((), ()),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.device("cpu") if elsewhere else nullcontext(),
    ):
        yield


class Computed:
    """Recorded tensors as a function of the values of parameters and activations.

    Args:
        tape: the recorded calls.
        entries: those that compute the tensors, in order.
        targets: the numbers of the tensors.
        by_rows: of which share of the work that is cheap rows of the result are enough; 0 of none.

    Attributes:
        sources: number -> what the entries take and none of them makes.
        elements: how many numbers the entries take and make.
        rows: the rows that are computed; None if all are. Sources along whose axis they lie are
            given by these alone.

    Raises:
        ReplayError: too large, or a value isn't known.
    """

    def __init__(
        self, tape: Tape, entries: Sequence[int], targets: Sequence[int], by_rows: float = 0.0
    ) -> None:
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
        some = by_rows > 0 and len(self.targets) == 1 and not any(e.writes for e in self.entries)
        self.rows: Rows | None = None
        if some:
            params = sum(source.param is not None for source in self.sources.values())
            target, tried = self.targets[0], self._is_by_row
            self.rows = rows_of(self.entries, target, self.shape, tried, params, by_rows)
        self._axes: Mapping[int, int] = {} if self.rows is None else self.rows.axes
        self._check_size()
        last = {n: index for index, e in enumerate(self.entries) for n in (*e.inputs, *e.outputs)}
        self._done: list[list[int]] = [[] for _ in self.entries]
        for number, index in last.items():
            if number not in self.targets:
                self._done[index].append(number)
        self._products = {} if self._writes else self._products_to_keep()

    def _source(self, number: int) -> Source:
        tape = self._tape
        given = Source(tape.shapes[number], tape.dtypes[number], live=True)
        return tape.sources.get(number, given)

    def _products_to_keep(self) -> dict[int, frozenset[int]]:
        """Return, by entry, what products are computed from that don't depend on all parameters."""
        params = {number for number, source in self.sources.items() if source.param is not None}
        behind = {number: frozenset((number,)) for number in self.sources}
        found: dict[int, frozenset[int]] = {}
        for index, entry in enumerate(self.entries):
            before = frozenset[int]().union(*(behind[number] for number in entry.inputs))
            behind |= dict.fromkeys(entry.outputs, before)
            if entry.name in _PRODUCTS and not params <= before:
                found[index] = before
        return dict(list(found.items())[:PRODUCTS_KEPT])

    def shape(self, number: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self._tape.shapes[number]

    def computed_shape(self, number: int) -> tuple[int, ...]:
        """Return the shape of what is computed of a tensor."""
        shape = list(self.shape(number))
        if self.rows is not None and number in self._axes:
            shape[self._axes[number]] = len(self.rows.chosen)
        return tuple(shape)

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
        if sum(multiplications(entry, self.computed_shape) for entry in self.entries) > MOST:
            raise ReplayError(f"it takes more than {MOST} multiplications")

    def __call__(
        self,
        values: Mapping[int, Tensor | Signs],
        changes: Mapping[int, Tensor | Signs | int] | None = None,
        kept: dict[int, dict[int, Tensor]] | None = None,
    ) -> Tensor:
        """Return the tensors' elements, real and in one row.

        Args:
            values: of all sources.
            changes: other values of some, or numbers that those in ``values`` are multiplied by.
            kept: results of products at ``values``; filled, and empty once ``values`` are others.
        """
        if self.elements >= LARGE:
            return_free_memory()
        made: dict[int, Tensor] = {}
        numbers = RandomNumbers(torch.Generator().manual_seed(_SEED))
        changes = changes or {}
        wanted: Mapping[int, int] = {}

        def value(item: Any) -> Any:
            if isinstance(item, Ref):
                if item.number not in made:
                    given, change = values[item.number], changes.get(item.number)
                    given = _changed(given, change)
                    made[item.number] = given.clone() if self._writes else given
                axis = None if item.number in self._axes else wanted.get(item.number)
                return self._some(made[item.number], axis)
            if isinstance(item, torch.dtype) and item in _HALVES:
                return torch.float32
            return torch.device("cpu") if isinstance(item, torch.device) else item

        for index, (entry, done) in enumerate(zip(self.entries, self._done, strict=True)):
            found = kept.get(index) if kept and self._rests(index, changes) else None
            if found is None:
                wanted = self.rows.wanted[index] if self.rows is not None else {}
                args, kwargs = replaced((entry.args, entry.kwargs), value)
                found = self._results(entry, args, kwargs, numbers)
                del args, kwargs
                if kept is not None and self._rests(index, changes):
                    kept[index] = found
            made |= found
            for number in done:  # no later call takes it
                made.pop(number, None)
        wanted = {}
        rows = [_row(value(Ref(number))) for number in self.targets]
        row = rows[0] if len(rows) == 1 else torch.cat(rows)
        held = [v for v in (*values.values(), *changes.values()) if isinstance(v, Tensor)]
        held += [tensor for results in (kept or {}).values() for tensor in results.values()]
        return row.clone() if storage_key(row) in map(storage_key, held) else row  # it's written to

    def _is_by_row(self, entry: Entry, taken: int, made: int) -> bool:
        """Whether rows of a call's only argument give rows of its result, on random numbers."""
        number = entry.inputs[0]
        random = torch.Generator().manual_seed(_SEED)
        kind = torch.complex64 if self.dtype(number).is_complex else torch.float32
        given = torch.randn(self.shape(number), generator=random, dtype=kind, device="cpu")
        rows = torch.randperm(given.shape[taken], generator=random, device="cpu")[:ROWS_TRIED]

        def result(tensor: Tensor) -> Tensor:
            args, kwargs = replaced(
                (entry.args, entry.kwargs), lambda a: tensor if isinstance(a, Ref) else a
            )
            return _run(entry, args, kwargs, RandomNumbers(random))[0]

        with replaying(), torch.no_grad():
            try:
                whole = result(given).index_select(made, rows)
                some = result(given.index_select(taken, rows))
            except (ReplayError, IndexError):  # it takes tensors of that shape alone
                return False
            return some.shape == whole.shape and bool(torch.allclose(some, whole, equal_nan=True))

    def rows_taken(self, number: int, given: Tensor) -> Tensor:
        """Return the rows of a tensor that are computed, or all."""
        return self._some(given, self._axes.get(number))

    def _some(self, given: Tensor, axis: int | None) -> Tensor:
        """Return the rows that are computed, along an axis, if there is one."""
        if self.rows is None or axis is None:
            return given
        return given.index_select(axis, self.rows.chosen)

    def _rests(self, index: int, changes: Collection[int]) -> bool:
        """Whether an entry is a product of tensors that changes don't reach."""
        return index in self._products and self._products[index].isdisjoint(changes)

    def _results(
        self, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any], numbers: RandomNumbers
    ) -> dict[int, Tensor]:
        """Run a call, and return its results by their numbers."""
        if entry.name in _PRODUCTS and _is_product_with_zeros(args):
            shape, dtype = self.computed_shape(entry.result), torch.result_type(*args)
            return {entry.result: torch.zeros(shape, dtype=dtype, device="cpu")}
        results = _run(entry, args, kwargs, numbers)
        if entry.writes and not results:
            results = [args[0]]
        if len(results) != len(entry.outputs):
            raise ReplayError(f"{entry.name} gives {len(results)} tensors when it runs again")
        found: dict[int, Tensor] = {}
        for number, result in zip(entry.outputs, results, strict=True):
            if tuple(result.shape) != self.computed_shape(number):
                raise ReplayError(f"{entry.name} gives another shape when it runs again")
            found[number] = result.float() if result.dtype in _HALVES else result
        return found


def _changed(value: Tensor | Signs, change: Tensor | Signs | int | None) -> Tensor:
    if isinstance(change, int):
        if change:
            return value.tensor(change) if isinstance(value, Signs) else value * change
        # Also of what isn't finite.
        return torch.zeros(value.shape, dtype=value.dtype, device="cpu")
    given = value if change is None else change
    return given.tensor() if isinstance(given, Signs) else given


def _is_product_with_zeros(args: Sequence[Any]) -> bool:
    """Whether one of two factors is 0 and the other finite; asked many times for large ones."""
    if len(args) != 2 or not all(isinstance(arg, Tensor) for arg in args):
        return False
    if any(arg.requires_grad for arg in args):
        return False
    a, b = args
    if not a.any():
        return is_finite(b)
    return not b.any() and is_finite(a)


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
