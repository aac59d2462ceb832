"""timm: a function for ``named_apply``."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from goodinit.adapters.piecewise import writer
from goodinit.plans.plan import plan
from goodinit.recipes import as_recipe
from goodinit.recipes.by_name import RecipeLike
from goodinit.streams import fresh_seed
from goodinit.trace import Inputs

__all__ = ["timm"]


def timm(
    model: nn.Module, recipe: RecipeLike, seed: int | None = None, inputs: Inputs | None = None
) -> Callable[..., None]:
    """Return a function for ``timm.models.named_apply`` that initialises a model by a recipe.

    The whole model is planned here, so that rules by name, by layer and by residual ends hold as
    with ``gi.init_``, and with ``include_root=True`` the values are the same. Each call writes
    one module's own parameters and buffers. The module tells which it is, not the name that
    ``named_apply`` brings along: a part of the model alone gets its part.

    Args:
        model: the complete model; a module that comes later is refused.
        recipe: as for ``gi.plan``.
        seed: as for ``gi.init_``.
        inputs: as for ``gi.plan``.

    Returns:
        ``fn(module, name="")``. ``named_apply`` goes to the root only with ``include_root=True``:
        without, class tokens and position embeddings stay as they are. A parameter that is tied
        is drawn at each of its modules, to the same values.

    Raises:
        GoodinitError: as for ``gi.plan``; when called, as for ``gi.apply_``.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> fn = timm(net, "he", seed=0)
        >>> for name, module in net.named_modules():  # named_apply(fn, net, include_root=True)
        ...     fn(module=module, name=name)
        >>> net[2].bias.tolist()
        [0.0, 0.0]
    """
    planned = plan(model, as_recipe(recipe), inputs=inputs)
    write = writer(model, planned, fresh_seed() if seed is None else seed)

    def fn(module: nn.Module, name: str = "") -> None:
        write(module, name)

    return fn
