"""GI151: what muP and CompleteP require and initialization can't provide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from goodinit._common.text import count, several
from goodinit.anatomy import Anatomy
from goodinit.anatomy.multipliers import attention_scales, multipliers
from goodinit.dataflow.functions import ADD_FIRST
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.traversal import is_pass, walk_forward
from goodinit.findings import Finding
from goodinit.plans.rows import PlanRow
from goodinit.recipes.base import Base

LEAST_BRANCHES = 2  # a pre-norm model with a single sum also has only a norm after it
NEAR = 1e-3  # of a ratio of numbers that somebody wrote into a model


@dataclass(frozen=True, slots=True)
class Models:
    """A model and its base."""

    model: nn.Module
    base: nn.Module
    anatomy: Anatomy
    smaller: Anatomy
    names: Mapping[str, str]


def find_in_transfer(
    rows: tuple[PlanRow, ...], models: Models, layers: float, base: Base
) -> Iterator[Finding]:
    """Yield what the model's code must do, each with the line that does it."""
    yield from _tied_heads(rows, models)
    yield from _attention(models)
    if base.rule == "completep" and layers != 1:
        yield from _open_branches(rows, layers)
        yield from _post_norm(models.anatomy)
    unknown = [row.name for row in rows if "muP: unknown" in row.why]
    if unknown:
        cause = "several axes grow, and nothing shows which are summed over: drawn as by the law"
        fix = (
            "pass inputs=, so that the data flow shows it, or give it a rule and a rate of its own"
        )
        yield Finding("GI151", "warning", several(unknown), cause, fix)
    if isinstance(base.of, int):
        cause = (
            f"only the base's width is known, {base.of}: all hidden sizes are taken to grow in "
            f"proportion, and the number of heads with them"
            + (f"; the model has {layers:g} times the base's layers" if layers != 1 else "")
        )
        fix = f"none if this is right; otherwise base=lambda: Net(width={base.of})"
        yield Finding("GI151", "info", "base", cause, fix)
    if models.anatomy.how == "module types":
        cause = "without a data flow the model's own factors and attentions aren't known"
        fix = "pass inputs=, a batch like those that the model will get"
        yield Finding("GI151", "info", "multipliers", cause, fix)


def _tied_heads(rows: tuple[PlanRow, ...], models: Models) -> Iterator[Finding]:
    """A table that is also the head: drawn as a table, its output needs times 1/m."""
    after = multipliers(models.anatomy, "contract")
    before = multipliers(models.smaller, "contract")
    for row, known in zip(rows, models.anatomy.rows, strict=True):
        if row.kind != "embedding" or row.part != "head" or row.buffer:
            continue
        other = models.names[row.name]
        small = next(one for one in models.smaller.rows if one.name == other)
        width = known.shape[1] / small.shape[1]
        own = after.get(row.name, 1.0) / before.get(other, 1.0)
        table = multipliers(models.anatomy, "lookup").get(row.name, 1.0)
        table /= multipliers(models.smaller, "lookup").get(other, 1.0)
        needed = table / width / own
        if not math.isclose(needed, 1.0, rel_tol=NEAR):
            cause = (
                f"a table and a head in one, drawn as a table: muP multiplies the head's output by "
                f"{table / width:.4g}, the model by {own:.4g}"
            )
            yield Finding("GI151", "warning", row.name, cause, f"logits = logits * {needed:.6g}")


def _attention(models: Models) -> Iterator[Finding]:
    """Scores of d products each are as correlated as training makes them: muP divides by d."""
    large = attention_scales(models.anatomy, models.model)
    small = attention_scales(models.smaller, models.base)
    for (dimension, scale), (base_dimension, base_scale) in zip(large, small, strict=False):
        wanted = base_scale * base_dimension / dimension
        if dimension != base_dimension and not math.isclose(scale, wanted, rel_tol=NEAR):
            cause = (
                f"the head dimension grew from {base_dimension} to {dimension}, and scores are "
                f"multiplied by {scale:.4g}: muP divides by the dimension"
            )
            fix = (
                f"scaled_dot_product_attention(q, k, v, scale={wanted:.6g}), or more heads instead"
            )
            yield Finding("GI151", "warning", "attention", cause, fix)
            return


def _open_branches(rows: tuple[PlanRow, ...], layers: float) -> Iterator[Finding]:
    """Layers with no weight or norm that ends a residual branch."""
    depth = max((row.depth or 0 for row in rows), default=0)
    ended = {
        row.layer for row in rows if row.ends_residual or (row.kind, row.part) == ("norm", "out")
    }
    open_ = [number for number in range(depth) if number not in ended]
    if open_ and None not in ended:  # a row of up and one of down: which layer is which isn't known
        cause = f"{count(len(open_), 'layer')} in which no weight is known to end a residual branch"
        fix = f"x = x + branch(x) * {1 / layers:.6g}"
        yield Finding("GI151", "warning", f"layer {open_[0]}", cause, fix)


def _post_norm(anatomy: Anatomy) -> Iterator[Finding]:
    """A stream that is normalized after each sum isn't the one that CompleteP was derived for."""
    graph = anatomy.graph
    ends = {row.name for row in anatomy.rows if row.facets.ends_residual}
    if graph is None or len(ends) < LEAST_BRANCHES:
        return
    numbers = {n for n, slot in enumerate(anatomy.slots) if slot.name in ends}
    after = [
        _takers_of_the_sum(graph, node.index)
        for node in graph.nodes
        if any(use.param in numbers for use in node.weights)
    ]
    if after and all(takers == {"norm"} for takers in after):
        cause = (
            "the residual stream is normalized after each branch, norm(x + branch(x)): CompleteP "
            "was derived for x + branch(x), and 1/m_L of a branch is lost in the norm"
        )
        fix = "x = x + branch(norm(x)); or gi.recipe('mup') with a base of the same depth"
        yield Finding("GI151", "warning", "residual stream", cause, fix)


def _takers_of_the_sum(graph: Graph, index: int) -> set[str]:
    """Return the roles of the calls that take the sum in which a branch is added to its stream."""
    if graph.nodes[index].function in ADD_FIRST:  # the sum is the call's own
        total = graph.nodes[index]
    else:
        onward = walk_forward(graph, index, is_pass)
        total = next((n for n in onward if n.role == "add" and not is_pass(n)), None)
    if total is None:
        return set()
    taking = walk_forward(graph, total.index, lambda n: is_pass(n) and n.role != "norm")
    return {n.role for n in taking if n.role == "norm" or not is_pass(n)}
