"""Adapters that hold values beside a frozen layer: they were computed from its weight, or trained.

Both factors of such an adapter hold values: singular vectors, rows of QR, columns that are
orthogonal to each other. Drawn anew, they would no longer fit what was taken out of the frozen
weight, or lose what training made of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import nn

from goodinit.anatomy.zeros import TUNES, Parameter, is_frozen_weight


def computed_adapters(
    parameters: Sequence[Parameter], modules: Mapping[str, nn.Module]
) -> dict[int, str]:
    """Return why parameters of adapters keep what they hold, by number.

    An adapter's parameters lie in dicts beside the layer that it tunes, under the adapter's name.
    Two of them have the layer's inputs and outputs, and the rank in common. Where the data flow
    shows an adapter, recipes know what it is.
    """
    bases = {path: shape for one in parameters if (path := _wrapper(one))
             for shape in (one.slot.logical_shape,)}  # fmt: skip
    if not bases:
        return {}
    adapters: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number, one in enumerate(parameters):
        if one.slot.tensor.requires_grad and not one.slot.buffer:
            for place in _places(one.slot.name, bases, modules):
                adapters[place].append(number)
    found: dict[int, str] = {}
    for (path, _), numbers in adapters.items():
        matrices = [parameters[n].slot.logical_shape for n in numbers if _is_drawn(parameters[n])]
        if _is_low_rank(matrices, bases[path]):
            found |= {n: TUNES for n in numbers if parameters[n].facets.kind != "adapter"}
    return found


def _wrapper(one: Parameter) -> str:
    """Return the path of the module that holds a frozen layer of a matrix; "" if it isn't one."""
    path, dot, _ = one.slot.name.rpartition(".")[0].rpartition(".")
    matrix = len(one.slot.logical_shape) == 2 and not one.raw
    return path if matrix and dot and is_frozen_weight(one) else ""


def _places(
    name: str, bases: Iterable[str], modules: Mapping[str, nn.Module]
) -> Iterator[tuple[str, str]]:
    """Yield the frozen layers beside whose dicts a parameter lies, and its adapter's name."""
    parts = name.split(".")
    for end in range(len(parts) - 1):
        path = ".".join(parts[:end])
        inside = modules.get(".".join(parts[: end + 1]))
        if path in bases and isinstance(inside, (nn.ModuleDict, nn.ParameterDict)):
            yield path, parts[end + 1]


def _is_drawn(one: Parameter) -> bool:
    return one.held.what == "values" and len(one.slot.logical_shape) == 2


def _is_low_rank(matrices: Sequence[tuple[int, ...]], base: tuple[int, ...]) -> bool:
    """Whether two matrices multiply to the shape of a third, over a shorter axis."""
    for n, first in enumerate(matrices):
        for second in matrices[n + 1 :]:
            pairs = (
                (a, b, r, s) for a, r in (first, first[::-1]) for b, s in (second, second[::-1])
            )
            if any(r == s < max(base) and {a, b} == set(base) for a, b, r, s in pairs):
                return True
    return False
