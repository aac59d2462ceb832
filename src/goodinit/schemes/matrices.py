"""Schemes that draw a whole matrix: orthogonal, identity and sparse ones.

The matrix is the one that the layer multiplies by, y = W x: its rows are the outputs and its
columns the inputs (times the window of a convolution), whatever the weight's axes are. Stacked
matrices and the groups of a convolution are separate matrices.
"""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from goodinit.errors import FanError, SchemeError
from goodinit.schemes import fields
from goodinit.schemes.fans import Layout, Site
from goodinit.schemes.haar import haar
from goodinit.schemes.haar_parts import fill_matrix_part_, gauss_like
from goodinit.schemes.scheme import BoxDraw, Draw, Scheme
from goodinit.schemes.values import Zeros
from goodinit.streams import Law
from goodinit.streams.part import Box, box_shape, regions, slices, within
from goodinit.streams.stream import CHUNK

STRIP = 1 << 22
"""Numbers ranked at a time, so that temporaries stay at some 50 MB. No value depends on it."""


class _Size(NamedTuple):
    """The number of matrices, and the rows, columns and taps of the window of each."""

    matrices: int
    rows: int
    columns: int
    taps: int


class _Matrix(Scheme):
    """Shared: the site's matrices."""

    def _fit(self, site: Site) -> tuple[Layout, _Size]:
        """Return the layout and the sizes, or raise where there is no matrix."""
        layout = site.layout
        if layout is None or not layout.outputs or not layout.inputs:
            raise FanError(
                f"{self!r} needs a matrix, and a tensor of shape {site.shape} whose axes aren't "
                f"outputs and inputs is none. Use Normal(std), Constant(value) or Zeros() for a "
                f"bias or a scale; say which axis is which with a Layout if it is a weight"
            )
        groups = self._groups(layout)
        if math.prod(site.shape) == 0 or site.shape[layout.split] % groups:
            raise SchemeError(
                f"{self!r} can't be made of shape {site.shape} with {groups} groups: the sizes "
                f"must be positive, and axis {layout.split} a multiple of the groups"
            )
        batch, rows, columns, taps = (
            math.prod(site.shape[axis] for axis in axes)
            for axes in (layout.batch, layout.outputs, layout.inputs, layout.window)
        )
        rows, columns = (
            (rows, columns // groups) if layout.transposed else (rows // groups, columns)
        )
        return replace(layout, groups=groups), _Size(batch * groups, rows, columns, taps)

    def _groups(self, layout: Layout) -> int:
        return layout.groups

    def fill_part_(self, out: Tensor, draw: BoxDraw, site: Site, box: Box) -> None:
        layout, _ = self._fit(site)
        needed, _ = self.reach(site, box)
        axes = [n for n in self._apart(layout) if n != layout.split or layout.groups == 1]
        axis = max(axes, key=lambda n: box[n][1] - box[n][0], default=None)
        start, stop = (0, 0) if axis is None else box[axis]
        size = math.prod(box_shape(needed))
        if axis is None or stop - start < 2 or size <= STRIP:
            super().fill_part_(out, draw, site, box)
            return
        half = (stop - start) // 2  # one after another: temporaries are those of one
        for first, last in ((0, half), (half, stop - start)):
            some = (start + first, start + last)
            part = out.narrow(axis, first, last - first)
            self.fill_part_(part, draw, site, (*box[:axis], some, *box[axis + 1 :]))

    def reach(self, site: Site, box: Box) -> tuple[Box, Site]:
        """The matrices that the box touches, of the stacked ones and of the groups."""
        layout, _ = self._fit(site)
        apart, split = self._apart(layout), layout.split
        needed = [box[n] if n in apart else (0, size) for n, size in enumerate(site.shape)]
        groups = 1
        if layout.groups > 1:
            each = site.shape[split] // layout.groups
            first, last = box[split][0] // each, -(-box[split][1] // each)
            needed[split], groups = (first * each, last * each), last - first
        there = Site(box_shape(needed), replace(layout, groups=groups), site.fan_in, site.fan_out)
        return tuple(needed), there

    def _apart(self, layout: Layout) -> tuple[int, ...]:
        """Return the axes along which values don't depend on one another."""
        return layout.batch


class _Gained(_Matrix):
    """Shared: a gain, the factor on the values."""

    gain: float

    def __post_init__(self) -> None:
        fields.set_float(self, "gain", least=0.0)

    def times(self, factor: float) -> Scheme:
        factor = fields.as_factor(self, factor)
        return replace(self, gain=self.gain * factor) if factor else Zeros()


class _AtCenter(_Gained):
    """Shared: a matrix at the center tap of the window, if there is one, and 0 elsewhere."""

    @torch.no_grad()
    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        layout, size = self._fit(site)
        view = layout.unfold(out).zero_()
        center = center_tap(view, len(layout.window))
        center.copy_(self._matrices(out, draw, layout, size).reshape(center.shape))

    @abstractmethod
    def _matrices(self, out: Tensor, draw: Draw, layout: Layout, size: _Size) -> Tensor:
        """Return the matrices, float32, shape [count, rows, columns]."""


class _Ones(_AtCenter):
    """Shared: identity matrices, times the gain."""

    def moments(self, site: Site) -> tuple[float, float]:
        _, size = self._fit(site)
        share = min(size.rows, size.columns) / (size.rows * size.columns * size.taps)
        return self.gain * share, self.gain * math.sqrt(share * (1 - share))

    def _matrices(self, out: Tensor, draw: Draw, layout: Layout, size: _Size) -> Tensor:
        one = torch.eye(size.rows, size.columns, device=out.device)
        return one.expand(size.matrices, -1, -1).mul(self.gain)

    @torch.no_grad()
    def fill_part_(self, out: Tensor, draw: BoxDraw, site: Site, box: Box) -> None:
        layout, _ = self._fit(site)
        for region in regions(box, CHUNK):  # so that temporaries take a few MB
            ones = _row_minus_column(layout, site.shape, region, out.device) == 0
            out[slices(within(region, box))].copy_(ones.float().mul_(self.gain))


@dataclass(frozen=True, repr=False)
class Orthogonal(_Gained):
    """A random matrix with orthonormal rows or columns, whichever are fewer, times ``gain``.

    Haar-distributed: a product of reflections along Gaussian vectors (Saxe et al., 2014;
    Stewart, 1980; Mezzadri, 2007). With at least as many outputs as inputs
    |W x| = gain |x| for every x. The std of an element is gain / sqrt(max(rows, columns)).
    A kernel is one matrix of shape outputs x (inputs * taps), as in torch; see
    ``DeltaOrthogonal`` for a convolution that keeps norms.

    The Gaussian numbers are the same everywhere; the product goes through LAPACK (cuSOLVER on a
    GPU), so the last bits hold for machines of one class only, with any number of threads.
    Computed in float32, cast once.

    Args:
        gain: factor on the values.

    Raises:
        SchemeError: a gain that is negative or not finite.
        FanError: (when used) the tensor isn't a matrix, such as a bias.

    Example:
        >>> from goodinit.schemes import Layout, Site
        >>> from goodinit.streams import Stream
        >>> site, w = Site.of((3, 2), Layout(outputs=(0,), inputs=(1,))), torch.empty(3, 2)
        >>> def draw(out, law, purpose=""):
        ...     Stream(0).fill_(out, "fc.weight", law, purpose=purpose)
        >>> Orthogonal().fill_(w, draw, site)
        >>> torch.allclose(w.T @ w, torch.eye(2), atol=1e-6)
        True
    """

    gain: float = 1.0

    def moments(self, site: Site) -> tuple[float, float]:
        _, size = self._fit(site)
        return 0.0, self.gain / math.sqrt(max(size.rows, size.columns * size.taps))

    @torch.no_grad()
    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        layout, size = self._fit(site)
        view = layout.unfold(out)
        if out.dtype == torch.float32 and out.is_contiguous():  # a large matrix less in memory
            draw(out, Law.normal(0.0, 1.0))
            gauss = view.detach().reshape(size.matrices, size.rows, -1)
        else:
            gauss = gauss_like(out, draw, layout).reshape(size.matrices, size.rows, -1)
        view.copy_(haar(gauss).mul_(self.gain).reshape(view.shape))

    def fill_part_(self, out: Tensor, draw: BoxDraw, site: Site, box: Box) -> None:
        needed, there = self.reach(site, box)
        if self._fit(there)[1].matrices > 1 or not fill_matrix_part_(
            out, draw, there, needed, box, self.gain
        ):
            super().fill_part_(out, draw, site, box)


@dataclass(frozen=True, repr=False)
class DeltaOrthogonal(_AtCenter):
    """A convolution that keeps norms: orthogonal at the center tap, 0 elsewhere.

    Xiao et al., 2018 (10,000-layer CNNs). The center of a window of k taps is k // 2. With
    stride 1 and enough padding |y| = gain |x|. Over all taps the std is
    gain / sqrt(outputs * taps).

    Args:
        gain: factor on the values.

    Raises:
        SchemeError: a gain that is negative or not finite; (when used) a weight without a
            window, or with fewer outputs than inputs (in a group).
        FanError: (when used) the tensor isn't a matrix, such as a bias.

    Example:
        >>> from goodinit.schemes import Layout, Site
        >>> site = Site.of((8, 4, 3), Layout(outputs=(0,), inputs=(1,), window=(2,)))
        >>> mean, std = DeltaOrthogonal().moments(site)
        >>> mean, round(std, 6)  # 1/sqrt(8 * 3)
        (0.0, 0.204124)
    """

    gain: float = 1.0

    def moments(self, site: Site) -> tuple[float, float]:
        _, size = self._fit(site)
        return 0.0, self.gain / math.sqrt(size.rows * size.taps)

    def _fit(self, site: Site) -> tuple[Layout, _Size]:
        layout, size = super()._fit(site)
        if not layout.window:
            raise SchemeError(
                f"{self!r} is for convolutions, and a weight of shape {site.shape} has no window. "
                f"Use Orthogonal()"
            )
        if size.rows < size.columns:
            raise SchemeError(
                f"{self!r} keeps norms, which {size.rows} outputs of {size.columns} inputs can't "
                f"(shape {site.shape}, {layout.groups} groups). Use Orthogonal(), or a layer with "
                f"at least as many outputs as inputs"
            )
        return layout, size

    def _matrices(self, out: Tensor, draw: Draw, layout: Layout, size: _Size) -> Tensor:
        gauss = center_tap(gauss_like(out, draw, layout), len(layout.window))
        return haar(gauss.reshape(size[:3])).mul_(self.gain)


@dataclass(frozen=True, repr=False)
class Identity(_Ones):
    """The identity matrix, with rows or columns of 0 beside it; for linear layers.

    Args:
        gain: factor on the ones (Le et al., 2015, for recurrent relu networks).

    Raises:
        SchemeError: a gain that is negative or not finite; (when used) a kernel with a window.
        FanError: (when used) the tensor isn't a matrix, such as a bias.

    Example:
        >>> from goodinit.schemes import Layout, Site
        >>> site, w = Site.of((2, 3), Layout(outputs=(0,), inputs=(1,))), torch.empty(2, 3)
        >>> Identity().fill_(w, draw=None, site=site)
        >>> w
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """

    gain: float = 1.0

    def _fit(self, site: Site) -> tuple[Layout, _Size]:
        layout, size = super()._fit(site)
        if layout.window:
            raise SchemeError(
                f"{self!r} is for linear layers, and a weight of shape {site.shape} has a window. "
                f"Use Dirac(), the identity among convolutions"
            )
        return layout, size


@dataclass(frozen=True, repr=False)
class Dirac(_Ones):
    """A convolution that returns its input, as far as channels go: 1 at the center tap.

    Zagoruyko & Komodakis, 2017. The center of a window of k taps is k // 2.

    Args:
        groups: number of groups of outputs that each start with the identity again, as in
            ``torch.nn.init.dirac_``. 1 means the layer's own groups, if they are known.
        gain: factor on the ones.

    Raises:
        SchemeError: groups that aren't a whole number from 1; (when used) a weight without a
            window, groups that aren't the layer's or don't divide the channels.
        FanError: (when used) the tensor isn't a matrix, such as a bias.

    Example:
        >>> from goodinit.schemes import Layout, Site
        >>> layout = Layout(outputs=(0,), inputs=(1,), window=(2,))
        >>> w = torch.empty(2, 2, 3)
        >>> Dirac().fill_(w, draw=None, site=Site.of((2, 2, 3), layout))
        >>> w.tolist()
        [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    """

    groups: int = 1
    gain: float = 1.0

    def __post_init__(self) -> None:
        fields.check_count(self, "groups")
        super().__post_init__()

    def _groups(self, layout: Layout) -> int:
        if self.groups in (1, layout.groups):
            return layout.groups
        if layout.groups == 1:
            return self.groups
        raise SchemeError(
            f"{self!r} on a convolution with {layout.groups} groups: say Dirac(), which takes "
            f"the layer's own"
        )

    def _fit(self, site: Site) -> tuple[Layout, _Size]:
        layout, size = super()._fit(site)
        if not layout.window:
            raise SchemeError(
                f"{self!r} is for convolutions, and a weight of shape {site.shape} has no window. "
                f"Use Identity()"
            )
        return layout, size


@dataclass(frozen=True, repr=False)
class Sparse(_Matrix):
    """N(0, std^2), with exactly ceil(sparsity * outputs) zeros for every input (Martens, 2010).

    A column holds the weights of one input (and one tap of a window), as in
    ``torch.nn.init.sparse_``.

    Args:
        sparsity: the share of each column that is 0, from 0 to 1.
        std: standard deviation of the rest.

    Raises:
        SchemeError: a sparsity outside of [0, 1], a std that is negative or not finite.
        FanError: (when used) the tensor isn't a matrix, such as a bias.

    Example:
        >>> from goodinit.schemes import Layout, Site
        >>> Sparse(0.75, std=1.0).moments(Site.of((8, 3), Layout(outputs=(0,), inputs=(1,))))
        (0.0, 0.5)
    """

    sparsity: float
    std: float = 0.01

    def __post_init__(self) -> None:
        fields.set_float(self, "sparsity", least=0.0)
        fields.set_float(self, "std", least=0.0)
        if self.sparsity > 1:
            fields.refuse(self, "sparsity", self.sparsity, "sparsity must be at most 1")

    def moments(self, site: Site) -> tuple[float, float]:
        _, size = self._fit(site)
        return 0.0, self.std * math.sqrt(1 - self._zeros(size) / size.rows)

    def times(self, factor: float) -> Scheme:
        factor = fields.as_factor(self, factor)
        return replace(self, std=self.std * factor) if factor else Zeros()

    def _apart(self, layout: Layout) -> tuple[int, ...]:
        return (*layout.batch, *layout.inputs, *layout.window)  # compared along a column only

    def _zeros(self, size: _Size) -> int:
        return math.ceil(self.sparsity * size.rows)

    @torch.no_grad()
    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        layout, size = self._fit(site)
        if self.std == 0:
            out.zero_()
            return
        values = out if out.dtype == torch.float32 else torch.empty_like(out, dtype=torch.float32)
        draw(values, Law.normal(0.0, self.std))
        chance = torch.empty_like(values, memory_format=torch.contiguous_format)
        draw(chance, Law.uniform(0.0, 1.0), "sparse")
        zero_smallest_(values, chance, layout, self._zeros(size))
        if values is not out:
            out.copy_(values)


@torch.no_grad()
def zero_smallest_(values: Tensor, chance: Tensor, layout: Layout, count: int) -> None:
    """Write 0 where ``chance``, float32, is among the ``count`` smallest numbers of its column.

    ``values`` may have any strides. A column runs over the layout's outputs, those of one group.
    """
    if not count:
        return
    start = len(layout.batch) + 1  # of the axes of outputs
    stop = start + len(layout.outputs)

    def by_column(tensor: Tensor) -> Tensor:  # [outputs..., all others]
        view = layout.unfold(tensor)
        axes = list(range(view.dim()))
        return view.permute(axes[start:stop] + axes[:start] + axes[stop:])

    view = by_column(values)
    rows = math.prod(view.shape[: stop - start])
    mask = smallest(by_column(chance).reshape(rows, -1), count)
    view.masked_fill_(mask.view(view.shape), 0)


def smallest(numbers: Tensor, count: int) -> Tensor:
    """Return a mask of the ``count`` smallest numbers of each column, the first of equal ones.

    ``numbers`` has the shape [rows, columns], and ``count`` is from 1 to rows.
    """
    rows, width = numbers.shape
    few = min(count, rows - count + 1)  # the last one chosen is searched from the nearer end
    mask = torch.empty(numbers.shape, dtype=torch.bool, device=numbers.device)
    step = max(1, STRIP // rows)
    for start in range(0, width, step):
        part, chosen = numbers[:, start : start + step], mask[:, start : start + step]
        columns = part.contiguous().t().contiguous()  # both quick; part.t().contiguous() isn't
        found = columns.topk(few, largest=few < count, sorted=False).values
        last = found.amin(1) if few < count else found.amax(1)
        torch.le(part, last, out=chosen)
        tied = chosen.sum(0, dtype=torch.int32) > count
        if tied.any():
            equal = columns[tied]
            first = equal.argsort(stable=True)[:, :count]
            chosen.t()[tied] = torch.zeros_like(equal, dtype=torch.bool).scatter_(1, first, True)
    return mask


def _row_minus_column(
    layout: Layout, shape: tuple[int, ...], box: Box, device: torch.device
) -> Tensor:
    """Return, for each element of a box, its row less its column in its matrix, as int64.

    It is 0 on the diagonal at the center tap, and nowhere else.
    """
    sizes = [n // layout.groups if axis == layout.split else n for axis, n in enumerate(shape)]
    steps = dict.fromkeys(range(len(shape)), 0)
    for axes, sign in ((layout.outputs, 1), (layout.inputs, -1)):
        step = sign
        for axis in reversed(axes):
            steps[axis] = step
            step *= sizes[axis]
    beyond = math.prod(sizes)  # more than any difference: an element off the center tap
    total = torch.zeros((), dtype=torch.int64, device=device)
    for axis, (start, stop) in enumerate(box):
        index = torch.arange(start, stop, device=device)
        if axis in layout.window:
            term = (index != shape[axis] // 2) * beyond
        else:
            term = index % sizes[axis] * steps[axis]
        total = total + term.view(-1, *(1 for _ in box[axis + 1 :]))
    return total


def center_tap(kernel: Tensor, axes: int) -> Tensor:
    """Return a view of the center tap, k // 2 of k, of a kernel whose last axes are its window."""
    return kernel[(..., *(size // 2 for size in kernel.shape[kernel.dim() - axes :]))]
