"""What is passed to ``goodinit.nn.init``: checked, and turned into a law."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from functools import cache
from typing import Any, SupportsFloat, cast

import torch
from torch import Tensor
from torch.nn.parameter import Parameter, is_lazy

from goodinit._common.memory import is_writable, overlaps
from goodinit._common.torch_private import transforms
from goodinit.errors import FanError, LazyParameterError, SchemeError
from goodinit.nn.errors import InitDtypeError, InitMemoryError, InitTypeError, refuse
from goodinit.schemes import Site, TruncatedNormal
from goodinit.schemes.fans import torch_fans
from goodinit.schemes.fields import short_repr
from goodinit.schemes.gains import calculate_gain
from goodinit.schemes.request import Request
from goodinit.streams.spec import REACH
from goodinit.streams.stream import DTYPES, FLOAT8

TORCH_MODES = ["fan_in", "fan_out"]


def handles(function: str, tensor: Tensor) -> bool:
    """Return whether goodinit fills this tensor; if not, torch's own function does.

    Left to torch: a class with its own ``__torch_function__`` or dispatch (DTensor, FakeTensor),
    and everything under torch.func, whose rules for random numbers differ, or torch.jit.trace.

    Raises:
        InitTypeError: it isn't a tensor.
        InitValueError: it was made in inference mode and can't be written any more.
        LazyParameterError: it has no shape yet.
    """
    if not isinstance(tensor, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InitTypeError(
            f"{function}: the tensor is {short_repr(tensor)}: pass a torch.Tensor, such as "
            "layer.weight"
        )
    if is_lazy(tensor):
        raise LazyParameterError(
            f"{function}: the parameter has no shape yet, it belongs to a lazy module: run the "
            "module on an input first"
        )
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        fix = "it was made in inference mode: write to it there, or to its clone()"
        refuse(function, "tensor", tuple(tensor.shape), fix)  # torch writes first, then raises
    if transforms():
        return False
    kind, base = cast("Any", type(tensor)), cast("Any", Tensor)
    if kind is Tensor or kind is Parameter:
        return True
    handler = getattr(kind.__torch_function__, "__func__", kind.__torch_function__)
    plain = (base.__torch_function__.__func__, cast("Any", Parameter).__torch_function__)
    return handler in plain and kind.__torch_dispatch__ is base.__torch_dispatch__


def draws_here(function: str, tensor: Tensor) -> bool:
    """Return ``handles``, for a function that draws; refuse what torch would draw wrongly.

    On a CPU torch draws each process's part of a DTensor from that process's own generator: with
    one seed all parts are equal, and with several the copies of a part differ.

    Raises:
        InitTypeError: a DTensor that is split, in memory of the CPU.
    """
    if handles(function, tensor):
        return True
    local = getattr(tensor, "_local_tensor", None)
    if isinstance(local, Tensor) and local.device.type == "cpu":
        of_torch = cast("Any", tensor)
        placements = zip(of_torch.device_mesh.shape, of_torch.placements, strict=True)
        if any(size > 1 and type(p).__name__ != "Replicate" for size, p in placements):
            raise InitTypeError(
                f"{function}: the tensor is a DTensor of shape {tuple(tensor.shape)} with "
                f"{list(of_torch.placements)}, and torch would draw equal values into all its "
                f"parts on a CPU: write gi.init_(tensor, gi.Normal(0.02), prefix=name, seed=0) "
                f"with the parameter's full name and the scheme, or plan the model before it is "
                f"split and call gi.apply_(model, plan, seed=0)"
            )
    return False


def to_float(function: str, parameter: str, value: object) -> float:
    """Return the value as a float: a number, or a tensor that holds one."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        fix = f"{parameter} must be a number, not {type(value).__name__}"
        raise InitTypeError(f"{function}({parameter}={short_repr(value)}): {fix}")
    try:
        return float(cast("SupportsFloat", value))
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, RuntimeError) as error:
        fix = f"{parameter} must be one number ({error})"
        raise InitTypeError(f"{function}({parameter}={short_repr(value)}): {fix}") from error


def to_finite(function: str, parameter: str, value: object, least: float = -math.inf) -> float:
    """Return the value as a finite float that is at least ``least``, or refuse it."""
    if type(value) is float and least <= value < math.inf and value > -math.inf:
        return value
    result = to_float(function, parameter, value)
    if not (math.isfinite(result) and result >= least):
        at_least = "" if least == -math.inf else f" of at least {least:g}"
        refuse(function, parameter, value, f"{parameter} must be a finite number{at_least}")
    return result


def check_axes(function: str, tensor: Tensor, counts: Container[int], words: str) -> None:
    """Raise FanError, with torch's words, unless the tensor has one of these numbers of axes."""
    if tensor.dim() not in counts:
        raise FanError(
            f"Only tensors with {words} dimensions are supported: {function} got the shape "
            f"{tuple(tensor.shape)}. Pass a weight; use zeros_ or constant_ for a bias"
        )


def check_memory(function: str, tensor: Tensor) -> None:
    """Raise unless the tensor is a strided one whose elements have memory of their own."""
    if tensor.layout != torch.strided:
        raise InitDtypeError(
            f"{function}: the layout is {tensor.layout}: pass a strided tensor, and convert it"
        )
    check_writable(function, tensor)
    if overlaps(tensor):
        raise InitMemoryError(
            f"{function}: elements of the tensor share memory (shape {tuple(tensor.shape)}, "
            f"strides {tensor.stride()}): initialize the tensor that was expanded, or a clone()"
        )


def check_writable(function: str, tensor: Tensor) -> None:
    """Raise if the tensor lies in a file mapped for reading: a write would end the process."""
    if not is_writable(tensor):
        raise InitMemoryError(f"{function}: the memory is read-only: pass the tensor's clone()")


def check_drawable(
    function: str, tensor: Tensor, generator: object, *, complex_too: bool = True
) -> None:
    """Raise unless the tensor can hold random numbers and the generator is one."""
    if not (generator is None or isinstance(generator, torch.Generator)):
        raise InitTypeError(
            f"{function}: the generator is {short_repr(generator)}: pass a torch.Generator, such "
            "as torch.Generator().manual_seed(0), or None"
        )
    dtype = tensor.dtype
    if not (dtype in DTYPES or dtype in FLOAT8 or (complex_too and dtype.is_complex)):
        also = " or complex" if complex_too else ""
        raise InitDtypeError(
            f"{function}: not implemented for {dtype}: pass a floating{also} tensor, and convert "
            "it; zeros_, ones_ and constant_ take any dtype"
        )
    check_memory(function, tensor)


def check_reach(function: str, tensor: Tensor, parameter: str, value: object, reach: float) -> None:
    """Raise if numbers up to ``reach`` would be infinite in the tensor's dtype."""
    if not abs(reach) <= _largest_finite(tensor.dtype):
        fix = f"values would be infinite in {tensor.dtype}: pass a smaller one"
        refuse(function, parameter, value, fix)


@cache
def _largest_finite(dtype: torch.dtype) -> float:
    """Return the largest finite number of a dtype."""
    return torch.finfo(dtype.to_real() if dtype.is_complex else dtype).max


def uniform_request(function: str, tensor: Tensor, low: float, high: float) -> Request:
    """Return U(low, high), or refuse bounds that are beyond the dtype or out of order."""
    limit = _largest_finite(tensor.dtype)
    for parameter, bound in (("a", low), ("b", high)):
        if not abs(bound) <= limit:
            refuse(function, parameter, bound, f"out of bounds for {tensor.dtype}, {limit:.3g}")
    if low > high:
        refuse(function, "b", high, f"the interval is empty: b must not be below a, {low:g}")
    if high - low > limit:
        refuse(function, "b", high, f"b - a must be within {tensor.dtype}, {limit:.3g}")
    middle, half = low / 2 + high / 2, high / 2 - low / 2
    return Request("uniform", middle, half, least=low, greatest=high)


def normal_request(function: str, tensor: Tensor, mean: float, std: float) -> Request:
    """Return N(mean, std^2), for a complex tensor that of each part, or refuse infinite values."""
    if tensor.is_complex():
        std /= math.sqrt(2)
    check_reach(function, tensor, "std", std, abs(mean) + REACH * std)
    return Request("normal", mean, std)


def truncated_interval(
    mean: float, std: float, a: object, b: object, cut: object, corrected: object
) -> tuple[float, float, float]:
    """Return ``trunc_normal_``'s std before the cut and its bounds as values."""
    name = "trunc_normal_"
    low, high = to_float(name, "a", a), to_float(name, "b", b)
    if cut is not None:
        if (low, high) != (-2.0, 2.0):
            refuse(name, "cut", cut, f"pass either cut, in sigma, or a={a} and b={b}, not both")
        narrowed = {"cut": cast("Any", cut), "corrected": cast("Any", corrected)}
        law = TruncatedNormal(std, mean=mean, **narrowed).law(Site(()))
        std, low, high = law.scale, mean + law.scale * law.low, mean + law.scale * law.high
    elif corrected:
        refuse(name, "corrected", corrected, "it needs cut, the bounds in sigma: cut=2.0")
    if math.isnan(low) or math.isnan(high) or low > high:
        refuse(name, "b", b, f"no number lies in [{low:g}, {high:g}]: pass a below b")
    return std, low, high


def truncated_request(tensor: Tensor, mean: float, std: float, low: float, high: float) -> Request:
    """Return ``trunc_normal_``'s law, or refuse infinite values and a constant out of bounds."""
    least, greatest = max(low, mean - REACH * std), min(high, mean + REACH * std)
    check_reach("trunc_normal_", tensor, "std", std, max(abs(least), abs(greatest)))
    if low == high:
        return Request("normal", low, 0.0)
    if std == 0:
        if not low <= mean <= high:
            fix = f"all values are the mean, {mean:g}, which is outside of [{low:g}, {high:g}]"
            refuse("trunc_normal_", "std", std, fix)
        return Request("normal", mean, 0.0)
    return Request("truncated", mean, std, (low - mean) / std, (high - mean) / std, low, high)


def xavier_std(function: str, tensor: Tensor, gain: float) -> float:
    """Return gain * sqrt(2 / (fan_in + fan_out)), with torch's fans."""
    handles(function, tensor)
    fans = sum(calculate_fan_in_and_fan_out(tensor))
    factor = to_finite(function, "gain", gain, 0.0)
    return factor * math.sqrt(2.0 / fans) if fans else 0.0  # no fans: no elements


def kaiming_std(
    function: str,
    tensor: Tensor,
    a: float,
    mode: str,
    nonlinearity: str | Callable[[Tensor], Tensor],
) -> float:
    """Return gain / sqrt(fan), with torch's fans and gains."""
    fan = correct_fan(tensor, mode)
    # The default a = 0 is leaky_relu's, and no parameter of another nonlinearity.
    gain = calculate_gain(nonlinearity, a if nonlinearity == "leaky_relu" or a else None)
    if math.isnan(gain):
        refuse(function, "a", a, "the negative slope must be a number")
    return gain / math.sqrt(fan)


def correct_fan(tensor: Tensor, mode: str) -> int:
    """Return the fan of a mode, as ``torch.nn.init._calculate_correct_fan`` does."""
    if not isinstance(mode, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InitTypeError(f"mode is {mode!r}, not a string: pass 'fan_in' or 'fan_out'")
    mode = mode.lower()
    if mode not in TORCH_MODES:
        also = "; for their mean use the xavier functions" if mode == "fan_avg" else ""
        raise SchemeError(f"Mode {mode} not supported, please use one of {TORCH_MODES}{also}")
    return calculate_fan_in_and_fan_out(tensor)[TORCH_MODES.index(mode)]


def calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Return ``torch_fans`` of a weight, as ``torch.nn.init._calculate_fan_in_and_fan_out`` does.

    Raises:
        FanError: a ValueError: the tensor has fewer than two dimensions.
    """
    if tensor.dim() < 2:
        raise FanError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions: it "
            f"has the shape {tuple(tensor.shape)}. Use zeros_, constant_, uniform_ or normal_ for "
            "a bias or a scale"
        )
    return torch_fans(tuple(tensor.shape))
