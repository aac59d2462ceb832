"""What a tensor's numbers come from after a call: origins through views, copies and functions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from goodinit.dataflow import geometry
from goodinit.dataflow.functions import BATCH_NORMS
from goodinit.dataflow.nodes import Node, Origin, Value
from goodinit.trace import Call, tensors_in

Ranges = tuple[geometry.Range, ...]
Layout = tuple[tuple[int, ...], tuple[int, ...], int]
"""Shape, strides and storage offset."""

BY_CHANNEL = BATCH_NORMS | {"instance_norm", "group_norm", "native_group_norm"}

# Views and copies by their role that don't hold the same numbers.
_CHANGING = frozenset(
    "tril triu fold nan_to_num bool int long real imag pad constant_pad_nd".split()
)

# Only whether a parameter went through a nonlinear function, and through exp, is ever asked: a loop
# that applies one again and again need not be written down in full.
FUNCTIONS_KEPT = 6


@dataclass(slots=True)
class Base:
    """What is known about the memory that views share.

    Attributes:
        node: number of the node that made it, or wrote to it last.
        layout: shape, strides and storage offset of the tensor that it was made as.
        origins: where that tensor's numbers come from.
    """

    node: int
    layout: Layout
    origins: tuple[Origin, ...]


def output_of(node: Node, shape: tuple[int, ...]) -> Origin:
    """Return the origin that a product's output is, or a mixture."""
    axes = tuple((axis,) if size > 1 else () for axis, size in enumerate(shape))
    return Origin(None, node.index, axes, tuple((0, size) for size in shape))


def whole_of(number: int, shape: tuple[int, ...]) -> Origin:
    """Return the origin that a parameter is, as it is stored."""
    axes = tuple((axis,) for axis in range(len(shape)))
    return Origin(number, -1, axes, tuple((0, size) for size in shape))


def is_made(
    node: Node, call: Call, tensors: list[Tensor], values: tuple[Value, ...], result: Tensor
) -> bool:
    """Whether a result of its own memory holds other numbers than its operands do."""
    if node.number == (1 if node.role == "mul" else 0):
        return False
    if call.inplace:
        return True
    if node.role == "pick":
        return not node.live  # the experts of each token are matrices as they were
    if node.role == "join":
        sizes = sum(tensor.numel() for tensor in tensors)
        return sizes != result.numel() or not all(value.params for value in values)
    changing = node.function in _CHANGING or "dropout" in node.function
    if node.role not in ("view", "cast") or changing:
        return True
    return result.numel() != tensors[0].numel() or not result.is_floating_point()


def layout_of(tensor: Tensor) -> Layout:
    """Return a tensor's shape, strides and storage offset."""
    return tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())


def through_view(base: Base, view: Tensor) -> tuple[Origin, ...]:
    """Return the origins of a view."""
    if not base.origins:
        return ()
    dims, ranges = geometry.view_dims(base.layout, layout_of(view))
    return tuple(_composed(origin, base.layout[0], dims, ranges) for origin in base.origins)


def _composed(
    origin: Origin, shape: tuple[int, ...], dims: geometry.Dims, ranges: tuple[tuple[int, int], ...]
) -> Origin:
    axes = tuple(
        tuple(sorted({axis for dim in over for axis in origin.axes[dim]})) for over in dims
    )
    box = list(origin.box)
    for dim, (start, stop) in enumerate(ranges):
        over = origin.axes[dim]
        if len(over) == 1:
            (axis,) = over
            low, high = box[axis]
            if high - low == shape[dim]:
                box[axis] = (low + start, low + stop)
    return replace(origin, axes=axes, box=tuple(box))


def union(a: Ranges, b: Ranges) -> Ranges:
    """Return the ranges that hold both of two; those of more axes where the axes aren't the same.

    >>> union(((0, 2), (1, 3)), ((1, 4), (1, 2)))
    ((0, 4), (1, 3))
    """
    if len(a) != len(b):
        return max(a, b, key=len)
    return tuple((min(p[0], q[0]), max(p[1], q[1])) for p, q in zip(a, b, strict=True))


def tally_of_source(tensor: Tensor, live: bool) -> str:
    """Return what the integers of a tensor are that no call made; see ``Node.tally``."""
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool:
        return ""
    if live:
        return "ids"
    if tensor.is_meta:
        return "unknown"
    return "count" if tensor.numel() > 1 and bool((tensor != tensor.flatten()[0]).any()) else ""


def still_weight(node: Node, call: Call, tensor: Tensor, origin: Origin) -> bool:
    """Whether a parameter is still a weight after it met an activation.

    It is where a matrix is modulated or picked from: by a factor that is broadcast over one of
    its own axes (a style on a kernel), or by indices (the experts of each token).
    """
    if origin.param is None or node.role not in ("mul", "pick", "cast", "view"):
        return False
    if origin.breadth() < 2:
        return False
    if node.role == "pick":  # the experts of each token; rows of a table are activations
        return len(origin.box) > 2 or origin.is_flat_stack()
    if node.role == "mul":
        other = [t for t in tensors_in(call.args) if t is not tensor]
        return bool(other) and any(
            over and dim < other[0].ndim and other[0].shape[-1 - dim] == 1
            for dim, over in enumerate(reversed(origin.axes))
        )
    return True


def moved_by(
    origin: Origin, old: tuple[int, ...], new: tuple[int, ...], call: Call, node: Node
) -> Origin:
    """Return an origin after a function that made new memory."""
    lost = ((),) * len(new)
    if node.role == "pick":
        return replace(origin, axes=_picked(origin.axes, old, new))
    if node.role in ("view", "cast") and old != new:
        return replace(origin, axes=geometry.regroup(old, origin.axes, new) or lost)
    if node.role == "contract":  # of parameters: a merged low-rank pair
        matrix = call.function in ("matmul", "mm") and len(old) == len(new) == 2
        first = bool(call.args) and tuple(getattr(call.args[0], "shape", ())) == old
        rows, columns = (origin.axes[0], ()) if first else ((), origin.axes[-1])
        return replace(origin, axes=(rows, columns) if matrix else lost)
    fits = len(new) >= len(old) and all(
        a in (1, b) for a, b in zip(reversed(old), reversed(new), strict=False)
    )
    if call.function in BY_CHANNEL and len(old) == 1:  # along axis 1, which isn't the last
        fits = False
    if node.role in ("reduce", "join") and len(new) == len(old):
        fits = True
    axes = geometry.align(origin.axes, len(new)) if fits else lost
    if origin.param is None:
        return origin if axes == origin.axes else replace(origin, axes=axes)
    shift, bent = origin.shift, origin.bent
    if call.function == "rsub":
        bent = (*bent, "rsub")
    elif node.role == "add":
        shift += node.number or 0.0
    elif node.role in ("activation", "bend"):
        bent = (*bent, call.function)
    return replace(origin, axes=axes, shift=shift, bent=bent[:FUNCTIONS_KEPT])


def _picked(axes: geometry.Dims, old: tuple[int, ...], new: tuple[int, ...]) -> geometry.Dims:
    """Return axes after rows were picked by a tensor of indices along the first axis."""
    kept = len(old) - 1
    if kept and new[-kept:] == old[1:]:
        return ((),) * (len(new) - kept) + axes[1:]
    if len(new) == len(old):
        return axes
    return ((),) * len(new)
