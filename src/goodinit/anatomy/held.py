"""What a parameter holds before anything is drawn: zeros, one value, a pattern, or values.

A class that gives a parameter one value or a pattern means it: random numbers look like neither.
Little is read. Nearly always the first few elements show that there is nothing to see; only where
they agree is the rest looked at, in pieces, up to the first element that differs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

What = Literal["unknown", "zeros", "constant", "pattern", "values"]

FIRST_LOOK = 16  # elements; enough to see that random numbers form no pattern
PIECE = 2**20  # elements that are compared at once, so that a large tensor is never copied
LARGEST_PATTERN = 2**22  # elements: the test takes a few copies in float64, of 32 MB each
COARSE = 1e-4  # a half's epsilon is larger: random halves have few digits, and come twice
SHORTEST_ROW = 4  # elements: three random numbers are an arithmetic row now and then

# Memory that was never written may hold one value throughout. No author chooses one beyond these.
SMALLEST, LARGEST = 1e-12, 1e12

ROUNDINGS = 8.0  # of a value that took a few operations to compute, in units of its dtype's epsilon
MOST_EXPONENT = 700.0  # exp overflows beyond it
UNEVEN = 0.1  # of a step: the steps of random rows differ by more than the steps themselves
RMS_SAMPLE = 4096  # elements: their root mean square is known to 1 %
# Significant digits of a decimal that somebody wrote. Of random values in float32, 1 of 10,000 has
# as few.
SHORT = 3
SINE_ERROR = 1e-5  # of a square, where float32 holds sines; random rows are never as near
FEWEST_BYTES = 8  # of elements that agree: two in float32, four in a half, hardly do by chance
# A row of N(0, 1) lies on one side of 0, and its mean as many standard errors from it, once in 50
# times if it has three elements, and in 2,000 if it has six; its rms is never as large.
FEWEST_APART, ERRORS_APART, RMS_APART = 3, 3.5, 3.0
SMALLEST_APART, LARGEST_APART = 1e-4, 1e4  # memory that was never written has others too
SMALL = 0.05  # if the first elements are larger than this, a weight isn't nearly zero

RECORDED = "_goodinit_value"  # an attribute of tensors on meta

_PLAIN = (Tensor, nn.Parameter)


@dataclass(frozen=True, slots=True)
class Held:
    """What a parameter holds.

    Attributes:
        what: "zeros"; "constant", one value other than 0; "pattern", see ``held_by``; "values",
            anything else; "unknown" on meta, or where there is nothing to read.
        value: the constant.
        rms: root mean square, where the values may be nearly zero; else infinite.
        apart: whether they lie further to one side of 0 than noise does: the logarithms of how
            often each class comes, inverse softplus of steps. Asked of one axis alone.
    """

    what: What = "unknown"
    value: float = math.nan
    rms: float = math.inf
    apart: bool = False

    @property
    def is_special(self) -> bool:
        """Whether it is one value other than 0, or a pattern."""
        return self.what in ("constant", "pattern")


_UNKNOWN, _ZEROS, _PATTERN, _VALUES = (
    Held(),
    Held("zeros", 0.0, 0.0),
    Held("pattern"),
    Held("values"),
)


def held_by(tensor: Tensor, patterns: bool = True) -> Held:
    """Return what a tensor holds; of one on meta, what was recorded of it.

    These are patterns: two values only (a mask, signs, an identity, a permutation); integers (a
    kernel of Sobel's); decimals of up to three digits; values that all come twice or more often
    (columns in pairs); rows or columns that are arithmetic, geometric or logarithmic, as those of
    ``log(arange(1, n + 1))``; sines and cosines of positions. Complex numbers are one if their
    real or imaginary parts are, or hold one value other than 0.

    Of tables, whose padding looks like the start of a pattern, sines and equal rows (the scale and
    shift of a norm for each class) alone count (``patterns`` is False).

    Example:
        >>> held_by(torch.full((3, 4), 1e-5)), held_by(torch.eye(5)).what
        (Held(what='constant', value=9.999999747378752e-06, rms=inf, apart=False), 'pattern')
        >>> held_by(torch.arange(1.0, 17.0).log().repeat(8, 1)).what
        'pattern'
        >>> held_by(torch.randn(3, 4)).what, held_by(torch.empty(2, device="meta")).what
        ('values', 'unknown')
    """
    if not _is_readable(tensor):
        value = recorded(tensor)
        if type(tensor) in _PLAIN and tensor.is_complex() and not tensor.is_meta:
            parts = torch.view_as_real(tensor.detach().resolve_conj()).unbind(-1)
            return (
                _PATTERN if any(held_by(part, patterns).is_special for part in parts) else _UNKNOWN
            )
        return _UNKNOWN if value is None else held_by(value, patterns)
    look = _first_elements(tensor)
    start = look[0]
    if len(set(look)) == 1 and _is_constant(tensor, start):
        if start == 0:
            return _ZEROS
        return Held("constant", start) if _is_sane(start) else _VALUES
    if patterns and _may_be_pattern(look, tensor) and _is_pattern(tensor.detach()):
        return _PATTERN
    if not patterns and _is_table(tensor.detach()):
        return _PATTERN
    if max(look) > SMALL or min(look) < -SMALL:
        return Held("values", apart=True) if _lies_apart(tensor) else _VALUES
    sample = next(_pieces(tensor))[:RMS_SAMPLE].double()
    rms = sample.square().mean().sqrt().item()
    return Held("values", rms=rms) if rms > SMALLEST else _VALUES  # memory that was never written


def held_by_bias(bias: Tensor) -> Held:
    """Return what a layer's bias holds, where its class set it: a constant, or some elements to it.

    No law of torch's gives two elements one value other than 0, nor a single one beyond 1, nor a
    pattern: ones beside zeros (the bias of a style), integers (the offsets of an attention).

    >>> held_by_bias(torch.full((6,), -2.0)).value, held_by_bias(torch.zeros(6)).what
    (-2.0, 'unknown')
    >>> bias = torch.rand(64)
    >>> held_by_bias(bias).what, held_by_bias(bias.index_fill(0, torch.arange(16), 1.0)).what
    ('unknown', 'pattern')
    """
    value = bias if _is_readable(bias) else recorded(bias)
    if value is None or value.dim() != 1:
        return _UNKNOWN
    n = value.numel()
    look = cast("list[float]", value.detach()[:: max(n // FIRST_LOOK, 1)].tolist())
    first = look[0]
    if n * value.element_size() < FEWEST_BYTES:
        return Held("constant", first) if 1 < abs(first) < LARGEST and n == 1 else _UNKNOWN
    if any(number != 0 for number in look) and len(set(look)) < len(look):
        values, counts = cast("tuple[Tensor, Tensor]", value.detach().unique(return_counts=True))
        most = counts[values != 0]
        if most.numel() == 1 == values.numel() and _is_sane(first):
            return Held("constant", first)
        if most.max() >= max(FIRST_LOOK // 2, n // FIRST_LOOK):
            return _PATTERN
    if n > 2 and any(look) and _may_be_pattern(look, value) and _is_pattern(value.detach()):
        return _PATTERN
    return Held("values", apart=True) if _lies_apart(value) else _UNKNOWN


def _lies_apart(tensor: Tensor) -> bool:
    """Whether all values of one axis lie on one side of 0, further than those of noise.

    >>> shares = torch.tensor([0.5, 0.25, 0.12, 0.07, 0.04, 0.02])
    >>> _lies_apart(shares.log()), _lies_apart(torch.rand(6)), _lies_apart(torch.randn(6))
    (True, False, False)
    """
    if tensor.dim() != 1 or not FEWEST_APART <= tensor.numel() <= PIECE:
        return False
    x = tensor.detach().double()
    if x[0] < 0:
        x = -x
    if not bool((x > SMALLEST_APART).all()) or not 1 < x.max().item() < LARGEST_APART:
        return False
    spread = x.std().item() / math.sqrt(len(x))
    return x.square().mean().item() > RMS_APART**2 or x.mean().item() > ERRORS_APART * spread


def _is_readable(tensor: Tensor) -> bool:
    return (
        type(tensor) in _PLAIN
        and tensor.layout is torch.strided
        and not tensor.is_meta
        and tensor.is_floating_point()
        and tensor.numel() > 0
    )


def recorded(tensor: Tensor) -> Tensor | None:
    """Return the value that a tensor on meta would have, if it was built in ``gi.skeleton``."""
    return cast("Tensor | None", vars(tensor).get(RECORDED)) if tensor.is_meta else None


def _first_elements(tensor: Tensor) -> list[float]:
    if tensor.is_contiguous():
        return cast("list[float]", tensor.detach().view(-1)[:FIRST_LOOK].tolist())
    return _first_row(tensor)


def _first_row(tensor: Tensor) -> list[float]:
    first = tensor.detach().reshape(tensor.shape or (1,))
    while first.dim() > 1:
        first = first[0] if first.shape[-1] > 1 or first.shape[0] == 1 else first[..., 0]
    return cast("list[float]", first[:FIRST_LOOK].tolist())


def _is_sane(value: float) -> bool:
    return SMALLEST < abs(value) < LARGEST


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the elements in pieces without a copy of the whole, whatever its strides."""
    flat = tensor.detach()
    if not any(flat.stride()):  # one number, expanded
        yield _comparable(flat.as_strided((1,), (1,)))
    elif flat.is_contiguous():
        pieces = cast("tuple[Tensor, ...]", flat.view(-1).split(PIECE))
        yield from map(_comparable, pieces)
    elif flat.numel() <= PIECE:
        yield _comparable(flat.reshape(-1))
    else:
        for part in flat:
            yield from _pieces(part)


def _comparable(piece: Tensor) -> Tensor:
    return piece.float() if piece.element_size() == 1 else piece  # float8 has no comparisons


def _is_constant(tensor: Tensor, value: float) -> bool:
    return all(bool((piece == value).all()) for piece in _pieces(tensor))


def _may_be_pattern(look: list[float], tensor: Tensor) -> bool:
    """Whether the first elements allow a pattern; random numbers almost never do."""
    few = set(look)
    epsilon = torch.finfo(tensor.dtype).eps
    if epsilon < COARSE and all(_is_short(value, epsilon) for value in look):
        return True
    if 2 * len(few) <= len(look) or 0.0 in few or all(value.is_integer() for value in few):
        return len(look) > 2
    row = _first_row(tensor)
    return len(row) >= SHORTEST_ROW and _may_be_row(row[:SHORTEST_ROW])


def _may_be_row(row: list[float]) -> bool:
    powers = [math.exp(min(value, MOST_EXPONENT)) for value in row]
    if _is_even(row) or _is_even(powers):
        return True
    if min(row) > 0 and _is_even([math.log(value) for value in row]):
        return True
    steps = [b - a for a, b in pairwise(row)]
    grown = min(steps) > 0 or max(steps) < 0
    return grown and _is_even([math.log(abs(step)) for step in steps])


def _is_even(row: list[float]) -> bool:
    steps = [b - a for a, b in pairwise(row)]
    step = sum(steps) / len(steps)
    return all(abs(other - step) <= UNEVEN * abs(step) for other in steps)


def _is_pattern(tensor: Tensor) -> bool:
    if tensor.numel() > LARGEST_PATTERN:
        return False
    x = tensor.squeeze().double()
    if not _is_sane(x.abs().max().item()):  # nor is it where one isn't finite
        return False
    epsilon = torch.finfo(tensor.dtype).eps
    if _holds_two(x) or _are_integers(x, epsilon):
        return True
    if _in_a_row(x, epsilon) or _in_a_row(x.transpose(0, -1), epsilon):
        return True
    return epsilon < COARSE and (_comes_twice(x) or _are_short(x, epsilon) or _are_sines(x))


def _holds_two(x: Tensor) -> bool:
    """Whether there are no more than two values, and both could be an author's."""
    first = x.flatten()[0]
    others = x[x != first]
    if not bool((others == others[:1]).all()):
        return False
    return all(value == 0 or _is_sane(value) for value in (first.item(), others.max().item()))


def _are_integers(x: Tensor, epsilon: float) -> bool:
    """Whether all are integers but for the rounding of what computed them, and not all are 0."""
    whole = x.round()
    largest = whole.abs().max().item()
    return bool(((x - whole).abs() <= ROUNDINGS * epsilon * largest).all())


def _are_sines(x: Tensor) -> bool:
    """Whether rows hold as many sines as cosines of the same angles, whichever order.

    >>> angles = torch.rand(5, 3) * 6
    >>> _are_sines(torch.cat([angles.sin(), angles.cos()], 1).double()), _are_sines(angles)
    (True, False)
    """
    size = x.shape[-1]
    if x.dim() < 2 or size < SHORTEST_ROW or size % 2 or x.abs().max().item() > 1 + SINE_ERROR:
        return False
    squares = x.square().sum(-1)
    return bool(((squares - size / 2).abs() <= SINE_ERROR * size).all())


def _is_table(table: Tensor) -> bool:
    """Whether the rows of a table but its padding are sines, or all alike.

    >>> _is_table(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])), _is_table(torch.eye(2))
    (True, False)
    """
    if table.dim() != 2 or table.numel() > LARGEST_PATTERN:
        return False
    alike = len(table) > 1 and torch.equal(table[-1], table[-2])
    if not alike and not _are_sines(table[-1:].double()):
        return False
    rows = table[table.any(-1)]
    return len(rows) > 1 and (bool((rows == rows[:1]).all()) or _are_sines(rows.double()))


def _comes_twice(x: Tensor) -> bool:
    """Whether each value but 0 comes more than once, which random numbers of 24 bits don't."""
    values, counts = cast("tuple[Tensor, Tensor]", x[x != 0].unique(return_counts=True))
    return bool((counts > 1).all()) and _is_sane(values.abs().min().item())


def _is_short(value: float, epsilon: float) -> bool:
    """Whether a value is a decimal of a few digits, as far as a dtype holds it."""
    return abs(float(f"{value:.{SHORT}g}") - value) <= epsilon * abs(value)


def _are_short(x: Tensor, epsilon: float) -> bool:
    size = x.abs().clamp(SMALLEST)
    unit = 10 ** (size.log10().floor() - (SHORT - 1))
    return bool(((size - (size / unit).round() * unit).abs() <= epsilon * size).all())


def _in_a_row(x: Tensor, epsilon: float) -> bool:
    """Whether each row is arithmetic, geometric (its log is) or logarithmic (its exp is).

    Or geometric plus a constant, as frequencies on the mel scale are: the log of its steps is.
    """
    if x.shape[-1] < SHORTEST_ROW:
        return False
    largest = x.abs().max().item()
    exp_largest = math.exp(min(x.max().item(), MOST_EXPONENT))
    forms = [(x, largest), (x.exp(), (1.0 + largest) * exp_largest)]
    if bool((x > 0).all()):
        forms.append((x.log(), 1.0 + x.log().abs().max().item()))
    grown = x.diff(dim=-1) * (x[..., 1:2] - x[..., :1]).sign()
    if x.shape[-1] > SHORTEST_ROW and bool((grown > 0).all()):
        forms.append((grown.log(), largest / grown.min().item()))
    for form, size in forms:
        steps = form.diff(dim=-1)
        errors = (steps - steps.mean(-1, keepdim=True)).abs()
        even = errors <= UNEVEN * steps.mean(-1, keepdim=True).abs()
        if bool(even.all()) and errors.max().item() <= ROUNDINGS * epsilon * size:
            return True
    return False
