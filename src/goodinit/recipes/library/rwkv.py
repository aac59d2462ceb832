"""Recipes for RWKV, versions 4 to 7, whose parameters are known by the names of its code."""

from __future__ import annotations

import math
from typing import Literal

from goodinit.recipes.by_place import LayerRamp, TallOrthogonal
from goodinit.recipes.library.decoders import ENDS
from goodinit.recipes.library.general import REST, WEIGHTS, choice, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, Selector, sel
from goodinit.schemes import Constant, Orthogonal, Ramp, Scheme, Uniform, Zeros

SAME = "each block is the identity at first"
_FEED_FORWARD: Selector = sel.name("*ffn.*") | sel.name("*feed_forward.*")


def rwkv4(flavour: Literal["blinkdl", "hf"] = "blinkdl", faithful: bool = False) -> Recipe:
    """RWKV-4: most matrices 0, a small embedding, and ramps over the channels.

    ==========================================  ==============================================
    embedding                                   U(+-1e-4)
    head                                        orthogonal, times .5, rows of that length
    values; keys of the channel mixing          orthogonal, rows of length 1
    other matrices                              0
    time_mix_k, _v, _r (token shift)            (i/width)^p, p falls with the layer; v's is higher
                                                in later layers
    time_decay                                  -5 to 3, bent with the layer
    time_first                                  log .3, and a zigzag of .5
    ==========================================  ==============================================

    "hf" draws all matrices orthogonal, with rows of length 1 (head .5), and the embedding so that
    its elements are 1e-4. Peng et al. 2023 (2305.13048); BlinkDL/RWKV-LM RWKV-v4neo/src/model.py,
    ``RWKV_TimeMix``, ``RWKV_ChannelMix`` and ``generate_init_weight``, where the embedding is as
    small as the learning rate; transformers modeling_rwkv.py.

    Args:
        flavour: "blinkdl" or "hf".
        faithful: whether ``time_first`` is 1, as in transformers, which lost its law.

    Example:
        >>> rwkv4().rules[-1].text
        "attr('time_first') -> Ramp(start=-1.20397, stop=-1.20397, wave=0.5, period=3, phase=1)"
    """
    choice("rwkv4", "flavour", flavour, ("blinkdl", "hf"))
    matrices: tuple[Rule, ...] = (
        library(WEIGHTS, TallOrthogonal()),
        library(sel.part("head"), TallOrthogonal(0.5)),
    )
    if flavour == "hf":
        matrices += (library(sel.kind("embedding"), TallOrthogonal(1e-4, elements=True)),)
    else:
        silent = sel.name("*att.key.weight") | sel.name("*.receptance.weight")
        matrices += (
            library(sel.kind("embedding"), Uniform(-1e-4, 1e-4)),
            library(ENDS | sel.name("*ffn.value.weight"), Zeros(), SAME),
            library(silent, Zeros(), SAME),
        )
    first = Ramp(math.log(0.3), math.log(0.3), wave=0.5, period=3, phase=1)
    return Recipe(
        (
            *(*REST, *matrices, *_mixing("time_mix_", 0.0, 1.0)),
            _own("time_decay", LayerRamp(-5.0, 3.0, "behind", factor=1.3, offset=0.7)),
            _own("time_first", Constant(1.0) if faithful else first),
        ),
        "rwkv4",
    )


def rwkv5() -> Recipe:
    """RWKV-5 (Eagle): orthogonal matrices, outputs 0, a small embedding, ramps over the channels.

    ==========================================  ==============================================
    embedding                                   U(+-1e-4)
    head                                        orthogonal, times .5 sqrt(vocabulary/width); .5
                                                where the vocabulary is smaller
    ends of residual branches, and the gate     0
    (receptance) of the channel mixing
    keys and gate of the time mixing            orthogonal, times .1
    other matrices                              orthogonal
    ``ln_x``                                    ((l + 1)/L)^.7, l the layer from 0
    time_mix_k, _v, _r, _g (token shift)        (i/width)^p, p falls with the layer; v's is higher
                                                in later layers
    time_decay                                  -6 to -1 over heads and channels, bent with the
                                                layer
    time_faaaa                                  l/(L - 1) to 0 over them, and a zigzag of .1
    ==========================================  ==============================================

    Peng et al. 2024 (2404.05892); BlinkDL/RWKV-LM RWKV-v5/src/model.py, ``RWKV_Tmix_x052``,
    ``RWKV_CMix_x052`` and ``generate_init_weight``.

    Example:
        >>> rwkv5().rules[-2].text.partition(", of")[0]
        "attr('time_decay') -> LayerRamp(start=-6, stop=-1"
    """
    return Recipe((*_eagle(), *_mixing("time_mix_", 0.0, 1.0), *_states()), "rwkv5")


def rwkv6() -> Recipe:
    """RWKV-6 (Finch): as RWKV-5, with token shifts and decays that depend on the token.

    ==========================================  ==============================================
    time_maa_x, _w, _k, _v, _r, _g              1 - (i/width)^p, p falls with the layer; v's is
                                                lower in later layers
    time_maa_w1, time_decay_w1                  0
    time_maa_w2, time_decay_w2                  U(+-.01)
    all others                                  as in ``rwkv5``
    ==========================================  ==============================================

    Peng et al. 2024 (2404.05892); BlinkDL/RWKV-LM RWKV-v5/src/model.py, ``RWKV_Tmix_x060``,
    ``RWKV_CMix_x060`` and ``generate_init_weight``.

    Example:
        >>> rwkv6().rules[-3].text
        "attr('time_*_w2') -> Uniform(low=-0.01, high=0.01)"
    """
    low_rank = (_own("time_*_w1", Zeros()), _own("time_*_w2", Uniform(-0.01, 0.01)))
    shifts = (*_mixing("time_maa_", 1.0, 0.0), *low_rank)
    return Recipe((*_eagle(), *shifts, *_states()), "rwkv6")


def _eagle() -> tuple[Rule, ...]:
    """Return the laws of the matrices that RWKV-5 and 6 share."""
    quiet = sel.name("*att.key.weight") | sel.name("*att.gate.weight")
    silent = sel.name("*ffn.value.weight") | sel.name("*ffn.receptance.weight")
    return (
        *REST,
        library(WEIGHTS, Orthogonal()),
        library(quiet, Orthogonal(0.1)),
        library(sel.kind("embedding"), Uniform(-1e-4, 1e-4)),
        library(sel.part("head"), TallOrthogonal(0.5)),
        library(ENDS | silent, Zeros(), SAME),
        library(sel.name("*ln_x.weight"), Constant(1.0).scaled(depth=-0.7, layer=0.7)),
    )


def _mixing(name: str, start: float, stop: float) -> tuple[Rule, ...]:
    """Return the laws of the token shift up to version 6: powers of i/width, or 1 minus these."""

    def ramp(factor: float = 1.0, by: float = 0.0) -> LayerRamp:
        return LayerRamp(start, stop, "left", factor, ends=False, start_by=by, stop_by=by)

    return (
        _own(f"{name}[xwk]*", ramp()),
        _own(f"{name}v*", ramp(by=0.3 * (stop - start))),
        _own(f"{name}[rg]*", ramp(0.5)),
        family_rule(_FEED_FORWARD & sel.attr(f"{name}r*"), ramp()),
    )


def _states() -> tuple[Rule, ...]:
    """Return the laws of decay and of what the current token counts, in versions 5 and 6."""
    decay = LayerRamp(-6.0, -1.0, "behind", factor=1.3, offset=0.7, flat=True)
    first = LayerRamp(
        0.0, 0.0, factor=0.0, offset=1.0, wave=0.1, period=3, phase=1, flat=True, start_by=1.0
    )
    return _own("time_decay", decay), _own("time_faaaa", first)


def rwkv7(head_size: int = 64) -> Recipe:
    """RWKV-7: orthogonal matrices, outputs 0, a small embedding, and ramps over the channels.

    ==========================================  ==============================================
    embedding                                   U(+-1e-4)
    head                                        orthogonal, times .5 sqrt(vocabulary/width); .5
                                                where the vocabulary is smaller
    ends of residual branches                   0
    keys of the time mixing                     orthogonal, times .1
    other matrices                              orthogonal
    low-rank w1, a1, v1, g1; w2, a2, v2, g2     0; orthogonal, times .1
    ``ln_x``                                    ((l + 1)/L)^.7, l the layer from 0
    x_r, x_w, ... (token shift)                 1 - (i/width)^p, p falls with the layer
    w0, a0, v0, k_k (decay, rates)              ramps over the channels; w0's bends with the layer
    k_a; r_k                                    1.02; -.04
    ==========================================  ==============================================

    Peng et al. 2025 (2503.14456); BlinkDL/RWKV-LM RWKV-v7/train_temp/src/model.py,
    ``RWKV_Tmix_x070``, ``RWKV_CMix_x070`` and ``generate_init_weight``, whose names these are.
    Each block is the identity at first. With these laws the model can be built on meta.

    Args:
        head_size: channels of a head: the period of w0's and a0's waves.

    Example:
        >>> print(rwkv7().rules[-1].text)
        attr('r_k') -> Constant(value=-0.04)
    """
    matrices = (
        library(WEIGHTS, Orthogonal()),
        library(WEIGHTS & sel.name("*att.key.weight"), Orthogonal(0.1)),
        library(sel.kind("embedding"), Uniform(-1e-4, 1e-4)),
        library(sel.part("head"), TallOrthogonal(0.5)),
        library(ENDS, Zeros(), SAME),
        library(WEIGHTS & sel.name("*att.value.weight"), Orthogonal(), "mixed with layer 0's"),
        _own("[wavg]1", Zeros()),
        _own("[wavg]2", Orthogonal(0.1)),
        library(sel.name("*ln_x.weight"), Constant(1.0).scaled(depth=-0.7, layer=0.7)),
    )
    return Recipe((*REST, *matrices, *_vectors(head_size)), "rwkv7")


def _vectors(head_size: int) -> tuple[Rule, ...]:
    """Return the laws of RWKV-7's vectors over the channels, read off its code."""
    mixing = {"x_[rg]": 0.2, "x_[wa]": 0.9, "x_[kv]": 0.7}
    shifts = [
        _own(glob, LayerRamp(1.0, 0.0, "left", power, ends=False)) for glob, power in mixing.items()
    ]
    channels = LayerRamp(1.0, 0.0, "left", exponent=4.0, ends=False)
    decay = LayerRamp(
        -5.5, 0.5, "behind", offset=1.0, exponent=0.3, wave=2.5, period=head_size
    )  # 6 t^(1 + s^.3) - 6, and .5
    return (
        *shifts,
        family_rule(sel.name("*ffn.x_k"), channels, "the channel mixing's shift"),
        _own("w0", decay),
        _own("a0", Ramp(-0.39, 0.01, wave=0.3, period=head_size)),
        _own("v0", Ramp(0.93, 0.53)),
        _own("k_k", Ramp(0.76, 0.66)),
        _own("k_a", Constant(1.02)),
        _own("r_k", Constant(-0.04)),
    )


def _own(glob: str, scheme: Scheme) -> Rule:
    """Return the rule for an attribute that only these models have, whatever it holds."""
    return family_rule(sel.attr(glob), scheme)
