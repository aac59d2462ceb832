"""Attention, fused or written out: which weights make queries, keys and values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations

from goodinit._common.sequences import only
from goodinit.anatomy.roles import Range, Roles, feature_axis, features_of
from goodinit.anatomy.states import reading_of
from goodinit.anatomy.weighted_sums import (
    SUMS,
    Attention,
    is_product_of_signals,
    scored,
    weighted_sum,
)
from goodinit.dataflow.geometry import Dims
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.labels import Labels
from goodinit.dataflow.nodes import Node, Value
from goodinit.dataflow.traversal import (
    back_to_contractions,
    is_pass,
    passed_before,
    root,
    signals_of,
    walk_back,
    walk_forward,
)


def attentions(graph: Graph) -> Iterator[Attention]:
    """Yield every attention, but those of ``multi_head_attention_forward``: its module is known.

    An attention is a product of two projections and its product with a third, whatever comes
    between: a softmax, another function, a mask, or nothing.
    """
    found: set[int] = set()
    softmaxes: list[Node] = []
    for node in graph.nodes:
        if node.function == "multi_head_attention_forward" or not node.live:
            continue
        if node.role == "attention" and len(node.operands) >= 3:
            yield Attention(*node.operands[:3], node.index)
        elif node.role == "softmax":
            softmaxes.append(node)
        elif is_product_of_signals(node) or node.function in SUMS:
            attention = _of_a_state(graph, node)
            if attention is None:
                contracts = node.role == "contract"
                attention = _by_axes(graph, node) if contracts else weighted_sum(graph, node)
                attention = attention and _if_projected(graph, attention)
            if attention is not None:
                found.add(node.index)
                yield attention
    for softmax in softmaxes:  # whose axes were lost on the way
        yield from (one for one in _written_out(graph, softmax) if one.result not in found)


def _of_a_state(graph: Graph, node: Node) -> Attention | None:
    """Return the attention that is read from a state of outer products."""
    reading = reading_of(graph, node)
    if reading is None:
        return None
    return _if_projected(graph, Attention(*reading[:3], node.index, reading.outer))


def _by_axes(graph: Graph, node: Node) -> Attention | None:
    """Return the attention that a product completes: which of its axes is summed says which."""
    for scores, other, labels in _pairs(graph, node):
        made = _product_behind(graph, scores)
        if made is None:
            continue
        inner, axes = made
        summed = [over for label, over in zip(labels[0], axes, strict=True)
                  if label in labels[1] and label not in node.labels[-1]]  # fmt: skip
        attention = _between(graph, inner, summed, other, node)
        if attention is not None and _if_projected(graph, attention):
            return attention
    return None


def _pairs(graph: Graph, node: Node) -> Iterator[tuple[Value, Value, Labels]]:
    """Yield two operands of a product and their labels, in both orders.

    A third is left out that only multiplies the result: what normalizes linear attention.
    """
    labels, result = node.labels[:-1], set(node.labels[-1] if node.labels else ())
    operands = node.operands[len(node.operands) - len(labels) :]
    shapes = [graph.nodes[value.node].shape for value in operands]
    long = [
        {label for label, size in zip(one, shape, strict=False) if size > 1}
        for one, shape in zip(labels, shapes, strict=True)
    ]
    for pair in permutations(range(len(labels)), 2):
        if all(one <= result for place, one in enumerate(long) if place not in pair):
            first, second = pair
            yield operands[first], operands[second], (labels[first], labels[second])


def _product_behind(graph: Graph, value: Value) -> tuple[Node, Dims] | None:
    """Return the product that scores are, after masks and biases, and where its axes went."""
    for origin in value.origins:
        node = graph.nodes[origin.node]
        if origin.param is not None or node.weights:
            continue
        if is_product_of_signals(node) and node.labels:
            return node, origin.axes
        if node.role in ("add", "mul"):  # scores and biases that are products too: the first
            for term in node.operands:
                deeper = None if term.node >= node.index else _product_behind(graph, term)
                if deeper is not None:
                    rank = len(node.shape)
                    dims = ((),) * (rank - len(deeper[1])) + deeper[1]
                    return deeper[0], tuple(
                        tuple(axis for dim in over for axis in dims[dim]) for over in origin.axes
                    )
    return None


def _between(
    graph: Graph, inner: Node, summed: Iterable[tuple[int, ...]], other: Value, outer: Node
) -> Attention | None:
    """Return the attention of two products, the second of which sums over axes of the first."""
    axes = [axis for over in summed for axis in over]
    *_, left, right, made = inner.labels
    *_, first, second = inner.operands
    axis = only(axes)
    if axis is None:
        return None
    label = made[axis]
    if (label in left) == (label in right):
        return None
    key, rest = (first, second) if label in left else (second, first)
    kept = [one for one in set(left) & set(right) if one not in made]
    features = _sums_features(graph, inner, kept) if kept else False  # no sum: a state of k and v
    if features is None:
        features = not _is_plain(graph, inner, outer)
    elif not features and kept:
        features = _is_normalized(graph, inner, outer)  # scores of features, summed over positions
    found = Attention(rest, key, other, outer.index)
    if not features:
        found = Attention(other, key, rest, outer.index, inner.index)
    return found


def _if_projected(graph: Graph, found: Attention) -> Attention | None:
    """Return an attention if weights that mix features made all of its operands."""
    made = _made(graph, found)
    return found if all(nodes and all(map(_is_projection, nodes)) for nodes in made) else None


def _made(graph: Graph, found: Attention) -> list[list[Node]]:
    """Return the weights that made each operand: behind convolutions of each feature alone.

    Only if all three went through one: a state space has one before its scores alone.
    """
    made = [_projections(graph, value) for value in found[:3]]
    if not all(_is_depthwise(node) for nodes in made for node in nodes):
        return made
    behind = [[p for n in nodes for p in _projections(graph, n.signals[0])] for nodes in made]
    return behind if all(behind) else made


def _projections(graph: Graph, value: Value) -> list[Node]:
    """Return the weights that made an operand, before its own softmax if it has one.

    Not those that are applied to what they made: a feature map, or a mixture of positions.
    """
    node = graph.nodes[root(graph, value.node)]
    index, *_ = node.inputs if node.role == "softmax" else (value.node,)
    found: list[Node] = []
    for made in back_to_contractions(graph, index):
        later = _takes_a_projection(graph, made)
        found += _projections(graph, made.signals[0]) if later else [made]
    if node.role == "join" and not found:  # softmax(q), softmax(-q)
        found = [made for part in node.signals for made in _projections(graph, part)]
    return found


def _takes_a_projection(graph: Graph, node: Node) -> bool:
    """Whether a weight mixes the positions of a projection (Linformer), or each head's features."""
    (value, *_), rank = node.signals or (None,), len(node.shape)
    if value is None or len(graph.nodes[value.node].shape) != rank:
        return False
    *passed, before = passed_before(graph, value.node)
    if any(graph.nodes[index].role == "norm" for index in passed):
        return False  # a layer before the projection (a mixer of tokens)
    axis = feature_axis(node, rank)
    for origin in value.origins:
        made = graph.nodes[origin.node]
        if origin.node == before and made.weights and origin.axes[axis]:
            features = feature_axis(made, len(origin.box))
            heads = sum({*over} == {features} for over in origin.axes) > 1
            if features not in origin.axes[axis] or (heads and _feeds_one_weight(graph, made)):
                return True
    return False


def _feeds_one_weight(graph: Graph, node: Node) -> bool:
    """Whether one weight alone takes a result next: the features that attention sees."""
    after = walk_forward(graph, node.index, is_pass)
    return len({use.param for other in after for use in other.weights}) == 1


def _is_projection(node: Node) -> bool:
    """Whether a weight mixes features; a depthwise convolution, as in a state space, doesn't."""
    return all(use.groups == 1 for use in node.weights)


def _is_depthwise(node: Node) -> bool:
    """Whether a weight is a convolution of each feature alone."""
    features = node.shape[feature_axis(node, len(node.shape))]
    return all(1 < use.groups == features for use in node.weights)


def _sums_features(graph: Graph, node: Node, summed: Iterable[int]) -> bool | None:
    """Whether a product sums over features of projections; None if their axes were lost."""
    *_, left, right, _ = node.labels
    *_, first, second = node.operands
    for value, labels in ((first, left), (second, right)):
        for origin in value.origins:
            made = graph.nodes[origin.node]
            if origin.param is None and made.weights:
                window = int(made.function[-2]) if made.function.startswith("conv") else 0
                last = len(made.shape) - 1 - window
                over = {a for one in summed for a in origin.axes[labels.index(one)]}
                if over:
                    return last in over
    return None


def _is_normalized(graph: Graph, inner: Node, outer: Node) -> bool:
    """Whether a softmax makes shares of a product before it is used."""
    before = walk_back(
        graph, signals_of(outer), lambda n: () if n.weights else signals_of(n), inner.index
    )
    return any(node.role == "softmax" for node in before)


def _is_plain(graph: Graph, inner: Node, outer: Node) -> bool:
    """Whether nothing but reshaping comes between two products."""
    for value in outer.operands:
        index = value.node
        while index > inner.index and graph.nodes[index].role in ("view", "cast"):
            index = graph.nodes[index].inputs[0]
        if index == inner.index:
            return True
    return False


def _written_out(graph: Graph, softmax: Node) -> Iterator[Attention]:
    """Yield the attention around a softmax: a product of two signals before it and one after."""

    def follow(node: Node) -> Iterable[int]:
        passes = is_pass(node) or node.role in ("add", "bend", "choose")
        return signals_of(node) if passes or node is softmax or _mixes_heads(node) else ()

    before = walk_back(graph, [softmax.index], follow)
    pair = next((pair for node in before if (pair := scored(graph, node))), None)
    if pair is None:
        return
    query, key = pair
    shares = {softmax.index}
    for node in walk_forward(graph, softmax.index, lambda n: is_pass(n) or _mixes_heads(n)):
        if not is_product_of_signals(node):
            shares.add(node.index)
            continue
        rest = [v for v in node.signals if v.node not in shares]
        if rest:
            yield Attention(query, key, rest[-1], node.index)
        return


def _mixes_heads(node: Node) -> bool:
    """Whether a weight mixes the heads of scores (talking heads): neither of the last two axes."""
    if len(node.weights) != 1 or len(node.signals) != 1 or len(node.shape) < 4:
        return False
    (use,), (value,) = node.weights, node.signals
    if use.window:
        return [use.origin.sizes[axis] for axis in use.window] == [1, 1]
    if use.places:
        return all(place < len(node.shape) - 2 for _, place in use.places)
    over = (o.axes[-1] for o in value.origins if o.param is None and len(o.box) == len(node.shape))
    return any(axes and max(axes) < len(node.shape) - 2 for axes in over)


def mark_projections(graph: Graph, roles: Roles, attention: Attention) -> None:
    """Mark the weights that made an attention's queries, keys and values."""
    made = _made(graph, attention)
    held = [_features(graph, operand) for operand in attention[:3]]
    (queries, keys, values), same = ({n.index for n in nodes} for nodes in made), held[0] == held[1]
    if attention.inner is not None and queries == keys and same:
        return  # a state that is read with its own key, to be corrected: the delta rule
    if len(queries | keys) > 1 and queries | keys <= values:
        return  # scores that are multiplied by scores
    for part, nodes, ranges in zip("qkv", made, held, strict=True):
        corrected = keys if part == "v" and values - keys else ()
        for node in nodes:
            before = roles.parts.get(node.index)
            if node.index in roles.ends or before == "patch" or node.index in corrected:
                continue
            if node.index in roles.adapters or (before == "in" and node.index in roles.packed):
                continue
            if node.index in ranges:
                roles.packed.setdefault(node.index, {})[part] = ranges[node.index]
            if before in (None, "head", "in", part):
                roles.parts[node.index] = part
            elif before in ("q", "k", "v"):
                roles.parts[node.index] = "weight"  # packed


def _features(graph: Graph, operand: Value) -> dict[int, Range]:
    """Return which features of projections an operand holds, by their nodes."""
    return {o.node: features_of(graph, o) for o in operand.origins if o.param is None}


def weights_after(graph: Graph, index: int) -> list[Node]:
    """Return the first weights that a result goes through."""

    def follow(node: Node) -> bool:
        return is_pass(node) or node.role in ("mul", "activation")

    return [node for node in walk_forward(graph, index, follow) if node.weights]
