"""FSDP: a function for ``param_init_fn``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from goodinit.adapters.piecewise import writer
from goodinit.errors import UnresolvedError
from goodinit.plans.plan import plan
from goodinit.recipes import as_recipe
from goodinit.recipes.by_name import RecipeLike
from goodinit.trace import Inputs

__all__ = ["fsdp"]


def fsdp(
    model: nn.Module,
    recipe: RecipeLike,
    seed: int,
    *,
    materialize: str | torch.device = "cpu",
    inputs: Inputs | None = None,
) -> Callable[[nn.Module], None]:
    """Return a ``param_init_fn`` for ``torch.distributed.fsdp.FullyShardedDataParallel``.

    The plan is made here, on the model before it is wrapped, so that names are those of the
    whole. FSDP then asks module by module: the module's own tensors on meta get memory and their
    values, those of ``gi.init_(model, recipe, seed=seed, materialize=...)``. What isn't on meta
    stays. Each process draws the whole of a unit before FSDP keeps its shard.

    Args:
        model: the complete model, on meta or built inside ``gi.skeleton()``.
        recipe: as for ``gi.plan``.
        seed: a number from 0, the same one in each process: torch's own generators may differ
            between them, and the shards would then be of different models.
        materialize: the device that gets the memory; this process's "cuda" device, say.
        inputs: as for ``gi.plan``.

    Raises:
        UnresolvedError: a buffer on meta that nothing here can compute: use ``gi.skeleton()``.
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
    planned = plan(model, as_recipe(recipe), inputs=inputs)
    lost = [row.name for row in planned if row.unresolved]
    if lost:
        raise UnresolvedError(
            f"{', '.join(lost[:4])}{' and more' if len(lost) > 4 else ''}: on meta, and nothing "
            f"here computes it: build the model inside `with gi.skeleton():`, or give a rule for "
            f"it (gi.Function computes values)"
        )
    write = writer(model, planned, seed, materialize)
    return lambda module: write(module, "")
