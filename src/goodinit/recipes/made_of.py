"""What the models of each family have and lack, by which a plan sees whether a recipe fits."""

from __future__ import annotations

from collections.abc import Mapping

from goodinit.recipes.library.control import POLICY, VALUE
from goodinit.recipes.library.detectors import CLASSES
from goodinit.recipes.library.recurrent_decoders import IN_AND_FORGET
from goodinit.recipes.rule import Selector, sel

ATTENTION: Selector = sel.part("q", "k", "v")
TABLES: Selector = sel.kind("embedding")
PATCHES: Selector = sel.part("patch")
BRANCHES: Selector = sel.ends_residual()
CONVOLUTIONS: Selector = sel.kind("conv") & ~sel.part("bias") & ~PATCHES
NORMS: Selector = sel.kind("norm")
RECURRENT: Selector = sel.kind("recurrent")
STATE_SPACE: Selector = sel.kind("ssm")
SCALARS: Selector = sel.attr("A_log")

_DECODER = (TABLES, BRANCHES)
_TRANSFORMER = (TABLES | ATTENTION, BRANCHES, NORMS)  # also of patches, or of sounds
_VISION = (sel.kind("conv"), PATCHES, ATTENTION)

MADE_OF: Mapping[str, tuple[Selector, ...]] = {
    "alphafold": (ATTENTION, BRANCHES, NORMS, sel.gate_bias()),
    "beit": _VISION,
    "bert": _TRANSFORMER,
    "clip": (*_TRANSFORMER, sel.attr("logit_scale")),
    "convnext": (CONVOLUTIONS, PATCHES, BRANCHES),
    "dcgan": (CONVOLUTIONS, NORMS),
    "ddpm": (CONVOLUTIONS, BRANCHES),
    "deepnorm": _TRANSFORMER,
    "deit": _VISION,
    "densenet": (CONVOLUTIONS,),
    "detr": (sel.kind("conv"), ATTENTION, BRANCHES, NORMS, sel.name("*input_proj*")),
    "dinov2": _VISION,
    "dit": (*_VISION, sel.name("*adaLN_modulation*")),
    "e3nn": (),
    "efficientnet": (CONVOLUTIONS,),
    "fixup": (BRANCHES,),
    "gat": (sel.attr("att_*") | sel.attr("att"),),
    "gated_deltanet": (SCALARS, sel.attr("dt_bias"), BRANCHES),
    "gpt2": _DECODER,
    "gpt_oss": (*_DECODER, sel.attr("sinks")),
    "hiera": (sel.kind("conv"), ATTENTION, BRANCHES, NORMS),
    "hybrid": (TABLES, SCALARS, BRANCHES),
    "hyena": (*_DECODER, sel.name("*filter_fn*")),
    "instant_ngp": (TABLES,),
    "llama": _DECODER,
    "lora": (),  # a model without adapters is an error
    "lstm": (RECURRENT,),
    "mae": (*_VISION, sel.attr("mask_token")),
    "mamba": (SCALARS, sel.name("*dt_proj*")),
    "mamba2": (SCALARS, sel.attr("dt_bias")),
    "megatron": _DECODER,
    "mimi": (CONVOLUTIONS, BRANCHES, sel.name("*quantizer*")),
    "mimetic": _VISION,
    "mixer": (sel.kind("conv"), PATCHES, BRANCHES),
    "modernbert": _TRANSFORMER,
    "nanochat": _DECODER,
    "neox": _DECODER,
    "nerf": (sel.kind("linear"),),
    "olmo": _DECODER,
    "ppo": (sel.part("head") & (POLICY | VALUE),),
    "resnet": (CONVOLUTIONS,),
    "retinanet": (CONVOLUTIONS, CLASSES),
    "retnet": (*_DECODER, sel.name("*retention*")),
    "rwkv4": (TABLES, BRANCHES, sel.attr("time_first")),
    "rwkv5": (TABLES, BRANCHES, sel.attr("time_faaaa"), sel.attr("time_mix_k")),
    "rwkv6": (TABLES, BRANCHES, sel.attr("time_faaaa"), sel.attr("time_maa_x")),
    "rwkv7": (TABLES, BRANCHES, sel.attr("[wavg]1")),
    "s4d": (sel.attr("log_dt"), sel.attr("A_imag")),
    "sam": (*_VISION, BRANCHES),
    "siglip": (*_TRANSFORMER, sel.attr("logit_bias") | sel.attr("probe")),
    "siren": (sel.followed_by("sin"),),
    "stylegan2": (sel.attr("const"), sel.name("*affine*")),
    "swin": _VISION,
    "switch": (*_DECODER, sel.kind("router")),
    "t5": (*_DECODER, sel.name("*relative_attention_bias*")),
    "tfixup": (TABLES, ATTENTION, BRANCHES),
    "vgg": (CONVOLUTIONS,),
    "vit": _VISION,
    "vjepa2": _VISION,
    "wav2vec2": (CONVOLUTIONS, *_TRANSFORMER, sel.name("*pos_conv*")),
    "xlstm": (TABLES, IN_AND_FORGET),
}
"""Family -> selectors, each of which matches something in its models."""

_NO_DECODER = (sel.kind("conv"), RECURRENT, STATE_SPACE)
_NO_FIELD = (ATTENTION, BRANCHES, *_NO_DECODER)

MADE_WITHOUT: Mapping[str, tuple[Selector, ...]] = {
    **dict.fromkeys(("gpt2", "gpt_oss", "llama", "megatron", "nanochat", "neox"), _NO_DECODER),
    **dict.fromkeys(("deepnorm", "olmo", "switch", "t5"), _NO_DECODER),
    "bert": (RECURRENT, STATE_SPACE),
    "modernbert": _NO_DECODER,
    "fixup": (NORMS,),
    "instant_ngp": _NO_FIELD,
    "mixer": (ATTENTION,),
    "nerf": (*_NO_FIELD, TABLES),
    "tfixup": (NORMS,),
}
"""Family -> selectors that match nothing in its models."""

DIVIDED = frozenset(("e3nn",))
"""Families whose layers divide by sqrt(fan_in) in the forward."""
