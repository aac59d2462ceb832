"""One seed and name drawn into two parts of one model: both then hold the same random numbers.

``for layer in layers: gi.init_(layer, "he", seed=0)`` is the usual way to get there, because each
layer alone calls its weight "weight". Whole models may well be drawn alike: two that are compared,
a target network, a test of reproducibility.
"""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from goodinit._common.caller import callers_level
from goodinit.anatomy.names import Slot
from goodinit.plans.rows import PlanRow
from goodinit.schemes import Scheme

MANY = 3  # layers with the same draw: two may be those of two models that are compared
MOST_SEARCHES = 3  # for the model that holds two parts: each looks at all objects of the process

_repeats = ContextVar("repeats", default=False)


class _Memory(weakref.ref[torch.UntypedStorage]):
    """A drawn tensor's memory, weakly held. A tensor itself can't be swapped while one holds it."""

    __slots__ = ("key", "offset", "owner", "scheme")

    key: tuple[int, str]
    offset: int
    owner: weakref.ref[nn.Module] | None
    scheme: Scheme


@dataclass
class _State:
    """What was drawn by seed and name, and whether anybody has been warned."""

    drawn: dict[tuple[int, str], list[_Memory]]
    warned: bool = False
    searches: int = 0


_STATE = _State({})


@contextmanager
def repeats_allowed() -> Generator[None]:
    """Draw without a note: copies that live for a moment, to be compared."""
    token = _repeats.set(True)
    try:
        yield
    finally:
        _repeats.reset(token)


def note_draws(
    target: nn.Module | Tensor,
    rows: tuple[PlanRow, ...],
    found: Mapping[str, Slot],
    seed: int,
) -> None:
    """Note which tensors were drawn from a seed; warn once if another part holds the same draw.

    ``seed`` is the caller's own: a fresh one can't repeat.
    """
    if _STATE.warned or _repeats.get():
        return
    repeated = ""
    for row in rows:
        if row.scheme is None or not row.std or row.kept or len(found[row.name].tensors) > 1:
            continue
        tensor = found[row.name].tensor
        before = _STATE.drawn.setdefault((seed, row.name), [])
        memory = _note(before, (seed, row.name), tensor, row.scheme, target)
        if memory is not None and not repeated and _are_parts_of_one(target, memory, before):
            repeated = row.name
    if repeated:
        _STATE.warned = True
        warnings.warn(
            f"{repeated!r} was drawn from seed {seed} before, into another tensor that is still in "
            f"use: both hold the same random numbers. Initialize the model in one call, or draw "
            f"each part under its own name, prefix='layers.0', or from its own seed",
            stacklevel=callers_level(),
        )


def _note(
    before: list[_Memory],
    key: tuple[int, str],
    tensor: Tensor,
    scheme: Scheme,
    target: nn.Module | Tensor,
) -> _Memory | None:
    """Add a tensor to those drawn under a key; return it if it is new."""
    storage, offset = tensor.untyped_storage(), int(tensor.storage_offset())
    if any(memory() is storage and memory.offset == offset for memory in before):
        return None  # the same parameter again
    memory = _Memory(storage, _forget)
    memory.key, memory.offset, memory.scheme = key, offset, scheme
    memory.owner = weakref.ref(target) if isinstance(target, nn.Module) else None
    before.append(memory)
    return memory


def _forget(memory: weakref.ref[torch.UntypedStorage]) -> None:
    assert isinstance(memory, _Memory)
    same = _STATE.drawn.get(memory.key, [])
    if memory in same:
        same.remove(memory)
    if not same:
        _STATE.drawn.pop(memory.key, None)


def _are_parts_of_one(target: nn.Module | Tensor, memory: _Memory, before: list[_Memory]) -> bool:
    """Whether another tensor with the same draw belongs, as far as can be known, to one model."""
    others = [m for m in before if m is not memory and m() and m.scheme == memory.scheme]
    if not others:
        return False
    if not isinstance(target, nn.Module):
        return True  # a tensor by itself is no model
    layer = next(target.children(), None) is None
    if layer and len(others) + 1 >= MANY:
        return True
    # The search holds what other threads are just building, for which tuple() raises there.
    if _STATE.searches >= MOST_SEARCHES or threading.active_count() > 1:
        return False
    _STATE.searches += 1
    parents = _parents()
    above = _above(target, parents) | (_containers(target) if layer else set[int]())
    owners = [owner for m in others if m.owner is not None and (owner := m.owner()) is not None]
    return any(
        above & (_above(owner, parents) | (_containers(owner) if layer else set[int]()))
        for owner in owners
    )


def _containers(layer: nn.Module) -> set[int]:
    """Return the ids of the lists, tuples and dicts that hold a layer; not of namespaces."""
    holders = cast("list[object]", gc.get_referrers(layer))
    lists = {id(holder) for holder in holders if type(holder) in (list, tuple)}
    dicts = [cast("dict[object, object]", h) for h in holders if type(h) is dict]
    return lists | {id(holder) for holder in dicts if "__name__" not in holder}


def _parents() -> dict[int, list[nn.Module]]:
    """Return the modules that hold each module of the process, by its id."""
    parents: dict[int, list[nn.Module]] = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), nn.Module):
            children = cast("dict[str, object]", vars(thing).get("_modules") or {})
            for child in children.values():
                parents.setdefault(id(child), []).append(thing)
    return parents


def _above(module: nn.Module, parents: Mapping[int, list[nn.Module]]) -> set[int]:
    """Return the ids of all modules above one."""
    found: set[int] = set()
    waiting = [module]
    while waiting:
        for parent in parents.get(id(waiting.pop()), []):
            if id(parent) not in found:
                found.add(id(parent))
                waiting.append(parent)
    return found
