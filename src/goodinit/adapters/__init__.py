"""Doors from the hooks in which frameworks initialise models; none of them is imported here.

=================================  ==============================================================
``transformers(cls, recipe)``      a class whose new models, and what ``from_pretrained`` finds
                                   missing, are drawn by a recipe instead of ``_init_weights``
``timm(model, recipe)``            a function for ``timm.models.named_apply``
``torchtitan(recipe)``             an ``init_states`` or ``init_weights`` for a model's class body
``fsdp(model, recipe, seed)``      a ``param_init_fn`` for ``FullyShardedDataParallel``
=================================  ==============================================================

Each draws the bits that ``gi.init_`` draws on the whole model with the same seed.
"""

from __future__ import annotations

from goodinit.adapters.for_fsdp import fsdp
from goodinit.adapters.for_timm import timm
from goodinit.adapters.for_torchtitan import torchtitan
from goodinit.adapters.for_transformers import transformers

__all__ = ["fsdp", "timm", "torchtitan", "transformers"]
