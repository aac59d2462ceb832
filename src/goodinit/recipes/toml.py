"""Recipes to TOML and back. What is read may come from anywhere: nothing in it is run or imported.

    goodinit_recipe = 1
    name = "mine"

    [[rule]]
    where = { kind = ["linear", "conv"], not = { part = "bias" } }
    scheme = "Normal"
    std = 0.02
    scaled = { depth = -0.5 }
    why = "small"

``where`` is a glob, or a table of conditions that all hold. A scheme's fields stand beside its
name. Each error names the line.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from os import PathLike
from pathlib import Path
from typing import TypeVar, cast

from goodinit.errors import RecipeError, RecipeFileError, SchemeError, nearest
from goodinit.recipes import rule as rules
from goodinit.recipes.class_lookup import module_type, type_name
from goodinit.recipes.deferred import DEFERRED
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, Selector, sel
from goodinit.recipes.toml_positions import Lines, Place
from goodinit.schemes import Function, Scaled, Scheme, from_dict
from goodinit.schemes.fields import shown
from goodinit.schemes.reader import SCHEMES

__all__ = ["LARGEST", "dumps", "load", "loads"]

VERSION = 1
LARGEST = 2**17  # bytes of a file, far beyond any recipe; half a second at worst
LONGEST_NAME = 300  # characters of a glob, or of a class's name
MOST_RULES = 500
MOST_CONDITIONS = 100  # of one rule

_TOP = ("goodinit_recipe", "name", "why", "rule")
_RULE = ("where", "scheme", "scaled", "why", "optional")
_WHERE = (
    *("all", "name", "attr", "type", "kind", "part", "block", "ends_residual", "followed_by"),
    *("not", "any", "every"),
)

_KNOWN: Mapping[str, type[Scheme]] = {**SCHEMES, **DEFERRED}
T = TypeVar("T")


# reading


def loads(text: str, source: str = "") -> Recipe:
    r"""Return the recipe in a TOML text.

    Args:
        text: TOML as ``dumps`` writes it, or as a person does.
        source: named first in errors; a file's name.

    Raises:
        RecipeFileError: anything else; names the line.

    Example:
        >>> print(loads('goodinit_recipe = 1\n[[rule]]\nwhere = "*.bias"\nscheme = "Zeros"'))
        recipe
          name('*.bias') -> Zeros()
        >>> loads('goodinit_recipe = 1\n[[rule]]\nwhere = { kind = "nrom" }\nscheme = "Ones"')
        Traceback (most recent call last):
        goodinit.errors.RecipeFileError: line 3: rule 1, where.kind: sel.kind('nrom'): ...
    """
    data, lines = _parsed(text, source)
    if "goodinit_recipe" not in data:
        lines.refuse((), f"no recipe: a recipe's file starts with goodinit_recipe = {VERSION}")
    version = data["goodinit_recipe"]
    if version != VERSION or isinstance(version, (bool, float)):
        this = f"this goodinit reads version {VERSION}, not {shown(version)}"
        lines.refuse(("goodinit_recipe",), this)
    _check_keys(data, _TOP, (), lines)
    if "rule" not in data:
        lines.refuse_line(lines.last, "no rule: a recipe has at least one, under [[rule]]")
    tables = data["rule"]
    if not isinstance(tables, list) or not tables:
        lines.refuse(("rule",), "each rule stands under a line [[rule]], with two brackets")
    given = cast("list[object]", tables)
    if len(given) > MOST_RULES:
        most = f"{len(given)} rules, and at most {MOST_RULES} are read"
        lines.refuse(("rule", MOST_RULES), most)
    read = [_read_rule(table, ("rule", number), lines) for number, table in enumerate(given)]
    texts = (_text(data.get(key, ""), (key,), lines, empty=True) for key in ("name", "why"))
    return Recipe(read, *texts)


def load(path: str | PathLike[str]) -> Recipe:
    """Return the recipe in a file: UTF-8, at most ``LARGEST`` bytes of it.

    Raises:
        RecipeFileError: the file can't be read, or holds no valid recipe.
    """
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # a ValueError is a path with a NUL in it
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise RecipeFileError(f"{source!r} can't be read: {reason}") from error
    if len(raw) > LARGEST:
        raise RecipeFileError(_too_large(source))
    try:
        return loads(raw.decode("utf-8"), source)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"{source}, line {line}: no UTF-8 text ({error.reason}); save it as UTF-8"
        raise RecipeFileError(what) from error


def _too_large(source: str) -> str:
    which = source or "the text"
    return f"{which} has more than {LARGEST} bytes, which are read at most: it is hardly a recipe"


def _parsed(text: str, source: str) -> tuple[dict[str, object], Lines]:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RecipeError(f"from_toml takes a text, got {shown(text)}; Recipe.load reads a file")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise RecipeFileError(_too_large(source))
    lines = Lines(text, source)
    if odd := re.search("[\ud800-\udfff]", text):
        line = text.count("\n", 0, odd.start()) + 1
        lines.refuse_line(line, "half of a surrogate pair, which is no character")
    try:
        return tomllib.loads(text), lines
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
        line = int(at[1]) if at and at[1] else lines.last
        lines.refuse_line(line, f"no TOML: {message[: at.start() if at else None]:.200}")


def _read_rule(data: object, place: Place, lines: Lines) -> Rule:
    if not isinstance(data, dict):
        lines.refuse(place, f"a rule is a table with where and scheme, not {shown(data)}")
    table = cast("dict[str, object]", data)
    kind = _KNOWN.get(str(table.get("scheme")))
    kinds = [kind] if kind else _KNOWN.values()  # an unknown scheme may have any field
    fields = {field.name: None for kind in kinds for field in dataclasses.fields(kind)}
    _check_keys(table, (*_RULE, *fields), place, lines)
    for key in ("where", "scheme"):
        if key not in table:
            lines.refuse(place, f"the rule doesn't say {key}")
    where = _read_where(table["where"], (*place, "where"), lines)
    why = _text(table.get("why", ""), (*place, "why"), lines, empty=True)
    optional = table.get("optional", False)
    if not isinstance(optional, bool):
        lines.refuse((*place, "optional"), f"true or false is expected, not {shown(optional)}")
    given = {key: table[key] for key in table if key not in ("where", "why", "optional")}
    try:
        return Rule(where, from_dict(given, more=DEFERRED), why, optional)
    except SchemeError as error:
        lines.refuse((*place, *(error.field or ("scheme",))), str(error))


def _check_keys(table: Iterable[str], known: tuple[str, ...], place: Place, lines: Lines) -> None:
    for key in table:
        if key not in known:
            what = f"unknown: it is none of {', '.join(known)}.{nearest(key, known)}"
            lines.refuse((*place, key), what)


def _read_where(data: object, place: Place, lines: Lines) -> Selector:
    if _size(data) > MOST_CONDITIONS:
        most = f"more than {MOST_CONDITIONS} conditions: make several rules of it"
        lines.refuse(place, most)
    return _selector(data, place, lines)


def _size(data: object) -> int:
    """Return how many selectors a table stands for, at most: each may be a level of a tree."""
    if isinstance(data, dict):
        return sum(map(_size, cast("dict[str, object]", data).values())) + 1
    if isinstance(data, list):
        return sum(map(_size, cast("list[object]", data))) + 1
    return 1


def _selector(data: object, place: Place, lines: Lines) -> Selector:
    if isinstance(data, str):
        return sel.name(_text(data, place, lines))
    if not isinstance(data, dict):
        lines.refuse(place, f"a glob or a table of conditions is expected, not {shown(data)}")
    table = cast("dict[str, object]", data)
    if "when" in table:
        lines.refuse((*place, "when"), "when is code, which no file holds: set it in Python")
    _check_keys(table, _WHERE, place, lines)
    if not table:
        lines.refuse(place, "no condition: for every parameter it is { all = true }")
    parts = [_condition(key, value, (*place, key), lines) for key, value in table.items()]
    return reduce(rules.Both, parts)


def _condition(key: str, value: object, place: Place, lines: Lines) -> Selector:
    """Return what one key of a where asks."""
    match key:
        case "all" | "ends_residual":
            if value is not True:
                mend = f"it is true or left out; the contrary is not = {{ {key} = true }}"
                lines.refuse(place, mend)
            return sel.all() if key == "all" else sel.ends_residual()
        case "name" | "attr" | "block":
            make = {"name": sel.name, "attr": sel.attr, "block": sel.block}[key]
            return make(_text(value, place, lines))
        case "type":
            return sel.type(*_each(module_type, _texts(value, place, lines), lines))
        case "kind" | "part" | "followed_by":
            several = {"kind": sel.kind, "part": sel.part, "followed_by": sel.followed_by}[key]
            texts = _texts(value, place, lines)
            _each(several, texts, lines)  # one by one, for the line of the one that is wrong
            return several(*(text for text, _ in texts))
        case "not":
            return rules.Not(_selector(value, place, lines))
        case _:
            items = _items(value, place, lines)
            made = [_selector(item, at, lines) for item, at in items]
            return reduce(rules.Either if key == "any" else rules.Both, made)


def _each(make: Callable[[str], T], texts: list[tuple[str, Place]], lines: Lines) -> list[T]:
    made: list[T] = []
    for text, at in texts:
        try:
            made.append(make(text))
        except RecipeError as error:
            lines.refuse(at, str(error))
    return made


def _items(value: object, place: Place, lines: Lines) -> list[tuple[object, Place]]:
    if not isinstance(value, list):
        lines.refuse(place, f"a text or a list is expected, not {shown(value)}")
    items = [(item, (*place, number)) for number, item in enumerate(cast("list[object]", value))]
    return items or lines.refuse(place, "the list is empty")


def _texts(value: object, place: Place, lines: Lines) -> list[tuple[str, Place]]:
    """Return a text or a list of texts as a list, each with its place."""
    given = [(value, place)] if isinstance(value, str) else _items(value, place, lines)
    return [(_text(item, at, lines), at) for item, at in given]


def _text(value: object, place: Place, lines: Lines, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        lines.refuse(place, f"a text is expected, not {shown(value)}")
    if not empty and not value:
        lines.refuse(place, "the text is empty")
    if not empty and len(value) > LONGEST_NAME:
        lines.refuse(place, f"{len(value)} characters, and at most {LONGEST_NAME} make a name")
    return value


# writing


def dumps(recipe: Recipe) -> str:
    """Return a recipe as TOML, which ``loads`` reads back as an equal one.

    Raises:
        RecipeError: a rule that can't be written down: ``when`` and ``Function`` hold code, and
            a class needs a name that can be imported. Says which rule, and what to do.

    Example:
        >>> from goodinit.schemes import Zeros
        >>> print(dumps(Recipe([Rule(~sel.part("bias"), Zeros(), "a start")], "mine")))
        goodinit_recipe = 1
        name = "mine"
        <BLANKLINE>
        [[rule]]
        where = { not = { part = "bias" } }
        scheme = "Zeros"
        why = "a start"
        <BLANKLINE>
    """
    top: dict[str, object] = {"goodinit_recipe": VERSION}
    top |= {key: value for key in ("name", "why") if (value := getattr(recipe, key)) != ""}
    at = f"recipe {recipe.name!r:.100}"
    try:
        text = _written(top)
        for number, rule in enumerate(recipe.rules, 1):
            at = f"rule {number} of recipe {recipe.name!r:.100}, {rule.text:.200}"
            text += f"\n[[rule]]\n{_written(_rule_data(rule))}"
    except (RecipeError, SchemeError) as error:
        mend = "Write the recipe without the rule, and add it in Python: recipe.override(rule)"
        raise RecipeError(f"{at}: {error}. {mend if recipe.rules else ''}") from error
    except RecursionError as error:
        raise RecipeError(f"{at}: too deeply nested to be written down") from error
    try:
        same = loads(text) == recipe
    except RecipeFileError as error:
        raise RecipeError(f"recipe {recipe.name!r:.100} would not be read back: {error}") from error
    if not same:
        raise RecipeError(f"recipe {recipe.name!r:.100} would be read back as another one")
    return text


def _rule_data(rule: Rule) -> dict[str, object]:
    data = {"where": _where_data(rule.where), **_scheme_data(rule.scheme)}
    texts = {"why": rule.why} if rule.why else {}
    return data | texts | ({"optional": True} if rule.optional else {})


def _scheme_data(scheme: Scheme) -> dict[str, object]:
    """Return a scheme's name, its fields but those of default value, and its powers."""
    plain = scheme.scheme if isinstance(scheme, Scaled) else scheme
    kind = type(plain)
    if _KNOWN.get(kind.__name__) is not kind and kind is not Function:
        raise SchemeError(f"{kind.__name__} is a class of your own, and files know goodinit's")
    data = scheme.to_dict()
    for field in dataclasses.fields(plain):
        value: object = getattr(plain, field.name)
        if isinstance(value, Scheme):
            data[field.name] = _scheme_data(value)
        elif repr(value) == repr(field.default):  # not ==, for 0.0 and -0.0
            del data[field.name]
    return data


def _where_data(where: Selector) -> str | dict[str, object]:
    """Return a glob, or a table that is read as the same tree of selectors."""
    if isinstance(where, rules.Name):
        return where.glob
    chain = _chain(where, rules.Both)
    table: dict[str, object] = {}
    for number, selector in enumerate(chain):
        key, value = _pair(selector)
        if key in table:  # no key stands twice in one table
            return {"every": [table, *map(_where_data, chain[number:])]}
        table[key] = value
    return table


def _chain(where: Selector, joint: type[rules.Both | rules.Either]) -> list[Selector]:
    """Return [a, b, c] of ``(a & b) & c``."""
    chain: list[Selector] = []
    while isinstance(where, joint):
        chain.append(where.right)
        where = where.left
    return [where, *reversed(chain)]


def _pair(where: Selector) -> tuple[str, object]:
    match where:
        case rules.All():
            return "all", True
        case rules.Name():
            return "name", where.glob
        case rules.Attr():
            return "attr", where.glob
        case rules.Type():
            return "type", _one_or_list(tuple(map(type_name, where.classes)))
        case rules.Kind():
            return "kind", _one_or_list(where.kinds)
        case rules.Part():
            return "part", _one_or_list(where.parts)
        case rules.BlockNamed():
            return "block", where.block
        case rules.EndsResidual():
            return "ends_residual", True
        case rules.FollowedBy():
            return "followed_by", _one_or_list(where.activations)
        case rules.Not():
            return "not", _where_data(where.of)
        case rules.Either():
            return "any", list(map(_where_data, _chain(where, rules.Either)))
        case rules.Both():
            return "every", list(map(_where_data, _chain(where, rules.Both)))
        case rules.When():
            raise RecipeError("sel.when holds code, which can't be written to a file")
        case _:
            raise RecipeError(f"{type(where).__name__} is a selector of your own")


def _one_or_list(texts: tuple[str, ...]) -> str | list[str]:
    return texts[0] if len(texts) == 1 else list(texts)


def _written(table: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: object) -> str:
    """Return a value as TOML, on one line.

    >>> _value({"kind": ["linear", "conv"], "std": 1e-06, "optional": True})
    '{ kind = ["linear", "conv"], std = 1e-06, optional = true }'
    """
    match value:
        case str():
            if re.search("[\ud800-\udfff]", value):
                raise RecipeError(f"{shown(value)} has half of a surrogate pair, no character")
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool():
            return "true" if value else "false"
        case int() if abs(value) < 2**63:
            return repr(value)
        case float() if math.isfinite(value):
            return repr(value)
        case list():
            return f"[{', '.join(map(_value, cast('list[object]', value)))}]"
        case dict():
            table = cast("dict[str, object]", value)
            pairs = ", ".join(f"{key} = {_value(item)}" for key, item in table.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            raise RecipeError(f"{shown(value)} can't be written to a file")
