"""A table for a terminal that is narrower than the table.

A line that the terminal breaks can't be read. Where the table is too wide, each of its lines
becomes two: the name, and the other cells below it. Where nobody looks (a pipe, a file) the
table stays as it is, a line a row, for grep.
"""

from __future__ import annotations

import re
import shutil
import sys

__all__ = ["fitted", "narrowed"]

INDENT, GAP = "    ", "  "
LEAST = 12  # characters of a cell that are always shown


def fitted(text: str) -> str:
    """Return text that begins with a table, made to fit the terminal if there is one."""
    if not sys.stdout.isatty():
        return text
    return narrowed(text, shutil.get_terminal_size().columns)


def narrowed(text: str, width: int) -> str:
    r"""Return text that begins with a table so that the table fits, if it can.

    >>> table = "name  shape  what    fans  drawn   std  #\n"
    >>> table += "----  -----  ------  ----  ------  ---  -\n"
    >>> print(narrowed(table + "fc.w  3x4    linear  4>3   Normal    1  1", 40))
    name
        shape  what    fans  drawn   std  #
    ---------------------------------------
    fc.w
        3x4    linear  4>3   Normal    1  1
    """
    table, gap, rest = text.partition("\n\n")
    lines = table.splitlines()
    edges = [match.span() for match in re.finditer("-+", "".join(lines[1:2]))]
    if not edges or all(len(line) <= width for line in lines):
        return text
    first = lines[0].index("name")  # there may be a column of marks before it
    name = next(i for i, edge in enumerate(edges) if edge[0] == first)
    others = edges[name + 1 :]
    total = len(INDENT) + others[-1][1] - others[0][0]
    cut = max(total - width, 0)  # what the widest column gives up
    widest = max(others, key=lambda edge: edge[1] - edge[0])
    out: list[str] = []
    for line in (lines[0], *lines[2:]):
        if not line[first : first + 1].strip():  # a remark below a row
            out.append(INDENT + line.strip())
            continue
        cells = [
            _cut(line[start:stop].ljust(stop - start), cut if (start, stop) == widest else 0)
            for start, stop in others
        ]
        out += [line[: edges[name][1]].rstrip(), (INDENT + GAP.join(cells)).rstrip()]
    out.insert(2, "-" * min(total, width))
    return "\n".join(out) + gap + rest


def _cut(cell: str, cut: int) -> str:
    width = max(len(cell) - cut, LEAST)
    if not cut or len(cell) <= LEAST:
        return cell
    return f"{cell[: width - 3]}..." if len(cell.rstrip()) > width else cell[:width]
