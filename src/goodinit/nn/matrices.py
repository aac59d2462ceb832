"""Functions that write a whole matrix: identities, orthogonal and sparse ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.init import dirac_ as torch_dirac_
from torch.nn.init import eye_ as torch_eye_
from torch.nn.init import orthogonal_ as torch_orthogonal_
from torch.nn.init import sparse_ as torch_sparse_

from goodinit.errors import FanError, SchemeError
from goodinit.nn.fill import (
    NAME,
    Wanted,
    check_drawable,
    check_memory,
    draw_,
    largest,
    ours,
    real,
    stream_for,
)
from goodinit.nn.refusals import InitDtypeError, InitTypeError, refuse
from goodinit.schemes import Layout
from goodinit.schemes.fields import shown
from goodinit.schemes.haar import haar
from goodinit.schemes.matrices import zero_smallest_
from goodinit.streams import Law, Stream
from goodinit.streams.spec import REACH
from goodinit.streams.stream import FLOAT8

__all__ = ["delta_orthogonal_", "dirac_", "eye_", "orthogonal_", "sparse_"]


def eye_(tensor: Tensor) -> Tensor:
    """Fill the matrix with the identity, with zeros to fill an oblong, and return it.

    A ``Linear`` layer with it hands on as many inputs as it has outputs.

    Args:
        tensor: of two dimensions, any dtype and strides.

    Raises:
        FanError: a ValueError: not two dimensions.
        InitMemoryError: an expanded tensor (torch fills it with ones).

    Example:
        >>> eye_(torch.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    plain = ours("eye_", tensor)
    _check_axes("eye_", tensor, 2)
    if not plain:
        return torch_eye_(tensor)
    check_memory("eye_", tensor)
    with torch.no_grad():
        tensor.zero_().diagonal().fill_(1)
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the kernel with the identity among convolutions, and return it.

    1 at the centre tap, k // 2 of k, from input c to output c; each group starts again. With
    stride 1 and enough padding the layer hands its input on, as far as channels go
    (Zagoruyko & Komodakis, "DiracNets", 2017).

    Args:
        tensor: [out, in / groups, *window] with one to three window axes, any dtype and strides.
        groups: the groups of the convolution.

    Raises:
        FanError: a ValueError: not three to five dimensions.
        SchemeError: a ValueError: groups that don't divide the outputs, or aren't from 1.
        InitTypeError: groups that aren't a whole number.
        InitMemoryError: an expanded tensor.

    Example:
        >>> dirac_(torch.empty(2, 2, 3)).tolist()
        [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    """
    plain = ours("dirac_", tensor)
    _check_axes("dirac_", tensor, 3, 4, 5)
    if not isinstance(groups, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InitTypeError(f"dirac_(groups={shown(groups)}): groups must be a whole number")
    if groups < 1:
        refuse("dirac_", "groups", groups, "groups must be a whole number from 1")
    if tensor.size(0) % groups != 0:
        raise SchemeError(
            f"dim 0 must be divisible by groups: it is {tensor.size(0)}, with groups={groups}; "
            "pass the layer's own groups"
        )
    if not plain:
        return torch_dirac_(tensor, groups)
    check_memory("dirac_", tensor)
    if tensor.is_meta:
        return tensor
    with torch.no_grad():
        tensor.zero_()
        if tensor.numel():
            _centre(tensor).unflatten(0, (int(groups), -1)).diagonal(dim1=1, dim2=2).fill_(1)
    return tensor


def orthogonal_(
    tensor: Tensor, gain: float = 1, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill the tensor with a random (semi-)orthogonal matrix times gain, and return it.

    Haar-distributed: QR of a Gaussian matrix, with the signs of R's diagonal put on Q (Saxe et
    al., "Exact solutions to the nonlinear dynamics of learning", 2014; Mezzadri, 2007). The matrix
    has size(0) rows; all other axes are flattened into its columns, so that a convolution's
    weight keeps norms only patch by patch: see ``delta_orthogonal_``. Packed weights (attention,
    LSTM gates) are one matrix here; ``goodinit.init_(layer, goodinit.Orthogonal())`` makes each
    gate and projection orthogonal.

    Worked out in float32 for half dtypes and float8, and cast; in float64 for float64. The
    Gaussian numbers are the same everywhere, but QR is LAPACK's: the last bits hold for machines
    of one class only.

    Args:
        tensor: real floating, of two dimensions or more, any strides.
        gain: factor on the values; negative ones too.
        generator: on any device; None is torch's default CPU generator.

    Raises:
        FanError: a ValueError: fewer than two dimensions.
        InitValueError: a gain that is NaN, infinite or beyond the dtype.
        InitDtypeError: integers, complex numbers.
        InitMemoryError: an expanded tensor.

    Example:
        >>> w = orthogonal_(torch.empty(3, 5))
        >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-6)
        True
    """
    plain = ours("orthogonal_", tensor)
    factor = real("orthogonal_", "gain", gain)
    if tensor.dim() < 2:
        raise _wrong_axes("orthogonal_", "2 or more", tensor)
    if not plain:
        return torch_orthogonal_(tensor, factor, generator=generator)
    _check_gain("orthogonal_", tensor, factor, generator)
    stream = stream_for(tensor, generator)
    if stream is None:
        return tensor
    rows = tensor.size(0)
    values = _orthogonal(tensor, rows, tensor.numel() // rows, stream).mul_(factor)
    with torch.no_grad():
        return tensor.copy_(values.reshape(tensor.shape))


def delta_orthogonal_(
    tensor: Tensor, gain: float = 1, *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill the kernel with an orthogonal matrix at the centre tap, 0 elsewhere; return it.

    With stride 1 and enough padding the layer keeps norms, |y| = gain |x| (Xiao et al.,
    "Dynamical isometry and a mean field theory of CNNs", 2018: 10,000 layers). The centre of k
    taps is k // 2. For grouped and transposed convolutions: ``goodinit.DeltaOrthogonal``. Not in
    torch.

    Args:
        tensor: [out, in, *window] with out >= in and one to three window axes; real floating,
            any strides.
        gain: factor on the values.
        generator: on any device; None is torch's default CPU generator.

    Raises:
        FanError: a ValueError: not three to five dimensions.
        SchemeError: a ValueError: fewer outputs than inputs.
        InitValueError: a gain that is NaN, infinite or beyond the dtype.
        InitDtypeError: integers, complex numbers, a tensor that dispatches by itself.
        InitMemoryError: an expanded tensor.

    Example:
        >>> conv = torch.nn.Conv1d(4, 8, 3, padding=1, bias=False)
        >>> x = torch.ones(4, 6)
        >>> _ = delta_orthogonal_(conv.weight)
        >>> torch.allclose(conv(x).norm(), x.norm())
        True
    """
    plain = ours("delta_orthogonal_", tensor)
    factor = real("delta_orthogonal_", "gain", gain)
    _check_axes("delta_orthogonal_", tensor, 3, 4, 5)
    if not plain:
        raise InitDtypeError(
            f"delta_orthogonal_: can't write to a {type(tensor).__name__}, which dispatches by "
            "itself: initialise the plain tensor it is made of"
        )
    rows, columns = tensor.shape[:2]
    if rows < columns:
        raise SchemeError(
            f"delta_orthogonal_ keeps norms, which {rows} outputs of {columns} inputs can't (shape "
            f"{tuple(tensor.shape)}): use orthogonal_, or at least as many outputs as inputs"
        )
    _check_gain("delta_orthogonal_", tensor, factor, generator)
    stream = stream_for(tensor, generator)
    if stream is None:
        return tensor
    values = _orthogonal(tensor, rows, columns, stream).mul_(factor)
    with torch.no_grad():
        _centre(tensor.zero_()).copy_(values)
    return tensor


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill the matrix with N(0, std^2) and ceil(sparsity * rows) zeros a column; return it.

    A column of [out, in] holds the weights of one input. Where the zeros lie is drawn from the
    generator too (torch takes the default one for that, whatever it is given). Martens, "Deep
    learning via Hessian-free optimization" (2010).

    Args:
        tensor: floating or complex, of two dimensions, any strides.
        sparsity: the share of each column that is 0, from 0 to 1.
        std: standard deviation of the rest.
        generator: on any device; None is torch's default CPU generator.

    Raises:
        FanError: a ValueError: not two dimensions.
        InitValueError: a sparsity outside of [0, 1] (torch takes any), a negative or infinite
            std, NaN.
        InitDtypeError: integers, booleans.
        InitMemoryError: an expanded tensor.

    Example:
        >>> (sparse_(torch.empty(10, 3), sparsity=0.25) == 0).sum(dim=0)
        tensor([3, 3, 3])
    """
    plain = ours("sparse_", tensor)
    _check_axes("sparse_", tensor, 2)
    share, spread = real("sparse_", "sparsity", sparsity), real("sparse_", "std", std, least=0.0)
    if not 0 <= share <= 1:
        refuse("sparse_", "sparsity", sparsity, "it is the share of zeros, from 0 to 1")
    if not plain:
        return torch_sparse_(tensor, share, spread, generator=generator)
    check_drawable("sparse_", tensor, generator)
    if tensor.is_complex():
        spread /= math.sqrt(2)
    if REACH * spread > largest(tensor.dtype):
        refuse("sparse_", "std", std, f"values would be infinite in {tensor.dtype}")
    stream = stream_for(tensor, generator)
    if stream is None:
        return tensor
    values = tensor
    if tensor.dtype in FLOAT8:  # which can't be masked
        values = torch.empty(tensor.shape, dtype=torch.float32, device=tensor.device)
    draw_(values, Wanted("normal", 0.0, spread), stream)
    chance = torch.empty(tensor.shape, dtype=torch.float32, device=tensor.device)
    stream.fill_(chance, NAME, Law.uniform(0.0, 1.0), purpose="sparse")
    zero_smallest_(values, chance, Layout((0,), (1,)), math.ceil(share * tensor.size(0)))
    if values is not tensor:
        with torch.no_grad():
            tensor.copy_(values)
    return tensor


def _orthogonal(tensor: Tensor, rows: int, columns: int, stream: Stream) -> Tensor:
    """Return a Haar-distributed matrix on the tensor's device, float64 or float32."""
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    gauss = torch.empty(rows, columns, dtype=dtype, device=tensor.device)
    return haar(stream.fill_(gauss, NAME, Law.normal(0.0, 1.0)))


def _centre(kernel: Tensor) -> Tensor:
    """Return a view [out, in] of the kernel's centre tap."""
    return kernel[(..., *(size // 2 for size in kernel.shape[2:]))]


def _check_gain(
    function: str, tensor: Tensor, gain: float, generator: torch.Generator | None
) -> None:
    check_drawable(function, tensor, generator, complex_too=False)
    if abs(gain) > largest(tensor.dtype):
        refuse(function, "gain", gain, f"values would be infinite in {tensor.dtype}")


def _check_axes(function: str, tensor: Tensor, *counts: int) -> None:
    if tensor.dim() not in counts:
        raise _wrong_axes(function, "3, 4, or 5" if len(counts) > 1 else "2", tensor)


def _wrong_axes(function: str, counts: str, tensor: Tensor) -> FanError:
    return FanError(
        f"Only tensors with {counts} dimensions are supported: {function} was given the shape "
        f"{tuple(tensor.shape)}. Pass a weight; zeros_ or constant_ will do for a bias"
    )
