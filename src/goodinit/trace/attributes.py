"""What modules store on themselves during a run, restored after it: caches, counters, lists."""

from __future__ import annotations

from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Iterable, Iterator
from operator import is_
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import nn

# How deep containers and objects are searched, and how many of them below the modules' own: a cache
# of layers of pairs is three or four deep, and what a module refers to (a trainer, a data set) may
# have no end.
DEPTH, MOST = 6, 20_000
_NOT_SEARCHED = (nn.Module, torch.Tensor, torch.Generator, type, ModuleType, FunctionType)
_CONTAINERS = frozenset(
    (dict, list, set, deque, OrderedDict, Counter, defaultdict, UserDict, UserList)
)
_PLAIN = frozenset((int, float, bool, str, bytes, type(None), torch.Tensor, nn.Parameter))


class Attributes:
    """The attributes of modules as they are now, and the containers and objects among them.

    Attributes:
        values: the objects that were found; generators are among them.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.values: list[object] = []
        self._kept: list[tuple[Any, Any]] = []
        self._empty: list[Any] = []  # most of a module's containers: no hooks are registered
        own = [vars(module) for module in modules]
        self._kept += [(attributes, dict(attributes)) for attributes in own]
        found: set[int] = set()
        level = [value for attributes in own for value in attributes.values()]
        most = MOST + len(level)
        for _ in range(DEPTH):
            below: list[object] = []
            for value in level:
                if type(value) in _PLAIN or id(value) in found or len(found) >= most:
                    continue
                found.add(id(value))
                if type(value) not in _CONTAINERS:
                    self.values.append(value)
                elif not value:
                    self._empty.append(value)
                    continue
                for container in _containers(value):
                    copy = _copy(container)
                    self._kept.append((container, copy))
                    below += copy.values() if _is_mapping(container) else copy
            level = below

    def put_back(self) -> None:
        """Make each what it was; what didn't change isn't written to."""
        for container, copy in self._kept:
            if not _is_same(container, copy):
                _refill(container, copy)
        for container in self._empty:
            if container:
                container.clear()


def _containers(value: Any) -> Iterator[Any]:
    """Yield a value that is a container, and the attributes of an object."""
    if type(value) in _CONTAINERS:
        yield value
    elif not isinstance(value, _NOT_SEARCHED):
        if _is_mapping(value) or _is_sequence(value) or _is_set(value):
            yield value
        attributes: object = getattr(value, "__dict__", None)
        if type(attributes) is dict:
            yield attributes


def _is_mapping(value: object) -> bool:
    return isinstance(value, (dict, UserDict))


def _is_sequence(value: object) -> bool:
    return isinstance(value, (list, deque, UserList))


def _is_set(value: object) -> bool:
    return isinstance(value, set)


def _copy(container: Any) -> Any:
    if _is_mapping(container):
        return dict(container)
    return set(container) if _is_set(container) else list(container)


def _is_same(container: Any, copy: Any) -> bool:
    """Whether a container holds the same objects in the same order."""
    if len(container) != len(copy):
        return False
    if _is_set(container):
        return bool(container == copy)
    values = not _is_mapping(container) or all(map(is_, container.values(), copy.values()))
    return values and all(map(is_, container, copy))


def _refill(container: Any, copy: Any) -> None:
    container.clear()
    add = container.extend if _is_sequence(container) else container.update
    add(copy)
