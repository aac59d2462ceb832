"""goodinit: weight initialization for PyTorch.

    >>> import goodinit as gi
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    >>> plan = gi.init_(net, "he", seed=0)
    >>> plan["0.weight"].scheme, round(plan["0.weight"].std, 4)
    (HeNormal(), 0.1414)

``gi.recipes.names()`` lists the recipes, ``gi.schemes`` holds the schemes, ``gi.errors`` the
exceptions and ``gi.theory`` the assumptions of the theory, measured on a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Module  # `nn` here is goodinit's own, once goodinit.nn is imported

from goodinit import adapters, errors, recipes, schemes, testing, theory
from goodinit.applying import apply as _apply
from goodinit.applying.apply import apply_
from goodinit.applying.materialize import skeleton
from goodinit.errors import GoodinitError, RecipeError
from goodinit.explanation import Explanation, explain
from goodinit.findings import Finding
from goodinit.plans import plan as _plan
from goodinit.plans.diff import Diff, diff
from goodinit.plans.keep import KeepLike
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanRow
from goodinit.recipes import as_recipe as _as_recipe
from goodinit.recipes import recipe
from goodinit.recipes.by_name import RecipeLike
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import (
    AddNoise,
    Constant,
    DeltaOrthogonal,
    Dirac,
    Function,
    HeNormal,
    HeUniform,
    Identity,
    Keep,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Ones,
    Orthogonal,
    Scheme,
    Sparse,
    TorchDefault,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    XavierNormal,
    XavierUniform,
    Zeros,
    gain,
)

# Second names can be imported, but are not listed in __all__.
from goodinit.schemes import GlorotNormal as GlorotNormal
from goodinit.schemes import GlorotUniform as GlorotUniform
from goodinit.schemes import KaimingNormal as KaimingNormal
from goodinit.schemes import KaimingUniform as KaimingUniform
from goodinit.signal import Comparison, Signal, SignalRow, measure
from goodinit.signal import compare as _compare
from goodinit.streams import Stream
from goodinit.trace import Inputs

# Without `nn`: `from goodinit import *` must not hide torch's.
__all__ = [
    "AddNoise",
    "Comparison",
    "Constant",
    "DeltaOrthogonal",
    "Diff",
    "Dirac",
    "Explanation",
    "Finding",
    "Function",
    "GoodinitError",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Inputs",
    "Keep",
    "KeepLike",
    "LeCunNormal",
    "LeCunUniform",
    "Normal",
    "Ones",
    "Orthogonal",
    "Plan",
    "PlanRow",
    "Recipe",
    "RecipeLike",
    "Rule",
    "Scheme",
    "Signal",
    "SignalRow",
    "Sparse",
    "Stream",
    "TorchDefault",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "XavierNormal",
    "XavierUniform",
    "Zeros",
    "__version__",
    "adapters",
    "apply_",
    "compare",
    "diff",
    "errors",
    "explain",
    "gain",
    "init_",
    "load_",
    "measure",
    "plan",
    "recipe",
    "recipes",
    "schemes",
    "sel",
    "skeleton",
    "testing",
    "theory",
]

__version__ = "0.1.0.dev0"


def __dir__() -> list[str]:
    """List the public names only, not what this file imports to define them."""
    return sorted(__all__)


def plan(
    model: Module,
    recipe: RecipeLike = "standard",
    *,
    inputs: Inputs | None = None,
    keep: KeepLike = (),
    prefix: str = "",
) -> Plan:
    """Return what a recipe would do to a model: one row per parameter. Writes nothing.

    Args:
        model: any module; it may be on the meta device.
        recipe: a Recipe, its name, a TOML file, a scheme, or a mapping from module types or globs
            to schemes.
        inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments. If given,
            the model is run once, and the data flow determines kinds, fans, activations and
            residual ends. If None, module types do.
        keep: names, globs, a state dict or the path of a safetensors file: parameters that are
            already loaded and must not be written. If a parameter is larger than its value in the
            state dict (an embedding with new rows), the old part is kept and the rest is drawn.
        prefix: prepended to each name, if ``model`` is a part of a larger model.

    Raises:
        GoodinitError: see ``goodinit.plans.plan.plan`` for the cases.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> with torch.device("meta"):
        ...     net = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
        >>> plan(net, XavierUniform())["2.weight"].fan_in
        50
    """
    return _plan.plan(model, _as_recipe(recipe), inputs=inputs, keep=keep, prefix=prefix)


def init_(
    target: Module | Tensor,
    recipe: RecipeLike = "standard",
    *,
    inputs: Inputs | None = None,
    seed: int | None = None,
    keep: KeepLike = (),
    prefix: str = "",
    materialize: str | torch.device | None = None,
) -> Plan:
    """Initialize a model, a layer or a tensor in place. Returns the plan that was applied.

    Args:
        target: a module; or a tensor, whose fans are computed from its shape [out, in, *window].
        recipe: as for ``plan``.
        inputs: as for ``plan``.
        seed: a non-negative integer; equal seeds give identical values. If None, a seed is drawn
            from torch's default CPU generator, so ``torch.manual_seed`` applies.
        keep: as for ``plan``. The old part of a parameter that has grown is copied from the
            checkpoint.
        prefix: as for ``plan``. Values depend on names:
            ``init_(model.encoder, ..., prefix="encoder")`` draws the same values as
            ``init_(model, ...)``. Without a prefix, equal layers get equal values from one seed.
        materialize: a device such as "cpu"; parameters and buffers on meta are allocated there.

    Raises:
        GoodinitError: as for ``plan`` and ``apply_``, before anything is written.

    Example:
        >>> from torch import nn
        >>> layer = nn.Linear(100, 50)
        >>> drawn = init_(layer, {"weight": XavierUniform(), "bias": Constant(0.01)}, seed=0)
        >>> drawn["bias"].mean, drawn["weight"].fan_in
        (0.01, 100)
    """
    if isinstance(target, Tensor) and isinstance(recipe, Scheme):
        recipe = Recipe([Rule(sel.all(), recipe)], repr(recipe))
    elif isinstance(target, Tensor) and isinstance(recipe, Mapping):
        raise RecipeError(
            "recipe: a mapping is for modules. Pass one scheme for one tensor: "
            "gi.init_(tensor, gi.HeNormal())"
        )
    return _apply.init_(
        target,
        _as_recipe(recipe),
        inputs=inputs,
        seed=seed,
        keep=keep,
        prefix=prefix,
        materialize=materialize,
    )


def load_(
    model: Module,
    checkpoint: str | PathLike[str] | Mapping[str, object],
    recipe: RecipeLike = "standard",
    *,
    inputs: Inputs | None = None,
    seed: int | None = None,
    draw: str | Iterable[str] = (),
    prefix: str = "",
    materialize: str | torch.device | None = None,
) -> Plan:
    """Load a checkpoint into a model and draw what is missing from it: a new head, a new adapter.

    If a parameter is larger than the checkpoint's, the old values fill its first indices and the
    rest is drawn: new rows of an embedding, new input channels. If one matrix has become several
    stacked ones (experts), each is a copy with noise, ``AddNoise()``. The plan lists both.

    Args:
        model: any module. On meta, with ``materialize``, no value is computed twice.
        checkpoint: a state dict, or the path of a safetensors file.
        recipe: as for ``plan``; applied to what the checkpoint does not contain.
        inputs: as for ``plan``.
        seed: as for ``init_``.
        draw: names or globs to draw although the checkpoint contains them: ``"head.*"``.
        prefix: as for ``plan``.
        materialize: as for ``init_``.

    Raises:
        CheckpointError: a file that can't be read, or values that don't fit.
        GoodinitError: as for ``plan`` and ``apply_``, before anything is written.

    Example:
        >>> from torch import nn
        >>> old = nn.Embedding(100, 8)
        >>> new = nn.Embedding(104, 8)
        >>> plan = load_(new, old.state_dict(), "gpt2", seed=0)
        >>> torch.equal(new.weight[:100], old.weight), plan["weight"].blocks[1].box
        (True, ((100, 104), (0, 8)))
    """
    return _apply.load_(
        model,
        checkpoint,
        _as_recipe(recipe),
        inputs=inputs,
        seed=seed,
        draw=draw,
        prefix=prefix,
        materialize=materialize,
    )


def compare(
    model: Module,
    inputs: Inputs,
    recipes: Iterable[RecipeLike] | Mapping[str, RecipeLike],
    *,
    seeds: int = 5,
    loss: Callable[[Any], Tensor] | None = None,
) -> Comparison:
    """Initialize copies of a model by several recipes and seeds, and measure their signals.

    The model may be on the meta device. One copy at a time is drawn and measured; the model
    itself is not changed.

    Args:
        model: any module that can be copied.
        inputs: as for ``measure``.
        recipes: several, each as for ``plan``; the keys of a mapping name them.
        seeds: number of draws of each recipe, with the seeds 0, 1, ...
        loss: as for ``measure``.

    Returns:
        One signal per recipe and seed. It prints as one line per recipe: the second moment and
        the cosine between samples at the last layer, the gradient's squared norm at the first
        layer over that at the last, the loss (all medians), and how often each finding occurred.

    Raises:
        GoodinitError: as for ``plan``, ``apply_`` and ``measure``.

    Example:
        >>> from torch import nn
        >>> layers = [layer for _ in range(30) for layer in (nn.Linear(64, 64), nn.ReLU())]
        >>> net = nn.Sequential(*layers)
        >>> x = torch.randn(32, 64, generator=torch.manual_seed(0))
        >>> found = compare(net, x, ["he", "xavier"], seeds=2)
        >>> found.signals["he"][0].ok, [f.code for f in found.signals["xavier"][0].findings]
        (True, ['GI102'])
    """
    if isinstance(recipes, Mapping):
        by_name = cast("Mapping[str, RecipeLike]", recipes)
    else:
        several = [recipes] if isinstance(recipes, str) else recipes
        by_name = {_as_recipe(each).name: each for each in several}
    plans = {name: plan(model, each, inputs=inputs) for name, each in by_name.items()}
    return _compare(model, inputs, plans, seeds=seeds, loss=loss)
