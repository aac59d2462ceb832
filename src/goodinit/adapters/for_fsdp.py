"""The adapter for FSDP: a ``param_init_fn``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from goodinit._common.text import several
from goodinit.adapters.piecewise import module_writer
from goodinit.errors import UnresolvedError
from goodinit.plans.plan import plan
from goodinit.recipes.by_name import RecipeLike
from goodinit.trace import Inputs


def fsdp(
    model: nn.Module,
    recipe: RecipeLike,
    *,
    inputs: Inputs | None = None,
    seed: int,
    materialize: str | torch.device = "cpu",
) -> Callable[[nn.Module], None]:
    """Return a ``param_init_fn`` for ``torch.distributed.fsdp.FullyShardedDataParallel``.

    The whole model is planned here, before it is wrapped. FSDP then calls the function for each
    module: its own tensors on meta get memory and the values of
    ``gi.init_(model, recipe, seed=seed, materialize=...)``; other tensors stay unchanged. Each
    process draws whole tensors before FSDP keeps its shard.

    Args:
        model: the complete model, on meta or built inside ``gi.skeleton()``.
        recipe: as for ``gi.plan``.
        inputs: as for ``gi.plan``.
        seed: a non-negative integer, the same in each process. It is required: torch's default
            generators may differ between processes, and shards of different models would be
            mixed.
        materialize: the device to allocate on, such as this process's "cuda" device.

    Raises:
        UnresolvedError: a buffer on meta whose values are unknown: use ``gi.skeleton()``.
        GoodinitError: as for ``gi.plan``; when called, as for ``gi.apply_``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> with torch.device("meta"):
        ...     net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> param_init_fn = fsdp(net, "he", seed=0)
        >>> for module in net.modules():  # FullyShardedDataParallel(net, param_init_fn=...)
        ...     param_init_fn(module)
        >>> net[2].bias.tolist()
        [0.0, 0.0]
    """
    planned = plan(model, recipe, inputs=inputs)
    lost = [row.name for row in planned if row.unresolved]
    if lost:
        raise UnresolvedError(
            f"{several(lost)}: on meta, and its values are unknown: build the model inside "
            f"`with gi.skeleton():`, or add a rule for it (gi.Function computes values)"
        )
    return module_writer(model, planned, seed, materialize)
