"""Xavier and Kaiming, with torch's fans and gains."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from goodinit.nn import fill
from goodinit.nn.fans import calculate_correct_fan, calculate_fan_in_and_fan_out
from goodinit.nn.fill import ours, real
from goodinit.nn.gains import calculate_gain
from goodinit.nn.refusals import refuse

__all__ = ["kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_"]


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill the tensor with U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)), and return it.

    Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (2010). The fans are torch's, size(1) * window and size(0) * window: wrong for grouped and
    transposed convolutions and for packed projections, such as attention's ``in_proj_weight``.
    ``goodinit.init_(layer, goodinit.XavierUniform())`` takes the true ones.

    Args:
        tensor: floating or complex, of two dimensions or more, any strides.
        gain: factor on the values, from 0; ``calculate_gain`` names some.
        generator: on any device; None is torch's default CPU generator.

    Raises:
        FanError: a ValueError: fewer than two dimensions.
        InitValueError: a gain that is negative, NaN or infinite.
        InitDtypeError: integers, booleans.
        InitMemoryError: an expanded tensor.

    Example:
        >>> w = xavier_uniform_(torch.empty(3, 5), gain=calculate_gain("relu"))
        >>> bool(w.abs().max() <= 2**0.5 * (6 / 8) ** 0.5)
        True
    """
    std = _xavier("xavier_uniform_", tensor, gain)
    bound = math.sqrt(3.0) * std
    return fill.uniform("xavier_uniform_", tensor, -bound, bound, generator)


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill the tensor with N(0, gain^2 * 2 / (fan_in + fan_out)), and return it.

    Glorot & Bengio (2010), with torch's fans; arguments, errors and what to know about the fans
    as for ``xavier_uniform_``. The true ones: ``goodinit.XavierNormal``.

    Args:
        tensor: floating or complex, of two dimensions or more, any strides.
        gain: factor on the values, from 0.
        generator: on any device; None is torch's default CPU generator.

    Raises:
        FanError: a ValueError: fewer than two dimensions.
        InitValueError: a gain that is negative, NaN or infinite.
        InitDtypeError: integers, booleans.
        InitMemoryError: an expanded tensor.

    Example:
        >>> seeded = torch.Generator().manual_seed(0)
        >>> w = xavier_normal_(torch.empty(300, 500), generator=seeded)
        >>> round(w.std().item(), 3)  # sqrt(2 / 800)
        0.05
    """
    std = _xavier("xavier_normal_", tensor, gain)
    return fill.normal("xavier_normal_", tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str | Callable[[Tensor], Tensor] = "leaky_relu",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill the tensor with U(-b, b), b = gain sqrt(3 / fan), and return it.

    He et al., "Delving deep into rectifiers" (2015). Fans and gains are torch's:

    - fan_in is size(1) * window and fan_out size(0) * window. For a weight used as ``x @ w`` pass
      ``w.T``. For grouped, transposed and packed weights they are wrong:
      ``goodinit.init_(layer, goodinit.HeUniform())`` takes the true ones.
    - ``a=math.sqrt(5)``, the default of torch's layers, is no slope of anything: it gives
      U(-1/sqrt(fan_in), 1/sqrt(fan_in)), a third of LeCun's variance.

    Args:
        tensor: floating or complex, of two dimensions or more, any strides.
        a: negative slope of leaky_relu. As in torch it is ignored with the other names that
            torch knows; what torch doesn't know takes none.
        mode: ``"fan_in"`` keeps the signal's second moment, ``"fan_out"`` the gradient's.
        nonlinearity: a name or callable of ``calculate_gain``.
        generator: on any device; None is torch's default CPU generator.

    Raises:
        FanError: a ValueError: fewer than two dimensions.
        SchemeError: a ValueError: an unknown mode or nonlinearity, a slope that is no number.
        InitValueError: a slope that is NaN.
        InitDtypeError: integers, booleans.
        InitMemoryError: an expanded tensor.

    Warns:
        UserWarning: the tensor has no elements. goodinit's other calls refuse such a parameter:
            under ZeRO-3 it is a shard, and a write to it is lost.

    Example:
        >>> w = kaiming_uniform_(torch.empty(3, 5), nonlinearity="relu")
        >>> bool(w.abs().max() <= (6 / 5) ** 0.5)
        True
    """
    ours("kaiming_uniform_", tensor)
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    bound = math.sqrt(3.0) * _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return fill.uniform("kaiming_uniform_", tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str | Callable[[Tensor], Tensor] = "leaky_relu",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill the tensor with N(0, gain^2 / fan), and return it.

    He et al. (2015), with torch's fans and gains; what to know about them as for
    ``kaiming_uniform_``. The true ones: ``goodinit.HeNormal``.

    Args:
        tensor: floating or complex, of two dimensions or more, any strides.
        a: negative slope of leaky_relu.
        mode: ``"fan_in"`` or ``"fan_out"``.
        nonlinearity: a name or callable of ``calculate_gain``.
        generator: on any device; None is torch's default CPU generator.

    Raises:
        FanError: a ValueError: fewer than two dimensions.
        SchemeError: a ValueError: an unknown mode or nonlinearity, a slope that is no number.
        InitValueError: a slope that is NaN.
        InitDtypeError: integers, booleans.
        InitMemoryError: an expanded tensor.

    Warns:
        UserWarning: the tensor has no elements.

    Example:
        >>> seeded = torch.Generator().manual_seed(0)
        >>> w = kaiming_normal_(torch.empty(500, 800), nonlinearity="gelu", generator=seeded)
        >>> round(w.std().item(), 3)  # 1.534 / sqrt(800)
        0.054
    """
    ours("kaiming_normal_", tensor)
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity)
    return fill.normal("kaiming_normal_", tensor, 0.0, std, generator)


def _xavier(function: str, tensor: Tensor, gain: float) -> float:
    ours(function, tensor)
    fans = sum(calculate_fan_in_and_fan_out(tensor))
    factor = real(function, "gain", gain, least=0.0)
    return factor * math.sqrt(2.0 / fans) if fans else 0.0  # no fans: no elements


def _kaiming(
    function: str,
    tensor: Tensor,
    a: float,
    mode: str,
    nonlinearity: str | Callable[[Tensor], Tensor],
) -> float:
    fan = calculate_correct_fan(tensor, mode)
    # The default a = 0 is leaky_relu's, and no parameter of another nonlinearity.
    param = a if nonlinearity == "leaky_relu" or a else None
    gain = calculate_gain(nonlinearity, param)
    if math.isnan(gain):
        refuse(function, "a", a, "the negative slope must be a number")
    return gain / math.sqrt(fan)
