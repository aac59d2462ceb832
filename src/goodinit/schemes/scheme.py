"""The methods of every scheme, and ``Scaled``."""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import dataclasses
import inspect
import math
import sys
from abc import ABCMeta, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import torch

from goodinit._common.unfit_arguments import unfit_arguments
from goodinit.errors import CallError, SchemeError
from goodinit.schemes import fields
from goodinit.schemes.corrected_call import corrected_call
from goodinit.streams.part import box_shape, slices, whole_box, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from goodinit.schemes.fans import Site
    from goodinit.streams import Box, Law

FACTS = ("depth", "layer", "width", "fan_in", "fan_out")


class Draw(Protocol):
    """Fills ``out`` in place with numbers of ``law``: a stream bound to one tensor or block."""

    def __call__(self, out: Tensor, law: Law, purpose: str = "") -> None: ...


class BoxDraw(Protocol):
    """A ``Draw`` that fills ``out`` with the numbers of a box of the tensor or block, or of all."""

    def __call__(
        self, out: Tensor, law: Law, purpose: str = "", box: Box | None = None
    ) -> None: ...


class _SchemeType(ABCMeta):
    """Answers a wrong call, ``Normal(0, 0.02)``, with the call that works."""

    if not TYPE_CHECKING:  # else all constructors would have this signature

        def __call__(cls, *args: object, **kwargs: object) -> object:
            try:
                return super().__call__(*args, **kwargs)
            except SchemeError as error:
                fix = _correct(cls, args, kwargs, examples=False)
                if not fix or not error.field or " Write " in str(error):
                    raise
                said = str(error).rstrip(".")
                stop = "" if said.endswith("?") else "."
                raise type(error)(f"{said}{stop} Write {fix}", error.field) from None
            except TypeError as error:
                wrong = unfit_arguments(cls.__init__, (None, *args), kwargs)
                if not wrong:
                    raise
                fix = _correct(cls, args, kwargs)
                order = f", whose arguments torch has in the order {', '.join(cls.torch_order)}"
                order = order if len(args) > 1 and cls.torch_order else ""
                hint = f". Write {fix}" if fix else ""
                raise CallError(f"{cls.__name__}: {wrong}{order}{hint}") from error

        @property
        def __signature__(cls) -> inspect.Signature:
            """What help, editors and the site show: the arguments of ``__init__``."""
            _self, *taken = inspect.signature(cls.__init__).parameters.values()
            return inspect.Signature(taken)


def _correct(
    cls: Any, args: tuple[object, ...], kwargs: Mapping[str, object], *, examples: bool = True
) -> str:
    """Return a call that works of a class that is public, or ""."""
    if not hasattr(sys.modules.get("goodinit._face"), cls.__name__):
        return ""
    line = corrected_call(cls, args, kwargs, cls.torch_order, examples=examples)
    return line or cls.example_call


@dataclass(frozen=True)
class Scheme(metaclass=_SchemeType):
    """How the values of one tensor or block are drawn: frozen, comparable, serializable.

    Example:
        >>> from goodinit.schemes import Normal
        >>> Normal(0.02) == Normal(std=0.02), Normal(0.02).times(2.0), Normal(0.02).to_dict()
        (True, Normal(std=0.04), {'scheme': 'Normal', 'std': 0.02, 'mean': 0.0})
    """

    torch_order: ClassVar[tuple[str, ...]] = ()
    """The fields in the order in which torch has them, where it differs."""

    example_call: ClassVar[str] = ""
    """A call that works, of a class whose arguments have no examples."""

    no_factor: ClassVar[str] = "{} can't be multiplied"
    """Why no factor fits, of a scheme whose ``times`` is this class's."""

    @abstractmethod
    def moments(self, site: Site) -> tuple[float, float]:
        """Return (mean, standard deviation) of the values here, by formula.

        Raises:
            FanError: the scheme needs fans and the site has none.
            SchemeError: the scheme does not fit the site for another reason.
        """

    @abstractmethod
    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        """Write the values into ``out`` (of shape ``site.shape``, any dtype and strides)."""

    def fill_part_(self, out: Tensor, draw: BoxDraw, site: Site, box: Box) -> None:
        """Write the values of a box of the site into ``out``, which has the box's shape.

        They are those that ``fill_`` writes there. What has to be drawn together is drawn whole, in
        float32, and the rest of it dropped.
        """
        needed, there = self.reach(site, box)
        drawn = partial(draw, box=needed)
        if needed == box:
            self.fill_(out, drawn, there)
            return
        whole = torch.empty(box_shape(needed), dtype=torch.float32, device=out.device)
        self.fill_(whole, drawn, there)
        with torch.no_grad():
            out.copy_(whole[slices(within(box, needed))])

    def reach(self, site: Site, box: Box) -> tuple[Box, Site]:
        """Return what has to be drawn together to know the values of a box: a box, and its site.

        The whole, unless a scheme knows better.
        """
        return whole_box(site.shape), site

    def times(self, factor: float) -> Scheme:
        """Return the scheme whose values are ``factor`` times this one's.

        Raises:
            SchemeError: a factor that is negative or not finite; any but 1, if none fits.
        """
        if fields.as_factor(self, factor) == 1:
            return self
        raise SchemeError(self.no_factor.format(repr(self)))

    def check(self, site: Site) -> None:
        """Raise what ``moments`` or ``fill_`` would raise here, before anything is written."""
        self.moments(site)

    def scaled(
        self,
        *,
        depth: float = 0.0,
        layer: float = 0.0,
        width: float = 0.0,
        fan_in: float = 0.0,
        fan_out: float = 0.0,
    ) -> Scaled:
        """Return this scheme times powers of facts of the model, computed at plan time.

        The factor is ``depth**a * (layer + 1)**b * width**c * fan_in**d * fan_out**e``.

        Args:
            depth: power of the number of layers.
            layer: power of the layer's number, counted from one.
            width: power of the width of the residual stream.
            fan_in: power of the weight's own fan_in.
            fan_out: power of the weight's own fan_out.

        Example:
            GPT-2's residual projections, N(0, .02 / sqrt(2 depth)):

            >>> from goodinit.schemes import Normal
            >>> Normal(0.02 / 2**0.5).scaled(depth=-0.5)
            Normal(std=0.0141421).scaled(depth=-0.5)
        """
        powers = zip(FACTS, (depth, layer, width, fan_in, fan_out), strict=True)
        return Scaled(self, tuple((fact, power) for fact, power in powers if power != 0))

    if not TYPE_CHECKING:  # type checkers must not take any name for an attribute

        def __getattr__(self, name: str) -> object:
            """Raise: a scheme is passed to ``init_``, and draws nothing by itself."""
            hint = "" if name.startswith("_") else f". Write gi.init_(model, gi.{self!r})"
            kind = type(self).__name__
            raise AttributeError(f"{kind!r} object has no attribute {name!r}{hint}")

    def __call__(self, target: object) -> None:
        """Raise: ``net.apply`` takes a function."""
        line = f"gi.init_(model, gi.{self!r})"
        raise CallError(f"a scheme isn't a function of a {type(target).__name__}. Write {line}")

    def to_dict(self) -> dict[str, object]:
        """Return the scheme as plain data; ``goodinit.schemes.from_dict`` reads it back."""
        data: dict[str, object] = {"scheme": type(self).__name__}
        for field in dataclasses.fields(self):
            value: object = getattr(self, field.name)
            if isinstance(value, tuple):
                value = list(cast("tuple[object, ...]", value))
            data[field.name] = value.to_dict() if isinstance(value, Scheme) else value
        return data

    def __repr__(self) -> str:
        pairs = ((f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self))
        shown = [f"{n}={_format_value(v)}" for n, v, default in pairs if v != default]
        return f"{type(self).__name__}({', '.join(shown)})"


def mean_and_std(values: Tensor) -> tuple[float, float]:
    """Return the moments of values that aren't drawn."""
    return values.mean().item(), values.std(correction=0).item()


class FromValues(Scheme):
    """A scheme whose values depend on those that a tensor or a checkpoint holds."""

    def moments(self, site: Site) -> tuple[float, float]:
        return math.nan, math.nan


class Unplanned(Scheme):
    """A scheme that has no numbers before it is planned on a model."""

    fix: ClassVar[str] = ""
    """What an error says after that."""

    def moments(self, site: Site) -> tuple[float, float]:
        raise SchemeError(f"{self!r} has no numbers before it is planned on a model{self.fix}")

    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        self.moments(site)


@dataclass(frozen=True)
class Scaled(Unplanned):
    """A scheme times powers of facts of the model; ``Scheme.scaled`` makes one.

    Plans contain no ``Scaled``: planning resolves it into a scheme with numbers. Scaling a
    ``Scaled`` adds the powers.

    >>> from goodinit.schemes import Normal
    >>> Normal(0.02).scaled(depth=-0.5).scaled(depth=-0.5, width=1)
    Normal(std=0.02).scaled(depth=-1, width=1)
    """

    scheme: Scheme
    powers: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.scheme, Scheme):  # pyright: ignore[reportUnnecessaryIsInstance]
            fields.refuse(self, "scheme", self.scheme, "scheme must be a Scheme")
        names = [name for name, _ in self.powers]
        for name in names:
            if name not in FACTS or names.count(name) > 1:
                fields.refuse(self, "powers", name, f"powers are of {', '.join(FACTS)}, each once")
        powers = {name: fields.as_float(self, name, power) for name, power in self.powers}
        if isinstance(self.scheme, Scaled):  # one scheme, with the powers of both
            for name, power in self.scheme.powers:
                powers[name] = fields.as_float(self, name, power + powers.get(name, 0.0))
            object.__setattr__(self, "scheme", self.scheme.scheme)
        self.scheme.times(1.0)  # refuses what has no numbers to multiply
        in_order = tuple((fact, powers[fact]) for fact in FACTS if powers.get(fact))
        object.__setattr__(self, "powers", in_order)

    def resolve(self, facts: Mapping[str, float | None]) -> Scheme:
        """Return the scheme in numbers.

        Args:
            facts: ``depth``, ``layer`` (from zero, as plans number them), ``width``, ``fan_in``
                and ``fan_out``, if they are known.

        Raises:
            SchemeError: a fact that is asked for isn't known of this model, or isn't positive.

        Example:
            >>> from goodinit.schemes import Normal
            >>> Normal(0.02).scaled(layer=-0.5).resolve({"layer": 3})
            Normal(std=0.01)
        """
        factor = 1.0
        for fact, power in self.powers:
            value = facts.get(fact)
            if value is None:
                raise SchemeError(
                    f"{self!r} needs the {fact} of the model, which isn't known here: pass "
                    f"inputs= so that the data flow determines it, or pass the number yourself"
                )
            value = value + 1 if fact == "layer" else value
            if not 0 < value < math.inf:
                raise SchemeError(f"{self!r} needs a positive {fact}, which is {value} here")
            try:
                factor *= value**power
            except OverflowError:
                factor = math.inf
        return self.scheme.times(factor)

    def times(self, factor: float) -> Scheme:
        return Scaled(self.scheme.times(factor), self.powers)

    def to_dict(self) -> dict[str, object]:
        return self.scheme.to_dict() | {"scaled": dict(self.powers)}

    def __repr__(self) -> str:
        powers = ", ".join(f"{fact}={_format_value(power)}" for fact, power in self.powers)
        return f"{self.scheme!r}.scaled({powers})"


def _format_value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
