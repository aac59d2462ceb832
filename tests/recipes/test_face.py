"""The public names, pinned."""

import goodinit as gi

NAMES = """
AddNoise Comparison Constant DeltaOrthogonal Dirac Explanation Finding Function GlorotNormal
GlorotUniform GoodinitError HeNormal HeUniform Identity Independence KaimingNormal
KaimingUniform Keep LeCunNormal LeCunUniform Normal Ones Orthogonal Plan Recipe Rule Scheme Signal
Sparse Stream
TorchDefault TruncatedNormal Uniform VarianceScaling XavierNormal XavierUniform Zeros __version__
adapters apply_ compare diff explain gain independence init_ jacobian load_ measure plan recipe
recipes schemes sel skeleton testing
"""


def test_the_face() -> None:
    assert sorted(gi.__all__) == sorted(NAMES.split())
    assert all(hasattr(gi, name) for name in gi.__all__)


def test_recipe_is_a_function_and_recipes_a_module() -> None:
    assert gi.recipe("he").name == "he"
    assert "he" in gi.recipes.names()


def test_public_things_are_documented() -> None:
    for name in gi.__all__:
        assert name.startswith("__") or getattr(gi, name).__doc__, name
