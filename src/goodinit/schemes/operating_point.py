"""Where an activation of a plain stack works, and what errors grow by there, layer by layer.

A stack of layers f(W x), with Var(W) = gain^2 / fan_in, maps the second moment q before f to
gain^2 E[f(sqrt(q) z)^2]. Its fixed point is where f's output has second moment 1, if f gets that
far: so the weight before f can be drawn without knowing what comes after it, as He's law is for
relu. A bounded f doesn't get that far: the fixed point is then q = 1.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from goodinit.errors import GoodinitError, SchemeError
from goodinit.schemes.gains import NONLINEARITIES, derivative_second_moment, second_moment, slope

STEPS = 20  # of Newton's method on log q; smooth functions need 5
CLOSE = 1e-9  # of log E[f^2]
FARTHEST = 16.0  # in q and 1/q: the second moment of no function in use is 1 only beyond that
LARGE = 1e4  # of q: activations are then as they are for large signals, to four digits
DIGITS = 4  # of a gain's square: widths are finite, and a plan shows it
LARGEST = 1e30  # beyond it a signal has exploded, whatever the exact value
LOG_DIGITS = 3  # of log q: second moments that agree within 0.1 % share a quadrature
HIGHEST = 1024.0  # of a steady q: gelu, silu and the like are linear on each side of 0 long before


class OperatingPoint(NamedTuple):
    """The fixed point of a plain stack's variance map.

    Attributes:
        gain_squared: of the weights before the activation.
        slope: of the variance map there, in logs: what an error in the variance is multiplied by.
        difference: what the difference of two nearly equal signals is multiplied by, and the
            gradient on its way back (in second moments; Schoenholz et al., 2017).
        large_gain_squared: the gain that keeps a large signal: relu's for gelu and silu.
    """

    gain_squared: float
    slope: float
    difference: float
    large_gain_squared: float


@functools.lru_cache(maxsize=512)
def operating_point(activation: str) -> OperatingPoint | None:
    """Return where an activation works in a plain stack; None for an unknown one.

    Args:
        activation: as in ``Facets``: the name of a function, and arguments if they aren't the
            default's.

    Example:
        >>> operating_point("relu")
        OperatingPoint(gain_squared=2.0, slope=1.0, difference=1.0, large_gain_squared=2.0)
        >>> [round(x, 3) for x in operating_point("gelu")]
        [2.155, 1.084, 1.06, 2.0]
        >>> [round(x, 3) for x in operating_point("tanh")][:3]  # bounded: 1 / E[tanh(z)^2]
        [2.536, 0.461, 1.178]
    """
    f = elementwise(activation)
    if f is None:
        return None
    try:
        q = _unit_output(f)
        at = _scaled(f, q)
        gain_squared = q / second_moment(at)
        difference = gain_squared * derivative_second_moment(at) / q
        large = LARGE / second_moment(_scaled(f, LARGE))
        squares = round(gain_squared, DIGITS), round(large, DIGITS)
        return OperatingPoint(squares[0], slope(at), difference, squares[1])
    except (SchemeError, TypeError, OverflowError):
        return None


@functools.lru_cache(maxsize=512)
def steady_second_moment(
    activation: str, layers: int, growth: float, allowed: float
) -> float | None:
    """Return 1 if a stack's errors grow by ``allowed`` at most there, else a larger power of 2.

    The larger a signal, the more gelu and silu are like relu, whose variance map has slope 1.

    Args:
        activation: as for ``operating_point``.
        layers: of the stack; errors grow between them.
        growth: of an error in the second moment, over the whole stack, above 1.
        allowed: the same at 1.

    Returns:
        A second moment before the activation; None if there is none, or an unknown activation.

    Example:
        >>> [steady_second_moment(f, 50, 2.0, 10.0) for f in ("relu", "tanh", "gelu", "silu")]
        [1.0, 1.0, 16.0, 64.0]
        >>> steady_second_moment("gelu", 18, 2.0, 10.0), steady_second_moment("gelu", 19, 2.0, 10.0)
        (1.0, 8.0)
    """
    f = elementwise(activation)
    q = 1.0
    while f is not None and q <= HIGHEST:
        try:
            if slope(_scaled(f, q)) ** (layers - 1) <= (allowed if q == 1 else growth):
                return q
        except (SchemeError, TypeError, OverflowError):
            return None
        q *= 2
    return None


def mean_square_after(activation: str, q: float) -> float | None:
    """Return E[f(sqrt(q) z)^2], or None if f isn't a known function of one number.

    >>> mean_square_after("relu", 4.0), mean_square_after("", 3.0), mean_square_after("glu", 1.0)
    (2.0, 3.0, None)
    """
    if not activation or q <= 0:
        return q
    if split_label(activation)[0] in ("relu", "leaky_relu", "prelu"):  # homogeneous
        at_one = _mean_square(activation, 0.0)
        return None if at_one is None else at_one * q
    # Rounded, so that layers of one kind share a cached result.
    return _mean_square(activation, round(math.log(q), LOG_DIGITS)) if q < LARGEST else None


@functools.lru_cache(maxsize=4096)
def _mean_square(activation: str, log_q: float) -> float | None:
    f = elementwise(activation)
    if f is None:
        return None
    root = math.exp(log_q / 2)
    try:
        return second_moment(lambda z: f(z * root))
    except (GoodinitError, TypeError):
        return None


def elementwise(activation: str) -> Callable[[Tensor], Tensor] | None:
    """Return the function that a label such as ``leaky_relu(0.2)`` stands for.

    >>> import torch
    >>> elementwise("leaky_relu(0.2)")(torch.tensor([-1.0])).item()
    -0.20000000298023224
    """
    name, numbers = split_label(activation)
    f = NONLINEARITIES.get(name)
    return None if f is None else lambda z: f(z, *numbers)


def split_label(activation: str) -> tuple[str, tuple[float, ...]]:
    """Return the name and the numbers of a label.

    >>> split_label("hardtanh(0, 4)")
    ('hardtanh', (0.0, 4.0))
    """
    name, _, given = activation.rstrip(")").partition("(")
    return name, tuple(
        float(number) for number in re.findall(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", given)
    )


def _scaled(f: Callable[[Tensor], Tensor], q: float) -> Callable[[Tensor], Tensor]:
    root = math.sqrt(q)
    return lambda z: f(root * z)


def _unit_output(f: Callable[[Tensor], Tensor]) -> float:
    """Return the q at which E[f(sqrt(q) z)^2] = 1, or 1 where there is none."""
    log_q = 0.0
    for _ in range(STEPS):
        at = _scaled(f, math.exp(log_q))
        off = math.log(second_moment(at))
        if abs(off) < CLOSE:
            return math.exp(log_q)
        steep = slope(at)  # d log E[f^2] / d log q
        if steep <= 0:
            return 1.0
        log_q -= off / steep
        if abs(log_q) > math.log(FARTHEST):
            return 1.0
    return 1.0
