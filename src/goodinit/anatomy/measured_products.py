"""What the calls after a product make of it, where it meets a signal again: measured.

The calls up to the next weight, or to what the model returns, run again on normal numbers in the
place of each product. Twice as large products show which of them the result is as large as.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isclose, isfinite, log2, prod
from statistics import stdev
from typing import NamedTuple

import torch
from torch import Tensor

from goodinit.anatomy.joined import input_of, is_zero
from goodinit.anatomy.next_activation import is_square
from goodinit.anatomy.roles import Roles
from goodinit.dataflow.equal_calls import key_of
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.replay import Computed, ReplayError, replaying
from goodinit.dataflow.traversal import (
    is_noisy,
    is_share,
    passed_before,
    root,
    signals_of,
    walk_back,
)
from goodinit.dataflow.unlisted import COMPLEX

# Calls between products and the next weight.
CALLS_FOLLOWED = 64

# A larger result isn't computed again: a plan should take no longer for it than for a layer.
LARGEST_RESULT = 2**22

# Second moments as near to 1 are left alone, as those of the inputs of weights.
NEARLY_ONE = 1.2

# Numbers that a measure is taken of, in as many draws at most.
NUMBERS_MEASURED = 2**16
DRAWS = 256

MET = "with other signals that it meets, its product is {:.2g} times as large"

# Of a fan that is measured: the rest depends on the draws.
DIGITS = 3

# With a larger standard error, a few large numbers decide: a quotient of normal numbers.
RARE = 0.1

# One number may be drawn as nearly 0: it isn't enlarged to 1 then.
LEAST = 0.1

# With float32's error; the highest power of one product, or number of factors.
EQUAL = 1e-3
HIGHEST_DEGREE = 8

_PASSED = frozenset(
    "view cast pointwise add mul contract reduce join bend activation other".split()
)
_OTHERS = frozenset("softmax pool choose attention".split())
_REDUCING = frozenset("max min amax amin sum nansum prod norm vector_norm logsumexp".split())
_CHOOSING = frozenset("where maximum minimum masked_fill lerp max min".split())


@dataclass(frozen=True, slots=True)
class After:
    """What the calls after a product make of it.

    Attributes:
        square: the second moment of the result, of products of second moment 1.
        degree: how many drawn products the result is one of, powers included; 0 if it isn't one.
        doubt: why the second moment may be another; "" if it isn't.
    """

    square: float
    degree: int
    doubt: str

    @property
    def times(self) -> float:
        """By what a fan is multiplied, so that the result has a second moment of 1."""
        return self.square ** (1 / self.degree) if self.degree else 1.0


class Signal(NamedTuple):
    """A signal that a result is made of.

    Attributes:
        number: on the tape.
        size: of its numbers.
        place: of the product that it is, or that an activation takes, among all.
        drawn: whether that is a product with a weight that is drawn.
    """

    number: int
    size: float
    place: int
    drawn: bool


class MeasuredProducts:
    """Measures what is made of products.

    Args:
        graph: the data flow, with its tape.
        roles: of its weights; sums of residual streams are of a known kind.
        outputs: the nodes whose results the model returned.
        is_kept: returns whether a weight isn't drawn.
        terms: returns of how many products the sum is that a use's product goes into.
        is_asked: returns whether what is made of the input of a product is said with its weight.
    """

    def __init__(
        self,
        graph: Graph,
        roles: Roles,
        outputs: Collection[int],
        is_kept: Callable[[Use], bool],
        terms: Callable[[Use], float],
        is_asked: Callable[[int], bool],
    ) -> None:
        self._graph = graph
        self._recorder = graph.recorder
        self._outputs = outputs
        self._is_kept = is_kept
        self._terms = terms
        self._is_asked = is_asked
        self._sums = {stream.node for stream in roles.streams} | roles.adapted
        self._known: dict[tuple[int, bool], dict[int, After]] = {}
        self._shared: dict[object, dict[int, After]] = {}

    def after(self, product: int, always: bool = False) -> After | None:
        """Return what is made of a product; None if it stays as large, or that isn't known.

        Unless ``always``, sums, gates and powers that recipes know are left alone.
        """
        end = self._end(product)
        if end is None:
            return None
        if (end, always) not in self._known:
            try:
                self._known[end, always] = self._measured(end, always)
            except ReplayError:
                self._known[end, always] = {}
        return self._known[end, always].get(product)

    # The calls between.

    def _end(self, product: int) -> int | None:
        """Return the number of the tensor that all that is made of a product leads to."""
        nodes, tape = self._graph.nodes, self._recorder.tape
        stack, passed, ends = list(nodes[product].consumers), {product}, set[int]()
        while stack:
            node = nodes[stack.pop()]
            if node.index in passed or node.role == "source":
                continue
            if node.index in self._recorder.taken and self._is_drawn(node):
                if self._is_asked(node.index):
                    return None
                ends.add(self._recorder.taken[node.index])
                continue
            if not self._is_passed(node) or len(passed) > CALLS_FOLLOWED:
                return None
            passed.add(node.index)
            if node.index in self._outputs or not node.consumers:
                ends.add(tape.entries[self._recorder.signals[node.index]].result)
            stack += node.consumers
        return ends.pop() if len(ends) == 1 else None

    def _is_drawn(self, node: Node) -> bool:
        return any(not self._is_kept(use) for use in node.weights)

    def _is_passed(self, node: Node) -> bool:
        if node.index not in self._recorder.signals or not node.signals:
            return False
        known = node.role in _PASSED
        kept = all(use.role == "add" or self._is_kept(use) for use in node.uses)
        return known and kept and not self._is_drawn(node) and node.index not in self._sums

    def _region(self, end: int, shares: bool) -> list[Node]:
        """Return the calls back from a tensor to products, inputs and activations.

        Sigmoids are among them if ``shares``.
        """
        tape, nodes = self._recorder.tape, self._graph.nodes
        by_entry = {entry: index for index, entry in self._recorder.signals.items()}
        start = tape.makers.get(end)
        stack = [by_entry[start]] if start in by_entry else []
        found: dict[int, Node] = {}
        while stack:
            node = nodes[stack.pop()]
            if node.index in found:
                continue
            if node.role in _OTHERS or node.index in self._sums or self._is_known(node):
                raise ReplayError("it is made in another way")
            share = is_share(node.function) and not shares
            if not self._is_passed(node) or _is_activation(node) or share:
                continue
            if len(found) > CALLS_FOLLOWED:
                raise ReplayError("there are more calls")
            found[node.index] = node
            stack += (value.node for value in node.signals)
        return [found[index] for index in sorted(found)]

    def _is_known(self, node: Node) -> bool:
        """Whether noise is added, as in a VAE's sample, or a signal is divided by its own size.

        Or an activation is squared and added, which isn't spread like a normal signal (snake).
        """
        if is_square(node) and node.signals:
            squared = self._graph.nodes[root(self._graph, self._graph.before(node).index)]
            after = (self._graph.nodes[index].role for index in node.consumers)
            return _is_activation(squared) and {*after} <= {"mul", "add"}
        if node.function == "div":
            return len(node.signals) > 1 and self._is_of_one(node)
        passed = [i for v in node.signals for i in passed_before(self._graph, v.node)]
        made_by = (self._graph.nodes[index] for index in (node.index, *passed))
        return node.role == "add" and any(is_noisy(self._graph, one) for one in made_by)

    def _meets(self, node: Node) -> bool:
        """Whether the size of a call's result isn't that of its signals, by its name."""
        if node.function in COMPLEX or _is_reduced(node):
            return True
        if any(self._recorder.tape.dtypes[number].is_complex for number in self._inputs(node)):
            return True
        if node.role == "mul" and is_noisy(self._graph, node, rounded=False):
            return True
        if len({value.node for value in node.signals}) < 2:
            return False
        if node.role == "mul":
            return not self._is_gated(node)
        if node.role in ("add", "join"):
            return self._is_of_one(node) or self._is_choice(node)
        return node.function in _CHOOSING

    def _is_gated(self, product: Node) -> bool:
        """Whether a factor is an activation, by hand too: recipes know gates."""
        factors = [self._graph.nodes[root(self._graph, v.node)] for v in product.signals]
        by_hand = (n for n in factors if n.role == "mul" and len(n.signals) > 1)
        return any(one.role == "activation" for one in factors) or any(
            self._is_of_one(one) and self._is_gated(one) for one in by_hand
        )

    def _is_of_one(self, node: Node) -> bool:
        """Whether operands are made of one signal: a product less its mean."""
        made_of = [
            {n.index for n in walk_back(self._graph, [value.node], self._before)}
            for value in node.signals
        ]
        return len(set[int]().union(*made_of)) < sum(map(len, made_of))

    def _before(self, node: Node) -> Iterable[int]:
        return signals_of(node) if self._is_passed(node) else ()

    def _is_choice(self, sum_: Node) -> bool:
        """Whether a sum adds signals that shares multiply, or a share mixes two."""
        if sum_.role != "add":
            return sum_.function == "lerp" and len(sum_.signals) > 2
        gated = [self._gates(self._graph.nodes[root(self._graph, v.node)]) for v in sum_.signals]
        number = sum(map(bool, gated))
        return number > 1 or (number == 1 and self._is_of_one(sum_))  # a + g * (b - a)

    def _gates(self, node: Node) -> list[int]:
        """Return the shares that multiply another signal."""
        if node.role != "mul" or len(node.signals) < 2:
            return []
        roots = [root(self._graph, value.node) for value in node.signals]
        return [one for one in roots if is_share(self._graph.nodes[one].function)]

    # Numbers.

    def _measured(self, end: int, always: bool) -> dict[int, After]:
        region = self._region(end, shares=True)
        if not region or not (always or any(map(self._meets, region))):
            return {}
        if not any(map(self._is_choice, region)):
            region = self._region(end, shares=False)
        computed, made_by = self._computed(region, end)
        sizes = {
            number: self._size(node)
            for number, node in made_by.items()
            if not is_share(node.function)
        }
        drawn = {node.index for node in made_by.values() if self._is_drawn(node)}
        inputs = {input_of(self._graph, index) for index in drawn}
        for node in made_by.values():
            first = root(self._graph, node.index)
            if self._graph.nodes[first].role == "source" and first not in inputs:
                raise ReplayError("another input stands in it")  # a mask, a number of steps
        owners = {number: self._owner(made_by[number]) for number in sizes}
        order = list(dict.fromkeys(owners.values()))
        signals = [
            Signal(number, size, order.index(owners[number]), owners[number] in drawn)
            for number, size in sizes.items()
        ]
        key = (key_of(computed, self._recorder.tape), *(one[1:] for one in signals))
        if key not in self._shared:
            with replaying(), torch.no_grad():
                self._shared[key] = _compared(computed, signals, any(map(_is_reduced, region)))
        return {order[place]: after for place, after in self._shared[key].items()}

    def _computed(self, region: Collection[Node], end: int) -> tuple[Computed, Mapping[int, Node]]:
        """Return a tensor as a function of signals, and which call made each of these."""
        tape = self._recorder.tape
        also = frozenset(self._recorder.signals[node.index] for node in region)
        computed = Computed(tape, tape.entries_for(end, max(also) + 1, also), [end])
        if prod(computed.shape(end)) > LARGEST_RESULT:
            raise ReplayError(f"it has more than {LARGEST_RESULT} numbers")
        taken = {
            number: self._graph.nodes[value.node]
            for node in region
            for value, number in zip(node.operands, self._inputs(node), strict=True)
        }
        live = [n for n, source in computed.sources.items() if source.live and source.value is None]
        if not taken.keys() >= {*live}:
            raise ReplayError("it is made of a part of another tensor")
        return computed, {number: taken[number] for number in live}

    def _inputs(self, node: Node) -> tuple[int, ...]:
        return self._recorder.tape.entries[self._recorder.signals[node.index]].inputs

    def _size(self, node: Node) -> float:
        """Return the size of a signal: that of a term is its share of the sum."""
        drawn = [use for use in node.weights if not self._is_kept(use)]
        if any(is_zero(self._graph, use) for use in drawn):
            return 0.0
        taken = self._recorder.taken.get(node.index) if drawn else None
        if taken is not None and self._recorder.tape.dtypes[taken].is_complex:
            return self._complex_size(taken)
        return (1 / self._terms(drawn[0])) ** 0.5 if len(drawn) == 1 else 1.0

    def _complex_size(self, taken: int) -> float:
        """Return the size of complex numbers that are made of signals, which may be real."""
        region = self._region(taken, shares=True)
        if not region:
            return 1.0
        computed, made_by = self._computed(region, taken)
        square = _square(computed, dict.fromkeys(made_by, 1.0), DRAWS)
        if square is None:
            raise ReplayError("its input is zero, or infinite")
        return square**0.5

    def _owner(self, node: Node) -> int:
        """Return the product that an activation is taken of, or the signal itself."""
        if _is_activation(node) and node.signals:
            return root(self._graph, self._graph.before(node).index)
        return node.index


def _is_reduced(node: Node) -> bool:
    """Whether numbers are added up, or one of several is taken."""
    return node.role == "reduce" and node.function in _REDUCING


def _is_activation(node: Node) -> bool:
    """Whether a call is an activation, whose gain recipes know; shares are computed."""
    return node.role == "activation" and not is_share(node.function)


def _compared(computed: Computed, signals: Collection[Signal], reduced: bool) -> dict[int, After]:
    """Return what is made of each product, by its place, unless the result is as large.

    What is made of other signals, and of an activation's result, isn't as large as if these were
    normal: then there is a doubt. So there is if numbers were ``reduced``: positions, perhaps.
    """
    sizes = {one.number: one.size for one in signals}
    square = _square(computed, sizes, DRAWS)
    if square is None or 1 / NEARLY_ONE <= square <= NEARLY_ONE:
        return {}

    def degree(of: Collection[int]) -> int | None:
        larger = {one.number: one.size * (1 + (one.place in of)) for one in signals}
        once, twice = _square(computed, sizes), _square(computed, larger)
        return _degree(twice / once) if once and twice else None

    degrees = {place: degree({place}) for place in dict.fromkeys(one.place for one in signals)}
    relevant = {place for place, one in degrees.items() if one != 0}
    drawn = relevant & {one.place for one in signals if one.drawn}
    # All of them make the result larger, or all but one that only chooses: a gate.
    groups = ((group, degree(group)) for group in (drawn, *(drawn - {one} for one in drawn)))
    factors, total = next(((group, n) for group, n in groups if n), (set[int](), 0))
    certain = total and factors == relevant and (total == 1 or len(factors) == 1)
    doubt = "" if certain and not reduced else MET.format(square**0.5)
    return {place: After(square, total if place in factors else 0, doubt) for place in relevant}


def _degree(times: float) -> int | None:
    """Return the power of a signal that a result is, by what twice as large ones make of it."""
    degree = round(log2(times) / 2)
    same = isclose(times, 4.0**degree, rel_tol=EQUAL) and 0 <= degree <= HIGHEST_DEGREE
    return degree if same else None


def _square(computed: Computed, sizes: Mapping[int, float], draws: int = 1) -> float | None:
    """Return the second moment of a result over some draws, each time the same."""
    random = torch.Generator().manual_seed(1)
    found, numbers = list[float](), 0
    while numbers < NUMBERS_MEASURED and len(found) < draws:
        row = computed(dict(_values(computed, sizes, random)))
        if not row.numel():
            return None
        found.append(float(row.double().square().mean()) * _reals(computed))
        numbers += row.numel()
    square = sum(found) / len(found)
    if not square or not isfinite(square):
        return None
    rare = len(found) > 1 and stdev(found) > RARE * square * len(found) ** 0.5
    return None if rare else square


def _reals(computed: Computed) -> int:
    return 2 if computed.dtype(computed.targets[0]).is_complex else 1


def _values(
    computed: Computed, sizes: Mapping[int, float], random: torch.Generator
) -> Iterator[tuple[int, Tensor]]:
    """Yield values of what is taken: constants, normal numbers of each size, and open gates."""
    for number, source in computed.sources.items():
        if source.value is not None:
            yield number, source.value.detach().cpu()
        elif source.live and number not in sizes:
            yield number, torch.ones(source.shape, device="cpu")
        elif source.dtype.is_complex:  # of one length: parts are half of it, each time
            parts = torch.randint(0, 2, (*source.shape, 2), generator=random, device="cpu")
            signs = torch.view_as_complex(2.0 * parts - 1)
            yield number, signs * (sizes.get(number, 1.0) / 2**0.5)
        elif source.dtype.is_floating_point:
            drawn = torch.randn(source.shape, generator=random, device="cpu")
            own = drawn.square().mean().sqrt().clamp(min=LEAST)  # so that few numbers are enough
            yield number, drawn * (sizes.get(number, 1.0) / own)
        else:
            raise ReplayError("it is made with constants that have no values on meta")
