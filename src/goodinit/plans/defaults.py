"""PyTorch's own initialization, type by type, as schemes with numbers.

These are the laws of ``reset_parameters`` in ``torch/nn/modules/*.py``, as of torch 2.13, with
torch's own fans, even where they are wrong: a transposed convolution uses its output channels,
``in_proj_weight`` its three matrices as one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from goodinit._common.torch_private import AttentionOutput
from goodinit.anatomy.modules import describe
from goodinit.schemes import Constant, Normal, Scheme, Uniform
from goodinit.schemes.fans import torch_fans

_Conv = (
    nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
)


def torch_default(module: nn.Module, attr: str, above: Iterable[nn.Module] = ()) -> Scheme | None:
    r"""Return the law from which PyTorch itself draws a module's parameter or buffer.

    ====================================  ===================================================
    Linear, Conv, ConvTranspose           U(+-1/sqrt(n)), weight and bias;
                                          n = weight.shape[1] * window: the same as
                                          ``kaiming_uniform_(a=sqrt(5))``
    Bilinear                              the same, n = in1_features
    Embedding, EmbeddingBag               N(0, 1); ``padding_idx`` is zeroed afterwards
    RNN, LSTM, GRU and their cells        U(+-1/sqrt(hidden_size)), all weights and biases
    MultiheadAttention                    weights ``xavier_uniform_`` each as it is stored,
                                          ``bias_k`` and ``bias_v`` ``xavier_normal_``; biases
                                          0, that of ``out_proj`` too
    BatchNorm and all other norms         weight 1, bias 0, mean 0, variance 1
    PReLU                                 its ``init``
    anything inside ``nn.Transformer``    if it has two axes, ``xavier_uniform_``, which the
                                          whole model draws once more at the end
    ====================================  ===================================================

    Args:
        module: the module that holds the parameter; it is not changed.
        attr: attribute name of one of its own parameters or buffers.
        above: the modules that contain it, in any order; only an ``nn.Transformer`` matters.

    Returns:
        The scheme; None if torch has no law: a parameter of an unknown module, one that a
        subclass added, a lazy module (whose shapes aren't known), a convolution without
        inputs (torch leaves its bias alone). A parameter passed in from outside
        (``Embedding.from_pretrained``) can't be distinguished from torch's own.

    Example:
        >>> torch_default(nn.Linear(16, 5), "bias")
        Uniform(low=-0.25, high=0.25)
        >>> torch_default(nn.ConvTranspose2d(64, 1, 4), "weight")  # by the outputs: 1 * 4 * 4
        Uniform(low=-0.25, high=0.25)
        >>> torch_default(nn.BatchNorm2d(8), "running_var")
        Constant(value=1)
    """
    if isinstance(module, LazyModuleMixin):
        return None
    inside = any(isinstance(m, nn.Transformer) for m in above)
    shape = _shape_of(module, attr) if inside else ()
    if len(shape) > 1:
        return _xavier_uniform(shape)
    return _law_of(module, attr) if attr in describe(module) else None


def _law_of(module: nn.Module, attr: str) -> Scheme | None:
    match module:
        case AttentionOutput() if attr == "bias":
            return Constant(0.0)  # MultiheadAttention zeroes it in its out_proj
        case nn.Linear():
            return _uniform_within(module.in_features)
        case nn.Bilinear():
            return _uniform_within(module.in1_features)
        case nn.RNNBase() | nn.RNNCellBase():
            return _uniform_within(module.hidden_size)
        case nn.Embedding() | nn.EmbeddingBag():
            return Normal(1.0)
        case nn.MultiheadAttention():
            return _attention(module, attr)
        case nn.PReLU():
            return Constant(module.init)
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            return _conv(module, module.in_channels)
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d():
            return _conv(module, module.out_channels)
        case _:  # a norm
            return Constant(1.0 if attr in ("weight", "running_var") else 0.0)


def _attention(module: Any, attr: str) -> Scheme:  # kdim and vdim have no types in torch
    width: int = module.embed_dim
    shapes: dict[str, tuple[int, int]] = {
        "in_proj_weight": (3 * width, width),
        "q_proj_weight": (width, width),
        "k_proj_weight": (width, module.kdim),
        "v_proj_weight": (width, module.vdim),
    }
    if attr in shapes:
        return _xavier_uniform(shapes[attr])
    if attr == "in_proj_bias":
        return Constant(0.0)
    return Normal(1 / math.sqrt(width))  # bias_k, [1, 1, width]: torch has width for both fans


def _conv(module: _Conv, channels: int) -> Scheme | None:
    fan = channels // module.groups * math.prod(module.kernel_size)
    return _uniform_within(fan) if fan else None


@cache
def _uniform_within(fan: float) -> Scheme:
    """Return U(+-1/sqrt(fan)); 0 where there is no input."""
    return Uniform(-1 / math.sqrt(fan), 1 / math.sqrt(fan)) if fan else Constant(0.0)


@cache
def _xavier_uniform(shape: tuple[int, ...]) -> Scheme:
    """Return ``torch.nn.init.xavier_uniform_``'s law, with torch's fans of the shape."""
    fans = sum(torch_fans(shape))
    bound = math.sqrt(6 / fans) if fans else 0.0
    return Uniform(-bound, bound) if bound else Constant(0.0)


def _shape_of(module: nn.Module, attr: str) -> tuple[int, ...]:
    """Return a parameter's shape, without computing what a parametrization would."""
    plain = dict(module.named_parameters(recurse=False, remove_duplicate=False)).get(attr)
    if plain is not None:
        return tuple(plain.shape)
    if isinstance(module, nn.Linear) and attr == "weight":
        return module.out_features, module.in_features
    return ()
