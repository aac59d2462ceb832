"""Laws that take their numbers as arguments, and constants."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor
from torch.nn.init import constant_ as torch_constant_
from torch.nn.init import trunc_normal_ as torch_trunc_normal_

from goodinit.nn import fill
from goodinit.nn.fill import Wanted, check_drawable, check_writable, number, ours, real
from goodinit.nn.refusals import refuse
from goodinit.schemes import Site, TruncatedNormal
from goodinit.streams.spec import REACH

__all__ = ["constant_", "normal_", "ones_", "trunc_normal_", "uniform_", "zeros_"]


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill the tensor with U(a, b), in place, and return it.

    Mean (a + b)/2, standard deviation (b - a)/sqrt(12). Values are rounded to nearest and both
    bounds can occur; in torch b can't. Of a complex tensor each of the two parts is drawn.

    Args:
        tensor: floating or complex, of any shape and strides.
        a: lower bound.
        b: upper bound; equal bounds give the constant.
        generator: on any device; None is torch's default CPU generator.

    Raises:
        InitValueError: a > b, or a bound that is NaN, infinite or beyond the dtype.
        InitDtypeError: integers, booleans.
        InitMemoryError: an expanded tensor.

    Example:
        >>> w = torch.empty(3, 5)
        >>> uniform_(w, -0.1, 0.1, generator=torch.Generator().manual_seed(0)) is w
        True
        >>> bool((w.abs() <= 0.1).all())
        True
    """
    low, high = number("uniform_", "a", a), number("uniform_", "b", b)
    return fill.uniform("uniform_", tensor, low, high, generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill the tensor with N(mean, std^2), in place, and return it.

    Of a complex tensor each of the two parts is N(mean, std^2 / 2), as in torch.

    Args:
        tensor: floating or complex, of any shape and strides.
        mean: mean.
        std: standard deviation; 0 gives the constant mean.
        generator: on any device; None is torch's default CPU generator.

    Raises:
        InitValueError: a negative std; a number that is NaN or infinite, or so large that values
            would be (torch writes those).
        InitDtypeError: integers, booleans.
        InitMemoryError: an expanded tensor.

    Example:
        >>> w = torch.empty(3, 5, dtype=torch.bfloat16)
        >>> normal_(w, std=0.02) is w
        True
    """
    centre, spread = real("normal_", "mean", mean), real("normal_", "std", std, least=0.0)
    return fill.normal("normal_", tensor, centre, spread, generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
    *,
    cut: float | tuple[float, float] | None = None,
    corrected: bool = False,
) -> Tensor:
    r"""Fill the tensor with N(mean, std^2) on condition that a <= value <= b, and return it.

    Exact, by inversion in one pass, wherever the interval lies. Two pitfalls:

    - ``a`` and ``b`` are values, not numbers of standard deviations: ``trunc_normal_(w,
      std=0.02)`` cuts at 100 sigma, that is nowhere. ``cut=2.0`` cuts at mean -+ 2 std.
    - Cutting narrows: at 2 sigma what is left has .880 of ``std``. ``corrected=True`` widens the
      law first, so that ``std`` is what the values have.

    Args:
        tensor: floating, of any shape and strides.
        mean: mean before the cut.
        std: standard deviation before the cut (after it, where ``corrected``); 0 gives the mean.
        a: lower bound, absolute; may be infinite.
        b: upper bound, absolute; may be infinite. a == b gives the constant.
        generator: on any device; None is torch's default CPU generator.
        cut: c for [-c, c], or a pair (low, high), in units of the standard deviation of the law
            that is cut; instead of a and b.
        corrected: whether ``std`` is meant after the cut; needs ``cut``.

    Raises:
        InitValueError: a negative std, an empty interval, NaN; std = 0 with a mean outside of
            it; ``cut`` beside a or b; values that would be infinite.
        SchemeError: a ValueError: a ``cut`` that makes no sense.
        InitDtypeError: integers, complex numbers.
        InitMemoryError: an expanded tensor.

    Warns:
        UserWarning: as torch, where the mean is more than 2 std from [a, b]; here the law is
            exact all the same.

    Example:
        >>> w, seeded = torch.empty(200, 500), torch.Generator().manual_seed(0)
        >>> w = trunc_normal_(w, std=0.02, cut=2.0, generator=seeded)
        >>> bool(w.abs().max() <= 0.04), round(w.std().item(), 4)
        (True, 0.0176)
        >>> w = trunc_normal_(w, std=0.02, cut=2.0, corrected=True, generator=seeded)
        >>> round(w.std().item(), 4)
        0.02
    """
    name = "trunc_normal_"
    centre, spread = real(name, "mean", mean), real(name, "std", std, least=0.0)
    low, high = number(name, "a", a), number(name, "b", b)
    if cut is not None:
        if (low, high) != (-2.0, 2.0):
            refuse(name, "cut", cut, f"pass either cut, in sigma, or a={a} and b={b}, not both")
        law = TruncatedNormal(spread, centre, cut, corrected).law(Site(()))
        spread, low, high = law.scale, centre + law.scale * law.low, centre + law.scale * law.high
    elif corrected:
        refuse(name, "corrected", corrected, "it needs cut, the bounds in sigma: cut=2.0, say")
    if math.isnan(low) or math.isnan(high) or low > high:
        refuse(name, "b", b, f"no number lies in [{low:g}, {high:g}]: pass a below b")
    if not ours(name, tensor):
        return torch_trunc_normal_(tensor, centre, spread, low, high, generator=generator)
    check_drawable(name, tensor, generator, complex_too=False)
    wanted = _truncated(tensor, centre, spread, low, high)
    near = low - 2 * spread <= centre <= high + 2 * spread
    if not (near or tensor.is_meta or cut is not None):
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The values follow the "
            "law all the same, but look whether a and b are in the units of mean and std.",
            stacklevel=2,
        )
    return fill.draw_(tensor, wanted, generator)


def _truncated(tensor: Tensor, mean: float, std: float, low: float, high: float) -> Wanted:
    limit = fill.largest(tensor.dtype)
    least, greatest = max(low, mean - REACH * std), min(high, mean + REACH * std)
    if not (abs(least) <= limit and abs(greatest) <= limit):
        mend = f"values would be infinite in {tensor.dtype}: pass smaller numbers"
        refuse("trunc_normal_", "std", std, mend)
    if low == high:
        return Wanted("normal", low, 0.0)
    if std == 0:
        if not low <= mean <= high:
            mend = f"all values are the mean, {mean:g}, which is outside of [{low:g}, {high:g}]"
            refuse("trunc_normal_", "std", std, mend)
        return Wanted("normal", mean, 0.0)
    return Wanted("truncated", mean, std, (low - mean) / std, (high - mean) / std, low, high)


def constant_(tensor: Tensor, val: float) -> Tensor:
    r"""Fill the tensor with a value, in place, and return it.

    Any dtype; the value is converted as ``Tensor.fill_`` does, and its errors are torch's own.

    Args:
        tensor: of any kind.
        val: the value; NaN and infinity too.

    Raises:
        InitMemoryError: memory that is read-only.
        RuntimeError: torch's, for a value beyond the dtype.
        TypeError: torch's, for what is no number.

    Example:
        >>> constant_(torch.empty(2), 0.3)
        tensor([0.3000, 0.3000])
    """
    if not ours("constant_", tensor):
        return torch_constant_(tensor, val)
    check_writable("constant_", tensor)
    with torch.no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill the tensor with 1, in place, and return it.

    Args:
        tensor: of any dtype, shape and strides.

    Raises:
        InitMemoryError: memory that is read-only.

    Example:
        >>> ones_(torch.empty(2, dtype=torch.int64))
        tensor([1, 1])
    """
    ours("ones_", tensor)
    check_writable("ones_", tensor)
    with torch.no_grad():
        return tensor.fill_(1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill the tensor with 0, in place, and return it.

    Args:
        tensor: of any dtype, shape and strides.

    Raises:
        InitMemoryError: memory that is read-only.

    Example:
        >>> zeros_(torch.empty(2))
        tensor([0., 0.])
    """
    ours("zeros_", tensor)
    check_writable("zeros_", tensor)
    with torch.no_grad():
        return tensor.zero_()
