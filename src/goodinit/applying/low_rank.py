"""Low-rank adapters whose A, B and base weight are written together."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from goodinit.anatomy.names import Slot
from goodinit.anatomy.writable import is_shard
from goodinit.applying.write import assign_
from goodinit.errors import PlanError
from goodinit.plans.rows import PlanRow
from goodinit.schemes import Draw
from goodinit.schemes.low_rank import LowRank, draw_orthogonal, factors
from goodinit.streams import Law, Stream


class _Pair(NamedTuple):
    scheme: LowRank
    down: PlanRow
    up: PlanRow
    base: PlanRow


def check_low_rank(
    rows: tuple[PlanRow, ...], found: Mapping[str, Slot], split: Container[str]
) -> None:
    """Raise where the three weights of an adapter can't be written together.

    Raises:
        PlanError: one of them is kept or in another part of the model, in shards, or shaped
            otherwise; or the adapter adds something already, which would be lost.
    """
    for pair in _pairs(rows):
        for row in (pair.down, pair.up, pair.base):
            if row.name in split or is_shard(found[row.name]):
                raise PlanError(f"{row.name} is in shards: {pair.scheme.method} needs all of W")
        out, into = _matrix(pair.base, found).shape
        rank, from_in = _matrix(pair.down, found).shape
        to_out, same = _matrix(pair.up, found).shape
        if (out, into, rank) != (to_out, from_in, same) or rank > min(out, into):
            raise PlanError(
                f"{pair.down.name} and {pair.up.name} of rank {rank} don't fit {pair.base.name} "
                f"of shape {pair.base.shape}: {pair.scheme.method} needs rank <= min(in, out)"
            )
        if pair.scheme.method == "orthogonal" and rank % 2:
            raise PlanError(f"{pair.down.name}: orthogonal needs an even rank, and this is {rank}")
        _check_zero(pair, found)


def _check_zero(pair: _Pair, found: Mapping[str, Slot]) -> None:
    """Refuse an adapter that adds something: taken from W as well, it would be lost."""
    if pair.scheme.method == "orthogonal":
        return
    tensors = [found[row.name].tensor for row in (pair.down, pair.up)]
    if all(not t.is_meta and bool((t != 0).any()) for t in tensors):
        raise PlanError(
            f"{pair.up.name} isn't 0: the adapter adds something already, which would be lost. "
            f"Merge it into {pair.base.name} (peft: model.merge_and_unload()), or set it to 0 if "
            f"what it holds means nothing: gi.init_(model, gi.recipe('lora'), inputs=inputs)"
        )


@torch.no_grad()
def write_low_rank_(
    rows: tuple[PlanRow, ...],
    found: Mapping[str, Slot],
    stream: Stream,
    progress: Callable[[PlanRow], object],
) -> None:
    """Write A, B and W - s B A of each adapter that a plan has; all have been checked."""
    for pair in _pairs(rows):
        weight, rank = _matrix(pair.base, found), _matrix(pair.down, found).shape[0]
        if pair.scheme.method == "orthogonal":
            shape = (weight.shape[0], weight.shape[1])
            down, up = draw_orthogonal(shape, rank, _stream_of(pair, stream))
        else:
            down, up = factors(pair.scheme.method, weight.float(), rank, pair.scheme.factor)
        _write(pair.down, found, down)
        _write(pair.up, found, up)
        progress(pair.down)
        progress(pair.up)
        if pair.scheme.method != "orthogonal":
            # As they are stored: what rounding took from A and B stays in W.
            down, up = _matrix(pair.down, found).float(), _matrix(pair.up, found).float()
            _write(pair.base, found, weight.float() - pair.scheme.factor * up @ down)
            progress(pair.base)


def _stream_of(pair: _Pair, stream: Stream) -> Draw:
    def draw(out: Tensor, law: Law, purpose: str = "") -> None:
        stream.fill_(out, pair.down.name, law, purpose=purpose)

    return draw


def _pairs(rows: tuple[PlanRow, ...]) -> Iterator[_Pair]:
    """Yield each adapter once.

    Raises:
        PlanError: one of its weights isn't in the plan, or isn't planned with the others.
    """
    planned = {row.name: row for row in rows}
    seen: set[tuple[str, str, str]] = set()
    for row in rows:
        scheme = row.scheme
        if not isinstance(scheme, LowRank) or scheme.triple in seen:
            continue
        seen.add(scheme.triple)
        needed = scheme.triple if scheme.method != "orthogonal" else scheme.triple[1:]
        for name in needed:
            other = planned[name].scheme if name in planned else None
            if not isinstance(other, LowRank) or other.triple != scheme.triple:
                raise PlanError(
                    f"{row.name} is computed by {scheme.method} together with {name}, which isn't "
                    f"planned so: plan both, without keep= or only=. A checkpoint is loaded "
                    f"first: gi.load_(model, checkpoint), then gi.init_(model, "
                    f"gi.recipe('lora', init={scheme.method!r}), inputs=inputs)"
                )
        base, down, up = (planned.get(name) for name in scheme.triple)
        if base is None or down is None or up is None:
            raise PlanError(f"{row.name}: the plan has no {scheme.base}: plan the whole model")
        yield _Pair(scheme, down, up, base)


def _matrix(row: PlanRow, found: Mapping[str, Slot]) -> Tensor:
    """Return a weight as [out, in]; it may be a view."""
    value = found[row.name].read().detach()
    return value.T if _is_transposed(row) else value


def _write(row: PlanRow, found: Mapping[str, Slot], value: Tensor) -> None:
    slot = found[row.name]
    value = value.T if _is_transposed(row) else value
    if slot.how == "plain":
        slot.tensor.copy_(value)
    else:
        assign_(slot, value.to(slot.read().dtype))


def _is_transposed(row: PlanRow) -> bool:
    return row.layout is not None and row.layout.outputs == (1,)
