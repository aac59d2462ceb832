"""What follows a product of a parameter and the data, as long as it is linear in the product.

``(x * w).sum(-1)`` is a contraction that no single call shows. From the call where the parameter
meets the data on, whatever is linear in what came of it is followed, by numbers and by no table,
until another activation multiplies it or a function bends.
"""

from __future__ import annotations

from itertools import islice

import torch

from goodinit.dataflow.replay import Computed, ReplayError, replaying
from goodinit.dataflow.tape import Entry, Tape
from goodinit.dataflow.work import SHARE_FOLLOWED

# Calls by these roles are linear; others are tried.
_LINEAR = frozenset(("view", "join", "add"))

# These keep the numbers of a product apart.
_EACH = frozenset(("view", "cast", "add", "mul"))

# Calls that are followed, and results that are looked at: a product that isn't summed after so
# many calls won't be.
FOLLOWED = 1000
RESULTS = 4


def response_of(tape: Tape, first: int) -> Computed:
    """Return the results that are linear in a product, as a function of parameters and data.

    Raises:
        ReplayError: they can't be computed again.
    """
    region, results = _region(tape, first)
    also = frozenset(region) | _complex_before(tape, region)
    entries = {index for n in results for index in tape.entries_for(n, len(tape.entries), also)}
    return Computed(tape, sorted(entries), results, by_rows=SHARE_FOLLOWED)


def _region(tape: Tape, first: int) -> tuple[set[int], list[int]]:
    """Return the entries that follow a product, and the numbers of their last results."""
    weights = params_of(tape, first)
    region, made, after, summed = set[int](), set[int](), set[int](), set[int]()
    following = (n for n in range(first, len(tape.entries)) if not tape.entries[n].aside)
    for index in islice(following, FOLLOWED):
        entry = tape.entries[index]
        if not entry.live:
            continue
        if entry.meets and not made.intersection(entry.inputs):
            follows = bool(params_of(tape, index) & weights)
        elif entry.meets and not params_of(tape, index) <= weights:
            follows = False  # another parameter multiplies it; a mask may
        else:
            follows = bool(made.intersection(entry.inputs)) and _is_followed(
                tape, index, made, summed
            )
        if follows:
            region.add(index)
            made.update(entry.outputs)
            if entry.role not in _EACH or summed.intersection(entry.inputs):
                summed.update(entry.outputs)
            if index == first or after.intersection(entry.inputs):
                after.update(entry.outputs)
    used = {number for index in region for number in tape.entries[index].inputs}
    results = [number for number in sorted(after) if number not in used]
    return region, [n for n in results if _is_number(tape, n)][:RESULTS]


def params_of(tape: Tape, index: int) -> set[int]:
    """Return the numbers of the parameters that go into an entry, computed or not."""
    found, stack, visited = set[int](), [(n, index) for n in tape.entries[index].inputs], set[int]()
    while stack:
        number, at = stack.pop()
        if number in visited:
            continue
        visited.add(number)
        source = tape.sources.get(number)
        if source is not None and source.param is not None:
            found.add(source.param)
        for maker in tape.entries_for(number, at, frozenset()):
            stack += [(n, maker) for n in tape.entries[maker].inputs]
    return found


def _is_followed(tape: Tape, index: int, made: set[int], summed: set[int]) -> bool:
    entry = tape.entries[index]
    if entry.role == "add" and not any(n in summed for n in entry.inputs):
        return True  # what is added before the sum comes on top
    for number in entry.inputs:
        source, maker = tape.sources.get(number), tape.makers.get(number)
        activation = source.live if source is not None else tape.entries[maker or 0].live
        if number not in made and activation and _is_number(tape, number):
            return False
    return entry.role in _LINEAR or _is_linear(tape, index, made)


def _is_number(tape: Tape, number: int) -> bool:
    return tape.dtypes[number].is_floating_point or tape.dtypes[number].is_complex


def _is_linear(tape: Tape, index: int, made: set[int]) -> bool:
    """Whether f(a + b) - f(a) - f(b) + f(0) = 0, on numbers."""
    entry = tape.entries[index]
    results = [number for number in entry.outputs if _is_number(tape, number)]
    random = torch.Generator().manual_seed(index)
    try:
        with replaying(), torch.no_grad():
            computed = Computed(tape, [index], results, by_rows=SHARE_FOLLOWED)
            moving = [number for number in computed.sources if number in made]
            values = {n: _drawn(computed, n, random) for n in computed.sources if n not in moving}
            a, b = ({n: _drawn(computed, n, random) for n in moving} for _ in range(2))
            # All are as large as the product: few are kept at once.
            error = computed({**values, **{n: a[n] + b[n] for n in moving}})
            size = error.abs().max()
            error.sub_(computed({**values, **a}))
            none = {n: a.pop(n).zero_() for n in moving}
            error.sub_(computed({**values, **b}))
            del b
            error.add_(computed({**values, **none}))
    except ReplayError:
        return False
    return bool(error.abs_().max() <= 1e-4 * size)


def _drawn(computed: Computed, number: int, random: torch.Generator) -> torch.Tensor:
    source = computed.sources[number]
    if source.value is not None and source.param is None:
        return computed.rows_taken(number, source.value.detach().cpu()).clone()
    shape, dtype = computed.computed_shape(number), computed.dtype(number)
    drawn_as = torch.complex64 if dtype.is_complex else None
    drawn = torch.randn(shape, generator=random, dtype=drawn_as, device="cpu")
    return drawn.to(dtype) if dtype in (torch.float64, torch.complex128) else drawn


def _complex_before(tape: Tape, region: set[int]) -> frozenset[int]:
    """Return the entries between complex activations and the real ones they come from.

    A Fourier transform changes the scale: the numbers of size 1 go in before it.
    """
    found, stack = set[int](), [n for index in region for n in tape.entries[index].inputs]
    while stack:
        number = stack.pop()
        maker = tape.makers.get(number)
        if maker is None or maker in found or maker in region or not tape.dtypes[number].is_complex:
            continue
        entry: Entry = tape.entries[maker]
        if entry.live and not entry.meets:
            found.add(maker)
            stack += entry.inputs
    return frozenset(found)
