"""Reading a model: its types, its shapes and, with inputs, its data flow, in one table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from goodinit._common.dtensors import is_dtensor
from goodinit.anatomy.added_biases import goes_with_by_module
from goodinit.anatomy.facets import facets_from
from goodinit.anatomy.held import Held, held_by, held_by_bias, recorded
from goodinit.anatomy.layers import Layers, layers_by_flow, layers_by_type
from goodinit.anatomy.low_rank import with_adapters
from goodinit.anatomy.modules import describe, describe_children, runs_in_a_row
from goodinit.anatomy.names import Slot, join, slots, type_of, walk
from goodinit.anatomy.roles import Stream
from goodinit.anatomy.rows import Facets, Row
from goodinit.anatomy.shapes import Siblings, by_value, guess
from goodinit.anatomy.tuned import computed_adapters
from goodinit.anatomy.zeros import Parameter, meant_zeros
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.recorder import Recorder
from goodinit.errors import GoodinitError, TraceError
from goodinit.trace import Inputs, tensors_in, trace
from goodinit.trace.run import OURS, first_line


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What a model's parameters and buffers are.

    Attributes:
        rows: one for each, in registration order.
        slots: where each lives in the model, in the same order.
        how: how it is known: "module types", or how the model was run: "meta", "real".
        reason: why it wasn't run on meta, if so, or why the run couldn't be followed.
        graph: the data flow of the run; it numbers parameters as the slots are. None if the
            model was not run.
        branches: of each weight that ends a residual branch, by name, how many branches the
            longest stream adds up that it ends one of. Empty without a data flow.
    """

    rows: tuple[Row, ...]
    slots: tuple[Slot, ...]
    how: str
    reason: str = ""
    graph: Graph | None = field(default=None, compare=False, repr=False)
    branches: Mapping[str, int] = field(default_factory=dict[str, int], compare=False, repr=False)


def read(model: nn.Module, inputs: Inputs | None = None, prefix: str = "") -> Anatomy:
    """Return the anatomy of a model, which isn't changed.

    Args:
        model: any module, on any device, meta too.
        inputs: what the model is called with: a tensor, a tuple of positional arguments or a
            mapping of keyword arguments. With them the data flow decides what each parameter is.
        prefix: put before each name, with a dot.

    Raises:
        TraceError: the model raised on the inputs.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> rows = read(net, torch.randn(2, 8)).rows
        >>> [(row.name, row.facets.part, row.facets.activation) for row in rows if row.shape[1:]]
        [('0.weight', 'weight', 'relu'), ('2.weight', 'head', None)]
    """
    found = slots(model, prefix)
    modules = dict(walk(model, prefix))
    paths = {id(module): path for path, module in reversed(modules.items())}
    parameters = _from_types(found, modules)
    if inputs is None:
        return _by_type(parameters, modules, paths)
    split = next((s for s in found if s.flat or any(map(is_dtensor, s.tensors))), None)
    if split is not None:
        raise TraceError(
            f"{split.name} is split over processes, and a model that is can't be run on meta: plan "
            f"it with inputs before parallelize_module, fully_shard and their kin"
        )
    try:
        return _by_flow(model, inputs, parameters, modules, paths)
    except GoodinitError:
        raise
    except Exception as error:  # a bug of ours: no reason to have no plan, nor to blame the model
        return _by_type(parameters, modules, paths, OURS + first_line(error))


def _by_flow(
    model: nn.Module,
    inputs: Inputs,
    parameters: list[Parameter],
    modules: Mapping[str, nn.Module],
    paths: Mapping[int, str],
) -> Anatomy:
    found = [one.slot for one in parameters]
    params = {id(t): number for number, slot in enumerate(found) for t in slot.tensors}
    entering = frozenset(id(t) for t in tensors_in(inputs))
    hooks = ("weight_norm", "spectral_norm")
    hooked = {n: (slot.owner, slot.attr) for n, slot in enumerate(found) if slot.how in hooks}
    values = {id(t): recorded(t) for slot in found for t in slot.tensors if t.is_meta}
    known = {key: value for key, value in values.items() if value is not None}
    run, graph = trace(model, inputs, lambda: Graph(params, entering, hooked, known), paths)
    if run.how == "not run":
        return _by_type(parameters, modules, paths, run.reason)
    outputs = [graph.value(t).node for t in tensors_in(run.output)]
    kept = _kept_for_sure(parameters)
    flow = facets_from(graph, outputs, [one.facets for one in parameters], kept)
    graph.recorder = Recorder()  # the recording is no longer needed
    layers = layers_by_flow(graph, modules, flow.sums)
    facets = _placed(found, _expert_biases(found, flow.facets), layers, paths, flow.width)
    facets = with_adapters(found, graph, flow.low_rank, goes_with_by_module(found, facets))
    for one, said in zip(parameters, facets, strict=True):
        one.facets = said
    meant = meant_zeros(parameters, graph, set(outputs)) | computed_adapters(parameters, modules)
    rows = _rows(parameters, meant)
    branches = {found[n].name: count for n, count in _branches(graph, flow.sums).items()}
    return Anatomy(rows, tuple(found), run.how, run.reason, graph, branches)


def _kept_for_sure(parameters: Sequence[Parameter]) -> set[int]:
    """Return the numbers of parameters that keep their values, whatever they are used for."""
    trained = [one.slot.tensor.requires_grad and not one.slot.buffer for one in parameters]
    return {
        number
        for number, one in enumerate(parameters)
        if not one.slot.buffer
        and ((one.raw and one.held.is_special) or (any(trained) and not trained[number]))
    }


def _branches(graph: Graph, sums: Iterable[Stream]) -> dict[int, int]:
    """Return, for each parameter that ends branches, the number of its stream's branches."""
    lengths: Counter[int] = Counter()
    for one in sums:
        lengths[one.origin] += one.branches
    found: dict[int, int] = {}
    for one in sums:
        length = lengths[one.origin]
        for use in (use for end in one.ends for use in graph.nodes[end].weights):
            found[use.param] = max(found.get(use.param, length), length)
    return found


def _by_type(
    parameters: list[Parameter],
    modules: Mapping[str, nn.Module],
    paths: Mapping[int, str],
    reason: str = "",
) -> Anatomy:
    found = [one.slot for one in parameters]
    facets = _placed(found, [one.facets for one in parameters], layers_by_type(modules), paths)
    facets = goes_with_by_module(found, facets)
    for one, said in zip(parameters, facets, strict=True):
        one.facets = said
    meant = meant_zeros(parameters, None, ()) | computed_adapters(parameters, modules)
    rows = _rows(parameters, meant)
    return Anatomy(rows, tuple(found), "module types", reason)


def _from_types(found: list[Slot], modules: Mapping[str, nn.Module]) -> list[Parameter]:
    """Return each slot with its facets by its module, the modules above it, or else its shape."""
    described: dict[int, dict[str, Facets]] = {}
    own: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
    settings: defaultdict[int, set[str]] = defaultdict(set)
    held: list[Held] = []
    for slot in found:
        owner = slot.owner
        if id(owner) not in described:
            described[id(owner)] = describe(owner)
        known = described[id(owner)].get(slot.attr)
        holds = _held(slot, known)
        held.append(holds)
        own[id(owner)][slot.attr] = slot.tensor
        bias = known is not None and known.part == "bias"
        if (holds.is_special and not bias) or _may_be_a_setting(slot):
            settings[id(owner)].add(slot.attr)
    siblings: dict[int, Siblings] = {}
    facets: list[Facets] = []
    for slot, holds in zip(found, held, strict=True):
        owner = slot.owner
        known = described[id(owner)].get(slot.attr)
        if not slot.tensor.numel():  # a shard elsewhere: no axis has a size
            facets.append(replace(known or Facets(), layout=None, blocks=()))
        elif known is not None:
            facets.append(_tied(slot, known))
        elif slot.buffer:
            facets.append(Facets(part="buffer", evidence="buffer"))
        else:
            if id(owner) not in siblings:
                siblings[id(owner)] = Siblings(own[id(owner)], settings[id(owner)])
            facets.append(by_value(guess(owner, slot.attr, siblings[id(owner)]), holds))
    names = {name: n for n, slot in enumerate(found) for name in (slot.name, *slot.tied)}
    top = next(iter(modules.values()), None)
    for path, module in sorted(modules.items(), key=lambda item: -item[0].count(".")):
        if _is_within_a_row(path, module, modules):
            continue  # what is above it says the same and more
        for name, changes in describe_children(module, whole=module is top).items():
            number = names.get(join(path, name))
            if number is not None:
                facets[number] = replace(facets[number], **changes)
    return [
        Parameter(slot, one, holds, not slot.buffer and slot.attr not in described[id(slot.owner)])
        for slot, one, holds in zip(found, facets, held, strict=True)
    ]


def _may_be_a_setting(slot: Slot) -> bool:
    """Whether a matrix on meta may as well be Mamba's ``A_log``: it lies beside whole layers."""
    if not slot.tensor.is_meta or slot.tensor.dim() != 2:
        return False
    layers = (child for child in slot.owner._modules.values() if child is not None)
    return any(next(layer.parameters(), None) is not None for layer in layers)


def _held(slot: Slot, known: Facets | None) -> Held:
    """Return what a parameter holds, as far as it is ever asked."""
    if slot.buffer:
        return Held()
    if slot.how != "plain":  # what is stored isn't what the module sees
        return Held() if slot.tensor.is_meta else Held("values")
    if known is not None and known.part == "bias" and slot.tensor.requires_grad:
        return Held() if known.kind == "recurrent" else held_by_bias(slot.tensor)
    table = known is not None and known.layout is not None and known.layout.lookup
    return held_by(
        slot.tensor, patterns=not table
    )  # of a table, padding looks like the start of one


def _is_within_a_row(path: str, module: nn.Module, modules: Mapping[str, nn.Module]) -> bool:
    above, _, name = path.rpartition(".")
    outer = modules.get(above) if path and runs_in_a_row(module) else None
    return outer is not None and runs_in_a_row(outer) and outer._modules.get(name) is module


def _expert_biases(found: list[Slot], facets: list[Facets]) -> list[Facets]:
    """Mark the biases of stacked experts, which are looked up as embeddings are.

    They have a row for each matrix that the same module stacks, as long as its outputs.
    """
    stacks: set[tuple[int, int, int]] = set()
    for slot, one in zip(found, facets, strict=True):
        layout, shape = one.layout, slot.tensor.shape
        if layout is not None and layout.batch == (0,):
            stacks |= {(id(slot.owner), shape[0], shape[axis]) for axis in layout.outputs}
    return [
        replace(one, kind="linear", part="bias", layout=None, neutral=0.0)
        if one.kind == "embedding" and (id(slot.owner), *slot.tensor.shape) in stacks
        else one
        for slot, one in zip(found, facets, strict=True)
    ]


def _tied(slot: Slot, facets: Facets) -> Facets:
    """A table that is also an output projection is a head: its scale is the logits'."""
    if facets.kind == "embedding" and any(isinstance(m, nn.Linear) for m, _ in slot.places):
        return replace(facets, part="head")
    return facets


def _placed(
    found: list[Slot],
    facets: list[Facets],
    layers: Layers,
    paths: Mapping[int, str],
    width: int | None = None,
) -> list[Facets]:
    placed: list[Facets] = []
    for number, (slot, one) in enumerate(zip(found, facets, strict=True)):
        layer, depth = layers.place_of(number, paths[id(slot.owner)])
        placed.append(replace(one, layer=layer, depth=depth, width=width))
    return placed


def _rows(parameters: list[Parameter], meant: Mapping[int, str]) -> tuple[Row, ...]:
    return tuple(
        Row(
            name=one.slot.name,
            shape=one.slot.logical_shape,
            dtype=one.slot.tensor.dtype,
            owner=type_of(one.slot.owner),
            facets=one.facets,
            tied=one.slot.tied,
            stored=one.slot.stored,
            buffer=one.slot.buffer,
            frozen=not one.slot.buffer and not one.slot.tensor.requires_grad,
            raw=one.raw,
            held=one.held,
            meant=meant.get(number, ""),
        )
        for number, one in enumerate(parameters)
    )
