"""Adapters for frameworks; none is imported here.

================================  ===============================================================
``transformers(cls, recipe)``     a model class that draws new models, and whatever
                                  ``from_pretrained`` finds missing, from a recipe
``timm(model, recipe)``           a function for ``timm.models.named_apply``
``torchtitan(recipe)``            ``init_states`` or ``init_weights`` for the body of a model class
``fsdp(model, recipe, seed=0)``   a ``param_init_fn`` for ``FullyShardedDataParallel``
================================  ===============================================================

Each draws the same values as ``gi.init_`` on the whole model with the same seed. Two callbacks
measure in training, and log:

================================  ===============================================================
``lightning_callback(every)``     for a Lightning ``Trainer``
``trainer_callback(trainer,       for a transformers ``Trainer``
every)``
================================  ===============================================================
"""

from __future__ import annotations

from goodinit._common.public_names import listing as _listing
from goodinit.adapters.for_fsdp import fsdp as _fsdp
from goodinit.adapters.for_timm import timm as _timm
from goodinit.adapters.for_torchtitan import torchtitan as _torchtitan
from goodinit.adapters.for_transformers import transformers as _transformers
from goodinit.adapters.lightning_callback import lightning_callback as _lightning_callback
from goodinit.adapters.trainer_callback import trainer_callback as _trainer_callback
from goodinit.recipes.explained_call import explained as _explained

fsdp = _explained(_fsdp, "gi.adapters")
lightning_callback = _explained(_lightning_callback, "gi.adapters")
timm = _explained(_timm, "gi.adapters")
torchtitan = _explained(_torchtitan, "gi.adapters")
trainer_callback = _explained(_trainer_callback, "gi.adapters")
transformers = _explained(_transformers, "gi.adapters")

__all__ = [
    "fsdp",
    "lightning_callback",
    "timm",
    "torchtitan",
    "trainer_callback",
    "transformers",
]
__dir__ = _listing(__all__)
