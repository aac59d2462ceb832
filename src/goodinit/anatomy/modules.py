"""What module types say about parameters.

Two sources: a module's own type (``describe``), and the type of a module above it
(``describe_children``). Where no type is known, ``shapes.guess`` guesses from the shape. A data
flow, where there is one, knows more than any of them. No attribute name that a user could choose
plays a part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, TypedDict, cast

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from goodinit.anatomy.names import join
from goodinit.anatomy.rows import Block, Facets
from goodinit.anatomy.writable import is_number
from goodinit.dataflow.activations import activation_name
from goodinit.schemes.fans import Layout

MATRIX = Layout(outputs=(0,), inputs=(1,))
TABLE = Layout(outputs=(1,), inputs=(0,), lookup=True)
GATES = (
    ((nn.LSTM, nn.LSTMCell), ("in", "forget", "cell", "out")),
    ((nn.GRU, nn.GRUCell), ("reset", "update", "new")),
)
QKV = ("q", "k", "v")


class ChildFacts(TypedDict, total=False):
    """What a module says about a parameter below it: the fields of ``Facets`` to replace."""

    part: str
    activation: str
    ends_residual: bool
    plain: int


def describe(module: nn.Module) -> dict[str, Facets]:
    """Return what a module's type says about its own parameters and buffers, by attribute name.

    Subclasses count as the torch class they derive from, which ``evidence`` names. Parametrized
    weights have their logical name. Attributes that are None are left out, and so are parameters
    that a subclass added or replaced by something of another rank or dtype.

    Args:
        module: any module; children are not looked at. Meta and lazy ones are fine.

    Returns:
        Attribute name -> facets; empty for a type that isn't known.

    Example:
        >>> facets = describe(nn.Conv2d(64, 128, 3, groups=4))
        >>> list(facets), facets["weight"].kind, facets["weight"].evidence
        (['weight', 'bias'], 'conv', 'nn.Conv2d')
        >>> facets["weight"].layout.fans((128, 16, 3, 3))  # torch says (144, 1152)
        (144, 288)
        >>> [block.name for block in describe(nn.GRUCell(3, 5))["weight_hh"].blocks]
        ['reset', 'update', 'new']
    """
    cls = _nearest_class(module, _OWN)
    if cls is None:
        return {}
    own = _OWN[cls]
    described = _with_evidence(own(module), cls) if callable(own) else _constant_facets(cls)
    tensors = {**module._parameters, **module._buffers}
    return {
        attr: facets
        for attr, facets in described.items()
        if _is_as_described(module, attr, tensors.get(attr), facets)
    }


def is_known_type(module: nn.Module) -> bool:
    """Return whether a module is of a type of torch's that has parameters, or derives from one.

    >>> is_known_type(nn.Linear(2, 3)), is_known_type(nn.Sequential())
    (True, False)
    """
    return _nearest_class(module, _OWN) is not None


def describe_children(module: nn.Module, whole: bool = False) -> dict[str, ChildFacts]:
    """Return what a module's type says about parameters of the modules below it.

    - ``MultiheadAttention``: its output projection is one.
    - ``TransformerEncoderLayer``, ``TransformerDecoderLayer``: what ends a residual branch,
      what doesn't, and the activation between the two linear layers.
    - ``Sequential`` (also nested): the activation after a linear layer or convolution,
      through normalization, dropout, pooling and reshaping, and which layers have nothing but
      activations between them. A subclass with a ``forward`` of its own says nothing.

    Args:
        module: any module.
        whole: whether it is the whole model, so that nothing follows it.

    Returns:
        Dotted parameter name, relative to the module -> the facets to replace, for
        ``dataclasses.replace(facets, **changes)``. If several modules name one parameter, apply
        the outermost last: it sees more of the model. A subclass may not have every parameter
        that is named here.

    Example:
        >>> describe_children(nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.LeakyReLU(0.2)))
        {'0.weight': {'activation': 'leaky_relu(0.2)'}}
    """
    cls = _nearest_class(module, _CHILDREN)
    if whole and isinstance(module, nn.Sequential):
        return _sequential_children(module, whole=True)
    return {} if cls is None else _CHILDREN[cls](module)


# A module's own parameters, by its type.

_LINEAR = {"weight": Facets("linear", layout=MATRIX), "bias": Facets("linear", "bias")}
_NORM = {
    "weight": Facets("norm", neutral=1.0),
    "bias": Facets("norm", "bias", neutral=0.0),
    "running_mean": Facets("norm", "buffer"),
    "running_var": Facets("norm", "buffer"),
    "num_batches_tracked": Facets("norm", "buffer"),
}


def _bilinear(module: nn.Bilinear) -> dict[str, Facets]:
    """A gradient reaches each input through the other one, so fan_out counts that one too.

    Towards x1 it is out * in2, towards x2 out * in1; the mean of both is taken.
    """
    in1, in2, out = module.in1_features, module.in2_features, module.out_features
    box = ((0, out), (0, in1), (0, in2))
    whole = Block("", box, in1 * in2, out * (in1 + in2) / 2)
    layout = Layout(outputs=(0,), inputs=(1, 2))
    return {
        "weight": Facets("linear", layout=layout, blocks=(whole,)),
        "bias": Facets("linear", "bias"),
    }


def _conv(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> dict[str, Facets]:
    """[out, in / groups, *window]; where transposed, [in, out / groups, *window]."""
    axes = ((1,), (0,)) if module.transposed else ((0,), (1,))
    layout = Layout(
        *axes,
        window=tuple(range(2, 2 + len(module.kernel_size))),
        groups=module.groups,
        stride=math.prod(module.stride),
        transposed=module.transposed,
    )
    return {"weight": Facets("conv", layout=layout), "bias": Facets("conv", "bias")}


def _embedding(module: nn.Embedding | nn.EmbeddingBag) -> dict[str, Facets]:
    """One row is looked up: fan_in 1. A bag of n that sums has n, which the type doesn't say."""
    zero = () if module.padding_idx is None else (module.padding_idx,)
    return {"weight": Facets("embedding", "table", layout=TABLE, zero_rows=zero)}


def _rnn(module: nn.RNNBase) -> dict[str, Facets]:
    """A cell's rows for each layer and direction, and with proj_size a projection."""
    hidden, projected = module.hidden_size, module.proj_size
    state = projected or hidden
    directions = ("", "_reverse") if module.bidirectional else ("",)
    found: dict[str, Facets] = {}
    for layer in range(module.num_layers):
        inputs = state * len(directions) if layer else module.input_size
        own = _gated(module, inputs, state)
        if projected:
            own["weight_hr"] = Facets("recurrent", "out", layout=MATRIX)
        for direction in directions:
            found |= {f"{attr}_l{layer}{direction}": facets for attr, facets in own.items()}
    return found


def _gated(module: nn.RNNBase | nn.RNNCellBase, inputs: int, state: int) -> dict[str, Facets]:
    """Return the rows of one cell: gates stacked along axis 0 (``torch/nn/modules/rnn.py``)."""
    gates = next((names for types, names in GATES if isinstance(module, types)), ())
    hidden = module.hidden_size
    f: str | None = getattr(module, "nonlinearity", None)  # RNN and RNNCell have one
    bias = Facets("recurrent", "bias", blocks=_stacked(gates, hidden))
    found = {"bias_ih": bias, "bias_hh": bias}
    for attr, part, width in (("weight_ih", "in", inputs), ("weight_hh", "recurrent", state)):
        blocks = _stacked(gates, hidden, width)
        found[attr] = Facets("recurrent", part, layout=MATRIX, blocks=blocks, activation=f)
    return found


def _attention(module: nn.MultiheadAttention) -> dict[str, Facets]:
    """Queries, keys and values packed, or apart where kdim or vdim differ."""
    width: int = module.embed_dim
    packed = _stacked(QKV, width, width)
    return {
        "in_proj_weight": Facets("linear", layout=MATRIX, blocks=packed),
        "in_proj_bias": Facets("linear", "bias", blocks=_stacked(QKV, width)),
        **{f"{part}_proj_weight": Facets("linear", part, layout=MATRIX) for part in QKV},
        "bias_k": Facets("token"),  # one more key and value, no offsets
        "bias_v": Facets("token"),
    }


_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CONVS_UP = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS: tuple[type[nn.Module], ...] = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.GroupNorm, nn.LayerNorm, nn.RMSNorm),
)

_OWN: Mapping[type[nn.Module], dict[str, Facets] | Callable[[Any], dict[str, Facets]]] = {
    nn.Linear: _LINEAR,
    nn.Bilinear: _bilinear,
    **dict.fromkeys((*_CONVS, *_CONVS_UP), _conv),
    nn.Embedding: _embedding,
    nn.EmbeddingBag: _embedding,
    **dict.fromkeys((nn.RNNBase, nn.RNN, nn.LSTM, nn.GRU), _rnn),
    **dict.fromkeys(
        (nn.RNNCell, nn.LSTMCell, nn.GRUCell),
        lambda cell: _gated(cell, cell.input_size, cell.hidden_size),
    ),
    nn.MultiheadAttention: _attention,
    **dict.fromkeys(_NORMS, _NORM),
    nn.PReLU: {"weight": Facets("scale")},  # a slope has no neutral value: at 1 it'd be linear
}


@cache
def _constant_facets(cls: type[nn.Module]) -> dict[str, Facets]:
    facets = _OWN[cls]
    return {} if callable(facets) else _with_evidence(facets, cls)


def _with_evidence(described: Mapping[str, Facets], cls: type[nn.Module]) -> dict[str, Facets]:
    return {
        attr: replace(facets, evidence=f"nn.{cls.__name__}") for attr, facets in described.items()
    }


def _nearest_class(
    module: nn.Module, table: Mapping[type[nn.Module], object]
) -> type[nn.Module] | None:
    return next((cls for cls in type(module).__mro__ if cls in table), None)


def _stacked(names: tuple[str, ...], rows: int, columns: int | None = None) -> tuple[Block, ...]:
    """Return blocks of so many rows each along axis 0; without columns, of a bias."""
    starts = [(name, (i * rows, (i + 1) * rows)) for i, name in enumerate(names)]
    if columns is None:
        return tuple(Block(name, (box,)) for name, box in starts)
    return tuple(Block(name, (box, (0, columns)), columns, rows) for name, box in starts)


def _is_as_described(module: nn.Module, attr: str, tensor: Tensor | None, facets: Facets) -> bool:
    """Whether a module has this parameter, and it is as its type makes it."""
    if tensor is None:  # the old hooks leave the weight they computed in the module's dict
        computed = isinstance(vars(module).get(attr), Tensor)
        return computed or parametrize.is_parametrized(module, attr)
    if is_lazy(tensor) or not tensor.numel():
        return True
    layout, shape = facets.layout, tensor.shape
    axes = tensor.dim() if layout is None else len(layout.outputs + layout.inputs + layout.window)
    if tensor.dim() != axes or (layout is not None and not is_number(tensor.dtype)):
        return False
    last = facets.blocks[-1].box if facets.blocks else tuple((0, n) for n in shape)
    return tuple(stop for _, stop in last) == tuple(shape)


# Parameters of the modules below, by the type of the one above.


def _layer_children(module: nn.Module) -> dict[str, ChildFacts]:
    """Return the facts of one layer of ``torch/nn/modules/transformer.py``, norm first or last."""
    found: dict[str, ChildFacts] = {
        "linear1.weight": {"part": "in", "ends_residual": False},
        "linear2.weight": {"part": "out", "ends_residual": True},
    }
    name = activation_name(getattr(module, "activation", None))
    if name is not None:
        found["linear1.weight"]["activation"] = name
    for path in ("self_attn", "multihead_attn"):
        attention = getattr(module, path, None)
        if isinstance(attention, nn.MultiheadAttention):
            for attr, facets in describe(attention).items():
                if facets.layout is not None:
                    found[f"{path}.{attr}"] = {"ends_residual": False}
            found[f"{path}.out_proj.weight"] = {"part": "out", "ends_residual": True}
    return found


def _sequential_children(module: nn.Sequential, whole: bool = False) -> dict[str, ChildFacts]:
    found: dict[str, ChildFacts] = {}
    waiting: str | None = None  # the weight whose activation hasn't come yet
    for path, child in flattened(module):
        name = activation_name(child)
        if waiting is not None and name is not None:
            found[waiting] = {"activation": name}
        if isinstance(child, _WEIGHTED):
            waiting = f"{path}.weight"
        elif not (passes_signal(child) or _is_in(child, _NORMS_IN)):
            waiting = None
    for weight, layers in _plain_stacks(module, whole):
        found[weight]["plain"] = layers
    return found


def _plain_stacks(module: nn.Sequential, whole: bool) -> Iterator[tuple[str, int]]:
    """Yield the weights of plain stacks, each with its number of layers.

    As ``plain_stacks`` has it for a data flow. What follows the last weight isn't seen, unless
    the Sequential is the whole model: it may be a residual sum.
    """
    follow: list[tuple[str, list[str]]] = []  # each weight with what comes before the next one
    for path, child in flattened(module):
        if isinstance(child, _WEIGHTED):
            follow.append((f"{path}.weight", []))
        elif follow and activation_name(child) is not None:
            follow[-1][1].append("bend")
        elif follow and not passes_signal(child):
            follow[-1][1].append("take up")
    if follow and not whole:
        follow[-1][1].append("take up")
    run: list[str] = []
    for (weight, between), (_, after) in pairwise([*follow, ("", ["take up"])]):
        if set(between) == {"bend"} and after[:1] != ["take up"]:
            run.append(weight)
        else:
            yield from ((one, len(run) + 1) for one in run)
            run = []


def passes_signal(module: nn.Module) -> bool:
    """Whether an activation after a module follows the layer before it, at the same scale."""
    return isinstance(module, nn.Identity) or _is_in(module, _PASSING)


def _is_in(module: nn.Module, files: Container[str]) -> bool:
    return any(cls.__module__ in files for cls in type(module).__mro__)


def runs_in_a_row(module: nn.Module) -> bool:
    """Whether a module is a Sequential that runs its children one after the other."""
    forward = getattr(type(module), "forward", None)
    return isinstance(module, nn.Sequential) and forward is vars(nn.Sequential)["forward"]


def flattened(module: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    """Yield what runs one after the other, (path, module), through nested Sequentials."""
    inside, waiting = set[int](), [("", cast("nn.Module", module), False)]
    while waiting:
        path, part, left = waiting.pop()
        if left:
            inside.discard(id(part))
        elif not runs_in_a_row(part):
            yield path, part
        elif id(part) not in inside:  # else it contains itself
            inside.add(id(part))
            waiting.append((path, part, True))
            children = [(n, child) for n, child in part._modules.items() if child is not None]
            waiting += [(join(path, name), child, False) for name, child in reversed(children)]


_CHILDREN: Mapping[type[nn.Module], Callable[[Any], dict[str, ChildFacts]]] = {
    nn.MultiheadAttention: lambda _: {"out_proj.weight": {"part": "out"}},
    nn.TransformerEncoderLayer: _layer_children,
    nn.TransformerDecoderLayer: _layer_children,
    nn.Sequential: _sequential_children,
}

_WEIGHTED = (nn.Linear, nn.Bilinear, *_CONVS, *_CONVS_UP)
_NORMS_IN = {f"torch.nn.modules.{x}" for x in ("batchnorm", "instancenorm", "normalization")}
_PASSING = {
    f"torch.nn.modules.{file}"
    for file in ("dropout", "pooling", "flatten", "padding", "pixelshuffle", "upsampling")
}
