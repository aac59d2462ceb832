"""Constants that a product or its input is multiplied by: ``linear(x, w) / sqrt(n)``, a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from math import isclose

from goodinit._common.sequences import only
from goodinit.anatomy.joined import is_zero
from goodinit.anatomy.made_signals import Made, MadeSignals
from goodinit.anatomy.multiples import CALLS_FOLLOWED, Multiple, Multiples
from goodinit.anatomy.roles import Roles
from goodinit.anatomy.scores import gates_another, summed_by_scores
from goodinit.dataflow.constants import holds_one_number, mean_square
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import number_after, signals_of, walk_back
from goodinit.schemes import second_moment
from goodinit.schemes.gains import NONLINEARITIES

# c^2 fan_in of layers whose factor c makes up for weights of N(0, 1): 1, and 2 with relu's gain.
NEUTRAL = (1.0, 2.0)

# The same where the weights do hold such numbers: up to tanh's gain, with what a sample of an
# author's own law is off by.
NEUTRAL_OF_UNIT_VALUES = (0.8, 3.0)

# Constants whose mean square is as near to 1 leave the signal as it is.
NEARLY_ONE = 0.02

# A constant after an activation is intended if it brings the second moment this close to 1.
MEANT = (0.5, 2.0)

# Of a fan that is measured: the rest depends on the example.
DIGITS = 3

# Parts whose products have a factor by design: scores of attention and of experts.
_SCORES = frozenset(("q", "k", "router"))

# A number before one of these says where on the curve the signal is, as in tanh(x / 30). If its
# square is larger, as in sin(30 x), the gradient grows by it in each layer.
STEEP = 4.0
_SQUASH = frozenset("sigmoid hardsigmoid expit tanh sin erf softplus softsign hardtanh".split())
_OWN = frozenset("bend softmax".split())

# What a weight that is nearly zero makes of the second moment: as in `zeros.py`, .02 of a signal.
LITTLE = 4e-4

MODULATES = "a constant is added to its product, and both multiply another signal, which grows"

# A weight used more often is shared by layers or time steps: later inputs are as the first.
USES_ASKED = 4


def with_factor(
    graph: Graph,
    roles: Roles,
    multiples: Multiples,
    made_signals: MadeSignals,
    use: Use,
    uses: Sequence[Use],
) -> Use:
    """Return a use whose product, or whose input, is multiplied by a constant.

    Whether it is meant for the weight isn't known: the row is doubted. It is counted with the
    weight if it makes a weight of N(0, 1) neutral.
    """
    if use.node in roles.ends:
        return _of_parts_added(graph, multiples, use)
    if roles.parts.get(use.node) in _SCORES:
        return use
    doubt = summed_by_scores(graph, multiples, use.node) or _modulates(graph, multiples, use)
    if doubt:
        return replace(use, doubt=use.doubt or doubt)
    made = None if use.doubt else made_signals.before(use.node)
    product = use.node if (weight := graph.nodes[use.node].generates) is None else weight[-1]
    if made is not None and _is_mixing(multiples, product):
        made = None  # heads mixed by a weight are still shares
    if made is not None and not is_caught(multiples, product):
        use = _of_made(use, made)
    before = Multiple() if made is not None else _before_any(graph, multiples, use, uses)
    # What follows a product whose sums no call shows is a part of its fans.
    after = Multiple() if use.met is not None else _after(graph, multiples, product)
    both = after.varied(_size(before))
    unit = _holds_unit_values(graph, use)
    for one in () if _is_one(both) else (after, before):
        if one.square is not None and _makes_up_for(one, use.fan_in, unit):
            doubt = f"{_text(one, one is after)}, which is taken for a part of it"
            doubt = "" if unit else doubt
            fans = {"fan_in": use.fan_in * one.square, "fan_out": use.fan_out * one.square}
            return replace(use, **fans, measured=True, doubt=use.doubt or doubt)
    if is_caught(multiples, product):
        return use
    if _is_one(both):
        number = None if made is not None else _before_activation(graph, multiples, use.node)
        doubt = f"the signal is multiplied by {number:.3g} before the activation" if number else ""
        return replace(use, doubt=use.doubt or doubt)
    masked = _is_one(after) and _is_masked(before)
    if masked and _is_of_one_signal(graph, multiples, use.node) and (size := _size(before)):
        fan_in = float(f"{use.fan_in * size:.6g}")
        return replace(use, fan_in=fan_in, measured=True)
    one = before if _is_one(after) else after
    return replace(use, doubt=use.doubt or f"{_text(one, one is after)}, which isn't in its fans")


def _of_parts_added(graph: Graph, multiples: Multiples, use: Use) -> Use:
    """Return the use at a residual branch's end whose input is a signal less a part of itself.

    That part may be what is added at last: the last step of a series.
    """
    before = multiples.before(use.node)[0] if graph.nodes[use.node].signals else Multiple()
    if not before.summed or _is_one(before):
        return use
    return replace(use, doubt=use.doubt or f"{_text(before, False)}, which isn't in its fans")


def _before_activation(graph: Graph, multiples: Multiples, index: int) -> float | None:
    """Return by what an input of the model is multiplied before the activation of an input.

    None if it isn't multiplied, by a weight that is trained or was, or where a number says which
    part of the curve is used.
    """
    if not graph.nodes[index].signals:
        return None
    node = multiples.before(index)[1]
    if node.role != "activation" or node.function in _SQUASH or not node.signals:
        return None
    found, first = multiples.before(node.index)
    if first.role != "source" or not found.square or _is_near(found.square):
        return None
    between = walk_back(graph, signals_of(node), signals_of, first.index)
    uses = [use for one in islice(between, CALLS_FOLLOWED) for use in one.uses]
    kept = all(use.param in graph.buffers for use in uses)
    return found.square**0.5 if kept else None


def _modulates(graph: Graph, multiples: Multiples, use: Use) -> str:
    """Return what to say of a product of which 1 + g is made, a factor of another signal, or "".

    A weight of zeros is kept: its factor is 1.
    """
    factors = (
        n for n in multiples.after(use.node)[1] if n.role == "mul" or n.function == "addcmul"
    )
    forms = [one for node in factors for one in multiples.taken_as(use.node, node)]
    offsets = (one for node in multiples.passed_after(use.node) for one in node.uses)
    shifted = bool(forms) and any(map(partial(_is_kept_offset, graph), offsets))
    if not shifted and not any(one.added and not _is_one(one) for one in forms):
        return ""
    held = mean_square(graph.held.get(use.param))
    little = held is not None and held * use.fan_in <= LITTLE  # kept: the identity at first
    return "" if little or is_zero(graph, use) else MODULATES


def _is_kept_offset(graph: Graph, use: Use) -> bool:
    """Whether one number other than 0 is added: a gate's bias of 1."""
    held = graph.held.get(use.param) if use.role == "add" else None
    square = None if held is None or held.is_meta else mean_square(held)
    return bool(square) and held is not None and holds_one_number(held)


def _of_made(use: Use, made: Made) -> Use:
    """Return a use with the second moment of an input that functions make."""
    if use.operand is not None and not use.measured:  # a normalized weight: so is its product
        size = made.square**0.5
        says = f"whatever is drawn, its product is about {size:.2g} times as large as its input"
        return replace(use, doubt=use.doubt or made.error or says)
    fan_in = float(f"{use.fan_in * made.square:.{DIGITS}g}")
    if made.square == 1 and not made.error:
        return use
    if (
        made.known or made.counted
    ) and fan_in >= 1:  # less is a share of other rows, whose number is the example's
        return replace(use, fan_in=fan_in, measured=True)
    says = made.error or (
        f"has a second moment of about {made.square:.2g}, which isn't in its fans"
    )
    return replace(use, doubt=f"its input is made by {made.function}, and {says}")


def _is_mixing(multiples: Multiples, index: int) -> bool:
    """Whether a product is contracted with another signal: it holds scores."""
    taken = multiples.after(index)[1]
    return any(node.role == "contract" and len(node.signals) > 1 for node in taken)


def _text(one: Multiple, after: bool) -> str:
    what = "its product" if after else "its input"
    if one.why:
        return f"{what} {one.why}"
    if one.square is None:
        return f"{what} is multiplied by a constant without a known value"
    if not _is_near(one.square) or not one.added:
        return f"{what} is multiplied by {'' if one.numbers else 'about '}{one.square**0.5:.3g}"
    return f"a constant of about {one.added**0.5:.3g} is added to {what}"


def _is_near(square: float | None) -> bool:
    return square is not None and isclose(square, 1.0, rel_tol=NEARLY_ONE)


def _size(one: Multiple) -> float | None:
    return None if one.square is None else one.square + one.added


def _is_one(one: Multiple) -> bool:
    return _is_near(_size(one))


def _is_masked(one: Multiple) -> bool:
    """Whether zeros and constants in the place of numbers are all that was made of a signal."""
    size = _size(one)
    if size is None or one.left is None:
        return False
    return isclose(size, one.left, rel_tol=NEARLY_ONE)


def _is_of_one_signal(graph: Graph, multiples: Multiples, index: int) -> bool:
    """Whether a product takes one signal, and not the largest numbers of one."""
    return len(graph.nodes[index].signals) == 1 and multiples.before(index)[1].role != "choose"


def _makes_up_for(one: Multiple, fan: float, unit: bool) -> bool:
    """Whether weights of N(0, 1) are neutral with it; ``unit`` says that they are so drawn."""
    if one.square is None or _is_near(one.square):
        return False
    low, high = NEUTRAL_OF_UNIT_VALUES
    if unit and low <= one.square * fan <= high:
        return True
    return any(isclose(one.square * fan, neutral, rel_tol=0.01) for neutral in NEUTRAL)


def _holds_unit_values(graph: Graph, use: Use) -> bool:
    """Whether a weight holds numbers of a mean square near 1, as no class of torch's gives it."""
    held = mean_square(graph.held.get(use.param))
    return held is not None and use.fan_in > MEANT[1] and MEANT[0] <= held <= MEANT[1]


def _after(graph: Graph, multiples: Multiples, index: int) -> Multiple:
    """Return what constants make of a product, if nothing else is done with it."""
    found, taken = multiples.after(index)
    meets = any(n.role in _OWN or n.function in _SQUASH or _meets_others(n) for n in taken)
    one = only(taken)
    if meets and (found.added or one is None or not gates_another(graph, one)):
        squashed = one is not None and one.function in _SQUASH
        steep = squashed and found.square is not None and found.square > STEEP
        return found if steep else Multiple()
    alpha = graph.nodes[index].number  # of addmm
    return found if alpha is None else found.times(alpha)


def _meets_others(node: Node) -> bool:
    return len(node.signals) > 1 and node.role != "join"


def is_caught(multiples: Multiples, index: int) -> bool:
    """Whether a norm follows a product and constants."""
    one = only(multiples.after(index)[1])
    return one is not None and one.role == "norm"


def _before(graph: Graph, multiples: Multiples, index: int) -> Multiple:
    """Return what constants make of an input, for products alone."""
    if not graph.nodes[index].signals:
        return Multiple()
    found, node = multiples.before(index)
    if any(use.role == "lookup" for use in node.uses):  # a table's fans have a number
        number = number_after(graph, node.index)
        found = found.times(1 / number) if number else found
    activation = (node.label or node.function) if node.role == "activation" else ""
    return Multiple() if found.square and is_meant(found.square, activation) else found


def _before_any(graph: Graph, multiples: Multiples, use: Use, uses: Sequence[Use]) -> Multiple:
    """Return what constants make of an input of a weight that is used several times.

    If all uses are of the same part, those without a constant count (before the first lay a state
    of zeros); if of several parts, those with one.
    """
    known = [(one, _before(graph, multiples, one.node)) for one in (use, *uses[:USES_ASKED])]
    same = [multiple for one, multiple in known if one.origin.box == use.origin.box]
    others = [multiple for one, multiple in known if one.origin.box != use.origin.box]
    first = next((multiple for multiple in same if _is_one(multiple)), same[0])
    return next((m for m in (first, *others) if not _is_one(m)), first)


def is_meant(square: float, activation: str) -> bool:
    """Whether a constant makes up for what an activation takes from the second moment."""
    name, (low, high) = activation.partition("(")[0], MEANT
    return name in NONLINEARITIES and low <= square * second_moment(name) <= high
