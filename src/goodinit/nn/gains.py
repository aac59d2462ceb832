"""torch's gains, and the true ones where torch has none."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from goodinit.errors import SchemeError, nearest
from goodinit.schemes import gains
from goodinit.schemes.fields import shown

__all__ = ["calculate_gain"]

LINEAR = ["linear", *(f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3))]

# Torch's numbers. True, from E[f(z)^2]: sigmoid 1.846, tanh 1.593, selu 1.000.
TORCH: dict[str, float] = {
    **dict.fromkeys(LINEAR, 1),
    "sigmoid": 1,
    "tanh": 5 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3 / 4,
}


def calculate_gain(
    nonlinearity: str | Callable[[Tensor], Tensor], param: float | None = None
) -> float:
    r"""Return the gain of a nonlinearity: torch's number where torch has one, else the true one.

    =============================  ==============================================
    nonlinearity                   gain
    =============================  ==============================================
    linear, conv*, sigmoid         1
    tanh                           5/3
    relu                           sqrt(2)
    leaky_relu                     sqrt(2 / (1 + negative_slope^2))
    selu                           3/4
    gelu, silu (swish), mish, elu  1/sqrt(E[f(z)^2]), z ~ N(0, 1): 1.534, 1.677,
    softplus, hardswish, ...       1.487, 1.245, 1.042, 1.737
    glu                            1/sqrt(E[(z1 sigmoid(z2))^2]) = 1.846
    a callable                     1/sqrt(E[f(z)^2]), by quadrature
    =============================  ==============================================

    The true gain keeps the second moment of a signal (He et al., 2015). Torch's are not all
    true: tanh is 1.593, selu 1.000 and sigmoid 1.846; ``goodinit.gain`` gives those, and so does
    a callable: ``calculate_gain(torch.tanh)``. For self-normalizing networks take ``"linear"``.

    glu halves its inputs, z1 * sigmoid(z2). Its gain is meant for the weights of the half z1, with
    the gate's at gain 1, so that z2 ~ N(0, 1). Likewise for its relatives: ``"gelu"`` is the gain
    of z1 * gelu(z2), ``"silu"`` that of swiglu.

    Args:
        nonlinearity: a name of ``torch.nn.functional``, or a callable that acts element by
            element on float64 tensors; a module will do.
        param: ``negative_slope`` of leaky_relu, .01 if None. As in torch it is ignored by the
            other names that torch knows; for what it doesn't know it must be None.

    Raises:
        SchemeError: a ValueError: an unknown name, a slope that is no number, a param with a
            name of ours, a callable that has no gain.

    Example:
        >>> calculate_gain("relu") == 2**0.5, round(calculate_gain("leaky_relu", 0.2), 6)
        (True, 1.38675)
        >>> round(calculate_gain("gelu"), 3), round(calculate_gain("glu"), 3)
        (1.534, 1.846)
        >>> import torch
        >>> round(calculate_gain(lambda z: torch.relu(z) ** 2), 4)
        0.8165
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + _slope(param) ** 2))
    if isinstance(nonlinearity, str) and nonlinearity in TORCH:
        return TORCH[nonlinearity]
    if not callable(nonlinearity) and nonlinearity not in (*gains.NONLINEARITIES, "glu"):
        raise SchemeError(_unsupported(nonlinearity))
    if param is not None:
        raise SchemeError(
            f"param={shown(param)} means nothing to {shown(nonlinearity)}: only leaky_relu takes "
            "one. Pass a callable with its parameters, such as lambda z: elu(z, alpha=0.5)"
        )
    return gains.gain("sigmoid" if nonlinearity == "glu" else nonlinearity)


def _slope(param: object) -> float:
    if param is None:
        return 0.01
    if isinstance(param, bool) or not isinstance(param, (int, float)):
        raise SchemeError(f"negative_slope {_bare(param)} not a valid number: pass a float")
    return param


def _unsupported(nonlinearity: object) -> str:
    name = _bare(nonlinearity)
    known = [*TORCH, *gains.NONLINEARITIES, "glu"]
    return (
        f"Unsupported nonlinearity {name}.{nearest(name, known)} A callable will do as well: "
        "calculate_gain(lambda z: z * z.sigmoid())"
    )


def _bare(value: object) -> str:
    return value if isinstance(value, str) else shown(value)
