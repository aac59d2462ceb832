"""What can be guessed about raw parameters of an unknown module from their shapes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from goodinit.anatomy.held import Held
from goodinit.anatomy.rows import Block, Facets
from goodinit.anatomy.writable import is_number
from goodinit.schemes.fans import Layout

Shape = tuple[int, ...]

# Up to these sizes the trailing axes of a raw tensor are taken for a kernel's window. Published
# kernels reach 7 along one axis (of three axes, stacked matrices are the rule) and 31 along two
# (RepLKNet, Ding et al., 2022). What is larger is a stack of matrices, or unknown.
WINDOW_1D, WINDOW = 7, 32


def guess(module: nn.Module, attr: str, siblings: Siblings) -> Facets:
    """Guess what a raw parameter of an unknown module is, by its shape.

    ====================  =================================================================
    shape                 taken for
    ====================  =================================================================
    [n]                   the bias of a sibling with n outputs; else, in a class with "norm"
                          in its name, the norm's weight (the first) and bias (the second),
                          unless they are called "bias" or "beta", "weight" or "gamma"
    [n, m]                a linear weight [out, in]; the biases of stacked matrices [n, m, .],
                          if all stacks of the module have such
    [1, .., 1, d]         a learned token
    [1, n, .., d]         a table of positions
    [n, m, k], k <= 7     a convolution's kernel [out, in, k]
    [n, m, j, k], <= 32   likewise, also in three dimensions
    [e, n, m]             e stacked matrices (experts) [out, in], each a block
    anything else         other: no axes, not floating, one number, [n, 1, 1] per channel
    ====================  =================================================================

    Matrices are stored in both orders: [out, in] for ``F.linear``, [in, out] for ``x @ w``,
    ``bmm`` and Hugging Face's Conv1D. The first is assumed unless a sibling contradicts it:

    - of two stacked matrices [e, d, 2h] and [e, h, d], the first has two projections side by
      side (gate and value), so that 2h is its output and the order is [in, out];
    - a bias, those registered next after the matrix first, that fits the last axis only.

    A plan marks what was guessed. With inputs the data flow decides instead.

    Args:
        module: the module that holds it; only the name of its class is looked at.
        attr: which of the siblings it is; the name itself means nothing.
        siblings: the module's own parameters, itself among them.

    Returns:
        Facets with ``guessed=True`` and ``evidence="shape"``.

    Example:
        Hugging Face's Conv1D, which multiplies from the right:

        >>> import torch
        >>> own = Siblings({"weight": torch.empty(20, 60), "bias": torch.empty(60)})
        >>> guess(nn.Module(), "weight", own).layout.fans((20, 60))
        (20, 60)
    """
    facets = Facets()
    if siblings.shapes.get(attr):  # neither an integer nor a single number
        facets = _guess(type(module).__name__, attr, siblings)
    return replace(facets, guessed=True, evidence="shape")


def by_value(guessed: Facets, held: Held) -> Facets:
    """Return a guess by shape, corrected by what the parameter holds.

    One value, or a pattern, is a setting of its class and no weight, table or bias: a LayerScale of
    1e-6, Mamba's ``A_log``. A norm's weight of zeros is added to 1, as Gemma's is. Zeros in the
    shape of a token or of positions may as well be ReZero's.

    Example:
        >>> import torch
        >>> from goodinit.anatomy.held import held_by
        >>> scale = torch.full((8, 4), 1e-6)
        >>> guessed = guess(nn.Module(), "g", Siblings({"g": scale}))
        >>> guessed.kind, by_value(guessed, held_by(scale)).kind
        ('linear', 'other')
    """
    norm = guessed.kind == "norm" and guessed.part == "weight"
    if norm and held.what == "zeros":
        return replace(guessed, neutral=0.0)
    zeros = held.what == "zeros" and guessed.kind in ("token", "position")
    if not (held.is_special or zeros) or (norm and held.value == 1):
        return guessed
    return Facets(guessed=True, evidence="shape, and what it holds")


_IS_NORMS_BIAS = {"weight": False, "gamma": False, "bias": True, "beta": True}


class Siblings:
    """The shapes of a module's own floating parameters, and where each shape is.

    Made once a module: a guess then costs the same, however many parameters there are.

    Args:
        tensors: the parameters, in registration order.
        settings: names of those that aren't weights, whatever their shapes.
    """

    def __init__(self, tensors: Mapping[str, Tensor], settings: Collection[str] = ()) -> None:
        self.shapes = {name: tuple(t.shape) for name, t in tensors.items() if is_number(t.dtype)}
        self._order = {name: at for at, name in enumerate(self.shapes)}
        self._places: dict[Shape, list[int]] = {}
        for at, shape in enumerate(self.shapes.values()):
            self._places.setdefault(shape, []).append(at)
        self._vectors = [name for name, shape in self.shapes.items() if len(shape) == 1][:2]
        self._layouts = {n: None if n in settings else self._layout(n) for n in self.shapes}
        self._biases: dict[Shape, list[tuple[str, str]]] = {}  # (its weight, that one's kind)
        for name, layout in self._layouts.items():
            if layout is not None:
                kind = "conv" if layout.window else "linear"
                self._biases.setdefault(self._bias_of(name, layout), []).append((name, kind))
        self._missing = Counter(len(b) for b in self._biases if b not in self._places)

    def layout_of(self, name: str) -> Layout | None:
        """Return the axes of a tensor whose shape is that of a weight, None for any other."""
        return self._layouts[name]

    def kind_as_bias(self, name: str) -> str | None:
        """Return the kind of the first sibling whose bias would have this shape, or None."""
        givers = self._biases.get(self.shapes[name], ())
        return next((kind for giver, kind in givers if giver != name), None)

    def lacks_bias(self, name: str) -> bool:
        """Whether another one's bias would have as many axes, and no parameter its shape."""
        rank, layout = len(self.shapes[name]), self._layouts[name]
        own = None if layout is None else self._bias_of(name, layout)
        if own is None or len(own) != rank:
            return self._missing[rank] > 0
        return self._missing[rank] > (own not in self._places and len(self._biases[own]) == 1)

    def place_among_vectors(self, name: str) -> int:
        """Return which of the parameters of one axis it is: 0, 1, or 2 for any later one."""
        return self._vectors.index(name) if name in self._vectors else 2

    def is_norms_bias(self, name: str) -> bool:
        """Whether one of a norm's two vectors is its bias: by either name, else by the order."""
        order = self.place_among_vectors(name)
        other = self._vectors[1 - order] if len(self._vectors) > 1 else ""
        known = not _IS_NORMS_BIAS[other] if other in _IS_NORMS_BIAS else order == 1
        return _IS_NORMS_BIAS.get(name, known)

    def _next_of(self, name: str, shapes: Sequence[Shape]) -> int | None:
        """Return which of these shapes comes next after a parameter, the last before the first."""
        at, near = self._order[name], list[tuple[int, int]]()
        for number, shape in enumerate(shapes):
            places = self._places.get(shape, ())
            after = bisect_right(places, at)
            distance = (places[after % len(places)] - at) % len(self._order) if places else 0
            near += [(distance, number)] if distance else []  # 0: the parameter itself
        return min(near)[1] if near else None

    def _layout(self, name: str) -> Layout | None:
        shape = self.shapes[name]
        if len(shape) < 2 or shape[0] == 1 or math.prod(shape[1:]) == 1 < len(shape) - 1:
            return None  # [n, 1, 1]: one number a channel
        window = tuple(range(2, len(shape)))
        if window and max(shape[2:]) <= (WINDOW_1D if len(shape) == 3 else WINDOW):
            return Layout(outputs=(0,), inputs=(1,), window=window)
        if len(shape) > 3:
            return None
        rows, columns = len(shape) - 2, len(shape) - 1
        out, into = (columns, rows) if self._is_reversed(name) else (rows, columns)
        return Layout(outputs=(out,), inputs=(into,), batch=tuple(range(rows)))

    def _is_reversed(self, name: str) -> bool:
        """Whether the siblings of a matrix, or stack of them, show that it is [in, out]."""
        *stack, n, m = self.shapes[name]
        if stack:
            reversed_by = [(*stack, m // 2, n)] if m % 2 == 0 else []
            reversed_by.append((*stack, m, 2 * n))
            straight_by = [(*stack, m, n // 2)] if n % 2 == 0 else []
            straight_by.append((*stack, 2 * m, n))
            number = self._next_of(name, [*reversed_by, *straight_by])
            if number is not None:
                return number < len(reversed_by)
        return self._next_of(name, [(*stack, n), (*stack, m)]) == 1

    def _bias_of(self, name: str, layout: Layout) -> Shape:
        return tuple(self.shapes[name][axis] for axis in layout.batch + layout.outputs)


def _guess(owner: str, attr: str, siblings: Siblings) -> Facets:
    shape = siblings.shapes[attr]
    rank = len(shape)
    bias = siblings.kind_as_bias(attr)
    router = rank > 1 and siblings.lacks_bias(attr)  # [experts, width] may be one
    if bias is not None and not router:
        return Facets(bias, "bias")
    if rank == 1:
        order = siblings.place_among_vectors(attr)
        if "norm" in owner.lower() and order < 2:
            part, neutral = ("bias", 0.0) if siblings.is_norms_bias(attr) else ("weight", 1.0)
            return Facets("norm", part, neutral=neutral)
        return Facets()
    if shape[0] == 1 < shape[-1]:  # broadcast over the batch
        return Facets("token" if math.prod(shape) == shape[-1] else "position")
    layout = siblings.layout_of(attr)
    if layout is None:
        return Facets()
    if not layout.batch:
        return Facets("conv" if layout.window else "linear", layout=layout)
    inside = tuple((0, n) for n in shape[1:])
    fans = layout.fans(shape)
    experts = (Block(f"expert{e}", ((e, e + 1), *inside), *fans) for e in range(shape[0]))
    return Facets("linear", layout=layout, blocks=tuple(experts))
