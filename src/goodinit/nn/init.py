"""torch.nn.init, name for name, and more.

Write ``from goodinit.nn import init`` instead of ``from torch.nn import init``. Signatures,
defaults, return values, warnings, errors, fans and gains are torch's; ``goodinit.init_`` and the
schemes use the true fans and gains. Torch has no ``delta_orthogonal_``, no gains of gelu, silu and
other callables, and no ``cut`` and ``corrected`` of ``trunc_normal_``. Every function that draws
uses its ``generator``, and takes half precision, float8 and any memory format.

    >>> import torch
    >>> from goodinit.nn import init
    >>> layer = torch.nn.Linear(20, 30)
    >>> init.xavier_uniform_(layer.weight) is layer.weight
    True

A call takes one number of the generator as the seed of a stream, and the element with row-major
index i gets the stream's number i, whatever the dtype, the memory format or the thread count.

All functions fill ``tensor`` in place, of any strides, and return it; autograd sees a new version
and no operation. A ``generator`` may be on any device; None is torch's default CPU generator.
Errors come before anything is written; each is a ``GoodinitError`` and what torch raises, see
``goodinit.nn.errors``; ``FanError``, a ValueError, if the number of dimensions is wrong.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import init as torch_init

from goodinit._common.public_names import listing as _listing
from goodinit.errors import SchemeError
from goodinit.nn.arguments import (
    calculate_fan_in_and_fan_out,
    check_axes,
    check_drawable,
    check_memory,
    check_reach,
    check_writable,
    correct_fan,
    draws_here,
    handles,
    kaiming_std,
    normal_request,
    to_finite,
    to_float,
    truncated_interval,
    truncated_request,
    uniform_request,
    xavier_std,
)
from goodinit.nn.errors import InitDtypeError, InitTypeError, refuse
from goodinit.schemes import Layout
from goodinit.schemes.fields import short_repr
from goodinit.schemes.gains import calculate_gain
from goodinit.schemes.haar import haar
from goodinit.schemes.matrices import center_tap, zero_smallest_
from goodinit.schemes.request import Request, fill_request_, float32_law
from goodinit.streams import Law, Stream, fresh_seed
from goodinit.streams.native import may_fill_whole, write_whole
from goodinit.streams.spec import key_bytes
from goodinit.streams.stream import FLOAT8, default_seed

__all__ = [
    "calculate_gain", "constant", "constant_", "delta_orthogonal_", "dirac", "dirac_", "eye",
    "eye_", "kaiming_normal", "kaiming_normal_", "kaiming_uniform", "kaiming_uniform_", "normal",
    "normal_", "ones_", "orthogonal", "orthogonal_", "sparse", "sparse_", "trunc_normal_",
    "uniform", "uniform_", "xavier_normal", "xavier_normal_", "xavier_uniform", "xavier_uniform_",
    "zeros_",
]  # fmt: skip
__dir__ = _listing(__all__)

# Private in torch too, yet imported by many.
_calculate_correct_fan = correct_fan
_calculate_fan_in_and_fan_out = calculate_fan_in_and_fan_out

NAME = "nn.init"
"""The name of every tensor in its stream; what tells two calls apart is the seed."""

Generator = torch.Generator | None
Nonlinearity = str | Callable[[Tensor], Tensor]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator = None) -> Tensor:
    """Fill with U(a, b). Values are rounded to nearest, so b can occur; in torch it can't.

    Each of a complex tensor's two parts is drawn. Equal bounds give the constant.

    >>> w = torch.empty(3, 5)
    >>> uniform_(w, -0.1, 0.1, generator=torch.Generator().manual_seed(0)) is w
    True
    >>> bool((w.abs() <= 0.1).all())
    True
    """
    low, high = to_float("uniform_", "a", a), to_float("uniform_", "b", b)
    return _uniform("uniform_", tensor, low, high, generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator = None
) -> Tensor:
    """Fill with N(mean, std^2); a complex tensor's two parts with N(mean, std^2 / 2), as in torch.

    Infinite values are refused (torch writes them). A std of 0 gives the mean.

    >>> w = torch.empty(3, 5, dtype=torch.bfloat16)
    >>> normal_(w, std=0.02) is w
    True
    """
    center, spread = to_finite("normal_", "mean", mean), to_finite("normal_", "std", std, 0.0)
    return _normal("normal_", tensor, center, spread, generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator = None,
    *,
    cut: float | tuple[float, float] | None = None,
    corrected: bool = False,
) -> Tensor:
    """Fill with N(mean, std^2) given that a <= value <= b; exact, wherever the interval lies.

    Mean and std are those before the cut, and the tensor is real. ``a`` and ``b`` are values, may
    be infinite, and are not numbers of standard deviations: ``trunc_normal_(w, std=0.02)`` cuts at
    100 sigma, which cuts nothing. Instead of them pass ``cut``, c for [-c, c] or (low, high), in
    standard deviations. Cutting at 2 sigma leaves .880 of the std; with ``corrected=True`` the law
    is widened so that ``std`` holds after the cut. Warns, as torch, if the mean is more than 2 std
    from [a, b].

    >>> w, seeded = torch.empty(200, 500), torch.Generator().manual_seed(0)
    >>> w = trunc_normal_(w, std=0.02, cut=2.0, generator=seeded)
    >>> bool(w.abs().max() <= 0.04), round(w.std().item(), 4)
    (True, 0.0176)
    >>> w = trunc_normal_(w, std=0.02, cut=2.0, corrected=True, generator=seeded)
    >>> round(w.std().item(), 4)
    0.02
    """
    name = "trunc_normal_"
    center, spread = to_finite(name, "mean", mean), to_finite(name, "std", std, 0.0)
    spread, low, high = truncated_interval(center, spread, a, b, cut, corrected)
    if not draws_here(name, tensor):
        return torch_init.trunc_normal_(tensor, center, spread, low, high, generator=generator)
    check_drawable(name, tensor, generator, complex_too=False)
    request = truncated_request(tensor, center, spread, low, high)
    near = low - 2 * spread <= center <= high + 2 * spread
    if not (near or tensor.is_meta or cut is not None):
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The values follow the "
            "law all the same; check that a and b are in the units of mean and std.",
            stacklevel=2,
        )
    return _fill(tensor, request, generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with a value, converted as ``Tensor.fill_`` does; NaN and infinity too. Any dtype.

    >>> constant_(torch.empty(2), 0.3)
    tensor([0.3000, 0.3000])
    """
    if not handles("constant_", tensor):
        return torch_init.constant_(tensor, val)
    check_writable("constant_", tensor)
    with torch.no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1. Any dtype.

    >>> ones_(torch.empty(2, dtype=torch.int64))
    tensor([1, 1])
    """
    handles("ones_", tensor)
    check_writable("ones_", tensor)
    with torch.no_grad():
        return tensor.fill_(1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0. Any dtype.

    >>> zeros_(torch.empty(2))
    tensor([0., 0.])
    """
    handles("zeros_", tensor)
    check_writable("zeros_", tensor)
    with torch.no_grad():
        return tensor.zero_()


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator = None) -> Tensor:
    """Fill with U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, 2010).

    The fans are torch's, size(1) * window and size(0) * window: wrong for grouped and transposed
    convolutions and for packed projections, such as attention's ``in_proj_weight``.
    ``goodinit.XavierUniform`` uses the true ones.

    >>> w = xavier_uniform_(torch.empty(3, 5), gain=calculate_gain("relu"))
    >>> bool(w.abs().max() <= 2**0.5 * (6 / 8) ** 0.5)
    True
    """
    bound = math.sqrt(3.0) * xavier_std("xavier_uniform_", tensor, gain)
    return _uniform("xavier_uniform_", tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator = None) -> Tensor:
    """Fill with N(0, gain^2 * 2 / (fan_in + fan_out)); fans as in ``xavier_uniform_``.

    >>> seeded = torch.Generator().manual_seed(0)
    >>> w = xavier_normal_(torch.empty(300, 500), generator=seeded)
    >>> round(w.std().item(), 3)  # sqrt(2 / 800)
    0.05
    """
    std = xavier_std("xavier_normal_", tensor, gain)
    return _normal("xavier_normal_", tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
    generator: Generator = None,
) -> Tensor:
    """Fill with U(-b, b), b = gain sqrt(3 / fan) (He et al., 2015), with torch's fans and gains.

    ``mode="fan_in"`` keeps the signal's second moment, ``"fan_out"`` the gradient's. The gain is
    ``calculate_gain(nonlinearity, a)``. As in torch the slope ``a`` is ignored with other names
    that torch knows; nonlinearities that torch doesn't know take none. ``a=math.sqrt(5)``, the
    default of torch's layers, isn't a real slope: it gives U(-1/sqrt(fan_in), 1/sqrt(fan_in)), a
    third of LeCun's variance. For a weight used as ``x @ w`` pass ``w.T``. For grouped,
    transposed and packed weights the fans are wrong; ``goodinit.HeUniform`` uses the true ones.

    Warns, as torch, and does nothing if the tensor has no elements. goodinit's other calls refuse
    such a parameter: under ZeRO-3 it is a shard, and a write to it is lost.

    >>> w = kaiming_uniform_(torch.empty(3, 5), nonlinearity="relu")
    >>> bool(w.abs().max() <= (6 / 5) ** 0.5)
    True
    """
    if _is_empty("kaiming_uniform_", tensor):
        return tensor
    bound = math.sqrt(3.0) * kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return _uniform("kaiming_uniform_", tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
    generator: Generator = None,
) -> Tensor:
    """Fill with N(0, gain^2 / fan) (He et al., 2015); arguments as for ``kaiming_uniform_``.

    >>> seeded = torch.Generator().manual_seed(0)
    >>> w = kaiming_normal_(torch.empty(500, 800), nonlinearity="gelu", generator=seeded)
    >>> round(w.std().item(), 3)  # 1.534 / sqrt(800)
    0.054
    """
    if _is_empty("kaiming_normal_", tensor):
        return tensor
    std = kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return _normal("kaiming_normal_", tensor, 0.0, std, generator)


def eye_(tensor: Tensor) -> Tensor:
    """Fill the matrix with the identity, and zeros beside or below it. Any dtype.

    >>> eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    handled = handles("eye_", tensor)
    check_axes("eye_", tensor, (2,), "2")
    if not handled:
        return torch_init.eye_(tensor)
    check_memory("eye_", tensor)
    with torch.no_grad():
        tensor.zero_().diagonal().fill_(1)
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the kernel with the identity of convolutions (Zagoruyko & Komodakis, 2017). Any dtype.

    The kernel is [out, in / groups, *window] with one to three window axes. 1 at the center tap,
    k // 2 of k, from input c to output c; each of the groups starts again. With stride 1 and enough
    padding the layer returns its input, as far as channels go.

    >>> dirac_(torch.empty(2, 2, 3)).tolist()
    [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    """
    handled = handles("dirac_", tensor)
    check_axes("dirac_", tensor, (3, 4, 5), "3, 4, or 5")
    if not isinstance(groups, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InitTypeError(f"dirac_(groups={short_repr(groups)}): groups must be a whole number")
    if groups < 1:
        refuse("dirac_", "groups", groups, "groups must be a whole number from 1")
    if tensor.size(0) % groups != 0:
        raise SchemeError(
            f"dim 0 must be divisible by groups: it is {tensor.size(0)}, with groups={groups}; "
            "pass the layer's own groups"
        )
    if not handled:
        return torch_init.dirac_(tensor, groups)
    check_memory("dirac_", tensor)
    if _holds_values(tensor):
        with torch.no_grad():
            center = center_tap(tensor.zero_(), tensor.dim() - 2)
            center.view(int(groups), -1, center.size(1)).diagonal(dim1=1, dim2=2).fill_(1)
    return tensor


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator = None) -> Tensor:
    """Fill with a Haar-distributed (semi-)orthogonal matrix times gain (Saxe et al., 2014).

    The matrix has size(0) rows; all other axes are its columns, so a convolution's weight keeps
    norms only patch by patch: see ``delta_orthogonal_``. A packed weight (attention, LSTM gates) is
    one matrix here; ``goodinit.Orthogonal`` makes each part orthogonal.

    Computed in float32 for half precision and float8, and cast. The Gaussian numbers are the same
    everywhere, but the product is LAPACK's: the last bits hold for machines of one class only.

    >>> w = orthogonal_(torch.empty(3, 5))
    >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-6)
    True
    """
    handled = draws_here("orthogonal_", tensor)
    factor = to_finite("orthogonal_", "gain", gain)
    check_axes("orthogonal_", tensor, range(2, 1 + max(2, tensor.dim())), "2 or more")
    if not handled:
        return torch_init.orthogonal_(tensor, factor, generator=generator)
    values = _orthogonal("orthogonal_", tensor, factor, math.prod(tensor.shape[1:]), generator)
    with torch.no_grad():
        return tensor if values is None else tensor.copy_(values.reshape(tensor.shape))


def delta_orthogonal_(tensor: Tensor, gain: float = 1, *, generator: Generator = None) -> Tensor:
    """Fill the kernel with an orthogonal matrix at the center tap, 0 elsewhere. Not in torch.

    The kernel is [out, in, *window] with out >= in and one to three window axes. With stride 1 and
    enough padding the layer keeps norms, |y| = gain |x| (Xiao et al., 2018: 10,000 layers). For
    grouped and transposed convolutions: ``goodinit.DeltaOrthogonal``.

    >>> conv = torch.nn.Conv1d(4, 8, 3, padding=1, bias=False)
    >>> x = torch.ones(4, 6)
    >>> _ = delta_orthogonal_(conv.weight)
    >>> torch.allclose(conv(x).norm(), x.norm())
    True
    """
    handled = handles("delta_orthogonal_", tensor)
    factor = to_finite("delta_orthogonal_", "gain", gain)
    check_axes("delta_orthogonal_", tensor, (3, 4, 5), "3, 4, or 5")
    if not handled:
        raise InitDtypeError(
            f"delta_orthogonal_: can't write to a {type(tensor).__name__}, which has its own "
            "dispatch: initialize the plain tensor that it is made of"
        )
    rows, columns = tensor.shape[:2]
    if rows < columns:
        raise SchemeError(
            f"delta_orthogonal_ keeps norms, which {rows} outputs of {columns} inputs can't (shape "
            f"{tuple(tensor.shape)}): use orthogonal_, or at least as many outputs as inputs"
        )
    values = _orthogonal("delta_orthogonal_", tensor, factor, columns, generator)
    if values is not None:
        with torch.no_grad():
            center_tap(tensor.zero_(), tensor.dim() - 2).copy_(values)
    return tensor


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator = None
) -> Tensor:
    """Fill the matrix with N(0, std^2) and ceil(sparsity * rows) zeros per column (Martens, 2010).

    A column of [out, in] holds the weights of one input. The places of the zeros are drawn from the
    generator too; torch ignores it for them.

    >>> (sparse_(torch.empty(10, 3), sparsity=0.25) == 0).sum(dim=0)
    tensor([3, 3, 3])
    """
    handled = draws_here("sparse_", tensor)
    check_axes("sparse_", tensor, (2,), "2")
    share, spread = to_finite("sparse_", "sparsity", sparsity), to_finite("sparse_", "std", std, 0)
    if not 0 <= share <= 1:
        refuse("sparse_", "sparsity", sparsity, "it is the share of zeros, from 0 to 1")
    if not handled:
        return torch_init.sparse_(tensor, share, spread, generator=generator)
    check_drawable("sparse_", tensor, generator)
    request = normal_request("sparse_", tensor, 0.0, spread)
    if not _holds_values(tensor):
        return tensor
    stream = Stream(fresh_seed(generator))
    values = tensor
    if tensor.dtype in FLOAT8:  # which can't be masked
        values = torch.empty(tensor.shape, dtype=torch.float32, device=tensor.device)
    fill_request_(values, request, stream, NAME)
    chance = torch.empty(tensor.shape, dtype=torch.float32, device=tensor.device)
    stream.fill_(chance, NAME, Law.uniform(0.0, 1.0), purpose="sparse")
    zero_smallest_(values, chance, Layout((0,), (1,)), math.ceil(share * tensor.size(0)))
    if values is not tensor:
        with torch.no_grad():
            tensor.copy_(values)
    return tensor


def _is_empty(function: str, tensor: Tensor) -> bool:
    handles(function, tensor)
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
    return 0 in tensor.shape


def _uniform(function: str, tensor: Tensor, a: float, b: float, generator: Generator) -> Tensor:
    return _draw(function, tensor, a, b, generator, uniform_request, torch_init.uniform_)


def _normal(function: str, tensor: Tensor, mean: float, std: float, generator: Generator) -> Tensor:
    return _draw(function, tensor, mean, std, generator, normal_request, torch_init.normal_)


def _draw(
    function: str, tensor: Tensor, first: float, second: float, generator: Generator,
    to_request: Callable[[str, Tensor, float, float], Request], of_torch: Callable[..., Tensor],
) -> Tensor:  # fmt: skip
    ordinary = generator is None and may_fill_whole(tensor)
    if not ordinary:
        if not draws_here(function, tensor):
            return of_torch(tensor, first, second, generator=generator)
        check_drawable(function, tensor, generator)
    request = to_request(function, tensor, first, second)
    if ordinary and (law := float32_law(request)):  # most calls: straight to the kernel
        write_whole(tensor, key_bytes(default_seed(), NAME, ""), law)
        return tensor
    return _fill(tensor, request, generator)


def _fill(tensor: Tensor, request: Request, generator: Generator) -> Tensor:
    if not _holds_values(tensor):
        return tensor
    seed = fresh_seed(generator)
    if torch.compiler.is_compiling():  # torch before 2.9 can't compile what makes a frozen Law
        eager: Any = torch.compiler.disable(fill_request_)
        return eager(tensor, request, Stream(seed), NAME)
    return fill_request_(tensor, request, Stream(seed), NAME)


def _holds_values(tensor: Tensor) -> bool:
    return not tensor.is_meta and tensor.numel() > 0


def _orthogonal(
    function: str, tensor: Tensor, gain: float, columns: int, generator: Generator
) -> Tensor | None:
    """Return a matrix of size(0) rows, in float64 or float32; None if there is nothing to draw."""
    check_drawable(function, tensor, generator, complex_too=False)
    check_reach(function, tensor, "gain", gain, gain)
    if not _holds_values(tensor):
        return None
    stream = Stream(fresh_seed(generator))
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    gauss = torch.empty(tensor.size(0), columns, dtype=dtype, device=tensor.device)
    return haar(stream.fill_(gauss, NAME, Law.normal(0.0, 1.0))).mul_(gain)


_P = ParamSpec("_P")
_R = TypeVar("_R")


def _deprecated(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a function's old name, which warns with the new one."""
    old = (new := function.__name__).removesuffix("_")

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        text = f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`."
        warnings.warn(text, FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = old
    call.__doc__ = f"Deprecated, as in torch: use ``{new}``."
    return call


uniform, normal = _deprecated(uniform_), _deprecated(normal_)
constant, sparse = _deprecated(constant_), _deprecated(sparse_)
eye, dirac, orthogonal = _deprecated(eye_), _deprecated(dirac_), _deprecated(orthogonal_)
xavier_uniform, xavier_normal = _deprecated(xavier_uniform_), _deprecated(xavier_normal_)
kaiming_uniform, kaiming_normal = _deprecated(kaiming_uniform_), _deprecated(kaiming_normal_)
