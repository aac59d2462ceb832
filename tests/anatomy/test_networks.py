"""How small networks are read, whole: each parameter's row, and what else is told of the run.

Each network differs from others in one condition by which the reading decides: what skips a sum,
how many products it adds, which factor is a gate. That a reading is right is held by the tests
beside this one and by ``tests/layouts``; here it is held whole, so that nothing of it changes
unseen. After a change on purpose, write networks.txt anew, and read the difference:

    python -m tests.anatomy.test_networks
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests import whole_tables
from tests.layouts.readings import own_fields

from goodinit.anatomy import Anatomy, read
from goodinit.anatomy.attention_scores import attention_scores
from goodinit.anatomy.bends import Bend, bends
from goodinit.anatomy.centering import subtracted_biases
from goodinit.anatomy.heads import names_of_heads
from goodinit.anatomy.multipliers import attention_scales, multipliers
from goodinit.anatomy.rows import Row
from goodinit.anatomy.table_products import table_products

from . import (
    networks_of_calls,
    networks_of_cells,
    networks_of_factors,
    networks_of_sums,
    networks_of_zeros,
)
from .networks import CASES, Net

FILE = Path(__file__).parent / "networks.txt"
FILES = (
    networks_of_sums,
    networks_of_factors,
    networks_of_cells,
    networks_of_zeros,
    networks_of_calls,
)
MOST_BLOCKS, MOST_BENDS = 4, 4  # are named


def row_text(row: Row) -> str:
    """What is known of a parameter, without what is true of nearly all of them."""
    facets = row.facets
    shown = {n: v for n, v in own_fields(facets) if n not in ("kind", "part", "layer", "depth")}
    layout = str(shown.pop("layout", ""))
    usual = ("outputs=(1,) inputs=(0,)", "outputs=(0,) inputs=(1,)")
    marks = ["" if layout == usual[0] else "out, in" if layout == usual[1] else layout]
    marks += ["takes the input"] * bool(shown.pop("takes_input", False))
    marks += ["ends"] * bool(shown.pop("ends_residual", False))
    marks += [f"layer {facets.layer} of {facets.depth}"]
    marks += [f"{len(facets.blocks)} blocks"] * bool(shown.pop("blocks", ()))
    marks += [f"?{row.facets.doubt}"] * bool(shown.pop("guessed", False))
    shown.pop("doubt", None)
    marks += [f"{name} {value}" for name, value in shown.items() if value != "matmul(x, W)"]
    marks += [f"tied {row.tied}"] * bool(row.tied) + [f"meant {row.meant}"] * bool(row.meant)
    for block, site in row.sites()[:MOST_BLOCKS]:
        if site.fan_in is not None and site.fan_out is not None:
            box = ",".join(f"{start}:{stop}" for start, stop in block.box)
            marks.append(f"{block.name}[{box}] {site.fan_in:.3g}>{site.fan_out:.3g}")
    return f"{row.name}: {facets.kind} {facets.part}; {'; '.join(filter(None, marks))}"


def told(anatomy: Anatomy, net: Net) -> Iterator[str]:
    """Yield what is told beside the rows."""
    names = [row.name for row in anatomy.rows]
    for name, found in {
        "branches": dict(anatomy.branches),
        "scores": [tuple(one) for one in attention_scores(anatomy)],
        "scales": [tuple(one) for one in attention_scales(anatomy, net)],
        "bends": [bend_text(names, one) for one in bends(anatomy)[:MOST_BENDS]],
        "products": table_products(anatomy),
        "heads": sorted(names_of_heads(anatomy)),
        "subtracted": sorted(subtracted_biases(anatomy)),
        "times": {n: v for n, v in multipliers(anatomy, "contract").items() if v != 1},
        "rows times": {n: v for n, v in multipliers(anatomy, "lookup").items() if v != 1},
    }.items():
        if found:
            yield f"  {name} {found}"


def bend_text(names: list[str], one: Bend) -> str:
    terms = [f"{t.factor:g} {names[t.param]} of {t.before if t.table < 0 else names[t.table]}"
             for t in one.terms]  # fmt: skip
    biases = [f"{factor:g} {names[param]}" for param, factor in one.biases]
    marks = "gate " * one.is_gate + "last" * one.is_last
    return f"{one.function}({' + '.join([*terms, *biases])}) {marks}".strip()


def reading(name: str) -> str:
    inputs, function = CASES[name]
    net = Net(function)
    anatomy = read(net, inputs)
    assert anatomy.graph is not None, anatomy.reason
    assert anatomy.how == "meta", anatomy.reason
    used = {use.param for node in anatomy.graph.nodes for use in node.uses}
    rows = (row_text(row) for n, row in enumerate(anatomy.rows) if n in used)
    return "\n".join([f"=== {name}", *rows, *told(anatomy, net)])


def expected() -> dict[str, str]:
    _, *texts = whole_tables.expected(FILE).strip().split("\n=== ")
    return {text.partition("\n")[0]: f"=== {text}" for text in texts}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.__name__.rpartition(".")[2])
def test_each_network_is_read_as_before(file: ModuleType) -> None:
    known = expected()
    for name, (_, function) in CASES.items():
        if function.__module__ == file.__name__:
            assert reading(name) == known[name]


def test_all_networks_are_there() -> None:
    assert list(expected()) == list(CASES)


if __name__ == "__main__":
    FILE.write_text(
        "\n".join([whole_tables.VERSION, *map(reading, CASES)]) + "\n", encoding="utf-8"
    )
