"""The number that a recipe's option must have had, read off the values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from goodinit.errors import GoodinitError
from goodinit.explanation.reading import ParameterValues
from goodinit.explanation.recognition import shortest_number
from goodinit.plans.rows import PlanRow

FEWEST = 2  # parameters that must agree: any law with a free scale fits a single one
LEAST_POWER = 0.1  # of the option in a law's scale: a smaller one isn't a power, but rounding


@dataclass(frozen=True, slots=True)
class FittedOption:
    """A number for an option.

    Attributes:
        value: the shortest number within the error of the values.
        penalty: what must be subtracted from a log-likelihood, log(n)/2 of n values (Schwarz
            1978): a free number makes any values likelier.
    """

    value: float
    penalty: float


def fitted_option(
    parameters: Sequence[ParameterValues],
    once: Mapping[str, PlanRow],
    twice: Mapping[str, PlanRow],
    default: float,
) -> FittedOption | None:
    """Return the value of an option that fits the scales of most parameters it acts on.

    How a law's scale changes from the plan ``once`` to the plan ``twice``, whose option is twice
    the default, shows the power of it.
    """
    estimates: list[float] = []
    read = 0
    largest = 0
    for one in parameters:
        before, after = (_scale(plan.get(one.row.name)) for plan in (once, twice))
        if one.whole is None or not before or not after or not one.whole.sample.finite:
            continue
        power = math.log2(after / before)
        held = math.sqrt(one.whole.sample.second)
        if abs(power) > LEAST_POWER and held > 0:
            estimates.append(default * (held / before) ** (1 / power))
            if not one.constant:
                read, largest = read + one.whole.sample.n, max(largest, one.whole.sample.n)
    if len(estimates) < FEWEST:
        return None
    middle = median(estimates)
    if not math.isfinite(middle):
        return None
    error = middle / math.sqrt(2 * largest) if largest else 0.0
    value = float(shortest_number(middle, error))
    return FittedOption(type(default)(value), math.log(max(read, 2)) / 2)


def _scale(planned: PlanRow | None) -> float | None:
    """Return the root mean square of what a row draws; None if its blocks differ."""
    if planned is None:
        return None
    try:
        squares = {round(mean**2 + std**2, 15) for _, mean, std in planned.moments()}
    except GoodinitError:
        return None
    return math.sqrt(squares.pop()) if len(squares) == 1 else None
