"""Low-rank adapters whose A, B and base weight are written together."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from goodinit.anatomy.names import Slot
from goodinit.anatomy.writable import is_shard
from goodinit.applying.write import assign_
from goodinit.errors import PlanError
from goodinit.plans.rows import PlanRow
from goodinit.schemes import Draw
from goodinit.schemes.low_rank import (
    FROM_BATCH,
    ROLES,
    WRITES,
    LowRank,
    draw_orthogonal,
    factors,
    loftq,
)
from goodinit.streams import Law, Stream

Factors = Mapping[str, tuple[Tensor, Tensor]]
"""Name of A -> A and B that were computed from a batch."""


class Pair(NamedTuple):
    """An adapter: its scheme, and the rows of A, B and W."""

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
    for pair in pairs(rows):
        for row in (pair.down, pair.up, pair.base):
            if row.name in split or is_shard(found[row.name]):
                raise PlanError(f"{row.name} is in shards: {pair.scheme.method} needs all of W")
        out, into = matrix(pair.base, found).shape
        rank, from_in = matrix(pair.down, found).shape
        to_out, same = matrix(pair.up, found).shape
        if (out, into, rank) != (to_out, from_in, same) or rank > min(out, into):
            raise PlanError(
                f"{pair.down.name} and {pair.up.name} of rank {rank} don't fit {pair.base.name} "
                f"of shape {pair.base.shape}: {pair.scheme.method} needs rank <= min(in, out)"
            )
        if pair.scheme.method == "orthogonal" and rank % 2:
            raise PlanError(f"{pair.down.name}: orthogonal needs an even rank, and this is {rank}")
        _check_zero(pair, found)


def _check_zero(pair: Pair, found: Mapping[str, Slot]) -> None:
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
    computed: Factors,
) -> None:
    """Write A, B and W - s B A of each adapter that a plan has; all have been checked."""
    for pair in pairs(rows):
        scheme, quantized = pair.scheme, None
        weight, rank = matrix(pair.base, found), matrix(pair.down, found).shape[0]
        if scheme.method in FROM_BATCH:
            down, up = computed[pair.down.name]
        elif scheme.method == "orthogonal":
            shape = (weight.shape[0], weight.shape[1])
            down, up = draw_orthogonal(shape, rank, _stream_of(pair, stream))
        elif scheme.method == "loftq":
            stored = partial(_stored, pair.base)
            down, up, quantized = loftq(weight.float(), rank, scheme.factor, scheme.steps, stored)
        else:
            down, up = factors(scheme.method, weight.float(), rank, scheme.factor)
        _write(pair.down, found, down)
        progress(pair.down)
        if "out" in WRITES[scheme.method]:
            _write(pair.up, found, up)
            progress(pair.up)
        if "base" in WRITES[scheme.method]:
            if quantized is None:
                # As they are stored: what rounding took from A and B stays in W.
                down, up = matrix(pair.down, found).float(), matrix(pair.up, found).float()
                quantized = weight.float() - scheme.factor * up @ down
            _write(pair.base, found, quantized)
            progress(pair.base)


def _stream_of(pair: Pair, stream: Stream) -> Draw:
    def draw(out: Tensor, law: Law, purpose: str = "") -> None:
        stream.fill_(out, pair.down.name, law, purpose=purpose)

    return draw


def pairs(rows: tuple[PlanRow, ...]) -> Iterator[Pair]:
    """Yield each adapter once.

    Raises:
        PlanError: one of its weights isn't in the plan, or isn't planned with the others.
    """
    planned = {row.name: row for row in rows}
    seen: set[tuple[str, str, str]] = set()
    for row in rows:
        scheme = row.scheme
        # isinstance is slow for an abstract class.
        if type(scheme) is not LowRank or scheme.triple in seen:
            continue
        seen.add(scheme.triple)
        roles = zip(ROLES, scheme.triple, strict=True)
        for name in (name for role, name in roles if role in WRITES[scheme.method]):
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
        yield Pair(scheme, down, up, base)


def matrix(row: PlanRow, found: Mapping[str, Slot]) -> Tensor:
    """Return a weight as [out, in]; it may be a view."""
    return _stored(row, found[row.name].read().detach())


def _write(row: PlanRow, found: Mapping[str, Slot], value: Tensor) -> None:
    slot = found[row.name]
    value = _stored(row, value)
    if slot.how == "plain":
        slot.tensor.copy_(value)
    else:
        assign_(slot, value.to(slot.read().dtype))


def _stored(row: PlanRow, value: Tensor) -> Tensor:
    """Turn what is stored into [out, in], or back."""
    return value.T if row.layout is not None and row.layout.outputs == (1,) else value
