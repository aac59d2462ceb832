"""transformers: a model class whose weights are drawn by a recipe."""

from __future__ import annotations

import functools
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

__all__ = ["transformers"]

M = TypeVar("M", bound=nn.Module)

FLAG = "_is_hf_initialized"
"""transformers' mark on tensors that come from a checkpoint."""


def transformers(
    model_class: type[M],
    recipe: RecipeLike,
    seed: int | None = None,
    inputs: Inputs | None = None,
) -> type[M]:
    """Return a class like a transformers model's, whose weights are drawn by a recipe.

    Where transformers calls ``_init_weights`` on a new model, or for what ``from_pretrained``
    finds missing in a checkpoint (a new head, a resized one), this class then draws the recipe,
    planned on the whole model as by ``gi.init_(model, recipe, seed=seed)``. Overriding
    ``_init_weights`` itself would reach the head only: the model inside (``GPT2Model`` in
    ``GPT2LMHeadModel``) initialises itself by its own. What is loaded stays, what is tied is
    drawn once, and what the recipe keeps, most buffers among it, is as transformers makes it.

    A model that is built on meta is left alone, as transformers leaves it. The plan of what was
    drawn is ``model.init_plan``. Copies and pickles are of the original class.

    Args:
        model_class: a subclass of ``transformers.PreTrainedModel``; not an ``AutoModel``.
        recipe: as for ``gi.plan``.
        seed: as for ``gi.init_``; None takes a new one for each model.
        inputs: as for ``gi.plan``, such as ``{"input_ids": torch.zeros(1, 8, dtype=torch.long)}``.
            Pass them: without, nobody knows in most of these models which weights end a residual
            branch, and raw parameters (Mamba's ``A_log``) are guessed from their shapes.

    Raises:
        RecipeError: no such recipe.
        ModelError: it isn't such a class; or, when called, as for ``gi.init_``.

    Example:
        >>> # docs/use/transformers.md runs this; here transformers may be absent
        >>> from transformers import GPT2Config, GPT2LMHeadModel  # doctest: +SKIP
        >>> Model = transformers(GPT2LMHeadModel, "xavier", seed=0)  # doctest: +SKIP
        >>> model = Model(GPT2Config(n_layer=2))  # doctest: +SKIP
        >>> model.init_plan["transformer.h.0.mlp.c_fc.weight"].scheme  # doctest: +SKIP
        XavierNormal()
    """
    rules = as_recipe(recipe)
    base = _checked(model_class)

    @functools.wraps(base.__init__)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        base.__init__(self, *args, **kwargs)
        if type(self) is not adapted:
            raise ModelError(
                f"{type(self).__name__} is a subclass of what adapters.transformers made, and "
                f"isn't complete yet here: make the subclass first, and adapt it"
            )
        if not any(parameter.is_meta for parameter in self.parameters()):
            _draw_(self, rules, seed, inputs, None)

    @functools.wraps(base.from_pretrained.__func__)
    def from_pretrained(
        cls: type[Any], *args: Any, output_loading_info: bool = False, **kwargs: Any
    ) -> Any:
        load = base.from_pretrained.__func__
        model, info = load(cls, *args, output_loading_info=True, **kwargs)
        missing = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
        _draw_(model, rules, seed, inputs, missing)
        return (model, info) if output_loading_info else model

    def __reduce_ex__(self: Any, protocol: Any) -> Any:  # noqa: N807
        made, args, state, *rest = base.__reduce_ex__(self, protocol)
        if type(self) is not adapted:
            return made, args, state, *rest
        state = {key: value for key, value in state.items() if key != "init_plan"}
        return object.__new__, (base,), state, *rest

    adapted = type(
        base.__name__,
        (base,),
        {
            "__init__": __init__,
            "__reduce_ex__": __reduce_ex__,
            "from_pretrained": classmethod(from_pretrained),
            # transformers looks at both: whose code it is, and what to write into config.json
            "__module__": base.__module__,
            "__qualname__": base.__qualname__,
            "__doc__": base.__doc__,
        },
    )
    return cast("type[M]", adapted)


def _checked(model_class: Any) -> Any:
    hooks = ("_init_weights", "from_pretrained")
    is_model = isinstance(model_class, type) and issubclass(cast("Any", model_class), nn.Module)
    if not is_model or not all(hasattr(model_class, hook) for hook in hooks):
        raise ModelError(
            f"adapters.transformers takes a model class of transformers, such as "
            f"GPT2LMHeadModel, got {model_class!r:.200}. Of an AutoModel, "
            f"type(AutoModel.from_config(config)) is the class; a plain model takes gi.init_"
        )
    return model_class


def _draw_(
    model: Any, recipe: Recipe, seed: int | None, inputs: Inputs | None, missing: set[str] | None
) -> None:
    """Draw what wasn't loaded, and note the plan on the model; ``missing`` is None if it is new."""
    loaded: dict[str, Tensor] = {}
    for slot in slots(model):
        names = slot.stored or (slot.name,)
        if _is_loaded(slot, names, missing):
            loaded |= zip(names, slot.tensors, strict=True)
        elif missing is not None and slot.tensor.is_meta:
            raise MetaModelError(
                f"{slot.name} isn't in the checkpoint, and device_map offloads it, so that it "
                f"can't be drawn: give it a device"
            )
    model.init_plan = apply_(model, plan(model, recipe, inputs=inputs, keep=loaded), seed=seed)


def _is_loaded(slot: Slot, names: tuple[str, ...], missing: set[str] | None) -> bool:
    """Whether a checkpoint brought it. A mark may get lost later, and then the list tells."""
    if any(getattr(tensor, FLAG, False) for tensor in slot.tensors):
        return True
    return missing is not None and missing.isdisjoint({*names, *slot.tied})
