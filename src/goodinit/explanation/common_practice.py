"""Common practice: what people draw by hand, which isn't a recipe of the library.

For example a law by the fans that torch reads off shapes, or one normal law for everything. Each
is written as a recipe, so that it is tested like the others. It keeps what its authors leave to
PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from goodinit.anatomy import Row
from goodinit.explanation.reading import ParameterValues
from goodinit.explanation.recognition import shortest_number, torch_fans
from goodinit.recipes.deferred import Deferred
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, Selector, sel
from goodinit.schemes import (
    HeNormal,
    HeUniform,
    Keep,
    Normal,
    Scheme,
    Site,
    Uniform,
    XavierNormal,
    XavierUniform,
)

_WEIGHT = ~sel.part("bias")
_CONVS = sel.kind("conv") & _WEIGHT
_LAYERS = sel.kind("conv", "linear") & _WEIGHT
_TABLES = sel.kind("embedding", "router", "recurrent", "position", "token")
_SHAPE = "by the fans of its shape"

SMALLEST_STD = 2.0**-40  # a smaller one is rounding error around a constant


@dataclass(frozen=True, repr=False)
class ByShape(Deferred):
    """A scheme that uses the fans ``torch.nn.init`` computes from the parameter's shape."""

    scheme: HeNormal | HeUniform | XavierNormal | XavierUniform

    def on(self, row: Row) -> tuple[Scheme, str]:
        """Return the resolved law; Keep if the shape has no fans."""
        site = torch_fans(Site.of(row.shape, row.facets.layout))
        if site is None:
            return Keep(), ""
        std = self.scheme.moments(site)[1]
        if isinstance(self.scheme, HeUniform | XavierUniform):
            return Uniform(-(3**0.5) * std, 3**0.5 * std), _SHAPE
        return Normal(std), _SHAPE


def common_practice(parameters: list[ParameterValues]) -> Iterator[Recipe]:
    """Yield common practice as recipes, named by what they do; one takes its scale from these."""
    if sum(one.matrix for one in parameters) < 2:  # one weight shows no practice
        return
    for where, what in ((_CONVS, "convolutions"), (_LAYERS, "convolutions and linear layers")):
        for text, scheme in (
            ("kaiming_normal_(mode=fan_out)", HeNormal(mode="fan_out")),
            ("kaiming_normal_", HeNormal()),
            ("kaiming_uniform_", HeUniform()),
        ):
            yield _recipe(f"{text} for {what}, by torch's fans", where, ByShape(scheme))
    every = _LAYERS | (_TABLES & _WEIGHT)
    for text, by in (("xavier_uniform_", XavierUniform()), ("xavier_normal_", XavierNormal())):
        yield _recipe(f"{text} for every matrix, by torch's fans", every, ByShape(by))
    drawn = [
        one.whole.sample for one in parameters if one.matrix and one.whole and not one.constant
    ]
    stds = [sample.std for sample in drawn if sample.finite and sample.n]
    if stds and median(stds) > SMALLEST_STD:
        largest = max(sample.n for sample in drawn)
        std = shortest_number(median(stds), median(stds) / (2 * largest) ** 0.5)
        yield _recipe(f"N(0, {std}^2) for every weight and table", every, Normal(float(std)))


def scheme_by_shape(recipe: Recipe) -> Scheme | None:
    """Return the scheme that a recipe draws by the fans of shapes; None if it does not."""
    last = recipe.rules[-1].scheme
    return last.scheme if isinstance(last, ByShape) else None


def _recipe(name: str, where: Selector, scheme: Scheme) -> Recipe:
    rest = Rule(sel.all(), Keep(), "left as it is", optional=True)
    return Recipe((rest, Rule(where, scheme, optional=True)), name)
