"""goodinit: weight initialization for PyTorch, planned, drawn and shown.

    >>> import goodinit as gi
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    >>> plan = gi.init_(net, "he", seed=0)
    >>> plan["0.weight"].scheme, round(plan["0.weight"].std, 4)
    (HeNormal(), 0.1414)

``gi.recipes.names()`` lists the recipes, ``goodinit.schemes`` holds the schemes,
``goodinit.errors`` what can be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Module  # `nn` here is goodinit's own, once goodinit.nn is imported

from goodinit import adapters, recipes, schemes, testing
from goodinit.applying import apply as _apply
from goodinit.applying.apply import apply_
from goodinit.applying.materialize import skeleton
from goodinit.errors import GoodinitError, RecipeError
from goodinit.explanation import Explanation, explain
from goodinit.findings import Finding
from goodinit.plans import plan as _plan
from goodinit.plans.diff import diff
from goodinit.plans.keep import KeepLike
from goodinit.plans.plan import Plan
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
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    KaimingNormal,
    KaimingUniform,
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
from goodinit.signal import Comparison, Signal, measure
from goodinit.signal import compare as _compare
from goodinit.streams import Stream
from goodinit.theory import Independence, independence, jacobian
from goodinit.trace import Inputs

__all__ = [
    "AddNoise",
    "Comparison",
    "Constant",
    "DeltaOrthogonal",
    "Dirac",
    "Explanation",
    "Finding",
    "Function",
    "GlorotNormal",
    "GlorotUniform",
    "GoodinitError",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Independence",
    "KaimingNormal",
    "KaimingUniform",
    "Keep",
    "LeCunNormal",
    "LeCunUniform",
    "Normal",
    "Ones",
    "Orthogonal",
    "Plan",
    "Recipe",
    "Rule",
    "Scheme",
    "Signal",
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
    "explain",
    "gain",
    "independence",
    "init_",
    "jacobian",
    "load_",
    "measure",
    "plan",
    "recipe",
    "recipes",
    "schemes",
    "sel",
    "skeleton",
    "testing",
]

__version__ = "0.1.0.dev0"


def plan(
    model: Module,
    recipe: RecipeLike = "standard",
    *,
    inputs: Inputs | None = None,
    keep: KeepLike = (),
    prefix: str = "",
) -> Plan:
    """Return what a recipe would do to a model, a row for each parameter; nothing is written.

    Args:
        model: any module, also on meta.
        recipe: a Recipe, its name, a scheme, or a mapping from module types or globs to schemes.
        inputs: a tensor, a tuple, or a dict of keyword arguments, to see the model run: tells
            kinds, fans, activations and residual ends. Without, module types do.
        keep: names, globs, a state dict or the path of a safetensors file: what is loaded
            already, and never written. Of a parameter that has grown since (an embedding with
            more rows), the old part is kept and the rest drawn.
        prefix: put before each name, for a part of a larger model.

    Raises:
        GoodinitError: as ``goodinit.plans.plan.plan`` lists; nothing silent.

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
    """Initialise a model, a layer or a tensor in place, and return the plan of what was drawn.

    Args:
        target: a module; or a tensor, whose fans are read off its shape [out, in, *window].
        recipe: as for ``plan``.
        inputs: as for ``plan``.
        seed: a number from 0; the same one gives the same bits. None takes one from torch's
            default CPU generator, so that ``torch.manual_seed`` rules.
        keep: as for ``plan``; the old part of what has grown is copied from the checkpoint.
        prefix: as for ``plan``. The names are part of the random numbers:
            ``init_(model.encoder, ..., prefix="encoder")`` draws what ``init_(model, ...)``
            does. Without it, two equal layers drawn with one seed are equal.
        materialize: a device such as "cpu" on which parameters and buffers on meta get memory.

    Raises:
        GoodinitError: as for ``plan`` and ``apply_``; before anything is written.

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
        raise RecipeError("a mapping is for modules; one tensor takes a scheme")
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
    draw: str | Iterable[str] = (),
    inputs: Inputs | None = None,
    seed: int | None = None,
    prefix: str = "",
    materialize: str | torch.device | None = None,
) -> Plan:
    """Load a checkpoint into a model and draw what it lacks: a new head, a new adapter.

    A parameter that is larger than the checkpoint's keeps the old values in its corner and the
    rest is drawn: new rows of an embedding, new input channels. Where one matrix has become
    several stacked ones (experts), each is a copy with noise, ``AddNoise()``. The plan says so.

    Args:
        model: any module; on meta with ``materialize``, so that nothing is drawn in vain.
        checkpoint: a state dict, or the path of a safetensors file.
        recipe: as for ``plan``, for what the checkpoint lacks.
        draw: names or globs that are drawn although the checkpoint has them: ``"head.*"``.
        inputs: as for ``plan``.
        seed: as for ``init_``.
        prefix: as for ``plan``.
        materialize: as for ``init_``.

    Raises:
        CheckpointError: a file that can't be read, values that don't fit.
        GoodinitError: as for ``plan`` and ``apply_``; before anything is written.

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
        draw=draw,
        inputs=inputs,
        seed=seed,
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
    """Draw a model by several recipes, several times each, and measure what becomes of the signal.

    The model may be on the meta device; copies of it are drawn, one at a time, and it is left as
    it is.

    Args:
        model: any module that can be copied.
        inputs: as for ``measure``.
        recipes: as for ``plan``, several; a mapping gives them names.
        seeds: how many times each is drawn: with seed 0, 1, ...
        loss: as for ``measure``.

    Returns:
        A signal for each recipe and seed. It prints as one line a recipe: the second moment and
        the cosine between samples at the last layer, the gradient's squared norm at the first
        layer over that at the last, the loss (medians), and in how many draws which finding was.

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
        named = cast("Mapping[str, RecipeLike]", recipes)
    else:
        several = [recipes] if isinstance(recipes, str) else recipes
        named = {_as_recipe(each).name: each for each in several}
    plans = {name: plan(model, each, inputs=inputs) for name, each in named.items()}
    return _compare(model, inputs, plans, seeds, loss)
