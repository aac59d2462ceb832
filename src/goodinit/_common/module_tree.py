"""A model's modules, parameters and buffers, without recursion.

``model.modules()`` calls itself for each level, and ends in a RecursionError where modules nest
deeper than Python's stack.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn


def modules_of(model: nn.Module) -> Iterator[nn.Module]:
    """Yield each module once, in the order of ``model.modules()``.

    >>> [type(module).__name__ for module in modules_of(nn.Sequential(nn.ReLU()))]
    ['Sequential', 'ReLU']
    """
    return (module for _, module in _named(model))


def named_parameters_of(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield each parameter once, with its dotted name.

    >>> [name for name, _ in named_parameters_of(nn.Sequential(nn.Linear(2, 2)))]
    ['0.weight', '0.bias']
    """
    seen: set[int] = set()
    for path, module in _named(model):
        for name, tensor in module.named_parameters(recurse=False):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield path + name, tensor


def parameters_of(model: nn.Module) -> Iterator[nn.Parameter]:
    """Yield each parameter once."""
    return (tensor for _, tensor in named_parameters_of(model))


def buffers_of(model: nn.Module) -> Iterator[Tensor]:
    """Yield each buffer once."""
    found = {id(t): t for _, module in _named(model) for t in module.buffers(recurse=False)}
    yield from found.values()


def _named(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield (dotted path that ends in a dot or is empty, module), each module once."""
    seen: set[int] = set()
    waiting = [("", model)]
    while waiting:
        path, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield path, module
        children = list(module.named_children())
        waiting += [(f"{path}{name}.", child) for name, child in reversed(children)]
