"""Where things stand in a TOML text: the line of each key and item, for errors.

``tomllib`` gives values without places. The scan here reads places without values, in time
linear in the text. It comes first, for it also refuses what would cost ``tomllib`` dear: a key of
thousands of parts takes it quadratic time, deep nesting a deep stack. Up to the first mistake in
its syntax the scan understands a text as ``tomllib`` does; beyond it, ``tomllib`` reads nothing.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import NoReturn

from goodinit.errors import RecipeFileError
from goodinit.schemes.fields import shown

__all__ = ["Lines", "Place"]

Place = tuple[str | int, ...]
"""Keys and, counted from 0, numbers in lists: ``("rule", 2, "where", "kind")``."""

DEEPEST = 16  # steps to a place
LONGEST_TEXT = 4000  # characters; a long reason has some hundred
LONGEST_WORD = 100  # characters of a number or of a key without quotes

# No alternative of a repetition can match in two ways, so that the scan never goes back. A text
# that isn't closed runs to the end of its line, or of the file.
_PIECE = re.compile(
    r'''
    (?P<text>
        """ (?: [^"\\]++ | \\. | "(?!"") )*+ (?: "{3,5} )?
      | \'\'\' (?: [^']++ | '(?!\'\') )*+ (?: '{3,5} )?
      | " (?: [^"\\\n]++ | \\. )*+ "?
      | ' [^'\n]*+ '?
    )
    | \# [^\n]*+
    | (?P<word> [A-Za-z0-9_+-]++ )
    | (?P<mark> [][{}=,.\n] )
    ''',
    re.VERBOSE | re.DOTALL,
)


class Lines:
    r"""The line of each place in a TOML text.

    Args:
        text: what ``tomllib`` is to read, or has read.
        source: named first in errors; a file's name.

    Raises:
        RecipeFileError: a text, a word or a nesting beyond the limits above.

    Example:
        >>> lines = Lines("a = 1\n[[rule]]\nwhere.kind = [\n'conv',\n'nrom']")
        >>> lines.of(("rule", 0, "where", "kind", 1)), lines.of(("rule", 0, "scheme"))
        (5, 2)
    """

    def __init__(self, text: str, source: str = "") -> None:
        self.source = source
        self.found: dict[Place, int] = {(): 1}
        self.last = text.rstrip("\n").count("\n") + 1
        self._header: Place = ()  # what the last [header] named
        self._tables: dict[Place, int] = {}  # how many items each [[header]] has
        self._brackets = 0  # those of a header that begins
        self._open: list[_Container] = []  # arrays and inline tables that are open here
        self._key: list[str] = []  # the parts of a key that begins
        self._value = False  # whether a value is expected or there, else a key or a header
        self._line = 1
        end = 0
        for piece in _PIECE.finditer(text):
            self._line += text.count("\n", end, piece.start())
            end = piece.start()
            if piece.lastgroup is not None:  # it is no comment
                self._take(piece.lastgroup, piece[0])

    def of(self, place: Place) -> int:
        """Return the line of a place; of what it would be in, where it isn't there."""
        while place not in self.found:
            place = place[:-1]
        return self.found[place]

    def refuse(self, place: Place, what: str) -> NoReturn:
        """Raise RecipeFileError about a place."""
        self.refuse_line(self.of(place), f"{_spoken(place)}: {what}" if place else what)

    def refuse_line(self, line: int, what: str) -> NoReturn:
        """Raise RecipeFileError about a line."""
        where = f"{self.source}, line {line}" if self.source else f"line {line}"
        raise RecipeFileError(f"{where}: {what}") from None

    def _take(self, group: str, piece: str) -> None:
        if group == "text" and len(piece) > LONGEST_TEXT:
            what = f"the text that starts here has {len(piece)} characters, and at most"
            mend = f"{LONGEST_TEXT} are read: is its closing quote missing?"
            self.refuse_line(self._line, f"{what} {mend}")
        if group == "word" and len(piece) > LONGEST_WORD:
            what = f"a number or a key of {len(piece)} characters, and at most {LONGEST_WORD} are"
            self.refuse_line(self._line, f"{what} read")
        if self._value:
            self._take_value(piece if group == "mark" else "")
        elif group == "mark":
            self._take_mark(piece)
        else:
            self._key.append(_unquoted(piece))

    def _take_mark(self, mark: str) -> None:
        """Take a mark where a key is expected, or within a key or a header."""
        inside = self._open[-1] if self._open else None
        if mark == "=":
            place = inside.place if inside else self._header
            for part in self._key:
                place = self._note((*place, part))
            self._at = place
            self._key, self._value = [], True
        elif mark == "}" and inside:
            self._close()
        elif mark == "[" and not inside:
            self._brackets += 1
        elif mark == "]" and self._brackets:
            self._take_header()
        elif mark in "\n,":
            self._key, self._brackets = [], 0

    def _take_header(self) -> None:
        """Note a header when its first bracket closes; the way leads through the last items."""
        place: Place = ()
        for part in self._key:
            if place in self._tables:
                place = (*place, self._tables[place] - 1)
            place = self._note((*place, part))
        if self._brackets == 2:
            self._tables[place] = self._tables.get(place, 0) + 1
        if place in self._tables:
            place = self._note((*place, self._tables[place] - 1))
        self._header = place
        self._key, self._brackets = [], 0

    def _take_value(self, mark: str) -> None:
        """Take a mark, or "" for a word or a text, where a value is expected or was."""
        inside = self._open[-1] if self._open else None
        if mark == "\n":
            self._value = inside is not None  # else the statement ends
        elif mark in ("]", "}") and inside:
            self._close()
        elif mark == "," and inside:
            inside.items += 1
            self._value = inside.array
        else:
            if inside and inside.array:
                self._at = (*inside.place, inside.items)
                if mark or self._line != self.found[inside.place]:  # else the array's line will do
                    self._note(self._at)
            if mark in ("[", "{"):
                self._note(self._at)
                self._open.append(_Container(self._at, mark == "["))
                self._value = mark == "["

    def _close(self) -> None:
        self._open.pop()
        self._key, self._value = [], True  # the container was a value itself

    def _note(self, place: Place) -> Place:
        if len(place) > DEEPEST:
            self.refuse_line(self._line, f"nested more than {DEEPEST} deep")
        self.found.setdefault(place, self._line)
        return place


@dataclass
class _Container:
    """An array or an inline table that is open."""

    place: Place
    array: bool
    items: int = 0  # those that are complete


def _unquoted(part: str) -> str:
    """Return a part of a key without its quotes and escapes."""
    if part[0] not in "'\"":
        return part
    if "\\" not in part:
        return part[1:-1]
    try:
        return tomllib.loads(f"key = {part}")["key"]
    except ValueError:
        return part


def _spoken(place: Place) -> str:
    """Return a place in words.

    >>> _spoken(("rule", 2, "where", "any", 0, "kind"))
    'rule 3, where.any.kind'
    """
    number = place[1] if place[0] == "rule" and len(place) > 1 else None
    steps = place if number is None else place[2:]
    keys = ".".join(_shown_key(step) for step in steps if isinstance(step, str))
    if number is None:
        return keys
    return f"rule {int(number) + 1}{', ' if keys else ''}{keys}"


def _shown_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]{1,40}", key) else shown(key)
