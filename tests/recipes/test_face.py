"""The public names, pinned."""

import inspect
from types import ModuleType

import pytest

import goodinit as gi

NAMES = """
AddNoise Calibration CalibrationRow Comparison Constant CoordinateCheck DeltaOrthogonal Diff Dirac
DropUpcycling Explanation Finding Function GoodinitError HeNormal HeUniform ICNR Identification
Identity Inputs Keep KeepLike LeCunNormal LeCunUniform LikeRows LogRange LogUniform Neutral Normal
Ones Orthogonal Part PieceMeans Plan PlanRow PriorBias Ramp Recipe RecipeLike Rule Scheme Signal
SignalRow Sparse StepBias Stream TorchDefault TruncatedNormal Uniform VarianceScaling XavierNormal
XavierUniform Zeros __version__ adapters apply_ calibrate_ calibrated compare coordinate_check
diff errors explain forecast gain identify init_ load_ measure mup plan recipe recipes
same_everywhere schemes sel select_weights skeleton testing theory
"""
SECOND_NAMES = {
    "GlorotNormal": "XavierNormal",
    "GlorotUniform": "XavierUniform",
    "KaimingNormal": "HeNormal",
    "KaimingUniform": "HeUniform",
}
# After the model, the checkpoint or the plan, and the recipe: in one order in every verb.
ORDER = ("inputs", "seed", "keep", "draw", "prefix", "materialize")


def test_the_face() -> None:
    assert sorted(gi.__all__) == sorted(NAMES.split())
    assert all(hasattr(gi, name) for name in gi.__all__)


def test_dir_lists_the_public_names_only() -> None:
    assert dir(gi) == sorted(NAMES.split())


@pytest.mark.parametrize(
    "module",
    [gi.adapters, gi.errors, gi.mup, gi.nn, gi.nn.init, gi.recipes, gi.schemes, gi.testing,
     gi.theory],
)  # fmt: skip
def test_dir_of_a_part_lists_its_public_names_only(module: ModuleType) -> None:
    assert dir(module) == sorted(module.__all__)


@pytest.mark.parametrize(("second", "first"), SECOND_NAMES.items())
def test_second_names_can_be_imported_and_are_not_listed(second: str, first: str) -> None:
    assert issubclass(getattr(gi, second), getattr(gi, first))
    assert second not in dir(gi)


@pytest.mark.parametrize(
    ("verb", "positional"),
    [
        (gi.plan, ["model", "recipe"]),
        (gi.init_, ["target", "recipe"]),
        (gi.load_, ["model", "checkpoint", "recipe"]),
        (gi.apply_, ["model", "plan"]),
        (gi.compare, ["model", "inputs", "recipes"]),
    ],
)
def test_everything_after_the_recipe_is_keyword_only_and_in_one_order(verb, positional) -> None:
    parameters = inspect.signature(verb).parameters.values()
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == positional
    options = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in ORDER]
    assert options == sorted(options, key=ORDER.index)


def test_recipe_is_a_function_and_recipes_a_module() -> None:
    assert gi.recipe("he").name == "he"
    assert "he" in gi.recipes.names()


def public_definitions() -> dict[str, object]:
    """The classes and functions of the face and of its public modules, by name."""
    modules = {"gi": gi} | {
        f"gi.{name}": getattr(gi, name) for name in ("adapters", "testing", "theory")
    }
    return {
        f"{place}.{name}": getattr(module, name)
        for place, module in modules.items()
        for name in module.__all__
        if inspect.isclass(getattr(module, name)) or inspect.isfunction(getattr(module, name))
    }


DEFINITIONS = public_definitions()


@pytest.mark.parametrize("name", DEFINITIONS)
def test_each_public_name_has_an_example_that_runs(name: str) -> None:
    # pytest runs the docstrings' examples (--doctest-modules); here each must have one.
    assert ">>> " in (DEFINITIONS[name].__doc__ or "")


@pytest.mark.parametrize("name", [n for n in gi.__all__ if isinstance(getattr(gi, n), ModuleType)])
def test_public_modules_are_documented(name: str) -> None:
    assert getattr(gi, name).__doc__
