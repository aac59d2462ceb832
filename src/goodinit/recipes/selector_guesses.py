"""What people pass to selectors, or take for one, and the selector that they mean."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, cast

from torch import nn

from goodinit.errors import CallError, RecipeError, nearest
from goodinit.schemes.fields import one_line
from goodinit.schemes.gains import NONLINEARITIES, known_name

# What others call kinds and parts.
_WORDS = {
    "attention": "q",
    "biases": "bias",
    "conv1d": "conv",
    "conv2d": "conv",
    "conv3d": "conv",
    "dense": "linear",
    "gamma": "scale",
    "key": "k",
    "layernorm": "norm",
    "lstm": "recurrent",
    "matrix": "linear",
    "output": "head",
    "query": "q",
    "value": "v",
    "weights": "weight",
}

WHEN = "gi.sel.when(lambda row: row.name.startswith('fc'))"  # of a function nobody can read


# What is looked for in gi.sel.
_SELECTORS = {
    "bias": "gi.sel.part('bias')",
    "biases": "gi.sel.part('bias')",
    "conv": "gi.sel.kind('conv')",
    "glob": "gi.sel.name('*.weight')",
    "linear": "gi.sel.kind('linear')",
    "not_": "~gi.sel.part('bias')",
    "regex": "gi.sel.name('*.weight')",
    "weight": "~gi.sel.part('bias')",
    "weights": "~gi.sel.part('bias')",
}


def meant_place(where: object) -> str:
    """Return the code of the selector that a value stands for, or "".

    >>> meant_place((nn.Linear, nn.Conv2d)), meant_place(["fc.weight", "head.weight"])
    ('gi.sel.type(nn.Linear, nn.Conv2d)', "gi.sel.name('fc.weight') | gi.sel.name('head.weight')")
    >>> meant_place(re.compile("fc.*"))
    "'fc*'"
    """
    several: list[object] = []
    if isinstance(where, (list, tuple, set, frozenset)):
        several = list(cast("list[object]", where))
    where = cast("object", where)
    if several and all(isinstance(one, type) for one in several):
        names = ", ".join(f"nn.{cast('type', one).__name__}" for one in several)
        return f"gi.sel.type({names})"
    if several and all(isinstance(one, str) for one in several):
        return " | ".join(f"gi.sel.name({one!r})" for one in several)
    if isinstance(where, re.Pattern):
        return repr(glob_of(str(cast("re.Pattern[str]", where).pattern)))
    if isinstance(where, nn.Module):
        return ""  # its path is said
    name = getattr(where, "__qualname__", "")
    if name.startswith("sel."):
        return f"gi.{name}()"
    return WHEN if callable(where) and not isinstance(where, type) else ""


def glob_of(pattern: str) -> str:
    r"""Return the glob that a simple regular expression stands for.

    >>> glob_of(r"^fc\..*weight$")
    'fc.*weight'
    """
    return pattern.replace(".*", "*").strip("^$").replace("\\", "")


def meant_word(function: str, value: object, known: Collection[str]) -> str:
    """Return the call of a selector whose name is known, as a sentence, or "".

    >>> meant_word("part", "query", ["q", "k"]), meant_word("kind", nn.Linear, ["linear"])
    (" Write gi.sel.part('q')", ' Write gi.sel.type(nn.Linear)')
    """
    if isinstance(value, type):
        return f" Write gi.sel.type(nn.{value.__name__})"
    if not isinstance(value, str):
        return ""
    plain = _WORDS.get(value.lower(), value.lower())
    if plain in known:
        return f" Write gi.sel.{function}({plain!r})"
    other = {"weight": "part", "bias": "part", "linear": "kind", "conv": "kind"}.get(plain)
    return f" Write gi.sel.{other}({plain!r})" if other else nearest(value, known)


def meant_text(function: str, value: object) -> str:
    """Return the call of a selector that takes a text, as a sentence, or "".

    >>> meant_text("name", ["a.*", "b"]), meant_text("followed_by", nn.ReLU())
    (". Write gi.sel.name('a.*') | gi.sel.name('b')", ". Write gi.sel.followed_by('relu')")
    """
    if function == "followed_by":
        name = getattr(value, "__name__", type(value).__name__)
        name = known_name(name)
        return f". Write gi.sel.followed_by({name!r})" if name in NONLINEARITIES else ""
    line = meant_place(value)
    if line.startswith("'"):
        line = f"gi.sel.{function}({line})"
    line = line.replace("gi.sel.name(", f"gi.sel.{function}(")
    return f". Write {line}" if line else ""


def meant_types(classes: tuple[object, ...]) -> str:
    """Return the call of ``sel.type`` that texts, instances or lists stand for, or "".

    >>> meant_types(("Linear",)), meant_types(([nn.Linear, nn.Conv2d],))
    ('. Write gi.sel.type(nn.Linear)', '. Write gi.sel.type(nn.Linear, nn.Conv2d)')
    """
    flat: list[object] = []
    for each in classes:
        several = cast("list[object]", each) if isinstance(each, (list, tuple)) else [each]
        flat.extend(several)
    named = [one if isinstance(one, (str, type)) else type(one) for one in flat]
    names = [one if isinstance(one, str) else one.__name__ for one in named]
    known = [f"nn.{name}" for name in names if hasattr(nn, name)]
    return f". Write gi.sel.type({', '.join(known)})" if known and len(known) == len(names) else ""


def required_names(
    what: str, values: tuple[object, ...], known: tuple[str, ...]
) -> tuple[str, ...]:
    """Return what a selector is given if all of it is known, or refuse it."""
    if not values:
        raise RecipeError(f"sel.{what}() needs a name; known are {', '.join(known)}")
    for value in values:
        if not isinstance(value, str) or value not in known:
            line = meant_word(what, value, known)
            raise RecipeError(f"sel.{what}({value!r}): known are {', '.join(known)}.{line}")
    return cast("tuple[str, ...]", values)


def required_text(what: str, value: object) -> str:
    """Return what a selector is given if it is a text, or refuse it."""
    if isinstance(value, str) and value:
        return value
    line = meant_text(what, value)
    raise RecipeError(f"sel.{what} takes a nonempty string, got {one_line(value)}{line}")


class AnsweringType(type):
    """The type of a namespace that answers a missing name with the call that is meant."""

    if not TYPE_CHECKING:  # type checkers must not take any name for an attribute

        def __getattr__(cls, name: str) -> object:
            """Raise: names the call that is meant."""
            line = _SELECTORS.get(name)
            near = nearest(name, [n for n in vars(cls) if n[0] != "_"])
            hint = f". Write {line}" if line else f".{near}" if near else ""
            raise AttributeError(f"gi.sel has no attribute {name!r}{hint}")

        def __call__(cls, *args: object) -> object:
            """Raise: it is called for its functions."""
            place = repr(args[0]) if args and isinstance(args[0], str) else "'*.weight'"
            raise CallError(f"gi.sel holds functions. Write gi.sel.name({place})")
