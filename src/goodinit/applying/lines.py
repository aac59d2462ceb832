"""Lines of code that may fix a finding, each with what it does to a model.

They use the names ``gi`` for goodinit, ``model`` and ``inputs``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

from torch import nn

from goodinit._common.text import alike_names
from goodinit.applying.apply import init_
from goodinit.recipes.by_name import RecipeLike
from goodinit.schemes import Constant, Keep, Ones, Scheme, Zeros
from goodinit.trace import Inputs

FIRST_SEED = 0
"""The seed that a line has: what is pasted is, bit for bit, what was tried."""

# The default first, then those that help where it doesn't: a larger gain, no spread of gains.
LIBRARY = ("standard", "he", "orthogonal")


@dataclass(frozen=True)
class Line:
    """A line of code.

    Attributes:
        text: as it is pasted.
        act: does the same, given a model, inputs and a seed.
        drawn: whether chance is in it, so that one try may succeed by luck.
        whole: whether it draws the whole model, so that what was there before doesn't count.
    """

    text: str
    act: Callable[[nn.Module, Inputs | None, int], object]
    drawn: bool = False
    whole: bool = False


class Untried(str):
    """What may fix a finding, until it is tried: the text says in words what would help.

    Attributes:
        lines: that may fix it, the best first.

    Example:
        >>> remedy = untried("put a norm between them", [init_line("standard")])
        >>> print(remedy, remedy.lines[0].text, sep=", or ")
        put a norm between them, or gi.init_(model, "standard", inputs=inputs, seed=0)
    """

    lines: tuple[Line, ...] = ()


def untried(words: str, lines: Iterable[Line]) -> Untried:
    """Return words that remember lines of code."""
    made = Untried(words)
    made.lines = tuple(lines)
    return made


def init_line(recipe: RecipeLike, text: str = "", *, inputs: bool = True) -> Line:
    """Return the line that initializes a model, or the parameters that a mapping names.

    ``text`` is the recipe as it is written, by default as it prints.

    Example:
        >>> init_line({"0.bias": Zeros()}, inputs=False).text
        'gi.init_(model, {"0.bias": gi.Zeros()})'
    """
    by_name = cast("Mapping[object, Scheme]", recipe) if isinstance(recipe, Mapping) else None
    drawn = by_name is None or any(
        not isinstance(scheme, Constant | Keep | Ones | Zeros) for scheme in by_name.values()
    )
    if not text and by_name is not None:
        text = ", ".join(f"{quoted(str(name))}: gi.{s!r}" for name, s in by_name.items())
        text = f"{{{text}}}"
    text = text or quoted(str(recipe))
    options = (", inputs=inputs" if inputs else "") + (f", seed={FIRST_SEED}" if drawn else "")
    return Line(
        f"gi.init_(model, {text}{options})",
        lambda model, given, seed: init_(
            model, recipe, inputs=given if inputs else None, seed=seed
        ),
        drawn,
        whole=by_name is None,
    )


def library_lines(*, inputs: bool = True) -> list[Line]:
    """Return the lines that draw the whole model by recipes of the library, the default first."""
    return [init_line(name, inputs=inputs) for name in LIBRARY]


def globs(names: list[str], every: Iterable[str]) -> list[str]:
    """Return globs that match these names and no others; plain names where no glob does.

    >>> globs(["h.0.fc.weight", "h.1.fc.weight"], ["h.0.fc.weight", "h.1.fc.weight", "fc.weight"])
    ['h.*.fc.weight']
    """
    found: list[str] = []
    others = set(every) - set(names)
    for glob, members in alike_names(names).items():
        alone = len(members) == 1 or any(fnmatchcase(other, glob) for other in others)
        found += members if alone else [glob]
    return found


def quoted(name: str) -> str:
    r"""Return a name as a literal of Python, whatever characters it has.

    >>> print(quoted("fc.weight"), quoted('a"b'), quoted("\x1b"))
    "fc.weight" 'a"b' "\x1b"
    """
    literal = repr(name)
    plain = literal[0] == "'" and '"' not in name and "\\'" not in literal
    return f'"{literal[1:-1]}"' if plain else literal
