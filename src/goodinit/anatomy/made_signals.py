"""Inputs of a weight that functions make of a signal: Fourier features, softmax, splines.

What a function that no recipe has a gain for makes of the second moment is measured: the calls
between the last signal and the weight run again on normal numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import isfinite, prod

import torch
from torch import Tensor

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Unlisted, Use, Value
from goodinit.dataflow.norms import has_mean_square_of_one
from goodinit.dataflow.replay import Computed, ReplayError, replaying
from goodinit.dataflow.tape import Entry, Ref, Tape, replaced
from goodinit.dataflow.traversal import is_drawn, is_noisy, passed_before, root
from goodinit.dataflow.unlisted import measured_square

# Calls between a signal and the weight that takes what is made of it: the recursion of a basis of
# splines has 16 for each degree.
CALLS_FOLLOWED = 128

# A larger input isn't computed again: a plan should take no longer for it than for a layer.
LARGEST_INPUT = 2**22

# Second moments as near to 1 are left alone: most activations change it by more. Those that are
# counted are left alone where the measure can't tell them from 1.
NEARLY_ONE, ALMOST_ONE = 1.2, 0.02

# Numbers that a measure is taken of, in as many draws at most: of x^2 it is then right to 1 %.
NUMBERS_MEASURED = 2**18
DRAWS = 64

# What is the same for signals of both sizes, each drawn anew, is known; with float32's error.
SIZES = (1.0, 2.0)
EQUAL = 1e-3

# Sines and cosines of any phase, with the error of a few hundred of them.
WAVES, NEARLY_WAVES = 0.5, 0.03

_BENDS = frozenset(
    "clamp clip clamp_min clamp_max abs round floor ceil where maximum minimum cdist one_hot "
    "normalize norm vector_norm linalg_vector_norm linalg_norm logsumexp max min amax amin "
    "median std var topk kthvalue scatter_reduce".split()
)
_MEANS = frozenset(("mean", "nanmean"))
_MIXING = frozenset(  # means of neighbors in space or time, which are alike in an activation
    "interpolate upsample avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d".split()
)
# Calls that put numbers of one position beside those of another, or on them.
_RUNNING = frozenset(
    "cumsum cumprod roll flip flipud fliplr pad constant_pad_nd scatter scatter_reduce".split()
)
# Activations that are used for other things if they have arguments of their own.
_CUT = ("hardtanh(", "threshold(")


@dataclass(frozen=True, slots=True)
class Made:
    """What is made of a signal.

    Attributes:
        function: the last that no recipe has a gain for.
        square: its second moment if the signal has one of 1.
        known: whether it is the same for any signal.
        counted: whether it is made of the numbers of one position, as those of a normal signal
            are made: what several positions have in common isn't known.
        error: why it can't be measured; "" if it can.
    """

    function: str
    square: float = 1.0
    known: bool = False
    counted: bool = False
    error: str = ""


class MadeSignals:
    """Measures the inputs of weights.

    Args:
        graph: the data flow, with its tape.
        is_kept: returns whether a parameter isn't drawn.
    """

    def __init__(self, graph: Graph, is_kept: Callable[[Use], bool]) -> None:
        self._graph = graph
        self._recorder = graph.recorder
        self._is_kept = is_kept
        self._known: dict[int, Made | None] = {}
        self._squares: dict[object, list[float | None]] = {}

    def before(self, product: int) -> Made | None:
        """Return what the input of a product is made by; None of a plain signal."""
        number = self._recorder.taken.get(product)
        if number is None or len(self._graph.nodes[product].signals) > 1:
            return None
        if number not in self._known:
            self._known[number] = self._before(product, number)
        return self._known[number]

    def _before(self, product: int, number: int) -> Made | None:
        start = self._graph.before(self._graph.nodes[product]).index
        region = self._region(start)
        nodes = [self._graph.nodes[index] for index in region]
        bends = [n for n in nodes if self._is_bend(n) or self._is_mean(n, nodes)]
        if not bends or self._is_activation(nodes):
            return None
        name = [node.function for node in bends if node.role != "mul" or node is bends[0]][-1]
        try:
            computed = self._computed(region, number)
            once, twice = self._measured(computed, nodes)
        except ReplayError as error:
            return Made(name, error=str(error))
        if once is None or twice is None:
            return None
        counted = self._is_of_one_position(nodes, _features(self._graph.nodes[product]))
        if counted and abs(once - 1) <= ALMOST_ONE:
            return Made(name, counted=True)
        if not counted and 1 / NEARLY_ONE <= once <= NEARLY_ONE:
            return Made(name)
        if all(abs(square / WAVES - 1) <= NEARLY_WAVES for square in (once, twice)):
            return Made(name, WAVES, known=True)
        ids = not any(s.live and s.value is None for s in computed.sources.values())
        by_chance = any(map(self._is_picked, nodes)) or (
            ids and not any(n.function == "one_hot" for n in nodes)
        )
        known = abs(twice - once) <= EQUAL * once and not by_chance
        return Made(name, once, known=known, counted=counted and not by_chance)

    # The calls between.

    def _region(self, start: int) -> list[int]:
        """Return the calls that make one signal of another; of a join, of several."""
        region, first = self._to_one(start)
        node = self._graph.nodes[first]
        if node.role == "join" and self._is_passed(node):
            region.add(first)
            for value in node.signals:
                region |= self._to_one(value.node)[0]
        return sorted(region)

    def _to_one(self, start: int) -> tuple[set[int], int]:
        """Return the calls back to the last signal that all is made of, and its call."""
        heap, passed, region, first = [-start], list[int](), set[int](), start
        while heap and len(passed) < CALLS_FOLLOWED:
            node = self._graph.nodes[-heappop(heap)]
            if not heap:
                first, region = node.index, set(passed)
                if node.role == "source":
                    break
            if not self._is_passed(node):
                if node.role == "source":
                    continue  # another input of the model
                break
            passed.append(node.index)
            for index in {value.node for value in node.signals}:
                if -index not in heap:
                    heappush(heap, -index)
        return region, first

    def _is_passed(self, node: Node) -> bool:
        if node.index not in self._recorder.signals or not node.signals:
            return False
        if node.role == "contract" and len(node.signals) > 1:
            return False  # a sum of products with scores, a signal of its own
        if node.function == "autograd_grad":
            return False  # the calls that led to it aren't run again
        if has_mean_square_of_one(self._graph, node):
            return False
        return all(use.role == "add" or self._is_kept(use) for use in node.uses)

    def _is_of_one_position(self, nodes: Iterable[Node], features: int | None) -> bool:
        """Whether nothing but features are summed, and shares of none of them are taken."""
        return not any(
            (node.role == "add" and is_noisy(self._graph, node))
            or node.role in ("pool", "pick", "softmax", "choose")
            or node.function in _RUNNING
            or (node.role in ("reduce", "contract") and not self._is_along(node, features))
            for node in nodes
        )

    def _is_along(self, node: Node, features: int | None) -> bool:
        """Whether a call reduces the axis of features alone."""
        if node.role == "contract":
            first = node.operands[0] in node.signals  # x @ w, and not w @ x
            return node.function == "linear" or (node.function in ("matmul", "mm") and first)
        before, after = self._graph.before(node).shape, node.shape
        if len(before) == len(after):
            axes = [
                n for n, sizes in enumerate(zip(before, after, strict=True)) if len({*sizes}) > 1
            ]
            return axes in ([], [features])
        return features == len(before) - 1 and after == before[:-1]

    def _is_bend(self, node: Node) -> bool:
        if node.role == "pointwise" and node.square is not None:
            return False  # a mask
        by_itself = node.role == "mul" and len(node.signals) > 1 and not self._is_gated(node)
        label = node.label.startswith(_CUT) or node.function == "sin"
        bends = node.role in ("bend", "softmax") or node.function in _BENDS
        bends = bends or (node.function == "diff" and len(node.signals) > 1)
        bends = bends or by_itself or label or self._is_counted(node) or self._is_picked(node)
        bends = bends or self._is_sum_of_inputs(node) or self._is_with_its_mean(node)
        return bends or is_noisy(self._graph, node) or self._is_unlisted(node)

    def _is_sum_of_inputs(self, node: Node) -> bool:
        """Whether two inputs of the model are added."""
        roots = {root(self._graph, value.node) for value in node.signals}
        sources = [self._graph.nodes[index].role == "source" for index in roots]
        return _is_sum(node) and len(sources) > 1 and all(sources)

    def _is_with_its_mean(self, node: Node) -> bool:
        """Whether a signal and what was reduced or picked of it are added: x less its maximum."""
        if len(node.signals) < 2 or not _is_sum(node):
            return False
        before = (n for value in node.signals for n in passed_before(self._graph, value.node))
        return any(self._is_reduced(self._graph.nodes[index]) for index in before)

    def _is_reduced(self, node: Node) -> bool:
        """Whether a call reduces a signal, or picks from one: neighbors are alike."""
        rows = node.role == "pick" and not node.function.startswith("embedding")
        picked = rows and any(node.operands[0] is value for value in node.signals)
        return picked or node.role in ("pool", "reduce")

    def _is_mean(self, node: Node, nodes: Collection[Node]) -> bool:
        """Whether neighbors are averaged, or an input of the model is, or is read in between."""
        if node.function not in _MEANS | _MIXING:
            return False
        picked = node.function in _MEANS and any(one.role == "pick" for one in nodes)
        before = root(self._graph, self._graph.before(node).index)
        return picked or self._graph.nodes[before].role == "source"

    def _is_unlisted(self, node: Node) -> bool:
        """Whether a function that no list describes bends each number, as ``sign`` does."""
        if not isinstance(node.linear, Unlisted) or not self._is_elementwise(node):
            return False
        made = self._entry(node).result
        return _is_float(self._recorder.tape, made) and measured_square(node.linear) is None

    def _is_counted(self, node: Node) -> bool:
        """Whether what was compared or counted becomes a number: ``(x > 1).float()``."""
        tape, before = self._recorder.tape, self._graph.before(node)
        if node.role != "cast" or before.role == "source":
            return False
        entry = self._entry(node)
        (given, *_), (made, *_) = entry.inputs, entry.outputs
        return _is_float(tape, made) and not _is_float(tape, given)

    def _entry(self, node: Node) -> Entry:
        return self._recorder.tape.entries[self._recorder.signals[node.index]]

    def _is_gated(self, node: Node) -> bool:
        """Whether a factor is an activation for this product alone: recipes know gates."""
        factors = (self._graph.nodes[root(self._graph, v.node)] for v in node.signals)
        return any(one.role == "activation" and len(one.consumers) == 1 for one in factors)

    def _is_picked(self, node: Node) -> bool:
        """Whether rows of a constant are picked: ``eye[ids]``."""
        first = node.operands[0].node if node.role == "pick" and node.operands else None
        return first is not None and not self._graph.nodes[first].live

    def _is_elementwise(self, node: Node) -> bool:
        shapes = [self._graph.nodes[value.node].shape for value in node.operands]
        return node.shape == max(shapes, key=prod)

    def _is_activation(self, nodes: Collection[Node]) -> bool:
        """Whether an activation is squared or written by hand; recipes have a gain for these."""
        if any(n.role in ("softmax", "contract", "pick") or is_drawn(n) for n in nodes):
            return False
        wider = any(prod(node.shape) > max(map(self._size, node.signals)) for node in nodes)
        listed = any(n.role == "activation" and not n.label.startswith(_CUT) for n in nodes)
        return listed and not wider

    def _size(self, value: Value) -> int:
        return prod(self._graph.nodes[value.node].shape)

    # Numbers.

    def _computed(self, region: Iterable[int], number: int) -> Computed:
        tape = self._recorder.tape
        also = frozenset(self._recorder.signals[index] for index in region)
        computed = Computed(tape, tape.entries_for(number, max(also) + 1, also), [number])
        if prod(computed.shape(number)) > LARGEST_INPUT:
            raise ReplayError(f"it has more than {LARGEST_INPUT} numbers")
        return computed

    def _measured(self, computed: Computed, nodes: Iterable[Node]) -> list[float | None]:
        """Return the second moment of what signals of each size become; once for equal layers.

        Layers are equal if their calls and constants are.
        """
        calls = (
            (n.function, n.shape, n.number, n.square, n.label, repr(_without_numbers(entry)))
            for n, entry in ((n, self._entry(n)) for n in nodes)
        )
        constants = (s.value for s in computed.sources.values() if s.value is not None)
        key = (*calls, *map(_sums, constants))
        if key not in self._squares:
            random = torch.Generator().manual_seed(1)
            with replaying(), torch.no_grad():
                self._squares[key] = [_mean_square(computed, size, random) for size in SIZES]
        return self._squares[key]


def _is_sum(node: Node) -> bool:
    return node.role == "add" or node.function == "lerp"


def _without_numbers(entry: Entry) -> object:
    return replaced((entry.args, entry.kwargs), lambda item: "" if isinstance(item, Ref) else item)


def _features(product: Node) -> int | None:
    """Return the axis of its input that a product sums over; None if it isn't known."""
    if product.function.startswith("conv"):
        return 1
    return len(product.shape) - 1 if product.function == "linear" else None


def _mean_square(computed: Computed, size: float, random: torch.Generator) -> float | None:
    found, numbers = list[float](), 0
    while numbers < NUMBERS_MEASURED and len(found) < DRAWS:
        row = computed(_values(computed, size, random))
        square = _square(row)
        if square is None:
            return None
        found.append(square)
        numbers += row.numel()
    return sum(found) / len(found)


def _values(computed: Computed, size: float, random: torch.Generator) -> dict[int, Tensor]:
    """Return values of what is taken: constants, parameters, and signals of a size."""
    values = dict[int, Tensor]()
    for number, source in computed.sources.items():
        if source.value is not None:
            values[number] = source.value.detach().cpu()
        elif source.live and source.dtype.is_floating_point:
            drawn = torch.randn(source.shape, generator=random, device="cpu")
            values[number] = size * drawn
        else:
            raise ReplayError("it is made with constants that have no values on meta")
    return values


def _sums(constant: Tensor) -> tuple[float, float]:
    """Return two numbers in which two constants of one shape differ."""
    numbers = constant.detach()
    numbers = (torch.view_as_real(numbers) if numbers.is_complex() else numbers).double()
    return numbers.sum().item(), numbers.square().sum().item()


def _is_float(tape: Tape, number: int) -> bool:
    return tape.dtypes[number].is_floating_point


def _square(row: Tensor) -> float | None:
    if not row.numel():
        return None
    found = float(row.double().square().mean())
    return found if found and isfinite(found) else None
