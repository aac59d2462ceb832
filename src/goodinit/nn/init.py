"""torch.nn.init, name for name, with what it lacks.

``from goodinit.nn import init`` instead of ``from torch.nn import init``. Signatures, defaults,
return values, warnings and errors are torch's, and so are its fans and
gains; ``goodinit.init_`` and the schemes take the true ones. New are ``delta_orthogonal_``, the
gains of gelu, silu and any callable, ``trunc_normal_``'s ``cut`` and ``corrected``; ``generator``
is honoured by all, and every function takes half dtypes and any memory format.

    >>> import torch
    >>> from goodinit.nn import init
    >>> layer = torch.nn.Linear(20, 30)
    >>> init.xavier_uniform_(layer.weight) is layer.weight
    True
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from goodinit.nn.fans import calculate_correct_fan, calculate_fan_in_and_fan_out
from goodinit.nn.gains import calculate_gain
from goodinit.nn.matrices import delta_orthogonal_, dirac_, eye_, orthogonal_, sparse_
from goodinit.nn.values import constant_, normal_, ones_, trunc_normal_, uniform_, zeros_
from goodinit.nn.variance import (
    kaiming_normal_,
    kaiming_uniform_,
    xavier_normal_,
    xavier_uniform_,
)

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "delta_orthogonal_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

# Private in torch too, yet imported by many.
_calculate_correct_fan = calculate_correct_fan
_calculate_fan_in_and_fan_out = calculate_fan_in_and_fan_out

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _deprecated(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a function's old name: it warns with the new one, and works."""
    new = function.__name__
    old = new.removesuffix("_")

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        warnings.warn(
            f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = old
    call.__doc__ = f"Deprecated, as in torch: warn with the new name, ``{new}``, and call it."
    return call


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
