"""What a scheme means for complex weights: the laws of their real and imaginary parts.

A law with variance v, such as He's or Xavier's, has E|w|^2 = v: its two parts have v/2 each. For
normal parts the modulus is Rayleigh with sigma = sqrt(v/2), and the phase is uniform: with v =
2/fan_in or 2/(fan_in + fan_out) that is Trabelsi et al. 2018 (1705.09792), section 3.6. Bounds of
a ``Uniform`` are those of each part, as in ``torch.nn.init.uniform_``, so that E|w|^2 is twice
its variance. A constant is real.
"""

from __future__ import annotations

import math
from dataclasses import replace

from goodinit.errors import DtypeError
from goodinit.schemes.matrices import Dirac, Identity
from goodinit.schemes.scheme import Scheme
from goodinit.schemes.values import (
    Constant,
    Drawn,
    Keep,
    Normal,
    Ones,
    TruncatedNormal,
    Uniform,
    Zeros,
)

HALF = math.sqrt(0.5)  # of the std, for each of two parts


def complex_parts(scheme: Scheme) -> tuple[Scheme, Scheme]:
    """Return the schemes of the real and of the imaginary part.

    Raises:
        DtypeError: no law is known for complex numbers.

    >>> complex_parts(Normal(2.0))[0]
    Normal(std=1.41421)
    >>> complex_parts(Ones())
    (Ones(), Zeros())
    """
    match scheme:
        case Keep() | Zeros() | Uniform():
            return scheme, scheme
        case Constant() | Ones() | Identity() | Dirac():
            return scheme, Zeros()
        case Normal() | TruncatedNormal():
            half = replace(scheme, std=scheme.std * HALF)
            return half, half
        case Drawn():  # by fan
            half = scheme.times(HALF)
            return half, half
        case _:
            raise DtypeError(f"{scheme!r} has no law for complex numbers")


def complex_std(scheme: Scheme, std: float) -> float:
    """Return sqrt(E|w - E w|^2) of complex numbers, from the scheme's std for real ones."""
    return std * math.sqrt(2) if isinstance(scheme, Uniform) else std
