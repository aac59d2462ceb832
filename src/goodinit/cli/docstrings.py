"""A recipe's docstring, formatted for a terminal.

The docstring is the recipe's documentation: its law, its source and its options. It is written for
lines of 100 characters; here its paragraphs and tables are wrapped to the terminal's width.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import zip_longest

__all__ = ["argument_descriptions", "first_line", "wrapped_docstring"]


def first_line(doc: str) -> str:
    """Return the first line without markup.

    >>> first_line("As in ``standard``.")
    'As in standard.'
    """
    return doc.partition("\n")[0].replace("``", "")


def wrapped_docstring(doc: str, width: int) -> str:
    r"""Return a docstring's paragraphs and tables wrapped to a width, without its arguments.

    >>> print(wrapped_docstring("One ``two`` three\nfour.\n\nArgs:\n    five: six.", 12))
    One two
    three four.
    """
    blocks = doc.replace("``", "").split("\n\n")
    out: list[str] = []
    for block in blocks:
        if block.startswith("=="):
            out.append("\n".join(_table(block.splitlines(), width)))
        elif not block.startswith("Args:"):
            out.append(textwrap.fill(" ".join(block.split()), width, break_on_hyphens=False))
    return "\n\n".join(out)


def argument_descriptions(doc: str) -> dict[str, str]:
    r"""Return the description of each argument.

    >>> argument_descriptions("Law.\n\nArgs:\n    mode: which\n        fan.\n    gain: a factor.")
    {'mode': 'which fan.', 'gain': 'a factor.'}
    """
    block = doc.replace("``", "").partition("Args:\n")[2].partition("\n\n")[0]
    items = re.split(r"^    (?=\w+: )", block, flags=re.MULTILINE)[1:]
    pairs = (item.partition(": ") for item in items)
    return {name: " ".join(text.split()) for name, _, text in pairs}


def _table(lines: list[str], width: int) -> Iterator[str]:
    """Wrap the last column. A line with an empty cell continues the row above it."""
    start = lines[0].rindex(" ") + 1
    rows: list[tuple[list[str], list[str]]] = []
    for line in lines:
        if line.startswith("="):
            continue
        left, right = line[:start].rstrip(), line[start:].strip()
        if not rows or (left and right):
            rows.append(([], []))
        rows[-1][0].extend([left] if left else [])
        rows[-1][1].append(right)
    for left, right in rows:
        wrapped = textwrap.wrap(" ".join(right), width - start, break_on_hyphens=False)
        for a, b in zip_longest(left, wrapped, fillvalue=""):
            yield f"{a:<{start}}{b}".rstrip()
