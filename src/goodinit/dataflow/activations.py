"""What an activation is called, as a module, a function, or a call of one.

Names are those of ``torch.nn.functional``; arguments that differ from its defaults follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

_PLAIN = (
    *(nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6),
    *(nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softsign, nn.Tanh, nn.Tanhshrink),
)
_ACTIVATIONS: Mapping[type[nn.Module], tuple[str, Mapping[str, float | None]]] = {
    **{cls: (cls.__name__.lower(), {}) for cls in _PLAIN},
    nn.CELU: ("celu", {"alpha": 1.0}),
    nn.ELU: ("elu", {"alpha": 1.0}),
    nn.Hardshrink: ("hardshrink", {"lambd": 0.5}),
    nn.Hardtanh: ("hardtanh", {"min_val": -1.0, "max_val": 1.0}),
    nn.LeakyReLU: ("leaky_relu", {"negative_slope": 0.01}),
    nn.PReLU: ("prelu", {"init": 0.25}),
    nn.RReLU: ("rrelu", {"lower": 1 / 8, "upper": 1 / 3}),
    nn.Softplus: ("softplus", {"beta": 1.0, "threshold": 20.0}),
    nn.Softshrink: ("softshrink", {"lambd": 0.5}),
    nn.Threshold: ("threshold", {"threshold": None, "value": None}),
}
"""Activation modules: name of the function, its arguments in order with their defaults."""

_FUNCTIONS = dict(_ACTIVATIONS.values())


def activation_name(f: object) -> str | None:
    """Return the ``torch.nn.functional`` name of an activation module or function.

    Arguments that differ from the function's defaults follow in its own order, so that
    ``name(a, b)`` stands for ``F.name(x, a, b)``. ``gelu_tanh`` is gelu's tanh approximation;
    ``prelu`` has the slope that it starts from. None for anything that isn't element by
    element, and for functions that aren't torch's.

    Example:
        >>> activation_name(nn.LeakyReLU(0.01)), activation_name(nn.Hardtanh(0, 4))
        ('leaky_relu', 'hardtanh(0, 4)')
        >>> activation_name(torch.tanh), activation_name(nn.Softmax(dim=-1))
        ('tanh', None)
    """
    if not isinstance(f, nn.Module):
        name: str = getattr(f, "__name__", "")
        torchs = [getattr(place, name, None) for place in (nn.functional, torch)]
        return name if name in _FUNCTIONS and f in torchs else None
    cls = next((cls for cls in type(f).__mro__ if cls in _ACTIVATIONS), None)
    if cls is None:
        return None
    name, defaults = _ACTIVATIONS[cls]
    if isinstance(f, nn.GELU):
        return "gelu_tanh" if f.approximate == "tanh" else name
    return _with(name, defaults, {field: getattr(f, field) for field in defaults})


def activation_call(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Return the same text for a call of an activation function, its input left out.

    >>> activation_call("leaky_relu", (0.2,), {}), activation_call("hardtanh", (0, 6), {})
    ('leaky_relu(0.2)', 'relu6')
    """
    if name == "gelu":
        return "gelu_tanh" if kwargs.get("approximate") == "tanh" else name
    defaults = _FUNCTIONS.get(name, {})
    given = dict(zip(defaults, args, strict=False)) | {
        k: kwargs[k] for k in defaults if k in kwargs
    }
    numbers = {k: v for k, v in given.items() if isinstance(v, (int, float))}
    return _with(name, defaults, {**defaults, **numbers})


def _with(
    name: str, defaults: Mapping[str, float | None], values: Mapping[str, float | None]
) -> str:
    if values == defaults:
        return name
    if name == "hardtanh" and list(values.values()) == [0.0, 6.0]:
        return "relu6"  # which is how torch computes it
    return f"{name}({', '.join(f'{value:g}' for value in values.values())})"
