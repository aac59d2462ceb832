"""What the data flow says about every parameter; it overrides module types and shapes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from math import prod

from goodinit._common.sequences import only
from goodinit.anatomy.added_biases import goes_with
from goodinit.anatomy.branches import find_branches
from goodinit.anatomy.computed import Answers, deciding
from goodinit.anatomy.gradients import DOUBT as GRADIENT
from goodinit.anatomy.gradients import behind_gradients
from goodinit.anatomy.next_activation import activation_after, is_squared_after
from goodinit.anatomy.parts import find_roles
from goodinit.anatomy.positions import beside_tokens
from goodinit.anatomy.recurrence import in_loops
from goodinit.anatomy.roles import LowRank, Roles, Stream, forget_weights_of_heads
from goodinit.anatomy.rows import Block, Facets
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.norms import is_normalized, is_weight_of_norm, makes_unit_length
from goodinit.dataflow.traversal import (
    is_pass,
    number_after,
    root,
    signals_of,
    walk_back,
)
from goodinit.schemes.fans import Layout

_UNNAMED = ("weight", "bias", "table")

_SPECIAL: Mapping[str, object] = {"kind": "other", "part": "weight", "layout": None, "blocks": ()}

# A weight used more often is shared by layers or time steps, and the same activation follows each
# time. Later uses are not looked at.
USES_ASKED = 4

# The products that a norm by hand ends with: by one over its size, and by its weight.
CALLS_OF_A_NORM = 3


@dataclass(frozen=True, slots=True)
class Flow:
    """What the data flow of a model says.

    Attributes:
        facets: of each parameter, by its number.
        sums: the nodes that add a branch to a residual stream.
        width: number of features of that stream.
        low_rank: low-rank pairs beside another weight.
    """

    facets: list[Facets]
    sums: list[Stream]
    width: int | None
    low_rank: list[LowRank]


def facets_from(
    graph: Graph,
    outputs: Iterable[int],
    from_types: Sequence[Facets],
    kept: Collection[int] = (),
) -> Flow:
    """Return what the flow says about every parameter.

    Args:
        graph: of one run.
        outputs: the nodes whose results the model returned.
        from_types: the facets of each by types and shapes; kept if the flow has no use of it.
        kept: numbers of the parameters that keep their values whatever they are used for.
    """
    returned = frozenset(outputs)
    roles = find_roles(graph, returned)
    forget_weights_of_heads(graph, roles)
    by_param: defaultdict[int, list[Use]] = defaultdict(list)
    for node in graph.nodes:
        for use in node.uses:
            by_param[use.param].append(use)
    deltas, answers = _ssm_biases(graph, by_param), Answers(graph, roles, returned, kept)
    branches = find_branches(graph, roles.streams)
    gradients = behind_gradients(graph, returned)
    found: list[Facets] = []
    for number, before in enumerate(from_types):
        uses = by_param.get(number, [])
        shape = graph.shapes.get(number, ())
        special = ""
        if before.part != "buffer":
            uses, special = answers.applied(uses, shape)
        if special and before.kind != "recurrent":
            facets = _certain(before, **_SPECIAL, evidence=special)
        else:
            facets = _facets_of_uses(graph, roles, uses, before, shape)
        doubt = GRADIENT if number in gradients and not facets.guessed else ""
        if doubt := doubt or _doubt(graph, uses, facets):
            facets = replace(facets, guessed=True, doubt=doubt)
        if number in deltas:
            facets = replace(facets, kind="ssm")
        if number in roles.closing and (facets.kind, facets.part) == ("norm", "weight"):
            facets = replace(facets, part="out")
        if number in roles.last_norms and (facets.kind, facets.part) != ("norm", "bias"):
            facets = replace(facets, last_norm=facets.kind == "norm")
        if facets.part == "bias":
            facets = replace(facets, goes_with=goes_with(graph, roles, uses, returned))
        if number in branches and facets.layout is not None:
            facets = replace(facets, branch=branches[number])
        if any(use.role in ("contract", "add") for use in uses):
            facets = in_loops(roles, number, facets, (graph.shapes.get(number) or (0,))[-1])
        found.append(facets)
    for number, size in beside_tokens(graph, found).items():
        found[number] = replace(found[number], beside=size)
    return Flow(found, roles.streams, _width(graph, roles), roles.low_rank)


def _facets_of_uses(
    graph: Graph, roles: Roles, uses: list[Use], from_types: Facets, shape: tuple[int, ...]
) -> Facets:
    """Return what the uses of one parameter make of it; the strongest use decides."""
    by_role = {role: [use for use in uses if use.role == role] for role in {u.role for u in uses}}
    if from_types.kind == "recurrent" or from_types.part == "buffer" or not uses:
        return from_types
    if "contract" in by_role:
        facets = _weight_facets(graph, roles, by_role["contract"], from_types, shape)
        if "lookup" in by_role and len(shape) == 2:
            table = Layout(outputs=(1,), inputs=(0,), lookup=True)
            facets = replace(
                facets,
                kind="embedding",
                part="head",
                layout=table,
                blocks=(),
                evidence=f"looked up, and {facets.evidence}",
                zero_rows=from_types.zero_rows,
            )
        return facets
    if "opaque" in by_role and from_types.kind != "other":
        return replace(from_types, ends_residual=from_types.ends_residual or False)
    if "lookup" in by_role:
        return _table_facets(graph, by_role["lookup"], from_types, shape)
    if any(is_weight_of_norm(graph, use) for use in by_role.get("mul", ()) if not use.origin.bent):
        by_role.pop("add", None)  # a folded norm: x * s + (b - mean * s)
    if "mul" in by_role and all(use.origin.made == "mul" for use in by_role.get("add", ())):
        by_role.pop("add", None)  # of a state of zeros, before the first step
    joins = [graph.nodes[use.node].role == "join" for use in by_role.get("join", ())]
    joined = any(joins) and from_types.guessed  # a token that branches are added to
    for role, facets_of in (
        ("norm", _norm_facets),
        ("norm_bias", _norm_facets),
        ("add", _offset_facets),
        ("mul", _scale_facets),
    ):
        if role in by_role and not (joined and role in ("add", "mul")):
            uses = by_role[role]
            use = next((use for use in uses if use.origin.bent), uses[0])
            return facets_of(graph, use, from_types, shape)
    if from_types.kind == "norm" and not from_types.guessed:
        return from_types  # of a token, which no input has reached yet
    if "join" in by_role or "feed" in by_role:
        use = (by_role.get("join") or by_role["feed"])[0]
        kind = "position" if from_types.kind == "embedding" else "token"  # a table used as a whole
        text = _call_text(graph, use, "x, p")
        return _certain(
            from_types, kind=kind, part="weight", layout=None, neutral=None, evidence=text
        )
    return from_types


def _doubt(graph: Graph, uses: Sequence[Use], facets: Facets) -> str:
    """Return why what the uses say of a parameter isn't certain, or ""."""
    if facets.guessed or facets.kind in ("recurrent", "ssm") or not uses:
        return ""
    contractions = [use for use in uses if use.role == "contract"]
    if contractions:
        return deciding(graph, contractions).doubt
    return next((use.doubt for use in uses if use.doubt), "")


def _certain(from_types: Facets, **changes: object) -> Facets:
    """Return facets that are not guessed; what was only guessed before is dropped."""
    start = Facets(zero_rows=from_types.zero_rows) if from_types.guessed else from_types
    return replace(start, guessed=False, **changes)


def _call_text(graph: Graph, use: Use, arguments: str) -> str:
    return f"{graph.nodes[use.node].function}({arguments})"


# Weights.


def _weight_facets(
    graph: Graph, roles: Roles, uses: list[Use], from_types: Facets, shape: tuple[int, ...]
) -> Facets:
    use = deciding(graph, uses)
    node = graph.nodes[use.node]
    use = _stacked(use, node, shape)
    kind = "conv" if use.window or node.function.startswith("conv") else "linear"
    parts = {roles.parts.get(u.node, "weight") for u in uses} - {"weight"}
    part = parts.pop() if len(parts) == 1 else "weight"
    if part == "router":
        kind = "router"
    elif use.adapter or any(u.node in roles.adapters for u in uses):
        kind, part = "adapter", use.adapter or part
    blocks = _blocks(roles, uses, use, from_types, shape)
    if len({block.name.rpartition(".")[2] for block in blocks} - _experts(blocks)) > 1:
        part = "weight"  # several parts in one
    elif part == "weight" and not blocks and not from_types.guessed:
        part = part if from_types.part in _UNNAMED else from_types.part
    convolution = (use.groups, use.stride, use.transposed)
    own = Layout(use.outputs, use.inputs, use.window, use.batch, *convolution)
    if use.operand is not None and not (use.inputs and use.outputs) and len(shape) > 1:
        own = Layout((0,), tuple(range(1, len(shape))))  # lost on the way: any matrix
    same = from_types.layout is not None and not from_types.guessed and from_types.kind == kind
    if not blocks and (use.measured or not same) and own.fans(shape) != (use.fan_in, use.fan_out):
        # The axes are not enough: part of one is summed over, as in x @ w.reshape(8, 12).
        blocks = (Block("", tuple((0, n) for n in shape), use.fan_in, use.fan_out),)
    ends = any(u.node in roles.ends for u in uses)
    products = [_product(graph, u) for u in uses[:USES_ASKED]]
    beside = [u.node for u in uses]
    after = [activation_after(graph, index, roles.adapted, beside) for index in products]
    return _certain(
        from_types,
        kind=kind,
        part=part,
        layout=from_types.layout if same else own,
        blocks=blocks or (from_types.blocks if same else ()),
        activation=next((name for name in after if name), None) if kind != "router" else None,
        squared=any(is_squared_after(graph, index) for index in products),
        factors=use.factors,
        ends_residual=ends,
        plain=max(roles.plain.get(u.node, 0) for u in uses),
        takes_input=any(_takes_input(graph, u) for u in uses),
        neutral=None,
        evidence=(same and from_types.evidence) or _call_text(graph, use, "x, W"),
    )


def _product(graph: Graph, use: Use) -> int:
    """Return the product of a use; where its result is a weight, the one in which that is used."""
    made = graph.nodes[use.node].generates
    return use.node if made is None else made[-1]


def _takes_input(graph: Graph, use: Use) -> bool:
    """Whether a weight is multiplied by an input of the model, at most cut or reshaped."""
    return any(
        graph.nodes[root(graph, value.node)].role == "source"
        for value in graph.nodes[use.node].signals
    )


def _stacked(use: Use, node: Node, shape: tuple[int, ...]) -> Use:
    """Return a use whose output axes that number the experts are batch axes."""
    stacked = any(axis == 0 and place in node.stacked for axis, place in use.places)
    outputs = tuple(axis for axis in use.outputs if axis != 0)
    if not stacked or not outputs:
        return use
    batch = tuple(sorted({*use.batch, 0}))
    return replace(use, outputs=outputs, batch=batch, fan_out=use.fan_out / shape[0])


def _blocks(
    roles: Roles, uses: list[Use], use: Use, from_types: Facets, shape: tuple[int, ...]
) -> tuple[Block, ...]:
    """Return the matrices that a packed weight holds: stacked ones, parts of its output."""
    if from_types.blocks and not from_types.guessed and not use.batch:
        return from_types.blocks
    tiles = _tiles(_part_ranges(roles, uses, use, shape), use, shape)
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


def _part_ranges(
    roles: Roles, uses: list[Use], use: Use, shape: tuple[int, ...]
) -> dict[str, tuple[int, int]]:
    """Return part -> range along the output axis, according to the uses."""
    found: dict[str, tuple[int, int]] = {}
    if len(use.outputs) != 1:
        return found
    (axis,) = use.outputs
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
    """Return blocks that tile the output axis; none if ranges overlap or are the whole."""
    if not ranges:
        return ()
    (axis,) = use.outputs
    size, at = shape[axis], 0
    cuts: list[tuple[str, int, int]] = []
    for name, (start, stop) in sorted(ranges.items(), key=lambda item: item[1]):
        if start < at or stop - start == size or stop > size:
            return ()
        if start > at:
            cuts.append((f"rest{len(cuts)}", at, start))
        cuts.append((name, start, stop))
        at = stop
    if at < size:
        cuts.append((f"rest{len(cuts)}", at, size))
    start, stop = use.origin.box[axis]
    each = use.fan_out / (stop - start)
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


def _table_facets(
    graph: Graph, uses: list[Use], from_types: Facets, shape: tuple[int, ...]
) -> Facets:
    """Rows looked up by a count of positions are positions, by anything else an embedding."""
    kind = "position" if all(use.counted for use in uses) else "embedding"
    layout = from_types.layout if from_types.kind == "embedding" else None
    if layout is None and shape:
        *rows, width = range(len(shape))
        layout = Layout(outputs=(width,), inputs=tuple(rows), lookup=True)
    known = "" if from_types.guessed else from_types.evidence
    made = {"evidence": known or _call_text(graph, uses[0], "i, W"), "layout": layout}
    blocks = _scaled_table(graph, uses, shape) if layout is not None else ()
    return _certain(from_types, kind=kind, part="table", blocks=blocks, neutral=None, **made)


def _scaled_table(graph: Graph, uses: list[Use], shape: tuple[int, ...]) -> tuple[Block, ...]:
    """Return the block of a table whose rows are multiplied by a number c: its fan_in is c^2."""
    numbers = {number_after(graph, use.node) for use in uses}
    number = numbers.pop() if len(numbers) == 1 else 1.0
    box = tuple((0, size) for size in shape)
    return (Block("", box, number**2, float(shape[-1])),) if number not in (0.0, 1.0) else ()


def _norm_facets(graph: Graph, use: Use, from_types: Facets, _: tuple[int, ...]) -> Facets:
    known = from_types.kind == "norm" and not from_types.guessed
    if known and from_types.neutral is not None and not use.origin.shift:
        return from_types  # its class doesn't say that 1 is added to its weight
    bias = use.role == "norm_bias"
    return _certain(
        from_types,
        kind="norm",
        part="bias" if bias else "weight",
        layout=None,
        neutral=(0.0 if bias else 1.0) - use.origin.shift,
        evidence=_call_text(graph, use, "x, p"),
    )


def _offset_facets(graph: Graph, use: Use, from_types: Facets, shape: tuple[int, ...]) -> Facets:
    """``x + p``: a bias where p varies with the feature only, else positions."""
    if from_types.part == "bias" and not from_types.guessed:
        return from_types
    node = graph.nodes[use.node]
    evidence = "x + p" if node.role == "add" else _call_text(graph, use, "x, W, p")
    if "exp" in use.origin.bent and _has_numbers(graph, use, shape):
        return _certain(
            from_types, kind="ssm", part="weight", layout=None, blocks=(), evidence="exp(p)"
        )
    wide = tuple(size for size in shape if size > 1)
    if len(wide) > 1 and node.role == "add" and prod(wide) != prod(_output_sizes(graph, node)):
        return _certain(
            from_types, kind="position", part="weight", layout=None, blocks=(), evidence=evidence
        )
    kind = "other"
    if node.role == "contract":
        kind = "conv" if node.function.startswith("conv") else "linear"
    elif node.signals:
        taken = graph.before(node)
        before = graph.nodes[root(graph, taken.index)]
        if before.role == "contract":
            kind = "conv" if before.function.startswith("conv") else "linear"
        if _scales_a_norm(graph, taken.index):
            kind = "norm"
        elif any(u.role == "mul" for u in taken.uses):
            kind = "scale"  # x * p + q
    return _certain(
        from_types, kind=kind, part="bias", layout=None, blocks=(), neutral=0.0, evidence=evidence
    )


def _output_sizes(graph: Graph, node: Node) -> tuple[int, ...]:
    """Return the sizes of the output axes of the weight that a signal came from."""
    before = graph.nodes[root(graph, graph.before(node).index)] if node.signals else node
    used = [use for use in before.uses if use.role == "contract"]
    return tuple(graph.shapes[use.param][a] for use in used[:1] for a in use.outputs)


def _scale_facets(graph: Graph, use: Use, from_types: Facets, shape: tuple[int, ...]) -> Facets:
    """``x * p``: a norm's weight after a norm, else a scale."""
    node = graph.nodes[use.node]
    bent, shift = use.origin.bent, use.origin.shift
    known = (from_types.kind, from_types.part) == ("norm", "weight") and not from_types.guessed
    if known and not shift:
        return from_types
    several = _has_numbers(graph, use, shape)
    if "exp" in bent and several and not is_weight_of_norm(graph, use):
        return _certain(
            from_types, kind="ssm", part="weight", layout=None, blocks=(), evidence="exp(p)"
        )
    plain = not bent and node.role != "activation"
    norm = plain and is_weight_of_norm(graph, use)
    text = f"x * ({shift:g} + p)" if shift else "x * p"
    text = f"{node.function}(x, p)" if node.role == "activation" else text
    if bent and prod(shape) > 1 and not several:
        text = "x * f(p), one number"  # as exp(q . k) of differential attention
    return _certain(
        from_types,
        kind="norm" if norm else "scale",
        part="weight",
        layout=None,
        blocks=(),
        neutral=1.0 - shift if plain and not (norm and makes_unit_length(graph, use)) else None,
        evidence=f"norm(x){text[1:]}" if norm else text,
    )


def _has_numbers(graph: Graph, use: Use, shape: tuple[int, ...]) -> bool:
    """Whether what is used of a parameter is several numbers: not their sum."""
    used = None if use.operand is None else graph.recorder.tape.shapes.get(use.operand)
    return prod(shape if used is None else used) > 1


def _scales_a_norm(graph: Graph, index: int) -> bool:
    onward = walk_back(graph, [index], lambda n: signals_of(n) if n.role == "mul" else ())
    factors = (use for n in islice(onward, CALLS_OF_A_NORM) for use in n.uses if use.role == "mul")
    first = next(factors, None)  # g * (x - mean) / std: the weight may come before the divisor
    return is_normalized(graph, index) if first is None else is_weight_of_norm(graph, first)


# State space models and the residual stream.


def _ssm_biases(graph: Graph, by_param: Mapping[int, list[Use]]) -> set[int]:
    """Return the biases of a step size: softplus(x + b), multiplied by an exponential's rate."""
    found: set[int] = set()
    for uses in by_param.values():
        for use in uses:
            if "exp" in use.origin.bent and use.role in ("mul", "contract"):
                for value in graph.nodes[use.node].signals:
                    found |= _step_biases(graph, value.node)
    return found


def _step_biases(graph: Graph, index: int) -> set[int]:
    squash = graph.nodes[root(graph, index)]
    if squash.function != "softplus":
        return set()

    def follow(node: Node) -> Iterable[int]:
        return signals_of(node) if is_pass(node) else ()

    nodes = walk_back(graph, squash.inputs, follow)
    return {use.param for node in nodes for use in node.uses if use.role == "add"}


def _width(graph: Graph, roles: Roles) -> int | None:
    """Return the number of features of the residual stream: the commonest among its sums."""
    sizes = Counter(
        use.origin.sizes[axis]
        for index in roles.ends
        for use in graph.nodes[index].uses
        if use.role == "contract" and (axis := only(use.outputs)) is not None
    )
    return max(sizes, key=lambda size: sizes[size], default=None)
