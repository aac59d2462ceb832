"""Where a product meets another: sums of two products, squares, means, shares made of the data.

What comes out isn't as large as the product, nor is an exponential of it or the largest of several,
and whether that is meant for the weight isn't known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from math import exp, isclose, prod

from goodinit._common.sequences import only
from goodinit.anatomy.factors import MEANT, NEARLY_ONE
from goodinit.anatomy.joined import BESIDE, input_of, is_zero
from goodinit.anatomy.kin import (
    are_kin,
    is_multiplied_by_itself,
    is_run_up,
    multiplies_what_is_added,
)
from goodinit.anatomy.roles import Roles
from goodinit.anatomy.weighted_sums import SUMS
from goodinit.dataflow.constants import mean_square
from goodinit.dataflow.functions import ADD_FIRST
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import (
    are_shares,
    is_noisy,
    is_pass,
    is_share,
    passed_before,
    reaches,
    root,
    signals_of,
    walk_back,
    walk_forward,
)

NOISY = "random numbers are added to its product"
NOISE = "random numbers multiply its product"
LENGTH = "the length of its product is taken"
SQUARED = "its product is squared"
POWER = "a power of its product is taken"
AVERAGED = "its product is averaged, which makes it smaller where the terms differ"
SHARED = "its product is added up with shares made of the data"
MULTIPLIED = "its product is multiplied by another, and summed"
AGAIN = "its product is added to what a constant makes of it"
INPUT = "another input of the model is added to its product"
SEVERAL = "products with it of several inputs are added up"
EXPONENT = "an exponential of its product is taken"
LARGEST = "of several of its products the largest is taken, or their product"
KIN = "its product is multiplied by a signal that has a part in common with it"
GROWN = "its product multiplies a signal that is added to the result, which grows"
RUNNING = "a running sum is taken of what an activation makes of its product"
KEPT = "it is mixed with other products by constants, which don't keep their size"
POOLED = "several pools of its product are added up"
SAMPLED = "its product is sampled between positions, which makes it smaller where they differ"

# What these say is measured as well, and the fans make up for it.
COUNTED = frozenset((BESIDE, KIN, GROWN, NOISE))

# Between a product and the sum that it goes into, or the norm after that.
CALLS_FOLLOWED = 24

_MEANS = frozenset(("mean", "nanmean"))
_ROOTS = frozenset("sqrt rsqrt div rdiv reciprocal norm".split())
_LENGTHS = frozenset("norm vector_norm linalg_vector_norm linalg_norm logsumexp".split())
_SQUARES = frozenset("pow square float_power".split())
_EXPONENTIALS = frozenset("exp exp2 expm1 sinh cosh rpow".split())
# They make a logistic function, a softplus, an ELU or a decay below 1 of an exponential.
_BOUNDING = _EXPONENTIALS | frozenset("log log1p rdiv reciprocal where".split())
_OF_TWO = frozenset("cdist pairwise_distance dist cross linalg_cross".split())
_SPECTRA = frozenset(
    name
    for one in ("fft", "rfft", "hfft")
    for name in (f"{s}{one}{n}" for s in ("", "fft_") for n in ("", "2", "n"))
)
_SORTED = frozenset(("sort", "msort"))
_CHOSEN = frozenset(("topk", "kthvalue"))
_LARGEST = frozenset(
    "max min amax amin cummax cummin logcumsumexp prod cumprod median nanmedian quantile".split()
)


def said_of_what_follows(
    graph: Graph, roles: Roles, use: Use, is_drawn: Callable[[Use], bool]
) -> str:
    """Return what to say of a product by what it meets, or "".

    Args:
        graph: of the run.
        roles: of its weights; ends of residual branches, cells and projections of attention are
            sums of a known kind.
        use: of a weight.
        is_drawn: returns whether a weight is drawn.
    """
    node = graph.nodes[use.node]
    said = _said_of_stream(graph, node.index)
    if said or node.index in roles.ends:
        return said
    if has_a_role(graph, roles, node.index) or node.generates is not None:
        return ""
    passed, doubt, own = {node.index}, "", node.weights
    if node.function in ADD_FIRST and graph.nodes[node.operands[0].node].live:
        added = [node.operands[0].node]
        if said := _meets_another(graph, roles, use, node, added, is_drawn):
            return said
    for after in islice(onward_from(graph, node.index), CALLS_FOLLOWED):
        met = len({value.node for value in after.signals}) > 1
        if met and _adds_to_a_product(graph, after):
            return "" if is_caught_after(graph, after) else BESIDE
        if is_passed(after):
            passed.add(after.index)
            doubt = doubt or _said_of_noise(graph, after)
        elif met and (after.role == "add" or _is_mixed(after)):
            added = [value.node for value in after.signals if value.node not in passed]
            if is_noisy(graph, after):  # addcmul
                return "" if is_caught_after(graph, after) else NOISY
            if _is_less_its_largest(graph, after, added, passed):
                return LARGEST
            if said := _meets_another(graph, roles, use, after, added, is_drawn):
                return said
        elif _is_mixed_by_constants(graph, after, passed, is_drawn):
            return "" if is_caught_after(graph, after) else KEPT
        elif alone := _said_alone(graph, node, after, passed):
            return alone
        elif multiplies_what_is_added(graph, after) and not any(is_zero(graph, u) for u in own):
            return "" if is_caught_after(graph, after) else GROWN
    return doubt


def _adds_to_a_product(graph: Graph, node: Node) -> bool:
    """Whether rows, such as messages, are added to some of a product's; zeros start most sums."""
    adds = node.function in ("index_add", "scatter_add") and bool(node.operands)
    return adds and bool(graph.nodes[root(graph, node.operands[0].node)].weights)


def _is_mixed_by_constants(
    graph: Graph, node: Node, passed: Iterable[int], is_drawn: Callable[[Use], bool]
) -> bool:
    """Whether a weight that keeps its values mixes several products, and changes their size."""
    joined = any(graph.nodes[index].role == "join" for index in passed)
    if node.role != "contract" or not joined or not node.weights:
        return False
    squares = [mean_square(graph.held.get(use.param)) for use in node.weights]
    if any(map(is_drawn, node.weights)) or None in squares:
        return False
    (square, *_), use = squares, node.weights[0]
    return not isclose((square or 0.0) * use.fan_in, 1.0, rel_tol=NEARLY_ONE)


def _said_of_noise(graph: Graph, node: Node) -> str:
    """Return what to say of random numbers that are added to a product or multiply it, or "".

    A tensor of them that isn't on meta has a mean square, which counts as a factor.
    """
    if node.role == "add":
        return NOISY if is_noisy(graph, node) else ""
    noisy = node.square is None and is_noisy(graph, node, rounded=False)
    return NOISE if noisy and not is_caught_after(graph, node) else ""


def _is_mixed(node: Node) -> bool:
    """Whether two signals are mixed by shares that no third one makes."""
    return node.function == "lerp" and len(node.signals) == 2


def _said_alone(graph: Graph, node: Node, after: Node, passed: set[int]) -> str:
    """Return what to say of a call that takes a product and isn't a sum of two, or ""."""
    sole = all(c in passed or c == after.index for i in passed for c in graph.nodes[i].consumers)
    signals = {value.node for value in after.signals}
    squares = after.function in _SQUARES and after.number in (None, 2)
    squares = squares or (after.role == "mul" and is_multiplied_by_itself(after))
    if squares and not is_a_size(graph, after.index):
        return SQUARED
    if _is_power(graph, after):
        return POWER
    if after.function in _OF_TWO:
        return MULTIPLIED if "cross" in after.function else LENGTH
    if sole and after.function in _MEANS and after.shape:
        return AVERAGED
    if after.role == "pool" and _is_pooled_again(graph, node, after):
        return POOLED
    if sole and (after.function in _LENGTHS or _is_of_pairs(graph, after)):
        return LENGTH
    if are_kin(graph, after) and not is_caught_after(graph, after):
        return KIN
    if sole and is_run_up(graph, after):
        return RUNNING
    zero = any(is_zero(graph, one) for one in node.weights)  # kept, it starts as the identity
    if after.function in _EXPONENTIALS and not zero and not _is_bounded(graph, after.index):
        number = _number_before(graph, after, passed, node.index)
        return "" if number is None or exp(2 * number**2) <= MEANT[1] else EXPONENT
    if sole and (_is_largest(after) or _is_cut(graph, after)):
        return LARGEST
    sampled = after.function == "grid_sample" and after.operands[0].node in passed
    if sole and sampled and not zero:
        return SAMPLED
    spectra = after.role == "mul" and any(graph.nodes[i].function in _SPECTRA for i in passed)
    if spectra and len(signals) > 1:
        return MULTIPLIED  # a convolution by Fourier transforms
    own = all(index in passed or root(graph, index) in passed for index in signals)
    if own and len(after.signals) == 2 and after.role in ("mul", "contract"):
        summed = after.role == "contract" or is_summed(graph, after.index, False)
        return MULTIPLIED if summed and not is_a_size(graph, after.index) else ""
    if after.role == "contract" and len(signals) > 2 and not after.weights:
        return MULTIPLIED  # a weight of rank 1 or more made of two, and the signal it works on
    if after.role not in ("mul", "contract") or len(signals) != 2 or after.weights:
        return ""
    summed = after.role == "contract" or is_summed(graph, after.index)
    rest = [index for index in signals if index not in passed]
    if any(are_shares(graph, index) for index in rest):  # all are added up, or one is chosen
        return SHARED
    others = [graph.nodes[root(graph, index)] for index in rest]
    mine = {use.param for use in node.weights}
    if after.role == "contract":  # dot products of one network's outputs
        same = any(use.param in mine for other in others for use in other.weights)
        apart = any(other.weights for other in others) and not _makes_shares(graph, after)
        made_of = (value.node for one in (node, *others) for value in one.signals)
        apart = apart and not any(are_shares(graph, index) for index in made_of)  # mixed heads
        return MULTIPLIED if same or (apart and not is_caught_after(graph, after)) else ""
    weights = any(o.weights for o in others)
    apart = node.index not in {other.index for other in others}
    return MULTIPLIED if weights and apart and is_summed(graph, after.index, False) else ""


def _makes_shares(graph: Graph, scores: Node) -> bool:
    """Whether shares are made of the products of two signals, as in an attention."""
    roles = ("add", "choose", "join")
    onward = walk_forward(graph, scores.index, lambda n: is_pass(n) or n.role in roles)
    taken = islice(onward, CALLS_FOLLOWED)
    return any(n.function in _EXPONENTIALS or is_share(n.function) for n in taken)


def _is_pooled_again(graph: Graph, product: Node, pool: Node) -> bool:
    """Whether a pool of a product is added to another one of it."""
    onward = walk_forward(graph, pool.index, lambda n: n.role in ("view", "cast"))
    sums = (n for n in islice(onward, CALLS_FOLLOWED) if n.role == "add" and len(n.signals) > 1)
    for sum_ in sums:
        ways = [list(passed_before(graph, value.node)) for value in sum_.signals]
        pooled = [any(graph.nodes[i].role == "pool" for i in way) for way in ways]
        if all(pooled) and all(_is_the_same(graph, product, graph.nodes[way[-1]]) for way in ways):
            return not is_caught_after(graph, sum_)
    return False


def _said_of_stream(graph: Graph, index: int) -> str:
    """Return what to say of a term of a sum of which a square is taken alone, or "".

    Between the branch's end and the sum a norm may lie, after which the size is the norm's.
    """
    sums = [graph.nodes[c] for c in graph.nodes[index].consumers]
    sum_ = only(sums)
    if sum_ is None or sum_.role != "add":
        return ""
    passed = {sum_.index}
    for after in islice(onward_from(graph, sum_.index), CALLS_FOLLOWED):
        if is_passed(after):
            passed.add(after.index)
        elif said := _said_alone(graph, sum_, after, passed):
            return said if said in (SQUARED, EXPONENT, LENGTH, KIN) else ""
    return ""


def _is_less_its_largest(graph: Graph, sum_: Node, added: Iterable[int], passed: set[int]) -> bool:
    """Whether the largest product is subtracted from all, and not for an exponential of these."""
    reduced = (graph.nodes[root(graph, index)] for index in added)
    own = any(_is_largest(n) and n.signals and graph.before(n).index in passed for n in reduced)
    onward = (graph.nodes[index] for index in sum_.consumers)
    return own and not any(n.function in _EXPONENTIALS or n.role == "softmax" for n in onward)


def _is_power(graph: Graph, node: Node) -> bool:
    """Whether a signal is raised to a power above 2, and not for an activation by hand."""
    if node.function not in ("pow", "float_power") or node.number is None or node.number <= 2:
        return False
    onward = walk_forward(graph, node.index, lambda n: n.role in ("view", "cast", "add", "mul"))
    return not any(n.role == "activation" for n in islice(onward, CALLS_FOLLOWED))


def _is_largest(node: Node) -> bool:
    """Whether one number is kept of several, along an axis and not of two tensors."""
    return node.role != "pointwise" and node.function in _LARGEST


def _is_cut(graph: Graph, node: Node) -> bool:
    """Whether only the first or last of sorted products are taken."""
    after = [graph.nodes[index] for index in node.consumers]
    taken = bool(after) and all(prod(one.shape) < prod(node.shape) for one in after)
    return node.function in _CHOSEN or (node.function in _SORTED and taken)


def _number_before(graph: Graph, after: Node, passed: set[int], index: int) -> float | None:
    """Return by what a product is multiplied before a call; None if that takes its shape alone."""
    number = 1.0
    while after.index != index and after.operands:
        taken = after.signals if after.role in ("add", "mul") else after.operands
        before = next((v.node for v in taken if v.node in passed), None)
        if before is None or (after.role in ("view", "cast") and taken[0].node != before):
            return None
        number *= (after.number if after.role == "mul" else None) or 1.0
        after = graph.nodes[before]
    return number


def _is_bounded(graph: Graph, index: int) -> bool:
    """Whether exponentials are divided, as in a softmax by hand, or make an activation by hand."""

    def follow(node: Node) -> bool:
        summed = node.role == "contract" and not node.weights
        return summed or node.role in ("view", "cast", "reduce", "pointwise", "add", "mul", "join")

    onward = islice(walk_forward(graph, index, follow), CALLS_FOLLOWED)
    return any(
        n.function in _BOUNDING or (n.function == "div" and len(n.signals) > 1) for n in onward
    )


def _is_of_pairs(graph: Graph, node: Node) -> bool:
    """Whether the size of complex numbers is taken."""
    pairs = any(graph.nodes[i].function in ("view_as_complex", "complex") for i in node.inputs)
    return node.function == "abs" and pairs


def is_a_size(graph: Graph, index: int) -> bool:
    """Whether the root of a square is taken, or a signal divided by it: a norm by hand."""

    def follow(node: Node) -> bool:
        return node.role in ("view", "cast", "reduce", "pointwise") or (
            node.role in ("add", "mul") and len(node.signals) == 1
        )

    onward = islice(walk_forward(graph, index, follow), CALLS_FOLLOWED)
    sizes = (n for n in onward if n.function != "div" or len(n.signals) > 1)
    return any(n.function in _ROOTS or (n.function == "pow" and n.number != 2) for n in sizes)


def onward_from(graph: Graph, index: int) -> Iterable[Node]:
    """Return what takes a product, reshaped, joined and shifted."""
    return walk_forward(graph, index, lambda n: is_passed(n) and not takes_product(graph, n))


def takes_product(graph: Graph, node: Node) -> bool:
    """Whether a parameter multiplies a signal number by number, and what comes of it is summed."""
    met = any(use.met is not None and use.role == "mul" for use in node.uses)
    return met and is_summed(graph, node.index, False)


def is_passed(node: Node) -> bool:
    """Whether a call reshapes, picks from, joins or shifts a product, or multiplies it alone."""
    if node.role in ("view", "cast", "pick", "join") or node.function in (*SUMS, "complex"):
        return True
    if node.function in _SPECTRA or node.function in ("conj", "conj_physical"):
        return True
    return node.role in ("add", "mul") and len(node.signals) == 1


def has_a_role(graph: Graph, roles: Roles, index: int) -> bool:
    """Whether the sum that a product goes into is of a known kind."""
    node = graph.nodes[index]
    cell = any(use.param in roles.cells for use in node.weights)
    packed = len({*roles.packed.get(index, {}).values()}) > 1
    known = index in roles.ends or index in roles.adapters or packed
    part = roles.parts.get(index) in ("q", "k", "v", "out", "router", "gate")
    return cell or known or part or any(use.param in roles.unknown for use in node.weights)


def _meets_another(
    graph: Graph,
    roles: Roles,
    use: Use,
    sum_: Node,
    added: Iterable[int],
    is_drawn: Callable[[Use], bool],
) -> str:
    """Return what to say of a sum with the product of another weight as a term, or "".

    Of its own product once more, if it is mixed by a weight that is kept. A norm that follows
    makes up for it.
    """
    if sum_.index in roles.adapted or _is_computed(use) or is_zero(graph, use):
        return ""
    for node in islice(walk_back(graph, added, terms_of), CALLS_FOLLOWED):
        if node.weights and not any(map(is_drawn, node.weights)):
            mixed = islice(walk_back(graph, signals_of(node), terms_of), CALLS_FOLLOWED)
            if any(_is_the_same(graph, graph.nodes[use.node], one) for one in mixed):
                return "" if is_caught_after(graph, sum_) else AGAIN
        if node.role == "mul" and node.signals and is_noisy(graph, node):
            return "" if is_caught_after(graph, sum_) else NOISY
        if _is_another_input(graph, node, use):
            return "" if is_caught_after(graph, sum_) else INPUT
        summed = prod(node.shape) > prod(sum_.shape)
        met = [one for one in node.uses if one.met is not None and (summed or one.role != "mul")]
        weights = node.weights or met
        if not weights or node.index == use.node or has_a_role(graph, roles, node.index):
            continue
        if any(_is_of_another_input(graph, use, one) for one in weights):
            return "" if is_caught_after(graph, sum_) else SEVERAL
        if any(one.param == use.param or _is_computed(one) for one in weights):
            continue
        if not any(is_zero(graph, one) for one in weights):
            return "" if is_caught_after(graph, sum_) else BESIDE
    return ""


def _is_the_same(graph: Graph, product: Node, node: Node) -> bool:
    """Whether a call makes a product, or makes it once more."""
    same = {use.param for use in node.weights} & {use.param for use in product.weights}
    return node.index == product.index or (
        bool(same) and input_of(graph, node.index) == input_of(graph, product.index)
    )


def _is_another_input(graph: Graph, node: Node, use: Use) -> bool:
    """Whether a call stands for an input of the model that a product isn't made of."""
    given = node.role == "source" and node.live and not node.tally
    return given and not reaches(graph, node.index, use.node)


def _is_of_another_input(graph: Graph, use: Use, one: Use) -> bool:
    """Whether a use is the same weight's, or slice's, on another signal or step."""
    same = one.param == use.param and one.origin.box == use.origin.box
    signals = [[value.node for value in graph.nodes[at.node].signals] for at in (one, use)]
    return same and signals[0] != signals[1] and not (one.origin.made or use.origin.made)


def _is_computed(use: Use) -> bool:
    return bool(use.origin.made) and use.met is None


def terms_of(node: Node) -> Iterable[int]:
    """Return what a term of a sum is made of, without passing a weight or a function."""
    added = node.role in ("add", "mul", "pool") or node.function in SUMS
    if node.weights or not (added or is_passed(node)):
        return ()
    return tuple(signals_of(node)) or node.inputs  # a sum of products with a weight


def is_summed(graph: Graph, index: int, by_signs: bool = True) -> bool:
    """Whether a function sums a product over an axis, or, if asked, ``+`` with another."""
    onward = walk_forward(graph, index, lambda n: n.role in ("view", "cast"))
    return any(
        node.function in SUMS or (by_signs and node.role == "add" and len(node.signals) > 1)
        for node in islice(onward, CALLS_FOLLOWED)
    )


def is_caught_after(graph: Graph, sum_: Node) -> bool:
    """Whether a norm takes a sum, after further terms if there are any."""

    def follow(node: Node) -> bool:
        return is_passed(node) or node.role == "add"

    ends = [n for n in islice(walk_forward(graph, sum_.index, follow), CALLS_FOLLOWED)
            if not follow(n)]  # fmt: skip
    return bool(ends) and all(node.role == "norm" for node in ends)
