"""Adapters whose values depend on a batch: the model is run, and the inputs of weights recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from goodinit._common.processes import is_one_of_many
from goodinit.anatomy.names import Slot
from goodinit.applying.low_rank import Factors, Pair, matrix, pairs
from goodinit.errors import PlanError, SchemeError
from goodinit.plans.rows import PlanRow
from goodinit.schemes.low_rank import FROM_BATCH, InputMoments, from_batch
from goodinit.trace import Inputs, tensors_in, tensors_of
from goodinit.trace.calls import Call, NullObserver
from goodinit.trace.real_run import real_run
from goodinit.trace.run import arguments, first_line

AT_ONCE = 2**30  # bytes of E[x x^T] held at a time: a larger model is run several times
_PLACES = {("linear", 1): 0, ("addmm", 2): 1, ("matmul", 1): 0, ("mm", 1): 0}
"""Function and place of the weight -> the place of what it multiplies, with vectors in rows."""
_IN_COLUMNS = {("matmul", 0): 1, ("mm", 0): 1}


@torch.no_grad()
def factors_from_batch(
    model: nn.Module,
    rows: tuple[PlanRow, ...],
    found: Mapping[str, Slot],
    inputs: Inputs | None,
) -> Factors:
    """Return A and B of the adapters that need a batch. Nothing is written.

    Raises:
        PlanError: there is no batch, or the model can't be run on it, or it shows too little; or
            a weight has no memory yet.
    """
    wanted = [pair for pair in pairs(rows) if pair.scheme.method in FROM_BATCH]
    if not wanted:
        return {}
    given = _checked(wanted, found, inputs)
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    for some in _portions(wanted, found):
        observer = _InputsObserver(some, found, given)
        _run(model, given, observer)
        for pair in some:
            weight, rank = matrix(pair.base, found).float(), matrix(pair.down, found).shape[0]
            try:
                method, factor = pair.scheme.method, pair.scheme.factor
                made = from_batch(method, weight, observer.of(pair.base), rank, factor)
            except SchemeError as error:
                raise PlanError(f"{pair.base.name}: {error}. Pass a larger batch") from error
            factors[pair.down.name] = made
    return factors


def _checked(wanted: Sequence[Pair], found: Mapping[str, Slot], inputs: Inputs | None) -> Inputs:
    method = wanted[0].scheme.method
    line = "gi.init_(model, recipe, inputs=batch), or gi.apply_(model, plan, inputs=batch)"
    if inputs is None or any(t.is_meta for t in tensors_in(arguments(inputs))):
        raise PlanError(f"{method} is computed from a batch with values. Write {line}")
    if is_one_of_many():
        raise PlanError(
            f"each process would compute {method} from its own batch: initialize on one process, "
            f"before torch.distributed, and send the weights to the rest"
        )
    missing = [n for pair in wanted for n in pair.scheme.triple if found[n].tensor.is_meta]
    if missing:
        raise PlanError(
            f"{missing[0]} has no memory yet, and {method} runs the model: load its weights first"
        )
    return inputs


def _portions(wanted: Iterable[Pair], found: Mapping[str, Slot]) -> Iterator[list[Pair]]:
    """Yield the adapters in turn, as many as can be watched in one run."""
    some: list[Pair] = []
    size = 0
    for pair in wanted:
        needed = 8 * matrix(pair.base, found).shape[1] ** 2
        if some and size + needed > AT_ONCE:
            yield some
            some, size = [], 0
        some.append(pair)
        size += needed
    yield some


def _run(model: nn.Module, inputs: Inputs, observer: _InputsObserver) -> None:
    """Run the model as it is used, without dropout; it is left as it was."""
    args, kwargs = arguments(inputs)

    def call() -> object:
        return model.eval()(*args, **kwargs)

    with real_run(model, grad=False, inputs=tensors_of(args, kwargs)) as run:
        try:
            run(observer, {}, call)
        except Exception as error:
            raise PlanError(f"the model raised on the batch: {first_line(error)}") from error


class _InputsObserver(NullObserver):
    """Sums x and x x^T over the vectors that each of some weights multiplies."""

    def __init__(self, some: Iterable[Pair], found: Mapping[str, Slot], inputs: Inputs) -> None:
        self._weights = {id(found[pair.base.name].tensor): pair.base.name for pair in some}
        self._moments: dict[str, InputMoments] = {}
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        self._mask = mask if isinstance(mask, Tensor) and mask.dim() == 2 else None

    def of(self, row: PlanRow) -> InputMoments:
        """Return the moments of a weight's inputs.

        Raises:
            PlanError: nothing, or numbers that aren't finite.
        """
        moments = self._moments.get(row.name)
        if moments is None:
            raise PlanError(
                f"{row.name}: what it multiplies can't be seen, for no linear, addmm or matmul "
                f"takes the weight itself"
            )
        if not bool(moments.second.isfinite().all()):
            raise PlanError(f"the inputs of {row.name} aren't finite on this batch")
        if not bool(moments.second.any()):
            raise PlanError(f"the inputs of {row.name} are all 0 on this batch")
        return moments

    def call(self, call: Call) -> None:
        for place, value in enumerate(call.args):
            key = (call.function, place)
            if key in _PLACES and (name := self._name(value)):
                self._add(name, call.args[_PLACES[key]])
            elif key in _IN_COLUMNS and (name := self._name(value)):
                self._add(name, call.args[_IN_COLUMNS[key]].mT)

    def _name(self, value: object) -> str | None:
        if not isinstance(value, Tensor):
            return None
        whole = value if value._base is None else value._base  # of W.T
        return self._weights.get(id(whole)) if whole.numel() == value.numel() else None

    def _add(self, name: str, x: Tensor) -> None:
        mask = self._mask
        if mask is not None and x.dim() > 2 and x.shape[:2] == mask.shape:
            x = x[mask.bool()]
        flat = x.detach().reshape(-1, x.shape[-1]).double()
        second, total, count = flat.T @ flat, flat.sum(0), flat.shape[0]
        if name in self._moments:
            before = self._moments[name]
            second, total, count = (
                second + before.second,
                total + before.total,
                count + before.count,
            )
        self._moments[name] = InputMoments(second, total, count)
