"""Adapters for the initialization hooks of frameworks. None of the frameworks is imported here.

================================  ===============================================================
``transformers(cls, recipe)``     a model class that draws new models, and whatever
                                  ``from_pretrained`` finds missing, from a recipe
``timm(model, recipe)``           a function for ``timm.models.named_apply``
``torchtitan(recipe)``            ``init_states`` or ``init_weights`` for the body of a model class
``fsdp(model, recipe, seed=0)``   a ``param_init_fn`` for ``FullyShardedDataParallel``
================================  ===============================================================

Each draws the same values as ``gi.init_`` on the whole model with the same seed.
"""

from __future__ import annotations

from goodinit.adapters.for_fsdp import fsdp
from goodinit.adapters.for_timm import timm
from goodinit.adapters.for_torchtitan import torchtitan
from goodinit.adapters.for_transformers import transformers

__all__ = ["fsdp", "timm", "torchtitan", "transformers"]
