"""The adapter for transformers: a model class that is initialized from a recipe."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from goodinit.anatomy.names import Slot, slots
from goodinit.applying.apply import apply_
from goodinit.errors import MetaModelError, ModelError
from goodinit.plans.plan import plan
from goodinit.recipes import as_recipe
from goodinit.recipes.by_name import RecipeLike
from goodinit.recipes.recipe import Recipe
from goodinit.trace import Inputs

M = TypeVar("M", bound=nn.Module)

FLAG = "_is_hf_initialized"
"""transformers sets this attribute on tensors that come from a checkpoint."""


def transformers(
    model_class: type[M],
    recipe: RecipeLike,
    *,
    inputs: Inputs | None = None,
    seed: int | None = None,
) -> type[M]:
    """Return a subclass of a transformers model class that is initialized from a recipe.

    Where transformers would call ``_init_weights``, on a new model or for what ``from_pretrained``
    doesn't find in a checkpoint (a new or resized head), the subclass then draws from the recipe,
    planned on the whole model as in ``gi.init_(model, recipe, seed=seed)``. Overriding
    ``_init_weights`` alone would only reach the head: the inner model (``GPT2Model`` in
    ``GPT2LMHeadModel``) uses its own. Loaded values stay, tied weights are drawn once, and what
    the recipe keeps, including most buffers, has transformers' values.

    A model built on meta stays on meta. The plan is stored as ``model.init_plan``. Copies and
    pickles are of the original class.

    Args:
        model_class: a subclass of ``transformers.PreTrainedModel``; not an ``AutoModel``.
        recipe: as for ``gi.plan``.
        inputs: as for ``gi.plan``, such as ``{"input_ids": torch.zeros(1, 8, dtype=torch.long)}``.
            Recommended: without them, most residual ends are unknown, and raw parameters
            (Mamba's ``A_log``) are guessed from their shapes.
        seed: as for ``gi.init_``; by default each model gets a new one.

    Raises:
        RecipeError: no such recipe.
        ModelError: ``model_class`` isn't such a class; or, when called, as for ``gi.init_``.

    Example:
        >>> # docs/use/transformers.md runs this; here transformers may be absent
        >>> from transformers import GPT2Config, GPT2LMHeadModel  # doctest: +SKIP
        >>> Model = transformers(GPT2LMHeadModel, "xavier", seed=0)  # doctest: +SKIP
        >>> model = Model(GPT2Config(n_layer=2))  # doctest: +SKIP
        >>> model.init_plan["transformer.h.0.mlp.c_fc.weight"].scheme  # doctest: +SKIP
        XavierNormal()
    """
    rules, base = as_recipe(recipe), _checked(model_class)
    draw_ = functools.partial(_draw_, rules, seed, inputs)

    def is_adapted(model: object) -> bool:
        return type(model) is adapted

    methods = {
        "__init__": _init(base, is_adapted, draw_),
        "__reduce_ex__": _reduce_ex(base, is_adapted),
        "from_pretrained": classmethod(_from_pretrained(base, draw_)),
    }
    # transformers reads these: where its code is, and what to write into config.json.
    names = {name: getattr(base, name) for name in ("__module__", "__qualname__", "__doc__")}
    adapted = type(base.__name__, (base,), methods | names)
    return cast("type[M]", adapted)


Draw = Callable[[Any, set[str] | None], None]
"""Draws a model; of a loaded one what is missing in the checkpoint, of a new one (None) all."""


def _init(base: Any, is_adapted: Callable[[object], bool], draw_: Draw) -> Any:
    @functools.wraps(base.__init__)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        base.__init__(self, *args, **kwargs)
        if not is_adapted(self):
            raise ModelError(
                f"{type(self).__name__} is a subclass of the result of adapters.transformers, and "
                f"isn't complete yet at this point: write the subclass first, then adapt it"
            )
        if not any(parameter.is_meta for parameter in self.parameters()):
            draw_(self, None)

    return __init__


def _from_pretrained(base: Any, draw_: Draw) -> Any:
    load = base.from_pretrained.__func__

    @functools.wraps(load)
    def from_pretrained(
        cls: type[Any], *args: Any, output_loading_info: bool = False, **kwargs: Any
    ) -> Any:
        model, info = load(cls, *args, output_loading_info=True, **kwargs)
        draw_(model, {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
        return (model, info) if output_loading_info else model

    return from_pretrained


def _reduce_ex(base: Any, is_adapted: Callable[[object], bool]) -> Any:
    def __reduce_ex__(self: Any, protocol: Any) -> Any:  # noqa: N807
        made, args, state, *rest = base.__reduce_ex__(self, protocol)
        if not is_adapted(self):
            return made, args, state, *rest
        state = {key: value for key, value in state.items() if key != "init_plan"}
        return object.__new__, (base,), state, *rest

    return __reduce_ex__


def _checked(model_class: Any) -> Any:
    hooks = ("_init_weights", "from_pretrained")
    is_model = isinstance(model_class, type) and issubclass(cast("Any", model_class), nn.Module)
    if not is_model or not all(hasattr(model_class, hook) for hook in hooks):
        raise ModelError(
            f"model_class must be a model class of transformers, such as GPT2LMHeadModel, got "
            f"{model_class!r:.200}. For an AutoModel pass type(AutoModel.from_config(config)); "
            f"for a plain model use gi.init_(model, recipe)"
        )
    return model_class


def _draw_(
    recipe: Recipe, seed: int | None, inputs: Inputs | None, model: Any, missing: set[str] | None
) -> None:
    """Draw what wasn't loaded and store the plan; ``missing`` is None for a new model."""
    loaded: dict[str, Tensor] = {}
    for slot in slots(model):
        names = slot.stored or (slot.name,)
        if _is_loaded(slot, names, missing):
            loaded |= zip(names, slot.tensors, strict=True)
        elif missing is not None and slot.tensor.is_meta:
            raise MetaModelError(
                f"{slot.name} isn't in the checkpoint and device_map offloads it, so it can't be "
                f"drawn: assign it a device in device_map"
            )
    model.init_plan = apply_(model, plan(model, recipe, inputs=inputs, keep=loaded), seed=seed)


def _is_loaded(slot: Slot, names: tuple[str, ...], missing: set[str] | None) -> bool:
    """Whether it came from a checkpoint: by the tensor's flag or, if that got lost, by the list."""
    flagged = any(getattr(tensor, FLAG, False) for tensor in slot.tensors)
    return flagged or (missing is not None and missing.isdisjoint({*names, *slot.tied}))
