"""How computed numbers depend on each of the parameters that they are computed from.

Everything is found by computing them again: at random signs, at their sum, at twice and at 0.
Let W be computed from weights of unit second moments. A product with W sums over fan_in of its
elements, so that E[y^2] = fan_in * E[W^2] * s^(2k) E[x^2] if each of the k weights that are
multiplied in W is drawn with variance s^2. With s^2 = 1 / (fan_in * E[W^2])^(1/k) it is E[x^2]:
what stands under the 1 is the fan of each of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from goodinit.dataflow.replay import Computed, ReplayError
from goodinit.dataflow.signs import Signs, is_finite
from goodinit.dataflow.squares import (
    EQUAL,
    are_unlike,
    difference_in_size,
    distance,
    second_moment,
    square,
)

# Integers are left as they are by rounding, and so is what they are added to: additivity is tried
# at multiples of signs that lie on no grid.
ODD, ODDER = 0.7371, 0.6137

# Relative error of one sum in float32: by as much a constant may differ that nothing changes.
ROUNDING = 1e-6

# A rounded or clamped weight counts as the weight if a tenth of what a sum of two gives, at most,
# isn't the sum of what they give.
NEARLY_ADDITIVE = 0.1

# What is left at 0 is compared with what two draws make; from one it is known if it is larger than
# twice as much.
TWICE_TWO = 4

# Of a weight with as few elements, each is tried on its own, so that the answer is exact.
FEW = 64

# Where it isn't exact, the mean of as many draws as make this number of elements, in bounds.
ELEMENTS_DRAWN = 2**21
DRAWS = (2, 32)

# Constants beside a weight whose product is as small, of a second moment of 1, are left out.
LITTLE = 0.02

BENT = "they aren't additive in it: its fan is from their second moment"
ROUNDED = "they aren't additive in it"
WITH_BENT = "it goes with a weight that they aren't additive in"
SHIFTED = "a constant is added to it, whose product comes on top"

# The highest number of weights whose product is recognized: tensor trains have up to 6 cores.
HIGHEST_DEGREE = 8


@dataclass(frozen=True, slots=True)
class Influence:
    """How numbers depend on one parameter.

    Attributes:
        kind: "weight"; "scale" (a factor of each number); "in" and "out" (of a low-rank addition
            that is 0 at first); "offset" (it acts without the data too); "free" (any scale of it
            gives the same numbers); "special" (they aren't additive in it); "none".
        second: E[W^2] with weights of unit second moments.
        degree: how many weights are multiplied.
        exact: whether ``second`` is more than an average over random draws.
        doubt: why it isn't certain.
        additive: whether the numbers are additive in it.
    """

    kind: str
    second: float = 1.0
    degree: int = 1
    exact: bool = True
    doubt: str = ""
    additive: bool = True

    def fan(self, fan: float) -> float:
        """Return the fan of the parameter, of that of the computed tensor."""
        digits = 6 if self.exact else 3  # the rest depends on the number of threads
        found = float(f"{(fan * self.second) ** (1 / self.degree):.{digits}g}")
        return int(found) if found == int(found) else found


def influences(
    computed: Computed, fan: float, data: bool = False, kept: Collection[int] = ()
) -> dict[int, Influence]:
    """Return parameter -> how the computed numbers depend on it.

    Args:
        computed: the numbers.
        fan: how many of them a product sums over.
        data: whether they are outputs, that is, such products.
        kept: the parameters that keep their values.

    Raises:
        ReplayError: they can't be computed again.
    """
    study = _Study(computed, fan, data, kept)
    return study.result()


class _Study:
    """Tries values of parameters. Numbers of tensors are those of the tape."""

    def __init__(self, computed: Computed, fan: float, data: bool, kept: Collection[int]) -> None:
        self.computed, self.fan, self.data = computed, fan, data
        self.random = torch.Generator().manual_seed(1)
        sources, self.keeps = computed.sources, kept
        self.params = [n for n, source in sources.items() if source.param is not None]
        self.live = [n for n, s in sources.items() if s.live and s.value is None]
        self.unvalued = False
        self.values: dict[int, Tensor | Signs] = {number: self._start(number) for number in sources}
        self.fixed = {n for n in self.params if self._is_constant(n)}
        for number in self.fixed:
            self.values[number] = self._present(number)
        self.kept: dict[int, dict[int, Tensor]] = {}
        self.together: dict[frozenset[int], dict[int, Influence]] = {}
        self.start: Tensor | None = None
        self.shifted = False
        self.bent = set[int]()  # weights whose power, or size, is taken: drawn as normal numbers
        self.vanishing = set[int]()  # those that the numbers are additive in, and 0 without

    def result(self) -> dict[int, Influence]:
        if any(self.values[n].dtype.is_complex for n in self.params):
            raise ReplayError("a complex parameter stands in it")
        found = {number: self._alone(number) for number in self.params}
        for number, one in found.items():
            present = self._present(number) if one.kind in ("special", "scale") else None
            if present is not None and (one.kind == "special" or bool(present.any())):
                self._set(number, present)  # a scale of zeros doesn't affect the fan
        weights = [n for n, one in found.items() if one.kind == "weight" and not one.doubt]
        drawn = {n for n in weights if n not in self.fixed}
        if idle := self._idle(drawn):
            self.start = None
            found |= {n: Influence("in" if idle[n] else "out") for n in idle}
            drawn -= idle.keys()
        self._draw_bent(found)
        for number, one in found.items():
            if number in self.bent or (one.kind == "weight" and not one.doubt and one.additive):
                together = self._together(frozenset(drawn | self.bent | {number}))[number]
                doubt = BENT if number in self.bent else WITH_BENT if self.bent else ""
                additive, doubt = number not in self.bent, together.doubt or doubt
                found[number] = replace(together, doubt=doubt, additive=additive)
        if not self.bent and any(one.doubt and not one.additive for one in found.values()):
            for number in drawn:  # it was tried with a rounded one of another size
                found[number] = replace(found[number], doubt=found[number].doubt or WITH_BENT)
        self.shifted = self.shifted or self._has_constant_terms(found)
        doubt = "it is computed with constants that have no values on meta" if self.unvalued else ""
        doubt = SHIFTED if self.shifted else doubt
        sources = self.computed.sources
        return {
            param: replace(one, doubt=one.doubt or doubt) if one.kind == "weight" else one
            for number, one in found.items()
            if (param := sources[number].param) is not None
        }

    def _draw_bent(self, found: Mapping[int, Influence]) -> None:
        """Let weights of which a power is taken share with those that they multiply."""
        if any(one.kind == "weight" and one.additive for one in found.values()):
            self.bent = {n for n, one in found.items() if one.doubt == BENT and n not in self.fixed}
        for number in self.bent:
            self._set(number, self._normal(number))

    def _has_constant_terms(self, found: Mapping[int, Influence]) -> bool:
        """Whether a constant remains if all weights are 0."""
        drawn = found.keys() - self.fixed
        weights = [number for number in drawn if found[number].kind == "weight"]
        constants = [n for n, s in self.computed.sources.items() if s.param is None]
        if self.data or len(self.params) == 1 or not weights:
            return False
        if not constants and len(weights) == len(self.params):
            return False
        zero = self.at(dict.fromkeys(weights, 0))
        little = self.fan * self._second(zero) <= LITTLE
        return not little and self._is_shifted(zero, self.at({}))

    def _is_shifted(self, zero: Tensor, a: Tensor) -> bool:
        """Whether constants are added to what varies, or lie beside it."""
        return bool((zero != 0).any()) and bool((a != zero).any())

    def _idle(self, drawn: set[int]) -> dict[int, bool]:
        """Return the weights of terms that a matrix of zeros switches off, beside other terms.

        Such a term is a low-rank addition to a weight, neutral at first. The result says of each
        weight whether it isn't zero.
        """
        zeros = {n for n in drawn if self._is_zeros(n)}
        if not zeros or len(drawn) == len(zeros):
            return {}
        off = dict.fromkeys(zeros, 0)
        size = EQUAL**2 * square(self._at_start())
        self.start = None
        whole = self.at(off)
        others = sorted(drawn - zeros)
        effects = (self.at({**off, n: 0}) for n in others)
        idle = {
            n for n, made in zip(others, effects, strict=True) if square(made, (-1, whole)) <= size
        }
        if len(idle) == len(others):
            return {}  # nothing else is there
        for number in zeros:
            shape, dtype = self.computed.computed_shape(number), self.computed.dtype(number)
            self._set(number, torch.zeros(shape, dtype=_usable(dtype), device="cpu"))
        return dict.fromkeys(zeros, False) | dict.fromkeys(idle, True)

    def _is_zeros(self, number: int) -> bool:
        value = self.computed.sources[number].value
        return value is not None and value.numel() > 1 and not bool(value.any())

    # Values.

    def _start(self, number: int) -> Tensor | Signs:
        source = self.computed.sources[number]
        if source.param is not None or (source.live and source.value is None):
            return self._signs(number)
        return self._present(number)

    def _signs(self, number: int) -> Signs:
        dtype = self.computed.sources[number].dtype
        return Signs.drawn(self.computed.computed_shape(number), _usable(dtype), self.random)

    def _normal(self, number: int) -> Tensor:
        dtype, shape = self.computed.sources[number].dtype, self.computed.computed_shape(number)
        drawn = torch.randn(shape, generator=self.random, dtype=torch.float32, device="cpu")
        return drawn.to(_usable(dtype))

    def _drawn(self, numbers: Iterable[int]) -> dict[int, Tensor | Signs]:
        """Return new values of weights."""
        return {n: (self._normal if n in self.bent else self._signs)(n) for n in sorted(numbers)}

    def _present(self, number: int) -> Tensor:
        source = self.computed.sources[number]
        if source.value is None:
            self.unvalued = True
            shape = self.computed.computed_shape(number)
            return torch.ones(shape, dtype=_usable(source.dtype), device="cpu")
        value = self.computed.rows_taken(number, source.value.detach().cpu())
        return value.to(_usable(value.dtype))

    def _is_constant(self, number: int) -> bool:
        """Whether a parameter isn't trained or holds one number other than 0: it is kept."""
        source = self.computed.sources[number]
        if source.kept and source.value is not None:
            return True
        if len(self.params) > 1 and source.param in self.keeps and source.value is not None:
            return True
        if len(self.params) == 1 or not (source.value is not None or math.prod(source.shape) == 1):
            return False
        if source.value is None:
            return True
        first = source.value.flatten()[:1]
        one = bool((source.value == first).all())
        return one and (source.value.numel() == 1 or bool((first != 0).all()))

    def _set(self, number: int, value: Tensor) -> None:
        """Change a value of the start: what was computed with it is of no use any more."""
        self.values[number], self.start = value, None
        self.kept.clear()

    def at(self, changes: _Changes) -> Tensor:
        """Return the numbers at changed values; 0 and 2 stand for multiples of the start's."""
        with torch.no_grad():
            return self.computed(self.values, changes, self.kept)

    def _at_start(self) -> Tensor:
        """Return the numbers at the values of the start: the same for each parameter."""
        if self.start is None:
            start = self.at({})
            if len(self.params) == 1 or self.kept:  # the second time costs little then
                return start
            self.start = start
        return self.start

    def _change(self, changes: _Changes, zero: Tensor | None) -> Tensor:
        """Return the numbers less those at no value, which None says are 0."""
        made = self.at(changes)
        return made if zero is None else made.sub_(zero)

    # One parameter.

    def _alone(self, number: int) -> Influence:
        """Return what a parameter is, all others given."""
        # All are of the parameter's size, or larger: none is kept longer than it is asked for.
        zero = self.at({number: 0})
        size, finite = square(zero), is_finite(zero)
        numbers, zero = zero.numel(), zero if size else None
        if number in self.fixed:
            self.start = None
        given = self.values[number]
        p = given if isinstance(given, Signs) else self._signs(number)
        q = self._signs(number).times(ODD)
        b = self.at({number: q})
        a = self.at({number: p}) if number in self.fixed else self._at_start()
        effect, other = square(a, (-1, zero)), square(b, (-1, zero))
        sole = difference_in_size(a, b, zero, ODD) <= EQUAL**2 * effect
        shifted = zero is not None and self._is_shifted(zero, a)
        b.add_(a, alpha=ODDER)
        if zero is not None:
            b.sub_(zero, alpha=ODDER)
        del zero, a
        error = square(self.at({number: q.plus(p.times(ODDER))}), (-1, b))
        del b
        additive = finite and error <= EQUAL**2 * (effect + other) + ROUNDING**2 * size
        if additive and self.data and self.live and self._acts_without_data(number, effect):
            return Influence("offset")
        if len(self.params) == 1 and not self.data:
            self.shifted = shifted and self.fan * size / numbers > LITTLE
        if not additive:
            return self._bent(number)
        if not size:
            self.vanishing.add(number)
        if effect <= EQUAL**2 * size:
            return Influence("none", doubt="it changes nothing when it runs again")
        if sole and self._scales(number, vanishes=size <= EQUAL**2 * effect):
            return Influence("scale")
        return Influence("weight")

    def _acts_without_data(self, number: int, effect: float) -> bool:
        none = dict.fromkeys(self.live, 0)
        without = self.at(none).sub_(self.at({**none, number: 0}))
        return square(without) > EQUAL**2 * effect

    def _scales(self, number: int, vanishes: bool) -> bool:
        """Whether a parameter, on one element of which each number depends, is but a factor.

        What it multiplies is the data, or another weight of (nearly) all of the numbers.
        """
        size = math.prod(self.computed.sources[number].shape)
        if self.data or size == 1:
            return True
        numbers = sum(math.prod(self.computed.shape(target)) for target in self.computed.targets)
        others = [math.prod(self.computed.sources[n].shape) for n in self.params if n != number]
        return vanishes and any(other >= max(2 * size, numbers / 2) for other in others)

    def _bent(self, number: int) -> Influence:
        """Return what a parameter is in which the numbers aren't additive."""
        self.start = None  # as much memory as a weight; the next parameter computes it again
        g = self._normal(number)
        once, twice = self.at({number: g}), self.at({number: 2 * g})
        if not bool(once.isfinite().all() & twice.isfinite().all()):
            return Influence("special")
        for degree in range(HIGHEST_DEGREE + 1):
            if distance(twice, once, 2**degree) <= EQUAL**2 * square(twice):
                if not degree:
                    return Influence("free", self._second(once), exact=False)
                second = self._second(once)
                del twice
                mirrored = distance(self.at({number: g.neg_()}), once, -1) <= EQUAL**2 * square(
                    once
                )
                # As large as normal weights make them; those of other laws differ by a fifth.
                plain = degree == 1 and mirrored and len(self.params) == 1
                doubt = "" if plain else BENT
                return Influence("weight", second, degree, False, doubt, additive=False)
        del once, twice
        return self._nearly_additive(number, g)

    def _nearly_additive(self, number: int, g: Tensor) -> Influence:
        """Return what a parameter is that is rounded or clamped, at the scale it will have."""
        scale = self.fan**-0.5
        g.mul_(scale)
        zero = self.at({number: 0})
        a = self.at({number: g}).sub_(zero)
        if square(zero) > NEARLY_ADDITIVE**2 * TWICE_TWO * square(a):
            return Influence("special")  # before there are tensors of two more draws
        h = self._normal(number).mul_(scale)
        b = self.at({number: h}).sub_(zero)
        g.add_(h)
        del h
        size, whole, second = square(zero), square(a) + square(b), self._second(a) / scale**2
        b.add_(a).add_(zero)
        del a, zero
        rest = square(self.at({number: g}), (-1, b))
        if size <= NEARLY_ADDITIVE**2 * whole and rest <= NEARLY_ADDITIVE * whole:
            return Influence("weight", second, 1, False, ROUNDED, additive=False)
        return Influence("special")

    # Several parameters.

    def _together(self, drawn: frozenset[int]) -> dict[int, Influence]:
        """Return the influence of weights that are drawn together, others as they are."""
        if drawn not in self.together:
            self.together[drawn] = self._study_together(drawn)
        return self.together[drawn]

    def _study_together(self, drawn: frozenset[int]) -> dict[int, Influence]:
        signs = {n: self._signs(n) for n in drawn if n in self.fixed}  # others have them
        doubled = {n: signs[n].times(2) if n in signs else 2 for n in drawn}
        zero, start, self.start = None, self.start, None  # what is at hand is written to
        if drawn <= self.vanishing and len(drawn) <= HIGHEST_DEGREE:  # a product of all
            degree = len(drawn)
            once = whole = self.at(signs) if start is None or signs else start
        else:
            del start
            zero = self.at(dict.fromkeys(drawn, 0))
            zero = zero if bool(zero.any()) else None
            once, whole = self._change(signs, zero), self._change(doubled, zero)
            degree = _degree(once, whole)
        if degree is not None:
            del whole
            second, exact = self._second_of(drawn, zero, once, degree)
            return {n: Influence("weight", second, degree, exact) for n in drawn}
        if zero is not None:
            whole.add_(zero)  # the constants cancel below
        del once, zero

        def in_its_term(number: int) -> Influence:
            own = self.at(signs).sub_(self.at({**signs, number: 0}))
            twice = self.at({**doubled, number: 0}).neg_().add_(whole)
            doubt = "it stands in one of several terms that are added up"
            return Influence("weight", self._second(own), _degree(own, twice) or 1, False, doubt)

        return {number: in_its_term(number) for number in drawn}

    def _second_of(
        self, drawn: frozenset[int], zero: Tensor | None, once: Tensor, degree: int
    ) -> tuple[float, bool]:
        """Return E[W^2], and whether it is exact."""
        if self.data and (known := self._by_gradient(drawn, degree)):
            return known
        first = self._second(once)
        again = self._change(self._drawn(drawn), zero)
        second = self._second(again)
        if square(once.abs_().sub_(again.abs_())) <= EQUAL**2 * square(again):
            return first, self.computed.rows is None  # others may be of another size
        del again
        if len(drawn) == 1 and math.prod(self.computed.sources[min(drawn)].shape) <= FEW:
            (number,) = drawn
            source = self.computed.sources[number]
            single = torch.eye(math.prod(source.shape), device="cpu").to(_usable(source.dtype))
            rows = single.reshape(-1, *source.shape)
            return sum(self._second(self._change({number: row}, zero)) for row in rows), True
        low, high = DRAWS
        most = low if self.computed.rows is not None else high  # the rows of a large weight
        draws = max(low, min(most, ELEMENTS_DRAWN // once.numel())) - 2
        seconds = [first, second]
        seconds += (self._second(self._change(self._drawn(drawn), zero)) for _ in range(draws))
        return sum(seconds) / len(seconds), False

    def _by_gradient(self, drawn: frozenset[int], degree: int) -> tuple[float, bool] | None:
        """Return E[y^2] of outputs by the gradients of some; None if there are none."""
        found = second_moment(self.computed, self.values, drawn, self.random)
        if not found:
            return None
        mean = sum(found) / len(found) / degree
        return mean * self._reals(), not are_unlike(found)

    def _second(self, row: Tensor) -> float:
        return square(row) / row.numel() * self._reals()

    def _reals(self) -> int:
        """Return how many real numbers make one."""
        dtypes = [self.computed.dtype(number) for number in self.computed.targets]
        return 2 if any(dtype.is_complex for dtype in dtypes) else 1


_Changes = Mapping[int, Tensor | Signs | int]


def _degree(once: Tensor, twice: Tensor) -> int | None:
    size = square(twice)
    for degree in range(1, HIGHEST_DEGREE + 1):
        if distance(twice, once, 2**degree) <= EQUAL**2 * size:
            return degree
    return None


def _usable(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for a half."""
    return torch.float32 if dtype.is_floating_point and dtype != torch.float64 else dtype
