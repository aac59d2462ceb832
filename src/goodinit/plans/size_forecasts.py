"""What a plan draws too large for what takes it: saturated activations, products of tables.

GI107 and GI112, of inputs whose second moment is 1.
"""

from __future__ import annotations

from collections.abc import Iterator

from goodinit._common.text import grouped_names
from goodinit.anatomy import Anatomy
from goodinit.anatomy.saturation import saturated_by_law
from goodinit.anatomy.sizes import Size, SizeOf
from goodinit.anatomy.table_products import table_products
from goodinit.findings import Finding
from goodinit.findings.logits import SMALLER_FACTORS, forecast_of_product
from goodinit.findings.units import UNSATURATED, forecast_of_saturation
from goodinit.plans.rows import PlanRow
from goodinit.plans.tried_rules import named, offer
from goodinit.schemes import LeCunNormal, Normal


def find_saturation(rows: tuple[PlanRow, ...], anatomy: Anatomy) -> Iterator[Finding]:
    """Yield weights that make tanh or a sigmoid saturated."""
    found = saturated_by_law(anatomy, _sizes(rows))
    if found is not None:
        cause = forecast_of_saturation(found.function, found.share, found.layers)
        fix = offer(UNSATURATED, named(found.names, LeCunNormal()))
        yield Finding("GI107", "warning", grouped_names(found.names), cause, fix)


def find_wide_products(rows: tuple[PlanRow, ...], anatomy: Anatomy) -> Iterator[Finding]:
    """Yield outputs that are products of two tables of N(0, 1), as torch draws them."""
    size_of = _sizes(rows)
    for product in table_products(anatomy):
        wide = product.too_wide(size_of)
        if wide is not None:
            names = dict.fromkeys(product.names)
            fix = offer(SMALLER_FACTORS, named(names, Normal(float(f"{wide.std_of_one:.3g}"))))
            yield Finding(
                "GI112", "warning", grouped_names([*names]), forecast_of_product(wide.std), fix
            )


def _sizes(rows: tuple[PlanRow, ...]) -> SizeOf:
    by_name = {row.name: row for row in rows}

    def size_of(name: str) -> Size | None:
        row = by_name[name]
        drawn = row.moments()
        if len(drawn) != 1 or row.buffer:
            return None
        ((_, mean, std),), fan_in = drawn, row.parts()[0].fan_in
        return Size(mean, std**2, fan_in or 0.0)

    return size_of
