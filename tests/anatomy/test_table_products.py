"""Scores of two weights: how wide they are by the size of both."""

from __future__ import annotations

import pytest

from goodinit.anatomy.sizes import Size
from goodinit.anatomy.table_products import TableProduct, Wide

SIZES = {
    "table": Size(0.0, 1.0),
    "wide": Size(1.0, 3.0),
    "narrow": Size(0.0, 1 / 64),
    "projection": Size(0.0, 1 / 16, 16),
    "large": Size(0.0, 1.0, 16),
}


@pytest.mark.parametrize(
    ("names", "summed", "dimension", "scale", "expected"),
    [
        (("table", "table"), (False, False), 64, 1.0, (8.0, 8**-0.5)),
        (("table", "table"), (False, False), 64, 2.0, (16.0, 0.25)),
        (("table", "wide"), (False, False), 64, 1.0, (16.0, 0.25)),
        (("wide", "wide"), (False, False), 64, 1.0, (32.0, 2 * 32**-0.5)),
        (("table", "projection"), (False, True), 64, 1.0, None),
        (("table", "large"), (False, True), 64, 1.0, (32.0, 32**-0.5)),
        (("narrow", "narrow"), (False, False), 64, 1.0, None),
        (("table", "table"), (False, False), 64, 0.125, None),
        (("table", "unknown"), (False, False), 64, 1.0, None),
    ],
)
def test_scores_that_are_too_wide(
    names: tuple[str, str],
    summed: tuple[bool, bool],
    dimension: int,
    scale: float,
    expected: tuple[float, float] | None,
) -> None:
    found = TableProduct(names, summed, dimension, scale).too_wide(SIZES.get)
    assert found == (None if expected is None else pytest.approx(Wide(*expected)))
