"""Rows of a table that meet others: sums of two tables, bags, means, matrices of a row each.

Each row is as large as a signal; what comes out isn't, unless a norm follows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from math import prod

from goodinit.anatomy.joined import is_zero
from goodinit.anatomy.meetings import (
    CALLS_FOLLOWED,
    MULTIPLIED,
    SHARED,
    is_caught_after,
    is_passed,
    is_summed,
    onward_from,
    terms_of,
)
from goodinit.anatomy.weighted_sums import SUMS
from goodinit.dataflow.functions import COMPARISONS
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.norms import is_normalized
from goodinit.dataflow.traversal import (
    are_shares,
    is_pass,
    reaches,
    root,
    signals_of,
    walk_back,
    walk_forward,
)

ADDED = "other signals are added to its rows: the sum is larger than each"
PLACED = "positions are added to its rows, and no norm follows: the sum is larger than each"
GATHERED = "its rows are added up, or averaged: how much of one is left isn't known"
MATRIX = "its rows are multiplied by another signal, and summed"

_GATHERING = SUMS | {"mean", "nanmean"}


def said_of_lookup(graph: Graph, use: Use) -> str:
    """Return what to say of rows that are looked up by what they meet, or "".

    Args:
        graph: of the run.
        use: the lookup. Rows of positions are added to signals by design.
    """
    if is_averaged_by_shares(graph, use.node):
        return SHARED
    if are_multiplied(graph, use.node):
        return MULTIPLIED
    if use.counted or use.origin.box[-1] == (0, 1) or is_zero(graph, use):  # biases of users
        return ""
    passed = {use.node}
    rows = walk_forward(graph, use.node, lambda node: _is_row(graph, node))
    for after in islice(rows, CALLS_FOLLOWED):
        others = [value.node for value in after.signals if value.node not in passed]
        if _is_row(graph, after):
            passed.add(after.index)
        elif said := _said(graph, after, others, passed):
            return said
    return ""


def _said(graph: Graph, after: Node, others: Collection[int], passed: Collection[int]) -> str:
    """Return what to say of a call that takes rows and other signals, or ""."""
    added = after.role == "add" or (
        after.function == "stack" and is_summed(graph, after.index, by_signs=False)
    )
    if added and others:
        terms = islice(walk_back(graph, others, terms_of), CALLS_FOLLOWED)
        met = any(_is_term(graph, one, min(passed)) for one in terms)
        if met:
            return "" if is_caught_after(graph, after) else ADDED
        return PLACED if _is_placed(graph, after, others) else ""
    if after.role == "add" and _is_placed(graph, after, ()):
        return PLACED
    if after.function in _GATHERING and after.shape and not others:
        taken, *_ = after.inputs  # of a part of a table it isn't a signal
        fewer = prod(after.shape) < prod(graph.nodes[taken].shape)
        sole = all(set(graph.nodes[i].consumers) <= {*passed, after.index} for i in passed)
        gathers = fewer and (sole or after.function in SUMS)
        return GATHERED if gathers and not is_caught_after(graph, after) else ""
    if not others or after.weights or after.uses:
        return ""
    if any(reaches(graph, min(passed), index) for index in others):
        return ""  # a signal made of the rows
    if after.role == "contract":
        return "" if _is_scoring(graph, after) else MATRIX
    weighted = any(graph.nodes[root(graph, index)].weights for index in others)
    summed = after.role == "mul" and weighted and is_summed(graph, after.index, False)
    return MATRIX if summed and not _is_scoring(graph, after) else ""


def _is_placed(graph: Graph, sum_: Node, others: Collection[int]) -> bool:
    """Whether positions are added to rows, and no norm follows anywhere."""
    terms = [graph.nodes[root(graph, index)] for index in others]
    tables = [use for one in terms for use in one.uses if use.role == "lookup" and use.counted]
    raw = [u for u in sum_.uses if u.role == "add" and _varies(graph, u)]
    if all(is_zero(graph, use) for use in (*tables, *raw)):
        return False
    onward = walk_forward(graph, sum_.index, lambda _: True)
    return not any(one.role == "norm" or is_normalized(graph, one.index) for one in onward)


def _varies(graph: Graph, use: Use) -> bool:
    """Whether a parameter that is added varies with more than the feature."""
    return sum(size > 1 for size in graph.shapes[use.param]) > 1


def _is_row(graph: Graph, node: Node) -> bool:
    """Whether rows are reshaped, dropped out, multiplied by a number or by a mask."""
    if node.role in ("view", "cast") or (node.role == "mul" and len(node.signals) == 1):
        return True
    made = (graph.nodes[root(graph, value.node)].function for value in node.signals)
    return node.role == "mul" and any(function in COMPARISONS for function in made)


def _is_term(graph: Graph, node: Node, first: int) -> bool:
    """Whether a term of a sum is as large as a row: a product, rows of a table, an input.

    A product that is made of the rows themselves is a branch of their stream.
    """
    rows = any(
        u.role == "lookup" and not u.counted and u.origin.box[-1] != (0, 1) for u in node.uses
    )
    given = node.role == "source" and node.live and not node.tally
    if any(is_zero(graph, one) for one in node.uses):
        return False
    product = bool(node.weights) and not reaches(graph, first, node.index)
    return product or given or (rows and node.index != first)


def _is_scoring(graph: Graph, node: Node) -> bool:
    """Whether a softmax is taken of a product of signals."""
    onward = islice(walk_forward(graph, node.index, is_passed), CALLS_FOLLOWED)
    return any(one.role == "softmax" for one in onward)


def is_averaged_by_shares(graph: Graph, index: int) -> bool:
    """Whether rows that are looked up are multiplied by shares, and summed."""
    onward = islice(onward_from(graph, index), CALLS_FOLLOWED)
    return any(
        node.role == "mul"
        and len(node.signals) == 2
        and is_summed(graph, node.index)
        and any(are_shares(graph, value.node) for value in node.signals)
        for node in onward
    )


def are_multiplied(graph: Graph, index: int) -> bool:
    """Whether rows that are looked up are multiplied by others, number by number, and summed."""
    onward = walk_forward(graph, index, lambda node: is_passed(node) or node.role == "mul")
    for node in islice(onward, CALLS_FOLLOWED):
        product = node.role in ("mul", "contract") and not node.weights and len(node.signals) == 2
        if not product or not (node.role == "contract" or is_summed(graph, node.index)):
            continue
        made_of = walk_back(graph, signals_of(node), _rows_before)
        if all(_rows_before(one) or _is_factor(one) for one in made_of):
            return True
    return False


def _rows_before(node: Node) -> Iterable[int]:
    """Return the signals of what rows may have passed: reshapes, and joins of several tables'."""
    return signals_of(node) if is_pass(node) or node.role == "join" else ()


def _is_factor(node: Node) -> bool:
    """Whether a call looks rows up, or multiplies some by others."""
    return node.role == "mul" or any(u.role == "lookup" and not u.counted for u in node.uses)
