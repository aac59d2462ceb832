"""The nodes of a data-flow graph, and what is known about the tensors between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from goodinit.dataflow.geometry import Dims, Range


@dataclass(frozen=True, slots=True)
class Origin:
    """Where (some of) a tensor's numbers come from, axis by axis.

    Attributes:
        param: number of the parameter; None for the output of a contraction.
        node: number of the contraction's node, or of the sum's that mixed several; -1 for a
            parameter.
        axes: for each axis of the tensor, the axes of the origin it runs over.
        box: for each axis of the origin, the range that the tensor holds.
        shift: number that was added to a parameter (1 in ``x * (1 + w)``).
        bent: names of the nonlinear functions a parameter went through.
        made: name of the first function that was applied to a parameter and is neither a view
            nor a copy: a product, a mask, a sum. What is used then is a function of it.
    """

    param: int | None
    node: int
    axes: Dims
    box: tuple[Range, ...]
    shift: float = 0.0
    bent: tuple[str, ...] = ()
    made: str = ""

    @property
    def sizes(self) -> tuple[int, ...]:
        """For each axis of the origin, how much of it the tensor holds."""
        return tuple(stop - start for start, stop in self.box)

    def breadth(self, last: int = 0) -> int:
        """Return over how many axes (of the last so many) a tensor runs through its origin."""
        return sum(any(self.sizes[axis] > 1 for axis in over) for over in self.axes[-last:])

    def is_flat_stack(self) -> bool:
        """Whether it is a view of three axes or more of a parameter that has fewer."""
        return self.breadth() > 2 >= len(self.box)


@dataclass(slots=True)
class Value:
    """What is known about a tensor.

    Attributes:
        node: number of the node that made it.
        origins: where its numbers come from.
        params: the parameters among those.
        product: whether it is linear in the product of a parameter and an activation whose sums
            aren't known.
    """

    node: int
    origins: tuple[Origin, ...] = ()
    params: tuple[Origin, ...] = field(init=False, default=())
    product: bool = False

    def __post_init__(self) -> None:
        if self.origins:
            self.params = tuple(o for o in self.origins if o.param is not None)


@dataclass(slots=True)
class Use:
    """One use of a parameter on an activation.

    Attributes:
        param: number of the parameter.
        node: number of the node that used it.
        role: "contract", "lookup", "add", "mul", "norm", "join" or "feed".
        inputs: axes of the parameter that are summed over.
        outputs: axes that index what comes out.
        window: axes of a convolution's kernel.
        batch: axes along which matrices are stacked.
        fan_in: number of summands; 1 where nothing is summed.
        fan_out: number of outputs that one input feeds; likewise.
        groups, stride, transposed: of a convolution.
        origin: the parameter's axes as they were used.
        counted: of a lookup, whether the indices count positions.
        operand: number on the tape of the tensor that was used, if it was computed.
        at: number of calls that the tape had then.
        met: number on the tape of the call, if it was recorded: its sums aren't known.
        adapter: "in" or "out" of a low-rank addition to another weight, or "".
        factors: how many weights are multiplied in what is used.
        measured: whether the fans aren't those of the axes alone.
        doubt: why the axes don't show what is summed over; "" if they do.
        places: of an einsum, (axis of the parameter, axis of the result) for each output axis.
    """

    param: int
    node: int
    role: str
    origin: Origin
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    window: tuple[int, ...] = ()
    batch: tuple[int, ...] = ()
    fan_in: float = 1.0
    fan_out: float = 1.0
    groups: int = 1
    stride: int = 1
    transposed: bool = False
    counted: bool = False
    operand: int | None = None
    at: int = 0
    met: int | None = None
    adapter: str = ""
    factors: int = 1
    measured: bool = False
    doubt: str = ""
    places: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Linear:
    """A call's result as multiples of its signals plus a constant, where its name doesn't say it.

    Attributes:
        factors: of each operand that is a signal, in order; of a join its share of the result.
        added: mean square of the constant, over the result's elements.
        joins: of a join, the axes along which operands lie side by side; all where that isn't
            known; empty for others.
    """

    factors: tuple[float, ...]
    added: float = 0.0
    joins: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A call of a function of one signal that no list describes.

    Attributes:
        function: what was called.
        name: its plain name.
        args: with a stand-in for the signal.
        kwargs: likewise.
    """

    function: Callable[..., Any]
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(slots=True)
class Node:
    """One call.

    Attributes:
        index: number in execution order.
        function: plain name, as in ``Call``.
        role: what the function does to the signal: see ``functions.py``.
        path: dotted path of the module that called.
        inputs: the nodes that its tensor arguments came from, in order.
        operands: what is known about the tensor arguments, in order.
        shape: shape of its (first) result.
        live: whether it depends on the model's inputs.
        signals: the operands that depend on the inputs and aren't weights: activations.
        uses: the parameters that it used.
        weights: those it multiplied by and summed.
        consumers: the nodes that took its result.
        number: that was added, multiplied by or raised to, where an operand is a number; of an
            attention, its scale if it is passed; of a product with a sum, its alpha.
        square: mean square of the constant tensor that one signal is multiplied by, if known.
        linear: what it makes of its signals; None where its role says it, or nobody knows.
        written: of a tensor of zeros that signals are written into, the share written so far.
        overwrites: whether constants change a part of a signal in place: how much isn't known.
        tally: what its integers are: "ids" from the inputs, a "count" (of positions),
            "unknown" (a buffer on meta) or "".
        stacked: axes of the result along which the next weight holds a matrix for each index.
        generates: of a contraction whose result is used as a weight, the fans of that product,
            the first function in between that isn't a view, and the node of that product; None of
            others.
        label: of an activation, its name with the arguments that aren't the default; "alpha" of
            a sum that multiplies its second operand.
        labels: of a product of activations, a label for each axis of each operand and, last, of
            the result; equal labels are one axis.
    """

    index: int
    function: str
    role: str
    path: str
    inputs: tuple[int, ...]
    operands: tuple[Value, ...]
    shape: tuple[int, ...]
    live: bool
    signals: tuple[Value, ...]
    uses: list[Use] = field(default_factory=list[Use])
    weights: list[Use] = field(default_factory=list[Use])
    consumers: list[int] = field(default_factory=list[int])
    number: float | None = None
    square: float | None = None
    linear: Linear | Unlisted | None = None
    written: float = 0.0
    overwrites: bool = False
    tally: str = ""
    label: str = ""
    labels: tuple[tuple[int, ...], ...] = ()
    generates: tuple[float, float, str, int] | None = None
    stacked: set[int] = field(default_factory=set[int])


@dataclass(slots=True)
class Span:
    """One run of a module: the nodes before and after, what went in first, what came out."""

    path: str
    start: int
    takes: int
    stop: int = field(init=False)
    gives: tuple[int, ...] = ()
