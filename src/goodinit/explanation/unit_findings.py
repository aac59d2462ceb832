"""Findings of units that are all alike: GI122 (a weight of zeros) and GI123 (equal units).

Which weights are neighbors is a matter of the data flow: the order in which a class registers them
says nothing. Without inputs only an ``nn.Sequential`` shows an order, and nothing is an error.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.learning import blocking_weights, is_plain, steps_of, stuck_weights
from goodinit.dataflow.nodes import Node, Use
from goodinit.explanation.context import Context, Verdict, verdict
from goodinit.explanation.laws import MOST_COMPARED
from goodinit.explanation.reading import ParameterValues
from goodinit.findings import Severity
from goodinit.findings.clones import (
    ALIKE_FOR_NOW,
    BLOCKS,
    GROWN,
    LEAVE_GROWN,
    NO_GRADIENT,
    REPEATED,
    STAY_ALIKE,
    could_be_cloned,
    is_drawn,
    is_stack,
)
from goodinit.plans.authors_value import authors_reason
from goodinit.signal.repeated_units import repeats

Group = tuple[str, Severity, str]  # code, severity, why

PASSING = frozenset(("view", "cast", "pool", "activation"))  # equal units stay equal
WITH_UNITS = ("linear", "conv")
KINDS = ("linear", "conv", "recurrent", "embedding")
MULTIPLYING = frozenset(("contract", "mul"))
APART = "draw different values for each unit"
AT_ZERO = "relu passes no gradient at 0, so that it stays zero"
MAY_BE_MEANT = "no input passes it at first, which may be intended"
WITHOUT_INPUTS = " (as the end of a residual branch; pass inputs= to find out)"


def unit_findings(context: Context) -> Iterator[Verdict]:
    """Yield the findings of weights whose units are all alike, or partly."""
    yield from _all_alike(context)
    yield from _repeated(context)


def _repeated(context: Context) -> Iterator[Verdict]:
    """Yield weights some of whose units repeat others, such as heads drawn from one seed."""
    found: dict[bool, list[tuple[ParameterValues, int]]] = {}
    for one in context.parameters:
        f = one.row.facets
        if one.constant or not _is_judged(one) or one.row.frozen or f.kind not in WITH_UNITS:
            continue
        units = _unfolded(one)
        if units is None or f.layout is None:
            continue
        units = units.flatten(0, len(f.layout.outputs) - 1)
        alike = rows_are_equal(one) or is_stack_of_one(one)
        repeated = None if alike else repeats(units)
        if repeated is not None:
            count, grown = repeated
            found.setdefault(grown, []).append((one, count))
    for grown, several in found.items():
        cause = f"{several[0][1]} units have the weights of others, bit for bit: {REPEATED}"
        rows = [one for one, _ in several]
        severity: Severity = "info" if grown else "warning"
        remedy = LEAVE_GROWN if grown else context.redraw(rows, APART, again=True)
        yield verdict("GI123", severity, rows, f"{cause}; {GROWN}" if grown else cause, remedy)


def _all_alike(context: Context) -> Iterator[Verdict]:
    weights = [one for one in context.parameters if _is_judged(one)]
    gains = [one for one in context.parameters if one.whole is not None and _is_gain(one)]
    zero = {one.row.name for one in (*weights, *gains) if _is_zero(one)}
    others = {one.row.name for one in context.parameters if one.matrix and _is_zero(one)} - zero
    multiplied = _multiplied(context)
    equal = {
        one.row.name
        for one in context.parameters
        if one.row.name not in zero and _may_be_equal(one, multiplied) and rows_are_equal(one)
    }
    if not zero | equal | others:
        return
    judge = _ByFlow(context) if context.graph is not None else _ByType(context)
    groups: dict[Group, list[ParameterValues]] = {}
    for one in context.parameters:
        if one.row.name in zero:
            found = judge.of_zeros(one)
        elif one.row.name in equal:
            found = judge.of_equal_units(one)
        elif one.row.name in others:  # such as adapters: only what never moves is a finding
            stuck = (judge.of_zeros(one) or ("", "info", ""))[2] in (AT_ZERO, NO_GRADIENT)
            found = ("GI122", "error", NO_GRADIENT) if stuck else None
        else:
            continue
        if found is not None and found[1] == "info" and _is_table(one):
            continue  # of rows that are added to others
        if found is not None:
            groups.setdefault(found, []).append(one)
    for (code, severity, why), rows in groups.items():
        what = "all zero" if code == "GI122" else "the same weights for every unit"
        remedy = context.redraw(rows, APART, again=True)
        yield verdict(code, severity, rows, f"{what}: {why}", remedy)


def _is_judged(one: ParameterValues) -> bool:
    return _is_weight(one) and not one.row.facets.guessed


def _is_weight(one: ParameterValues) -> bool:
    return one.whole is not None and one.matrix and one.row.facets.kind in KINDS


def _may_be_equal(one: ParameterValues, multiplied: set[str]) -> bool:
    """Return whether equal units would be a finding, and not a mixing matrix of the author's."""
    if not _is_weight(one) or one.row.frozen or _is_table(one):
        return False
    if one.row.name in multiplied:  # its fans may be in doubt, but not its axes
        return True
    return not (one.row.facets.guessed or authors_reason(one.row, trains=True))


def _multiplied(context: Context) -> set[str]:
    """Return the parameters that are the weights of products in the run."""
    if context.graph is None:
        return set()
    used = {use.param for node in context.graph.nodes for use in node.weights if is_plain(use)}
    return {name for name, number in context.numbers.items() if number in used}


def _is_gain(one: ParameterValues) -> bool:
    return one.row.facets.kind == "norm" and one.row.facets.part != "bias"


def _is_table(one: ParameterValues) -> bool:
    return one.row.facets.kind == "embedding"


def _is_zero(one: ParameterValues) -> bool:
    return one.constant and one.sample.low == 0


class _ByType:
    """Judges by module types alone: what an ``nn.Sequential`` shows, and never as an error."""

    def __init__(self, context: Context) -> None:
        self._followed = {id(a.weight) for c in context.chains for a in c.links[:-1]}

    def of_zeros(self, one: ParameterValues) -> Group | None:
        if _is_gain(one) or _may_be_zero(one):
            return None
        if id(one) in self._followed:
            return "GI122", "warning", BLOCKS
        return "GI122", "info", MAY_BE_MEANT + WITHOUT_INPUTS

    def of_equal_units(self, one: ParameterValues) -> Group:  # noqa: ARG002
        return "GI123", "warning", ALIKE_FOR_NOW


class _ByFlow:
    """Judges by the data flow."""

    def __init__(self, context: Context) -> None:
        assert context.graph is not None
        self._graph: Graph = context.graph
        self._numbers = context.numbers
        self._by_number = {context.numbers[p.row.name]: p for p in context.parameters}
        steps, self._outputs = steps_of(self._graph, list(context.numbers))
        zero = [p.row.name for p in context.parameters if p.whole is not None and _is_zero(p)]
        self._stuck = stuck_weights(steps, self._outputs, zero)
        self._blocking = blocking_weights(steps, self._outputs, zero)

    def of_zeros(self, one: ParameterValues) -> Group | None:
        name = one.row.name
        learns = not one.row.frozen
        if learns and name in self._stuck:
            activation = (one.row.facets.activation or "").partition("(")[0]
            return "GI122", "error", AT_ZERO if activation in ("relu", "relu6") else NO_GRADIENT
        if learns and not _is_gain(one) and self._stays_equal(one):
            return "GI122", "error", STAY_ALIKE
        if name in self._blocking:
            return "GI122", "warning", BLOCKS
        if _is_gain(one):
            return None
        return None if _may_be_zero(one) else ("GI122", "info", MAY_BE_MEANT)

    def of_equal_units(self, one: ParameterValues) -> Group | None:
        if self._stays_equal(one):
            return "GI123", "error", STAY_ALIKE
        return None if self._is_one_of_several(one) else ("GI123", "warning", ALIKE_FOR_NOW)

    def _is_one_of_several(self, one: ParameterValues) -> bool:
        """Return whether its products are with other weights too, which tell units apart."""
        number = self._numbers[one.row.name]
        used = [
            {use.param for use in node.uses if use.role in MULTIPLYING}
            for node in self._graph.nodes
            if node.role == "contract"
        ]
        others = [params - {number} for params in used if number in params]
        return bool(others) and all(
            any((held := self._by_number.get(n)) and not rows_are_equal(held) for n in params)
            for params in others
        )

    def _stays_equal(self, one: ParameterValues) -> bool:
        """Return whether the gradients of all units are equal too: no step tells them apart."""
        number = self._numbers[one.row.name]
        nodes = [n for n in self._graph.nodes if any(use.param == number for use in n.weights)]
        return bool(nodes) and all(
            all(map(is_plain, node.weights)) and self._ends_in_equal_columns(node) for node in nodes
        )

    def _ends_in_equal_columns(self, start: Node) -> bool:
        pending, visited, found = [start], set[int](), False
        while pending:
            node = pending.pop()
            if node.index in self._outputs or not node.consumers:
                return False
            if not self._adds_one_number(node):
                return False
            for index in node.consumers:
                after = self._graph.nodes[index]
                if index in visited:
                    continue
                visited.add(index)
                if after.weights and len(after.signals) == 1:
                    if not all(self._treats_units_alike(use) for use in after.weights):
                        return False
                    found = True
                elif self._keeps_units_equal(after):
                    pending.append(after)
                else:
                    return False
        return found

    def _treats_units_alike(self, use: Use) -> bool:
        return is_plain(use) and _columns_equal(self._by_number.get(use.param))

    def _keeps_units_equal(self, node: Node) -> bool:
        if len({value.node for value in node.signals}) != 1:
            return False
        if node.role in PASSING:
            return not node.uses
        return node.role == "norm" or (node.role == "add" and bool(node.uses))

    def _adds_one_number(self, node: Node) -> bool:
        """Return whether what a call adds or scales by is one number for all units."""
        others = [use.param for use in node.uses if use.role not in ("contract", "feed")]
        held = (self._by_number.get(number) for number in others)
        return all(one is not None and one.constant for one in held)


def _may_be_zero(one: ParameterValues) -> bool:
    f = one.row.facets
    return f.ends_residual is True or f.part in ("head", "out", "q", "router")


def _unfolded(one: ParameterValues) -> Tensor | None:
    """Return the first matrix, [outputs..., inputs..., window...]; None if it isn't known."""
    assert one.whole is not None
    layout, values = one.row.facets.layout, one.whole.values
    if layout is None or not layout.outputs or values.numel() > 4 * MOST_COMPARED:
        return None
    if layout.groups > 1:
        return None
    try:
        return layout.unfold(values)[(0,) * (len(layout.batch) + 1)]
    except RuntimeError:
        return None


def rows_are_equal(one: ParameterValues) -> bool:
    """Return whether all units, of two or more, have the same weights."""
    layout, units = one.row.facets.layout, _unfolded(one)
    if one.constant or units is None or layout is None:
        return one.constant and _has_units(one)
    units = units.flatten(0, len(layout.outputs) - 1)
    if units.shape[0] < 2:
        return False
    return torch.equal(units[0], units[1]) and bool((units == units[:1]).all())


def _has_units(one: ParameterValues) -> bool:
    layout = one.row.facets.layout
    if layout is None:
        return True
    return bool(layout.outputs) and one.row.shape[layout.outputs[0]] > 1


def _columns_equal(one: ParameterValues | None) -> bool:
    """Return whether a weight treats all units before it alike."""
    if one is None or one.whole is None:
        return False
    layout, units = one.row.facets.layout, _unfolded(one)
    if one.constant or units is None or layout is None or len(layout.inputs) != 1:
        return one.constant
    columns = units.movedim(len(layout.outputs), 0)
    return bool((columns == columns[:1]).all())


def is_stack_of_one(one: ParameterValues) -> bool:
    """Return whether it is a stack of equal matrices, such as those of experts."""
    f = one.row.facets
    if one.whole is None or one.row.frozen or f.kind == "conv" or f.is_unknown or f.layout is None:
        return False
    if f.layout.lookup or not is_stack(one.row.shape) or not could_be_cloned(one.whole.sample.size):
        return False
    values = one.whole.values
    return bool((values == values[:1]).all()) and values_are_drawn(one)


def values_are_drawn(parameter: ParameterValues) -> bool:
    """Return whether a weight is drawn, rather than an identity or a constant."""
    steps = parameter.sample.values.diff()  # of sorted values
    return is_drawn(int(steps.count_nonzero()) + 1)
