"""The adapter for timm: a function for ``named_apply``."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from goodinit.adapters.piecewise import module_writer
from goodinit.plans.plan import plan
from goodinit.recipes.by_name import RecipeLike
from goodinit.streams import fresh_seed
from goodinit.trace import Inputs


def timm(
    model: nn.Module, recipe: RecipeLike, *, inputs: Inputs | None = None, seed: int | None = None
) -> Callable[..., None]:
    """Return a function for ``timm.models.named_apply`` that initializes a model from a recipe.

    The whole model is planned here, so that rules by name, layer and residual end apply as in
    ``gi.init_``. Each call writes the own parameters and buffers of one module, which is
    identified by the module itself, not by the name that ``named_apply`` passes: a submodule gets
    the same values as in the whole model.

    Args:
        model: the complete model; modules added later are refused.
        recipe: as for ``gi.plan``.
        inputs: as for ``gi.plan``.
        seed: as for ``gi.init_``.

    Returns:
        ``fn(module, name="")``. Pass ``include_root=True`` to ``named_apply``: otherwise it skips
        the root's own parameters, such as class tokens and position embeddings. A tied parameter
        is drawn at each of its modules, always to the same values.

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
    planned = plan(model, recipe, inputs=inputs)
    return module_writer(model, planned, fresh_seed() if seed is None else seed)
