"""JSON, strictly: UTF-8, no key twice, no NaN, no number too large. Errors name the line."""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

__all__ = ["parsed"]

_MOST_DIGITS = 400  # of a whole number; Python refuses thousands, with advice of its own


def parsed(raw: bytes) -> object:
    """Return the data in UTF-8 JSON.

    Raises:
        ValueError: it is no such JSON; the message has the line.

    Example:
        >>> parsed(b'{"a": 1, "b": {"a": NaN}}')
        Traceback (most recent call last):
        ValueError: NaN is no JSON number: line 1
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"no utf-8 text: line {line}") from error
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except _WordError as error:
        raise ValueError(f"{error}: line {_line_of(text, error)}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


class _WordError(ValueError):
    """A key, a number or a constant that ``json`` allows."""

    def __init__(self, message: str, word: str, *, key: bool = False) -> None:
        super().__init__(message)
        self.word = word
        self.key = key


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _WordError(f"the key {key[:80]!r} is there twice", key, key=True)
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise _WordError(f"{name} is no JSON number", name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _WordError(f"the number {text[:40]} is too large", text)
    return value


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise _WordError(f"the number {text[:40]}... is too large", text)
    return int(text)


_PIECE = re.compile(
    r"""(?P<text> " (?: [^"\\]++ | \\. )*+ " ) (?P<key> \s*+ : )? | [{}] | [\w.+-]++""",
    re.VERBOSE | re.DOTALL,
)


def _line_of(text: str, error: _WordError) -> int:
    """Return the line of a number or a constant, or of a key that its object has already."""
    keys: list[set[str]] = []  # of the objects that are open
    for piece in _PIECE.finditer(text):
        word = piece[0]
        here = not error.key and word.startswith(error.word)  # what follows may be no JSON
        if word == "{":
            keys.append(set())
        elif word == "}":
            keys.pop()
        elif piece["key"]:
            key = json.loads(piece["text"])
            here = error.key and key == error.word and key in keys[-1]
            keys[-1].add(key)
        if here:
            return text.count("\n", 0, piece.start()) + 1
    return text.count("\n") + 1
