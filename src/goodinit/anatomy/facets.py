"""What a data flow says of every parameter: the last word on what it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from goodinit.anatomy.roles import Roles, activation_after, is_normalised, roles_of
from goodinit.anatomy.rows import Block, Facets
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import back, is_pass, root
from goodinit.schemes.fans import Layout

__all__ = ["Flow", "facets_from"]

_CONV = ("conv1d", "conv2d", "conv3d", "deform_conv2d")
_UNNAMED = ("weight", "bias", "table")


@dataclass(frozen=True, slots=True)
class Flow:
    """What a data flow tells.

    Attributes:
        facets: of each parameter, by its number.
        sums: the nodes that add a branch to a residual stream.
        width: number of features of that stream.
    """

    facets: list[Facets]
    sums: list[int]
    width: int | None


def facets_from(graph: Graph, outputs: Iterable[int], told: Sequence[Facets]) -> Flow:
    """Return what the flow says of every parameter.

    Args:
        graph: of one run.
        outputs: the nodes whose results the model returned.
        told: what types and shapes told of each; kept where the flow saw no use.
    """
    roles = roles_of(graph, outputs)
    by_param: defaultdict[int, list[Use]] = defaultdict(list)
    for node in graph.nodes:
        for use in node.uses:
            by_param[use.param].append(use)
    deltas = _ssm_biases(graph, by_param)
    found: list[Facets] = []
    for number, before in enumerate(told):
        uses = by_param.get(number, [])
        facets = _facets(graph, roles, uses, before, graph.shapes.get(number, ()))
        if number in deltas:
            facets = replace(facets, kind="ssm")
        found.append(facets)
    return Flow(found, roles.streams, _width(graph, roles))


def _facets(
    graph: Graph, roles: Roles, uses: list[Use], told: Facets, shape: tuple[int, ...]
) -> Facets:
    """Return what the uses of one parameter make of it; the strongest use decides."""
    of = {role: [use for use in uses if use.role == role] for role in {u.role for u in uses}}
    if told.kind == "recurrent" or told.part == "buffer" or not uses:
        return told
    if "contract" in of:
        facets = _weight(graph, roles, of["contract"], told, shape)
        if "lookup" in of and len(shape) == 2:
            table = Layout(outputs=(1,), inputs=(0,), lookup=True)
            facets = replace(
                facets,
                kind="embedding",
                part="head",
                layout=table,
                blocks=(),
                evidence=f"looked up, and {facets.evidence}",
                zero_rows=told.zero_rows,
            )
        return facets
    if "opaque" in of and told.kind != "other":
        return replace(told, ends_residual=told.ends_residual or False)
    if "lookup" in of:
        return _table(graph, of["lookup"], told, shape)
    for role, read in (("norm", _norm), ("norm_bias", _norm), ("add", _added), ("mul", _scale)):
        if role in of:
            bent = next((use for use in of[role] if use.origin.bent), of[role][0])
            return read(graph, bent, told, shape)
    if "join" in of or "feed" in of:
        use = (of.get("join") or of["feed"])[0]
        kind = "position" if told.kind == "embedding" else "token"  # a table used as a whole
        return _known(
            told,
            kind=kind,
            part="weight",
            layout=None,
            neutral=None,
            evidence=_text(graph, use, "x, p"),
        )
    return told


def _known(told: Facets, **changes: object) -> Facets:
    """Return facets that no shape had to tell; what only a guess said is dropped."""
    start = Facets(zero_rows=told.zero_rows) if told.guessed else told
    return replace(start, guessed=False, **changes)


def _text(graph: Graph, use: Use, arguments: str) -> str:
    return f"{graph.nodes[use.node].function}({arguments})"


# Weights.


def _weight(
    graph: Graph, roles: Roles, uses: list[Use], told: Facets, shape: tuple[int, ...]
) -> Facets:
    use = max(uses, key=lambda u: (graph.nodes[u.node].live, -u.node))
    node = graph.nodes[use.node]
    use = _stacked(use, node, shape)
    kind = "conv" if use.window or node.function.startswith("conv") else "linear"
    parts = {roles.parts.get(u.node, "weight") for u in uses} - {"weight"}
    part = parts.pop() if len(parts) == 1 else "weight"
    if part == "router":
        kind = "router"
    elif any(u.node in roles.adapters for u in uses):
        kind = "adapter"
    blocks = _blocks(roles, uses, use, told, shape)
    if len({block.name.rpartition(".")[2] for block in blocks} - _experts(blocks)) > 1:
        part = "weight"  # several parts in one
    elif part == "weight" and not blocks and told.part not in _UNNAMED and not told.guessed:
        part = told.part
    own = Layout(
        outputs=use.outputs,
        inputs=use.inputs,
        window=use.window,
        batch=use.batch,
        groups=use.groups,
        stride=use.stride,
        transposed=use.transposed,
    )
    same = told.layout is not None and not told.guessed and told.kind == kind
    if not blocks and not same and own.fans(shape) != (use.fan_in, use.fan_out):
        # The axes alone don't tell: part of one is summed over, as in x @ w.reshape(8, 12).
        blocks = (Block("", tuple((0, n) for n in shape), use.fan_in, use.fan_out),)
    ends = any(u.node in roles.ends for u in uses)
    after = [activation_after(graph, u.node, roles.adapted) for u in uses[:4]]
    return _known(
        told,
        kind=kind,
        part=part,
        layout=told.layout if same else own,
        blocks=blocks or (told.blocks if same else ()),
        activation=next((name for name in after if name), None) if kind != "router" else None,
        ends_residual=ends,
        neutral=None,
        evidence=told.evidence if same and told.evidence else _text(graph, use, "x, W"),
    )


def _stacked(use: Use, node: Node, shape: tuple[int, ...]) -> Use:
    """Return a use with the output axes that only tell experts apart as batch axes."""
    batch = {axis for axis, place in use.places if place in node.stacked and axis == 0}
    if not batch or len(use.outputs) - len(batch) < 1:
        return use
    return replace(
        use,
        outputs=tuple(axis for axis in use.outputs if axis not in batch),
        batch=tuple(sorted({*use.batch, *batch})),
        fan_out=(use.fan_out or 0) / prod(shape[axis] for axis in batch),
    )


def _blocks(
    roles: Roles, uses: list[Use], use: Use, told: Facets, shape: tuple[int, ...]
) -> tuple[Block, ...]:
    """Return the matrices that a packed weight holds: stacked ones, parts of its output."""
    if told.blocks and not told.guessed and not use.batch:
        return told.blocks
    tiles = _tiles(_ranges(roles, uses, use, shape), use, shape)
    if not use.batch:
        return tiles
    whole = tiles or (Block("", tuple((0, n) for n in shape), use.fan_in, use.fan_out),)
    made: list[Block] = []
    for count, index in enumerate(product(*(range(shape[axis]) for axis in use.batch))):
        at = dict(zip(use.batch, index, strict=True))
        for tile in whole:
            box = tuple((at[a], at[a] + 1) if a in at else r for a, r in enumerate(tile.box))
            name = f"expert{count}.{tile.name}" if tile.name else f"expert{count}"
            made.append(replace(tile, name=name, box=box))
    return tuple(made)


def _experts(blocks: Iterable[Block]) -> set[str]:
    return {block.name for block in blocks if "." not in block.name and block.name[-1:].isdigit()}


def _ranges(
    roles: Roles, uses: list[Use], use: Use, shape: tuple[int, ...]
) -> dict[str, tuple[int, int]]:
    """Return part -> range along the output axis, as the uses tell it."""
    found: dict[str, tuple[int, int]] = {}
    if len(use.outputs) != 1:
        return found
    axis = use.outputs[0]
    for other in uses:
        part = roles.parts.get(other.node, "")
        box = other.origin.box[axis]
        if box == (0, shape[axis]):
            found |= roles.packed.get(other.node, {})
        elif box not in found.values():
            found[part if part and part not in found else f"part{len(found)}"] = box
    return found


def _tiles(
    ranges: Mapping[str, tuple[int, int]], use: Use, shape: tuple[int, ...]
) -> tuple[Block, ...]:
    """Return blocks that tile the output axis; none where ranges overlap or are the whole."""
    if not ranges:
        return ()
    axis = use.outputs[0]
    size, at = shape[axis], 0
    cuts: list[tuple[str, int, int]] = []
    for name, (start, stop) in sorted(ranges.items(), key=lambda item: item[1]):
        if start < at or stop - start == size:
            return ()
        if start > at:
            cuts.append((f"rest{len(cuts)}", at, start))
        cuts.append((name, start, stop))
        at = stop
    if at < size:
        cuts.append((f"rest{len(cuts)}", at, size))
    start, stop = use.origin.box[axis]
    each = (use.fan_out or 0) / (stop - start)
    return tuple(
        Block(
            name,
            tuple((low, high) if a == axis else (0, n) for a, n in enumerate(shape)),
            use.fan_in,
            each * (high - low),
        )
        for name, low, high in cuts
    )


# Tables, norms, offsets, scales.


def _table(graph: Graph, uses: list[Use], told: Facets, shape: tuple[int, ...]) -> Facets:
    """Rows looked up by a count of positions are positions, by anything else an embedding."""
    kind = "position" if all(use.counted for use in uses) else "embedding"
    layout = told.layout if told.kind == "embedding" else None
    if layout is None and len(shape) == 2:
        layout = Layout(outputs=(1,), inputs=(0,), lookup=True)
    evidence = (
        told.evidence if told.evidence and not told.guessed else _text(graph, uses[0], "i, W")
    )
    return _known(
        told, kind=kind, part="table", layout=layout, blocks=(), neutral=None, evidence=evidence
    )


def _norm(graph: Graph, use: Use, told: Facets, _: tuple[int, ...]) -> Facets:
    if told.kind == "norm" and not told.guessed and told.neutral is not None:
        return told
    bias = use.role == "norm_bias"
    return _known(
        told,
        kind="norm",
        part="bias" if bias else "weight",
        layout=None,
        neutral=(0.0 if bias else 1.0) - use.origin.shift,
        evidence=_text(graph, use, "x, p"),
    )


def _added(graph: Graph, use: Use, told: Facets, shape: tuple[int, ...]) -> Facets:
    """``x + p``: a bias where p varies with the feature only, else positions."""
    if told.part == "bias" and not told.guessed:
        return told
    node = graph.nodes[use.node]
    evidence = "x + p" if node.role == "add" else _text(graph, use, "x, W, p")
    if "exp" in use.origin.bent and sum(shape) > len(shape):
        return _known(told, kind="ssm", part="weight", layout=None, blocks=(), evidence="exp(p)")
    wide = tuple(size for size in shape if size > 1)
    if len(wide) > 1 and node.role == "add" and prod(wide) != prod(_features(graph, node)):
        return _known(
            told, kind="position", part="weight", layout=None, blocks=(), evidence=evidence
        )
    kind = "other"
    if node.role == "contract":
        kind = "conv" if node.function.startswith("conv") else "linear"
    elif live := node.signals:
        before = graph.nodes[root(graph, live[0].node)]
        if before.role == "contract":
            kind = "conv" if before.function.startswith("conv") else "linear"
        if _scales_a_norm(graph, live[0].node):
            kind = "norm"
        elif any(u.role == "mul" for u in graph.nodes[live[0].node].uses):
            kind = "scale"  # x * p + q
    return _known(
        told, kind=kind, part="bias", layout=None, blocks=(), neutral=0.0, evidence=evidence
    )


def _features(graph: Graph, node: Node) -> tuple[int, ...]:
    """Return the sizes of the output axes of the weight that a signal came from."""
    live = node.signals
    before = graph.nodes[root(graph, live[0].node)] if live else node
    used = [use for use in before.uses if use.role == "contract"]
    return tuple(graph.shapes[use.param][a] for use in used[:1] for a in use.outputs)


def _scale(graph: Graph, use: Use, told: Facets, shape: tuple[int, ...]) -> Facets:
    """``x * p``: a norm's weight behind a norm, else a scale."""
    node = graph.nodes[use.node]
    bent, shift = use.origin.bent, use.origin.shift
    if told.kind == "norm" and told.part == "weight" and not told.guessed:
        return told
    if "exp" in bent and sum(shape) > len(shape):
        return _known(told, kind="ssm", part="weight", layout=None, blocks=(), evidence="exp(p)")
    live = node.signals
    norm = bool(live) and is_normalised(graph, live[0].node)
    text = f"x * ({shift:g} + p)" if shift else "x * p"
    text = f"{node.function}(x, p)" if node.role == "activation" else text
    return _known(
        told,
        kind="norm" if norm else "scale",
        part="weight",
        layout=None,
        blocks=(),
        neutral=None if bent or node.role == "activation" else 1.0 - shift,
        evidence=f"norm(x){text[1:]}" if norm else text,
    )


def _scales_a_norm(graph: Graph, index: int) -> bool:
    node = graph.nodes[index]
    if not any(use.role == "mul" for use in node.uses):
        return is_normalised(graph, index)
    live = node.signals
    return bool(live) and is_normalised(graph, live[0].node)


# State space models and the residual stream.


def _ssm_biases(graph: Graph, by_param: Mapping[int, list[Use]]) -> set[int]:
    """Return the biases of a step size: softplus(x + b), multiplied by an exponential's rate."""
    found: set[int] = set()
    for uses in by_param.values():
        for use in uses:
            if "exp" not in use.origin.bent or use.role not in ("mul", "contract"):
                continue
            for value in graph.nodes[use.node].signals:
                found.update(_step_biases(graph, value.node))
    return found


def _step_biases(graph: Graph, index: int) -> set[int]:
    squash = graph.nodes[root(graph, index)]
    if squash.function != "softplus":
        return set()

    def go(node: Node) -> Iterable[int]:
        return (v.node for v in node.signals) if is_pass(node) else ()

    nodes = back(graph, squash.inputs, go)
    return {use.param for node in nodes for use in node.uses if use.role == "add"}


def _width(graph: Graph, roles: Roles) -> int | None:
    """Return the number of features of the residual stream: the commonest among its sums."""
    sizes = Counter(
        int(sum(use.origin.box[a][1] - use.origin.box[a][0] for a in use.outputs))
        for index in roles.ends
        for use in graph.nodes[index].uses
        if use.role == "contract" and len(use.outputs) == 1
    )
    return sizes.most_common(1)[0][0] if sizes else None
