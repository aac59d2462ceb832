"""Selectors and rules: which parameters, by which scheme, and why.

A selector decides for one block of one parameter. It is plain data (except ``when``): selectors
with equal fields are equal, print as they are written, and can be saved.
"""

# The base class documents the methods; not every selector uses every argument.
# ruff: noqa: ARG002

from __future__ import annotations

import fnmatch
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import ClassVar, Literal, cast

from torch import nn

from goodinit._common.unfit_arguments import answered
from goodinit.anatomy.rows import KINDS, PARTS, Block, Row
from goodinit.errors import RecipeError
from goodinit.recipes.first_guesses import described, meant_entry
from goodinit.recipes.selector_guesses import (
    AnsweringType,
    meant_place,
    meant_types,
    required_names,
    required_text,
)
from goodinit.schemes import Scheme
from goodinit.schemes.fields import one_line

__all__ = ["Aspect", "Rule", "Selector", "glob_matches", "sel"]

MOST_GLOBS = 4096  # compiled globs that are remembered: far more than a recipe has

Aspect = Literal["type", "attr", "name", "activation", "residual", "head", "row", "adapter"]
"""What a selector looks at. The first two can be seen in a module by itself."""


@dataclass(frozen=True)
class Selector(ABC):
    """Decides whether a rule applies to one block of one parameter.

    Combine selectors with ``&``, ``|`` and ``~``; ``sel`` makes them.

    Example:
        >>> from goodinit import sel
        >>> sel.kind("linear") & ~sel.name("head.*")
        kind('linear') & ~name('head.*')
    """

    _aspects: ClassVar[frozenset[Aspect]] = frozenset({"type"})

    @abstractmethod
    def matches(self, row: Row, block: Block) -> bool:
        """Return whether the rule applies to this block of this parameter."""

    @property
    def aspects(self) -> frozenset[Aspect]:
        """The properties of a row that the answer depends on."""
        return self._aspects

    @property
    def reaches_buffers(self) -> bool:
        """Whether the selector names buffers explicitly, as ``sel.part("buffer")`` does."""
        return False

    @property
    def word(self) -> str:
        """The function of ``sel`` that makes it, such as "ends_residual"."""
        name = type(self).__name__.removesuffix("Named")  # a Block is anatomy's
        return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()

    @property
    def values(self) -> tuple[object, ...]:
        """What that function takes."""
        (field,) = fields(self)
        given: object = getattr(self, field.name)
        return cast("tuple[object, ...]", given) if isinstance(given, tuple) else (given,)

    def __repr__(self) -> str:
        return f"{self.word}({', '.join(map(repr, self.values))})"

    def __and__(self, other: Selector) -> Selector:
        return Both(self, _selector(other))

    def __or__(self, other: Selector) -> Selector:
        return Either(self, _selector(other))

    def __invert__(self) -> Selector:
        return self.inner if isinstance(self, Not) else Not(self)


def _is_bias_of(whole: str) -> Callable[[Row], bool]:
    return lambda row: row.facets.part == "bias" and row.facets.goes_with == whole


FACTS: Mapping[str, tuple[Aspect, Callable[[Row], bool]]] = {
    "all": ("type", lambda _: True),
    "ends_residual": ("residual", lambda row: row.facets.ends_residual is True),
    "last_norm": ("residual", lambda row: row.facets.last_norm),
    "head_bias": ("head", _is_bias_of("head")),
    "gate_bias": ("head", _is_bias_of("gate")),
    "adapted": (
        "adapter",
        lambda row: row.facets.adapter is not None and row.facets.adapter.role == "base",
    ),
}
"""Functions of ``sel`` that take nothing: what each looks at, and whether it holds of a row."""


@dataclass(frozen=True, repr=False)
class Fact(Selector):
    """One of ``FACTS``."""

    fact: str

    @property
    def aspects(self) -> frozenset[Aspect]:
        return frozenset({FACTS[self.fact][0]})

    @property
    def word(self) -> str:
        return self.fact

    @property
    def values(self) -> tuple[object, ...]:
        return ()

    def matches(self, row: Row, block: Block) -> bool:
        return FACTS[self.fact][1](row)


@dataclass(frozen=True, repr=False)
class Name(Selector):
    _aspects = frozenset({"name"})
    glob: str

    def matches(self, row: Row, block: Block) -> bool:
        return any(map(self._compiled, (row.name, *row.tied)))

    @cached_property
    def _compiled(self) -> Callable[[str], object]:
        return _compiled(self.glob)


@dataclass(frozen=True, repr=False)
class Attr(Selector):
    _aspects = frozenset({"attr"})
    glob: str

    def matches(self, row: Row, block: Block) -> bool:
        attrs = (name.rpartition(".")[2] for name in (row.name, *row.tied))
        return any(glob_matches(self.glob, attr) for attr in attrs)


@dataclass(frozen=True)
class Type(Selector):
    classes: tuple[type[nn.Module], ...]

    def matches(self, row: Row, block: Block) -> bool:
        return issubclass(row.owner, self.classes)

    def __repr__(self) -> str:
        return f"type({', '.join(cls.__qualname__ for cls in self.classes)})"


@dataclass(frozen=True, repr=False)
class Kind(Selector):
    kinds: tuple[str, ...]

    def matches(self, row: Row, block: Block) -> bool:
        return row.facets.kind in self.kinds


@dataclass(frozen=True, repr=False)
class Part(Selector):
    parts: tuple[str, ...]

    def matches(self, row: Row, block: Block) -> bool:
        if row.facets.part in self.parts:
            return True
        # An LSTM has gates named in and out, which aren't the parts of those names.
        return block.name in self.parts and row.facets.kind != "recurrent"

    @property
    def reaches_buffers(self) -> bool:
        return "buffer" in self.parts


@dataclass(frozen=True, repr=False)
class BlockNamed(Selector):
    block: str

    def matches(self, row: Row, block: Block) -> bool:
        return glob_matches(self.block, block.name)


@dataclass(frozen=True, repr=False)
class FollowedBy(Selector):
    _aspects = frozenset({"activation"})
    activations: tuple[str, ...]

    def matches(self, row: Row, block: Block) -> bool:
        return row.facets.activation in self.activations


@dataclass(frozen=True)
class When(Selector):
    _aspects = frozenset({"row"})
    function: Callable[[Row], bool]

    def matches(self, row: Row, block: Block) -> bool:
        try:
            return bool(self.function(row))
        except Exception as error:
            raise RecipeError(
                f"{self!r} raised {type(error).__name__} on {row.name}: {error}. It is called "
                f"with a goodinit.anatomy.Row"
            ) from error

    def __repr__(self) -> str:
        return f"when({getattr(self.function, '__name__', repr(self.function))})"


@dataclass(frozen=True)
class Pair(Selector):
    left: Selector
    right: Selector

    @property
    def aspects(self) -> frozenset[Aspect]:
        return self.left.aspects | self.right.aspects

    @property
    def reaches_buffers(self) -> bool:
        return self.left.reaches_buffers or self.right.reaches_buffers


@dataclass(frozen=True)
class Both(Pair):
    def matches(self, row: Row, block: Block) -> bool:
        return self.left.matches(row, block) and self.right.matches(row, block)

    def __repr__(self) -> str:
        return f"{_parenthesized(self.left, Either)} & {_parenthesized(self.right, Either)}"


@dataclass(frozen=True)
class Either(Pair):
    def matches(self, row: Row, block: Block) -> bool:
        return self.left.matches(row, block) or self.right.matches(row, block)

    def __repr__(self) -> str:
        return f"{self.left!r} | {self.right!r}"


@dataclass(frozen=True)
class Not(Selector):
    inner: Selector

    def matches(self, row: Row, block: Block) -> bool:
        return not self.inner.matches(row, block)

    @property
    def aspects(self) -> frozenset[Aspect]:
        return self.inner.aspects

    def __repr__(self) -> str:
        return f"~{_parenthesized(self.inner, (Both, Either))}"


class sel(metaclass=AnsweringType):  # noqa: N801 - a namespace, read as a word: gi.sel.kind("norm")
    """Functions that make selectors: ``gi.sel.kind("norm") & ~gi.sel.part("bias")``.

    Selectors are combined with ``&`` (both), ``|`` (either) and ``~`` (not).

    Example:
        >>> sel.kind("norm") & ~sel.part("bias")
        kind('norm') & ~part('bias')
    """

    @staticmethod
    def all() -> Selector:
        """Every parameter."""
        return Fact("all")

    @staticmethod
    def name(glob: str) -> Selector:
        """Parameters whose dotted name, or a tied alias of it, matches a glob.

        Case counts, ``*`` crosses dots, and ``*.bias`` also matches a ``bias`` at the root.
        """
        return Name(required_text("name", glob))

    @staticmethod
    def attr(glob: str) -> Selector:
        """Parameters whose own attribute name matches a glob, in any module."""
        return Attr(required_text("attr", glob))

    @staticmethod
    def type(*classes: type[nn.Module]) -> Selector:
        """Parameters held by a module of one of these types, subclasses included."""
        if not classes or not all(_is_module_type(cls) for cls in classes):
            given = f"sel.type takes module classes such as nn.Linear, got {one_line(classes)}"
            raise RecipeError(given + meant_types(classes))
        return Type(classes)

    @staticmethod
    def kind(*kinds: str) -> Selector:
        """Parameters of one of these kinds: linear, conv, norm, ...

        ``goodinit.anatomy.rows.KINDS`` lists them.
        """
        return Kind(required_names("kind", kinds, KINDS))

    @staticmethod
    def part(*parts: str) -> Selector:
        """Parameters, or blocks of packed ones, that play one of these parts: bias, q, out, ...

        ``goodinit.anatomy.rows.PARTS`` lists them.
        """
        return Part(required_names("part", parts, PARTS))

    @staticmethod
    def block(block: str) -> Selector:
        """Blocks of packed parameters by name or glob: ``"forget"``, ``"expert*"``."""
        return BlockNamed(required_text("block", block))

    @staticmethod
    @answered("gi.sel.ends_residual()")
    def ends_residual() -> Selector:
        """Parameters whose output is added to a residual stream."""
        return Fact("ends_residual")

    @staticmethod
    def last_norm() -> Selector:
        """Weights of norms, batch norm included, with which a residual branch ends."""
        return Fact("last_norm")

    @staticmethod
    def head_bias() -> Selector:
        """Biases of the weights whose output is the model's."""
        return Fact("head_bias")

    @staticmethod
    def gate_bias() -> Selector:
        """Biases of gates: a sigmoid of the output multiplies a signal."""
        return Fact("gate_bias")

    @staticmethod
    def adapted() -> Selector:
        """Weights that have a low-rank adapter beside them: W in W x + s B A x."""
        return Fact("adapted")

    @staticmethod
    def followed_by(*activations: str) -> Selector:
        """Parameters whose output goes into one of these functions: ``"relu"``, ``"gelu"``."""
        if not activations:
            raise RecipeError("sel.followed_by takes names of functions, such as 'relu'")
        return FollowedBy(tuple(required_text("followed_by", name) for name in activations))

    @staticmethod
    def when(function: Callable[[Row], bool]) -> Selector:
        """Parameters for whose ``goodinit.anatomy.Row`` your function returns True."""
        if not callable(function):
            raise RecipeError(f"sel.when takes a function of a row, got {function!r}")
        return When(function)


@dataclass(frozen=True)
class Rule:
    """A selector, the scheme for what it selects, and the reason.

    Attributes:
        where: a selector; or a glob over dotted names; or a module type, which selects the
            weights of such modules and not their biases.
        scheme: how the selected values are drawn.
        why: the reason, shown in plans.
        optional: whether the rule may match nothing. Rules of library recipes are optional;
            yours are not by default, so that a misspelled one is an error.
        library: whether it is a library recipe's. Such a rule is optional, and yields where a
            class gave a parameter a value on purpose: zeros, one value, a pattern, a frozen one.
            A rule of yours draws whatever it matches.

    Example:
        >>> from goodinit.schemes import Constant
        >>> Rule("*.bias", Constant(0.01)).where
        name('*.bias')
    """

    where: Selector
    scheme: Scheme
    why: str = ""
    optional: bool = False
    library: bool = False

    @answered("gi.Rule('*.bias', gi.Zeros())")
    def __init__(
        self,
        where: Selector | str | type[nn.Module],
        scheme: Scheme,
        why: str = "",
        optional: bool = False,
        library: bool = False,
    ) -> None:
        if not isinstance(scheme, Scheme):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecipeError(
                f"the rule for {one_line(where)} needs a scheme such as gi.XavierUniform(), got "
                f"{described(scheme)}{meant_entry(where, scheme)}"
            )
        if not isinstance(why, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecipeError(f"the rule for {where!r}: why is a text, got {why!r}")
        given = {"optional": bool(optional) or bool(library), "library": bool(library)}
        vars(self).update(where=_selector(where), scheme=scheme, why=why, **given)

    @cached_property
    def text(self) -> str:
        """The rule in one line, as plans show it."""
        return f"{self.where!r} -> {self.scheme!r}"


def glob_matches(glob: str, name: str) -> bool:
    """Return whether a dotted name matches a glob; ``*`` crosses dots, case counts.

    >>> glob_matches("*.bias", "bias"), glob_matches("h.?.w*", "h.0.attn.weight")
    (True, False)
    """
    return glob == name or _compiled(glob)(name) is not None


@lru_cache(maxsize=MOST_GLOBS)
def _compiled(glob: str) -> Callable[[str], object]:
    pattern = fnmatch.translate(glob)
    if glob.startswith("*."):  # a root parameter has no module before its dot
        pattern = f"(?:{pattern})|(?:{fnmatch.translate(glob[2:])})"
    return re.compile(pattern).match


def _selector(where: object) -> Selector:
    if isinstance(where, Selector):
        return where
    if isinstance(where, str):
        return sel.name(where)
    if _is_module_type(where):
        return Type((cast("type[nn.Module]", where),)) & ~Part(("bias",))
    line = meant_place(where)
    raise RecipeError(
        f"a rule's where is a selector (gi.sel), a glob such as '*.bias' or a module type such "
        f"as nn.Linear, got {described(where)}{f'. Write {line}' if line else ''}"
    )


def _is_module_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


def _parenthesized(selector: Selector, looser: type[Selector] | tuple[type[Selector], ...]) -> str:
    return f"({selector!r})" if isinstance(selector, looser) else repr(selector)
