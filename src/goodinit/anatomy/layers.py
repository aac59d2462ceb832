"""Which layer of how many a parameter is in.

A layer is a module of which the model runs several in a row, one on the other's output: a
transformer's block, a ResNet's. A stage that is itself a row of such modules is not a layer, nor
is a module inside a layer, nor are experts, which run side by side. In a model without such
modules each weight is a layer, or, if it has a residual stream, every two branches are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from torch import nn

from goodinit.anatomy.names import type_of
from goodinit.anatomy.roles import Stream
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.traversal import reaches

_ROWS = (nn.Sequential, nn.ModuleList)
_CONTAINERS = (*_ROWS, nn.ModuleDict)
# How many of the layers before are tried as a layer's predecessor. In a stack it is the last one;
# between an encoder's and a decoder's or between parallel branches a few more. A layer whose input
# comes from further back starts a stack of its own.
LOOK_BACK = 8

Place = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Layers:
    """Layer numbers.

    Attributes:
        paths: path of a layer, or of a module in it -> (its number, how many its stack has).
        params: number of a parameter -> the same, where each weight is a layer.
        depth: of the deepest stack; None where there is none.
        outside: where blocks aren't modules and there are several streams, number of a parameter
            -> the depth of the one that it leads to or comes from.
    """

    paths: Mapping[str, Place] = field(default_factory=dict[str, Place])
    params: Mapping[int, Place] = field(default_factory=dict[int, Place])
    depth: int | None = None
    outside: Mapping[int, int] = field(default_factory=dict[int, int])

    def place_of(self, param: int, path: str) -> Place:
        """Return (layer, depth) of a parameter held by the module at this path."""
        if param in self.params:
            return self.params[param]
        return self.paths.get(path, (None, self.outside.get(param, self.depth)))


def layers_by_flow(
    graph: Graph, modules: Mapping[str, nn.Module], sums: Sequence[Stream]
) -> Layers:
    """Return the layers as a run shows them."""
    spans = {span.path: span for span in reversed(graph.spans)}  # the first run of each
    order = sorted(spans, key=lambda path: spans[path].start)

    def follows(path: str, before: str) -> bool:
        takes = spans[path].takes
        return any(reaches(graph, g, takes) for g in spans[before].gives if 0 <= g <= takes)

    def in_a_row(group: Sequence[str]) -> bool:
        return any(follows(b, a) for a, b in pairwise(group))

    adding = {graph.nodes[stream.node].path for stream in sums}
    members = _members(order, modules, in_a_row)
    inside = members & _above(modules, adding & members).keys()
    # Nor is a row what a layer holds by name: its self-attention and its cross-attention.
    held = {path for path in members if not _is_listed(path, modules)}
    inside |= held & _above(modules, members).keys()
    members -= inside
    above = _above(modules, members)
    stages = {above[path] for path in members if path in above}
    layers = [path for path in order if path in members and path not in stages]
    if layers:
        return _numbered(layers, follows, modules)
    if sums:  # blocks that aren't modules; a layer adds two branches, as a transformer's does
        seeds = _depth_of_streams(graph, sums)
        return Layers(depth=max(seeds.values()), outside=_depth_of_each(graph, seeds))
    return _each_weight(graph)


def _depth_of_streams(graph: Graph, sums: Sequence[Stream]) -> dict[int, int]:
    """Return sum -> depth of its stream: half its branches, or 1 where no weight makes one."""
    counts = count_branches(graph, sums)
    return {node: max((branches + 1) // 2, 1) for node, branches in counts.items()}


def count_branches(graph: Graph, sums: Sequence[Stream]) -> dict[int, int]:
    """Return sum -> how many branches its stream has. Two towers have a stream each.

    A stream that starts from what another one made goes on with it, as a convnet's stages do.
    """
    at = {stream.node: stream for stream in sums}
    of_origin: dict[int, int] = {}
    number: list[int | None] = []  # of the stream that a node comes from
    branches: Counter[int] = Counter()
    for node in graph.nodes:
        stream = at.get(node.index)
        if stream is None:
            before = (number[index] for index in node.inputs)
            number.append(next((one for one in before if one is not None), None))
            continue
        known = number[stream.origin]
        mine = of_origin.setdefault(stream.origin, len(of_origin) if known is None else known)
        number.append(mine)
        branches[mine] += 0 if stream.again else stream.branches
    return {n: branches[number[n] or 0] for n in at}


def _depth_of_each(graph: Graph, seeds: Mapping[int, int]) -> dict[int, int]:
    """Return the depth of the stack that each parameter leads to, or else comes from."""
    if len(set(seeds.values())) < 2:
        return {}
    depth = dict(seeds)
    for node in reversed(graph.nodes):
        ahead = next((depth[index] for index in node.consumers if index in depth), None)
        if ahead is not None:
            depth.setdefault(node.index, ahead)
    for node in graph.nodes:
        behind = [depth[index] for index in node.inputs if index in depth and node.live]
        if behind:
            depth.setdefault(node.index, behind[0])
    found: dict[int, int] = {}
    for node in graph.nodes:
        for use in node.uses:
            if node.index in depth:
                found.setdefault(use.param, depth[node.index])
    return found


def layers_by_type(modules: Mapping[str, nn.Module]) -> Layers:
    """Return the layers that the tree of modules suggests: siblings in a container."""
    order = list(modules)
    members = {p for p in _members(order, modules, lambda _: True) if _is_listed(p, modules)}
    above = _above(modules, members)
    # A row directly below makes a stage (stage.blocks); one further down is of experts.
    stages = {above[p] for p in members if p in above and above[p] == _stem(_stem(p))}
    members -= stages
    inside = _above(modules, members)
    layers = [path for path in order if path in members and path not in inside]
    return _numbered(layers, lambda _path, _before: True, modules) if layers else Layers()


def _members(
    order: Sequence[str], modules: Mapping[str, nn.Module], is_row: Callable[[Sequence[str]], bool]
) -> set[str]:
    """Return the modules with several weights that have siblings of their class in a row.

    A class that comes in rows counts also where it is alone: a stage of one block. So does
    another class within a container of such a row: the block that halves the resolution.
    """
    composite = _composites(modules)
    groups: defaultdict[tuple[str, type], list[str]] = defaultdict(list)
    for path in order:
        if path in composite:
            groups[_stem(path), type_of(modules[path])].append(path)
    rows = {key for key, group in groups.items() if len(group) > 1 and is_row(group)}
    kinds = {cls for _, cls in rows}
    held = Counter(cls for _, cls in groups)
    lists = {stem for stem, _ in rows if isinstance(modules[stem], _ROWS)}
    return {
        path
        for key, group in groups.items()
        if key in rows
        or key[0] in lists
        or (len(group) == 1 and key[1] in kinds and held[key[1]] > 1)
        for path in group
    }


def _composites(modules: Mapping[str, nn.Module]) -> set[str]:
    """Return the paths of modules with children and more than one matrix, but of no container."""
    known: dict[int, list[int]] = {}  # of each module, ids of its first two matrices

    def matrices(module: nn.Module) -> list[int]:
        if id(module) not in known:
            known[id(module)] = []  # for one that contains itself
            found = [id(p) for p in module._parameters.values() if p is not None and p.dim() > 1]
            for child in module._modules.values():
                found += [] if child is None else matrices(child)
            known[id(module)] = list(dict.fromkeys(found))[:2]
        return known[id(module)]

    # From the leaves upward: a module finds its children's answers.
    upward = [(path, module, matrices(module)) for path, module in reversed([*modules.items()])]
    several = {path for path, module, found in upward if found[1:] and module._modules and path}
    return {path for path in several if not isinstance(modules[path], _CONTAINERS)}


def _numbered(
    layers: Sequence[str], follows: Callable[[str, str], bool], modules: Mapping[str, nn.Module]
) -> Layers:
    """Number layers along their stacks: an encoder's and a decoder's are two."""
    number: dict[str, int] = {}
    stack: dict[str, str] = {}
    for at, path in enumerate(layers):
        recent = reversed(layers[max(0, at - LOOK_BACK) : at])
        before = next((other for other in recent if follows(path, other)), None)
        number[path] = 0 if before is None else number[before] + 1
        stack[path] = path if before is None else stack[before]
    depth = dict.fromkeys(stack.values(), 0)
    for path, first in stack.items():
        depth[first] = max(depth[first], number[path] + 1)
    places: dict[str, Place] = {p: (number[p], depth[stack[p]]) for p in layers}
    above = _above(modules, set(places))
    inside = {path: places[layer] for path, layer in above.items() if path not in places}
    return Layers(places | inside, depth=max(depth.values()))


def _each_weight(graph: Graph) -> Layers:
    order: dict[int, int] = {}
    found = 0
    for node in graph.nodes:
        fresh = [use.param for use in node.uses if use.param not in order]
        if node.live and any(use.param in fresh for use in node.weights):
            order.update(dict.fromkeys(fresh, found))
            found += 1
    return Layers(params={p: (n, found) for p, n in order.items()}, depth=found or None)


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _is_listed(path: str, modules: Mapping[str, nn.Module]) -> bool:
    return isinstance(modules.get(_stem(path)), _ROWS)


def _above(paths: Iterable[str], among: set[str]) -> dict[str, str]:
    """Return the nearest of some paths above each path that has one; parents come first."""
    found: dict[str, str] = {}
    for path in paths:
        stem = _stem(path)
        if stem in among and path:
            found[path] = stem
        elif stem in found:
            found[path] = found[stem]
    return found
