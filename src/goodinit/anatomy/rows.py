"""The rows: what is known about one parameter or buffer of a model."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from goodinit.anatomy.held import Held
from goodinit.schemes import Site
from goodinit.schemes.fans import Layout

KINDS: tuple[str, ...] = (
    *("linear", "conv", "embedding", "recurrent", "norm", "position"),
    *("token", "scale", "router", "adapter", "ssm", "other"),
)
PARTS: tuple[str, ...] = (
    "weight",  # a weight with no more specific part
    "bias",
    "q",
    "k",
    "v",
    "out",  # ends an attention or feed-forward branch; the weight of a norm that ends one
    "gate",  # its activation multiplies another projection
    "in",  # feeds an activation inside a branch; the input-hidden weight of an RNN
    "recurrent",  # the hidden-hidden weight of an RNN
    "head",  # its output is the model's
    "router",  # scores experts, of which the best are chosen
    "patch",  # cuts the model's input into patches
    "table",  # rows that are looked up
    "buffer",
)

Box = tuple[tuple[int, int], ...]
"""(start, stop) along each axis of a parameter."""


@dataclass(frozen=True, slots=True)
class Block:
    """One logical matrix in a packed parameter: a gate, q or k or v, an expert.

    Attributes:
        name: "q", "forget", "expert3".
        box: where in the parameter it lies.
        fan_in: of this block alone.
        fan_out: likewise.
    """

    name: str
    box: Box
    fan_in: float | None = None
    fan_out: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the block."""
        return tuple(stop - start for start, stop in self.box)


@dataclass(frozen=True, slots=True)
class Adapter:
    """The three weights of W x + s B A x, of which a parameter is one.

    Attributes:
        role: "base" for W, "in" for A, "out" for B.
        base: name of W.
        down: name of A.
        up: name of B.
        factor: s; None if it isn't a known number, or if W has another such pair.
    """

    role: str
    base: str
    down: str
    up: str
    factor: float | None


@dataclass(frozen=True, slots=True)
class Facets:
    """What a parameter is, apart from its name and shape: what rules can ask for.

    Module types are asked first. The data flow, if there is one, overrides them.

    Attributes:
        kind: one of ``KINDS``.
        part: one of ``PARTS``.
        layout: which axis is which; None where there are no fans.
        blocks: the logical matrices of a packed parameter; empty where it is one.
        activation: name of the function that follows, as in ``torch.nn.functional``.
        squared: whether that function's result is squared (squared relu).
        ends_residual: whether its output is added to a residual stream; None if unknown.
        branch: of a weight in a residual branch, (how many weights follow one another in that
            branch, how many branches its stream has); None outside of one, or if unknown.
        last_norm: whether it is the weight of a norm, of batch norm too, with which a residual
            branch ends.
        goes_with: of a bias, "head" if the weight it is added to is the model's last, "end" if
            that ends a residual branch, "gate" if a sigmoid of it multiplies a signal, else "".
        factors: how many weights are multiplied where it is used, it among them: in ``x @ (u @ v)``
            two. They share a gain.
        takes_input: whether it is a weight that the model's input goes into first; None if unknown.
        layer: number of the layer it is in, from 0; None outside of any.
        depth: how many layers the stack has that it is in (or the model, outside of any).
        width: number of features of the residual stream.
        neutral: the value at which a scale or an offset changes nothing: 1 for ``x * p``,
            0 for ``x * (1 + p)`` and ``x + p``.
        beside: of positions that are added to an embedding's rows, the mean square at which they
            are as large as those, if the embedding is drawn as in ``standard``.
        plain: how many weights follow one another, it among them, with only activations between
            them; 0 where a norm or a sum takes its signal up, or that isn't known.
        adapter: the low-rank pair that it belongs to, or that is beside it; None without one.
        zero_rows: rows that stay zero (``padding_idx``).
        guessed: whether only the shape was known, or what is said isn't certain.
        doubt: why it isn't certain; such a row is ``guessed``.
        evidence: how it is known, for the plan's ``why``: "linear(x, W)", "nn.Conv2d", "shape".
    """

    kind: str = "other"
    part: str = "weight"
    layout: Layout | None = None
    blocks: tuple[Block, ...] = ()
    activation: str | None = None
    squared: bool = False
    ends_residual: bool | None = None
    branch: tuple[int, int] | None = None
    factors: int = 1
    last_norm: bool = False
    goes_with: str = ""
    takes_input: bool | None = None
    layer: int | None = None
    depth: int | None = None
    width: int | None = None
    neutral: float | None = None
    plain: int = 0
    beside: float | None = None
    adapter: Adapter | None = None
    zero_rows: tuple[int, ...] = ()
    guessed: bool = False
    doubt: str = ""
    evidence: str = ""

    @property
    def is_unknown(self) -> bool:
        """Whether it may be something else, and not only another scale that is right."""
        return self.guessed and not self.doubt


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter (or buffer) of a model, under its logical name.

    Attributes:
        name: the logical name; ``conv.weight`` also where a parametrization stores
            ``conv.parametrizations.weight.original0``.
        shape: its shape.
        dtype: its dtype.
        owner: the class of the module that holds it.
        facets: what it is.
        tied: its other names.
        stored: names of the tensors that hold it, if not ``name`` itself (parametrizations).
        buffer: whether it is a buffer.
        frozen: whether ``requires_grad`` is off.
        raw: whether no module type says what it is: a class's own ``nn.Parameter``.
        held: what it holds before anything is drawn.
        meant: why zeros in it are meant, or values that are nearly 0; "" if nothing shows it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    owner: type[torch.nn.Module]
    facets: Facets
    tied: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    buffer: bool = False
    frozen: bool = False
    raw: bool = False
    held: Held = field(default=Held(), compare=False)
    meant: str = ""

    def __getattr__(self, name: str) -> object:
        """Look a facet up: ``row.kind`` is ``row.facets.kind``."""
        if name in Facets.__slots__:
            return getattr(self.facets, name)
        raise AttributeError(f"a row has no {name!r}")

    def sites(self) -> tuple[tuple[Block, Site], ...]:
        """Return each block with its site; the whole is one block where it isn't packed."""
        layout = self.facets.layout
        if not self.facets.blocks:
            site = Site.of(self.shape, layout)
            box = tuple((0, n) for n in self.shape)
            return ((Block("", box, site.fan_in, site.fan_out), site),)
        return tuple(
            (block, Site(block.shape, layout, block.fan_in, block.fan_out))
            for block in self.facets.blocks
        )
