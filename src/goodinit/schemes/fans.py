"""Axes to fan_in and fan_out: the terms that an output sums, the outputs that an input feeds.

Torch reads fans off a weight's shape, ``shape[1] * window`` and ``shape[0] * window``. They are
wrong for transposed, grouped, packed and bilinear weights and for embeddings. Here the module's
type or the data flow names the axes first, and the fans follow. Torch's numbers are at the end, for
``goodinit.nn.init`` and to recognize what torch drew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Which axis of a weight is which.

    Attributes:
        outputs: axes that index the output.
        inputs: axes that are summed over, with one element of the input each.
        window: axes of a convolution's kernel, summed over too.
        batch: axes along which independent matrices are stacked (experts, heads).
        groups: groups of a convolution. Only one group's share is on the axis of the inputs, or of
            the outputs if the convolution is ``transposed``.
        stride: product of the strides over all window axes.
        transposed: whether the convolution is transposed.
        lookup: whether rows are looked up rather than summed (an embedding): fan_in is 1.

    Example:
        >>> conv = Layout(outputs=(0,), inputs=(1,), window=(2, 3))
        >>> conv.fans((16, 3, 5, 5))  # 3 * 25 and 16 * 25
        (75, 400)
    """

    outputs: tuple[int, ...] = ()
    inputs: tuple[int, ...] = ()
    window: tuple[int, ...] = ()
    batch: tuple[int, ...] = ()
    groups: int = 1
    stride: int = 1
    transposed: bool = False
    lookup: bool = False

    def fans(self, shape: tuple[int, ...]) -> tuple[float, float]:
        r"""Return (fan_in, fan_out) of a weight of this shape.

        With E[y^2] = fan_in * Var(w) * E[x^2] forward and
        E[g_x^2] = fan_out * Var(w) * E[g_y^2] backward, in the interior of a convolution, and
        averaged over its phases where a stride leaves some taps out.

        Args:
            shape: the shape of the weight, or of one block of it.

        Returns:
            The two fans, as int if they are whole numbers.

        Example:
            >>> conv = Layout(outputs=(0,), inputs=(1,), window=(2, 3), groups=4)
            >>> conv.fans((128, 16, 3, 3))
            (144, 288)
            >>> up = Layout(outputs=(1,), inputs=(0,), window=(2, 3), stride=4, transposed=True)
            >>> up.fans((64, 128, 4, 4))
            (256, 2048)
        """
        window = math.prod(shape[axis] for axis in self.window)
        inputs = math.prod(shape[axis] for axis in self.inputs) * window
        outputs = math.prod(shape[axis] for axis in self.outputs) * window
        if self.lookup:
            return 1, _whole(outputs)
        if self.transposed:
            return _whole(inputs / self.groups / self.stride), _whole(outputs)
        return _whole(inputs), _whole(outputs / self.groups / self.stride)

    @property
    def split(self) -> int:
        """The axis along which the groups of a convolution follow one another."""
        return self.inputs[0] if self.transposed else self.outputs[0]

    def unfold(self, weight: Tensor) -> Tensor:
        """Return a view of shape [batch..., groups, outputs..., inputs..., window...].

        The groups of a convolution follow one another along its outputs, those of a transposed one
        along its inputs: along ``split``. Splitting an axis is a view for any strides.

        Example:
            >>> import torch
            >>> conv = Layout(outputs=(0,), inputs=(1,), window=(2,), groups=4)
            >>> conv.unfold(torch.empty(8, 2, 3)).shape
            torch.Size([4, 2, 2, 3])
        """
        split, shape = self.split, weight.shape
        view = weight.view(*shape[:split], self.groups, -1, *shape[split + 1 :])

        def moved(axes: tuple[int, ...]) -> list[int]:
            return [axis + (axis >= split) for axis in axes]

        axes = moved(self.outputs) + moved(self.inputs) + moved(self.window)
        return view.permute(*moved(self.batch), split, *axes)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a scheme is used: one tensor or block, and its fans.

    Attributes:
        shape: shape of the tensor or block.
        layout: its axes; None if they are neither inputs nor outputs (a bias, a scale).
        fan_in: None if there is no sum over inputs.
        fan_out: likewise.

    Example:
        >>> site = Site.of((10, 20), Layout(outputs=(0,), inputs=(1,)))
        >>> site.fan_in, site.fan_out
        (20, 10)
    """

    shape: tuple[int, ...]
    layout: Layout | None = None
    fan_in: float | None = None
    fan_out: float | None = None

    @classmethod
    def of(cls, shape: tuple[int, ...], layout: Layout | None) -> Site:
        """Return the site of a tensor of this shape and layout."""
        if layout is None:
            return cls(shape)
        return cls(shape, layout, *layout.fans(shape))


def _whole(fan: float) -> float:
    return int(fan) if fan == int(fan) else fan


def torch_fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the fans that torch reads off a shape of two axes or more.

    They hold for ``Linear`` and for convolutions of stride 1 without groups. They are wrong for
    transposed, grouped and strided convolutions, packed projections and stacks of experts.

    >>> torch_fans((64, 16, 3, 3))
    (144, 576)
    >>> torch_fans((64, 128, 4, 4))  # ConvTranspose2d(64, 128, 4): Layout.fans says (1024, 2048)
    (2048, 1024)
    """
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window
