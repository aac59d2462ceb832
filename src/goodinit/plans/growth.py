"""How a parameter grew from the base model to a wider one, and what muP makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from goodinit.plans.rows import PlanBlock, PlanRow, Rates


class Growth(NamedTuple):
    """How much larger a weight's sums became.

    Attributes:
        role: what muP's table 3 (Yang et al. 2022) calls it. A "vector" grew along one axis; of
            "unknown" weight it is unclear which axes are summed over.
        inputs: fan_in over the base's.
        outputs: fan_out over the base's; of a vector its size over the base's.
        factor: how much larger the numbers became by which the model itself multiplies it.
        branch: by what it is multiplied so that 1/m_L of its residual branch counts.
    """

    role: Literal["hidden", "output", "input", "vector", "fixed", "unknown"]
    inputs: float = 1.0
    outputs: float = 1.0
    factor: float = 1.0
    branch: float = 1.0

    @property
    def std(self) -> float:
        """The factor of the base's standard deviation."""
        shrinks = {"hidden": self.inputs**-0.5, "output": 1 / self.inputs}.get(self.role, 1.0)
        return shrinks * self.branch / self.factor

    def rates(self, layers: float, inside: bool, sgd: bool) -> Rates:
        """Return the factors of the learning rates and of Adam's epsilon.

        Table 3 has the rates. The gradient of a weight with m times as many outputs is 1/m as
        large, as is that of a branch of which 1/m counts, and epsilon is added to its size
        (CompleteP, table 1). A weight that the model multiplies by c has the gradient c g, moves
        by c times its own step, and so on.

        Args:
            layers: how much deeper the model is.
            inside: whether it is in a residual branch, and doesn't end it.
            sgd: whether SGD's rate is known.
        """
        adam = 1 / self.inputs * self.branch / self.factor
        own = self.outputs / self.inputs * (self.branch / self.factor) ** 2
        eps = self.factor / self.outputs / (layers if inside else 1.0)
        return Rates(adam, own if sgd else None, eps)

    def text(self) -> str:
        """Return what grew, for a plan's ``why``."""
        sizes = {"inputs": self.inputs, "outputs": self.outputs}
        if self.role == "vector":
            sizes = {"size": self.outputs}
        grew = [f"{name} x{size:.4g}" for name, size in sizes.items() if not _is_one(size)]
        own = [] if _is_one(self.factor) else [f"the model's own factor x{self.factor:.4g}"]
        branch = [] if _is_one(self.branch) else [f"its branch x{self.branch:.4g}"]
        return ", ".join([f"muP: {self.role}", *grew, *own, *branch])


def growth_of(
    row: PlanRow, block: PlanBlock, base: PlanRow, smaller: PlanBlock, factor: float
) -> Growth:
    """Return how a block grew.

    ``factor`` is how much larger the number became by which the block's product is multiplied.
    """
    if row.layout is None or base.layout is None:
        sizes = zip(block.shape, smaller.shape, strict=True)
        grew = [after / before for after, before in sizes if after != before]
        if not grew:
            return Growth("fixed", factor=factor)
        if len(grew) > 1:
            return Growth("unknown", factor=factor)
        return Growth("vector", 1.0, grew[0], factor)
    fans, before = row.layout.fans(block.shape), base.layout.fans(smaller.shape)
    inputs, outputs = fans[0] / before[0], fans[1] / before[1]
    if block.fan_in and smaller.fan_in:  # what is computed from the weight before its product
        factor *= math.sqrt(block.fan_in / smaller.fan_in / inputs)
    wide_in, wide_out = not _is_one(inputs), not _is_one(outputs)
    groups = row.layout.groups / base.layout.groups
    if not (wide_in or wide_out or _is_one(groups)):  # a depthwise kernel: a filter per channel
        return Growth("vector", 1.0, groups, factor)
    role = ("hidden" if wide_out else "output") if wide_in else "input" if wide_out else "fixed"
    return Growth(role, inputs, outputs, factor)


def common_rates(each: list[Rates]) -> Rates:
    """Return the rates of a parameter from those of its blocks; None where they differ."""

    def common(values: Sequence[float | None]) -> float | None:
        first = values[0]
        same = first is not None and all(v is not None and _is_one(v / first) for v in values)
        return first if same else None

    adam, sgd, eps = zip(*((rates.adam, rates.sgd, rates.eps) for rates in each), strict=True)
    return Rates(common(adam), common(sgd), common(eps))


def _is_one(ratio: float) -> bool:
    return math.isclose(ratio, 1.0, rel_tol=1e-9)
