"""How large the numbers of a parameter are: by a law that will draw them, or as they were read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Size(NamedTuple):
    """Mean and variance of a parameter's numbers, and how many products its weight sums."""

    mean: float
    variance: float
    fan_in: float = 0.0

    @property
    def second(self) -> float:
        """The second moment of the numbers.

        >>> Size(mean=3.0, variance=2.0).second
        11.0
        """
        return self.mean**2 + self.variance

    @property
    def strength(self) -> float:
        """What a weight multiplies a second moment by."""
        return self.fan_in * self.second


SizeOf = Callable[[str], Size | None]
"""Returns the size of a parameter's numbers by its name; None if it isn't known."""
