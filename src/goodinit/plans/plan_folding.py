"""Which rows of a plan share a line, so that its text fits a screen.

Rows that say little are counted below the table: buffers, and what is kept. The others share a
line where their names differ in numbers alone, ``h.{0-11}.attn.weight x12``; if that leaves too
many lines, also where they are the same constant, then where shapes differ, and last where names
do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from goodinit._common.text import (
    count,
    grouped_names,
    number,
    one_name,
    shape_text,
    without_numbers,
)
from goodinit.plans.plan_cells import (
    drawn_text,
    fans_text,
    remarks,
    what_text,
)
from goodinit.plans.rows import PlanRow

LEVELS = range(4)
"""What rows of one line may differ in: numbers, then constants, shapes, names as well."""
CONSTANTS, SHAPES, NAMES = 1, 2, 3
MOST_EXAMPLES = 2  # names in a line below the table


@dataclass(frozen=True)
class Line:
    """Cells of a line, and the remarks below it."""

    cells: tuple[str, ...]
    remarks: tuple[str, ...]


def group_rows(
    rows: Sequence[PlanRow], number_of: Callable[[PlanRow], str], level: int
) -> list[Line]:
    """Return the lines of a table; ``number_of`` refers to a row's rules."""
    groups: dict[object, list[PlanRow]] = {}
    for row in rows:
        groups.setdefault(_key(row, number_of(row), level), []).append(row)
    return [_line(group, number_of(group[0])) for group in groups.values()]


def _key(row: PlanRow, rules: str, level: int) -> object:
    said = tuple(remarks(row))
    same = (what_text(row), drawn_text(row), rules)
    if level >= SHAPES:
        same = (*same, *(without_numbers(remark) for remark in said))
    else:
        same = (*same, *said)
    if level >= NAMES or (level >= CONSTANTS and not row.std and row.scheme and not said):
        return same
    pattern = without_numbers(row.name)
    if level >= SHAPES:
        return (pattern, *same)
    return (pattern, row.shape, row.fan_in, row.fan_out, row.std, *same)


def _line(rows: Sequence[PlanRow], rules: str) -> Line:
    first = rows[0]
    shapes = dict.fromkeys(shape_text(row.shape) for row in rows)
    fans = dict.fromkeys(map(fans_text, rows))
    sums = [row.fan_in for row in rows if row.fan_in is not None]
    stds = [row.std for row in rows if row.std]
    cells = (
        one_name([row.name for row in rows]),
        next(iter(shapes)) if len(shapes) == 1 else f"{len(shapes)} shapes",
        what_text(first),
        next(iter(fans)) if len(fans) == 1 else f"{_range(sums, '{:g}'.format)} in" if sums else "",
        drawn_text(first),
        "" if first.scheme is None else _range(stds),
        rules,
    )
    said = remarks(first)
    if any(remarks(row) != said for row in rows):
        said = [without_numbers(remark) for remark in said]
    return Line(cells, tuple(said))


def _range(values: Sequence[float], text: Callable[[float], str] = number) -> str:
    """Return "0.1..0.5", or one number; nothing without values."""
    return "..".join(dict.fromkeys(map(text, (min(values), max(values))))) if values else ""


def count_folded(rows: Sequence[PlanRow]) -> tuple[list[PlanRow], list[str]]:
    """Return the rows that the table has, and a line for each reason why others aren't there."""
    shown: list[PlanRow] = []
    folded: dict[tuple[str, bool, str], list[PlanRow]] = {}
    for row in rows:
        if row.unresolved or not (row.buffer or (row.kept and not _is_remarkable(row))):
            shown.append(row)
            continue
        why = ", ".join(filter(None, [row.why or row.rule, "frozen" * row.frozen]))
        folded.setdefault(("buffer" if row.buffer else "parameter", row.kept, why), []).append(row)
    return shown, [line for key, group in folded.items() for line in _folded(*key, group)]


def _is_remarkable(row: PlanRow) -> bool:
    """Whether a row that is kept has a remark that matters although nothing is drawn."""
    return bool(row.tied or row.zero_rows or row.grown_from)


def _folded(noun: str, kept: bool, why: str, rows: Sequence[PlanRow]) -> Iterator[str]:
    examples = grouped_names((row.name for row in rows), MOST_EXAMPLES)
    values = " or ".join(sorted({drawn_text(row) for row in rows}))
    verb = "kept as they are" if kept and len(rows) > 1 else "kept as it is" if kept else values
    done = verb if kept else f"set to {verb}"
    yield f"{count(len(rows), noun)} {done}: {why} ({examples})"
