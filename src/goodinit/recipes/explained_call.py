"""The public functions, with an answer to calls whose arguments don't fit."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ParamSpec, TypeVar, cast

from torch import Tensor, nn

from goodinit._common.unfit_arguments import answering, unfit_arguments
from goodinit.errors import ModelError, UnknownRecipeError, nearest
from goodinit.recipes.by_name import maker
from goodinit.recipes.first_guesses import meant_scheme
from goodinit.schemes import Scheme
from goodinit.schemes.corrected_call import accepts

# What other libraries call the parameters: the first one that the function has is meant.
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "batch": ("inputs",),
    "checkpoint": ("keep",),
    "criterion": ("loss",),
    "data": ("inputs",),
    "example_inputs": ("inputs",),
    "exclude": ("keep", "draw"),
    "ignore": ("keep", "draw"),
    "include": ("only",),
    "init": ("recipe",),
    "init_type": ("recipe",),
    "initializer": ("recipe",),
    "input": ("inputs",),
    "input_data": ("inputs",),
    "kernel_initializer": ("recipe",),
    "key": ("seed",),
    "learning_rate": ("lr",),
    "loss_fn": ("loss",),
    "method": ("recipe",),
    "model": ("target",),
    "module": ("target",),
    "n_seeds": ("seeds",),
    "path": ("checkpoint",),
    "random_state": ("seed",),
    "recipe": ("plan",),
    "scheme": ("recipe",),
    "seed": ("seeds",),
    "skip": ("keep", "draw"),
    "state_dict": ("checkpoint",),
    "weight_init": ("recipe",),
    "x": ("inputs",),
}
_GENERATORS = ("generator", "rng")
# What an argument is called in the printed line, where it isn't by its own name.
_NAMES: Mapping[str, str] = {"a": "plan", "b": "other", "model_class": "Model", "target": "model"}
# What an argument that was not given may be.
_EXAMPLES: Mapping[str, str] = {
    **_NAMES,
    "factory": "lambda width: Net(width)",
    "loss": "lambda out: torch.nn.functional.cross_entropy(out, y)",
    "lr": "1e-3",
    "name": "'he'",
    "nonlinearity": "'relu'",
    "recipe": "'he'",
    "recipes": "['he', 'xavier']",
    "seed": "0",
    "widths": "[64, 128, 256]",
}
_FIRST = ("model", "target")  # what verbs call the module that they take first
_FEWEST_WIDTHS = 3  # a line through two has no error
_SHAPES = frozenset(("input_shape", "input_size", "shape"))  # of inputs that are to be made
_TARGETS = frozenset(("label", "labels", "target", "targets", "y"))  # which a loss needs

P = ParamSpec("P")
R = TypeVar("R")


def explained(function: Callable[P, R], place: str = "gi") -> Callable[P, R]:
    """Return a function whose TypeError about its arguments says what to write instead.

    Example:
        >>> def init_(model, recipe="standard", *, seed=None): ...
        >>> explained(init_)(None, "he", mode="fan_out")
        Traceback (most recent call last):
        goodinit.errors.CallError: init_: unknown argument 'mode'. Write gi.init_(model, ...
    """

    def say(wrong: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
        line = _line(function, place, args, kwargs)
        said = f".{function.__name__}(" not in line or any(f"{n}=" in line for n in kwargs)
        near = "" if said else _near(function, kwargs)
        return f"{function.__name__}: {wrong}.{near} Write {line}"

    answers = answering(function, say)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return answers(*args, **kwargs)
        except ModelError as error:
            swapped = _model_first(function, args)
            if not swapped:
                raise
            line = _line(function, place, swapped, kwargs)
            raise ModelError(f"{error}. Write {line}") from None

    return call


def _model_first(function: Callable[..., object], args: tuple[object, ...]) -> tuple[object, ...]:
    """Return the arguments with the model before the others, if the function takes it first.

    They are empty if it is there already, or if there is none.
    """
    models = [value for value in args if isinstance(value, nn.Module)]
    first = next(iter(inspect.signature(function).parameters), "")
    if first not in _FIRST or len(models) != 1 or args[0] is models[0]:
        return ()
    return (models[0], *(value for value in args if value is not models[0]))


def _near(function: Callable[..., object], kwargs: Mapping[str, object]) -> str:
    known = list(inspect.signature(function).parameters)
    if any(_renamed(name, known) != name for name in kwargs):
        return ""  # the line says it
    return next((nearest(name, known) for name in kwargs if name not in known), "")


def _renamed(name: str, known: Collection[str]) -> str:
    """Return the parameter that a keyword means; the keyword itself if none is known."""
    if name in known:
        return name
    return next((other for other in _SYNONYMS.get(name, ()) if other in known), name)


def _line(
    function: Callable[..., object],
    place: str,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> str:
    """Return a call near to the given one whose arguments fit; what isn't plain is a name."""
    name = function.__name__
    if name == "skeleton":
        return _with_skeleton(args, kwargs)
    if name == "recipe":
        return _recipe_call(args, {})
    if name == "measure" and "recipe" in kwargs:
        return f"gi.compare(model, inputs, [{_text('recipe', kwargs['recipe'])}])"
    if name == "measure" and "plan" in kwargs:
        return "gi.forecast(model, inputs, plan)"
    known = inspect.signature(function).parameters
    renamed = {_renamed(n, known): value for n, value in kwargs.items()}
    given = _given(known, args, kwargs, renamed)
    kinds = {n: p for n, p in known.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    needed = [n for n, p in kinds.items() if p.default is p.empty and n not in given]
    positional = [n for n, p in kinds.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    shown = {n: _EXAMPLES.get(n, n) for n in needed} | {n: _text(n, v) for n, v in given.items()}
    parts = [shown[n] for n in positional if n in shown]
    options = {n: value for n, value in renamed.items() if n not in known}
    recipe = given.get("recipe", "he")
    if "recipe" in known and "std" in options:
        kind = "TruncatedNormal" if "trunc" in str(recipe).lower() else "Normal"
        parts[1:2] = [f"gi.{kind}(std={options['std']!r})"]
    elif "recipe" in known and isinstance(recipe, str) and _is_recipe(recipe):
        known_options = inspect.signature(maker(recipe)).parameters
        options = {n: value for n, value in options.items() if n in known_options}
        if options:
            parts[1:2] = [_recipe_call((recipe,), options)]
    parts += [f"{n}={shown[n]}" for n in kinds if n in shown and n not in positional]
    return f"{place}.{name}({', '.join(parts)})"


def _given(
    known: Mapping[str, object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    renamed: Mapping[str, object],
) -> dict[str, object]:
    """Return the arguments that a call gives, by the parameters that they are likely for."""
    positional = [
        name for name, p in cast("Mapping[str, inspect.Parameter]", known).items()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]  # fmt: skip
    given = {name: value for name, value in renamed.items() if name in known} | dict(
        zip(positional, args, strict=False)
    )
    surplus = args[len(positional) :]
    texts = [value for value in (given.get("recipes"), *surplus) if isinstance(value, str)]
    if "recipes" in given and len(texts) > 1:
        given["recipes"] = texts
    for value in surplus:  # by keyword only
        name = _meant(value)
        if name in known:
            given.setdefault(name, value)
    sizes = given.get("inputs")
    if "widths" in known and "widths" not in given and _are_sizes(sizes):
        given["widths"] = given.pop("inputs")
    if "seed" in kwargs and "seeds" in known:  # which counts them
        given["seeds"] = 1
    if "seed" in known and not kwargs.keys().isdisjoint(_GENERATORS):
        given["seed"] = 0
    if "loss" in known and not _TARGETS.isdisjoint(kwargs):
        given["loss"] = None
    shape = next((value for name, value in kwargs.items() if name in _SHAPES), None)
    if "inputs" in known and isinstance(shape, tuple):
        given["inputs"] = cast("object", shape)
    return given


def _with_skeleton(args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
    """Return the ``with`` statement that builds what ``skeleton`` was called with."""
    made = args[0] if args else kwargs.get("model", nn.Module)
    name = getattr(made, "__name__", type(made).__name__)
    if not name.isidentifier() or isinstance(made, (str, int)):
        name = "function" if callable(made) else "Net"
    options = {n: value for n, value in kwargs.items() if n not in ("model", "device")}
    plain = [repr(value) for value in args[1:]] if isinstance(made, type) else []
    plain += [f"{n}={value!r}" for n, value in options.items()]
    missing = isinstance(made, type) and unfit_arguments(made, args[1:], options)
    return f"with gi.skeleton(): model = {name}({'...' if missing else ', '.join(plain)})"


def _recipe_call(args: tuple[object, ...], options: Mapping[str, object]) -> str:
    """Return a call of ``gi.recipe``; a positional option goes to the one that takes it."""
    name = str(args[0]) if args else "he"
    build = maker(name)
    found = dict(options)
    for value in args[1:]:
        taking = (n for n in inspect.signature(build).parameters if accepts(build, n, value))
        found.setdefault(next(taking, ""), value)
    found.pop("", None)
    return f"gi.recipe({', '.join([repr(name), *(f'{n}={v!r}' for n, v in found.items())])})"


def _meant(value: object) -> str:
    """Return the keyword that a surplus positional argument is for."""
    if isinstance(value, Tensor):
        return "inputs"
    return "seed" if isinstance(value, int) and not isinstance(value, bool) else ""


def _text(name: str, value: object) -> str:
    several: Sequence[object] = ()
    if isinstance(value, (list, tuple)):
        several = value = cast("Sequence[object]", value)
    if name == "inputs" and _are_sizes(several):
        return f"torch.randn({', '.join(map(str, several))})"
    if name == "loss" and isinstance(value, nn.Module):
        return f"lambda out: torch.nn.{type(value).__name__}()(out, y)"
    if name == "loss" and not callable(value):
        return _EXAMPLES["loss"]
    if name == "factory" and (isinstance(value, nn.Module) or not callable(value)):
        return _EXAMPLES["factory"]
    if name == "plan" and isinstance(value, str):
        return f"gi.plan(model, {value!r})"
    if name == "widths" and _are_sizes(several):
        widths = sorted(set(cast("Sequence[int]", several)))
        while len(widths) < _FEWEST_WIDTHS:
            widths.append(2 * widths[-1])
        return repr(widths)
    if several and all(isinstance(each, str) for each in several):
        return repr(several)
    if name == "recipes" and not isinstance(value, str):
        return "['he', 'xavier']"
    if name == "recipe" and isinstance(value, str) and not _is_recipe(value):
        return meant_scheme(value) or repr(value)
    if isinstance(value, (str, int, float)) and name not in ("model", "target", "inputs"):
        return repr(value)
    if isinstance(value, Scheme):
        return f"gi.{value!r}"
    return _NAMES.get(name, name)


def _are_sizes(value: object) -> bool:
    if not isinstance(value, (list, tuple)):
        return False
    several = cast("Sequence[object]", value)
    return bool(several) and all(isinstance(each, int) for each in several)


def _is_recipe(name: str) -> bool:
    try:
        return bool(maker(name))
    except UnknownRecipeError:
        return False
