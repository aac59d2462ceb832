"""One seed and name drawn into two parts of one model: both then hold the same random numbers.

``for layer in layers: gi.init_(layer, "he", seed=0)`` is the usual way to get there, because each
layer alone calls its weight "weight". Whole models may well be drawn alike: two that are compared,
a target network, a test of reproducibility.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import cast

import torch
from torch import Tensor, nn

from goodinit._common.caller import callers_level, callers_values
from goodinit.anatomy.names import Slot
from goodinit.plans.rows import PlanRow
from goodinit.schemes import Scheme

MANY = 3  # layers with the same draw: two may be those of two models that are compared
MOST_SEARCHES = 100  # a process that compares more models than this knows that they are drawn alike
MOST_HELD = 1000  # values of one list that are looked at: lists of data are longer

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
    owners: dict[int, tuple[nn.Module, str]] = {}
    for row in rows:
        slot = found[row.name]
        if row.scheme is None or not row.std or row.kept or len(slot.tensors) > 1:
            continue
        key = seed, row.name
        before = _STATE.drawn.setdefault(key, [])
        memory = _note(before, key, slot.tensor, row.scheme, target)
        if memory is None or repeated:
            continue
        others = [m for m in before if m is not memory and m() and m.scheme == memory.scheme]
        if _are_surely_parts(target, others):
            repeated = row.name
        for other in others:
            if other.owner is not None and (owner := other.owner()) is not None:
                owners.setdefault(id(owner), (owner, row.name))
    if not repeated and isinstance(target, nn.Module):
        repeated = _shared_name(target, owners)
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
    for memory in before:  # faster than any(), for thousands of parameters
        if memory() is storage and memory.offset == offset:
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


def _are_surely_parts(target: nn.Module | Tensor, others: list[_Memory]) -> bool:
    """Whether tensors with the same draw are parts of one model, from what they are."""
    if not isinstance(target, nn.Module):
        return bool(others)  # a tensor by itself isn't a model
    return _is_layer(target) and len(others) + 1 >= MANY


def _is_layer(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _shared_name(target: nn.Module, owners: Mapping[int, tuple[nn.Module, str]]) -> str:
    """Return the name drawn into the target and into another part of a model or list, or ''.

    The model or list is one that a variable of the calling code holds.
    """
    inside = _ids_inside(target)  # what the target holds was drawn again now, under its full name
    owners = {key: owner for key, owner in owners.items() if key not in inside}
    if not owners or _STATE.searches >= MOST_SEARCHES:
        return ""
    _STATE.searches += 1
    for holder in _holders():
        if issubclass(type(holder), nn.Module):
            held = _ids_inside(cast("nn.Module", holder))
        elif _is_layer(target):
            held = {id(thing) for thing in cast("list[object]", holder)}
        else:
            continue  # a list of models
        if id(target) in held and (both := held & owners.keys()):
            return owners[both.pop()][1]
    return ""


def _holders() -> Generator[object]:
    """Yield the modules and lists in the callers' variables, and those one level further in."""
    for value in callers_values():
        for thing in (value, *_inside(value)):
            if issubclass(type(thing), (nn.Module, list)):
                yield thing


def _inside(value: object) -> list[object]:
    """Return what a list, a tuple, a dict or an object of the user's own holds."""
    if issubclass(type(value), (list, tuple)):
        return list(cast("list[object]", value)[:MOST_HELD])
    if issubclass(type(value), (nn.Module, ModuleType, type)):
        return []
    try:
        held = cast(
            "dict[object, object]",
            value if type(value) is dict else object.__getattribute__(value, "__dict__"),
        )
    except AttributeError:
        return []  # numbers and strings have no attributes of their own
    return list(held.values())[:MOST_HELD]


def _ids_inside(module: nn.Module) -> set[int]:
    """Return the ids of a module and of all modules below it."""
    found: set[int] = set()
    waiting: list[object] = [module]
    while waiting:
        part = waiting.pop()
        if part is not None and id(part) not in found:
            found.add(id(part))
            waiting += cast("dict[str, object]", vars(part).get("_modules") or {}).values()
    return found
