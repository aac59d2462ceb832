"""Lists of plain data in which a repeated pattern is written once.

    {"repeat": 256, "of": [{"name": "expert0", "box": [[0, 1], [0, 64]]}],
                    "next": [{"name": "expert1", "box": [[1, 2], null]}]}

stands for 256 rounds of the items in ``of``. ``next`` has what differs in the second round: whole
numbers, and whole numbers within texts, go on by equal steps from there; null isn't a change.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from goodinit.errors import PlanFileError

MOST_UNFOLDED = 2**22
"""Items that one file may stand for, each with 64 characters of changes: ten times more than a
model of a trillion values has, and what a hostile file can cost."""
TEXT = 64

LEAST_ROUNDS = 3  # any two items are the start of a pattern
# Longest patterns of each pass: the matrices of an expert, those of a layer, those of a stage. What
# a pass has folded is one item of the next.
PASSES = (16, 256, 4096)
CANDIDATES = 8  # starts of a second round that are tried: a layer has few parameters of one name
LONGEST = 1000  # characters between numbers, and digits: more than a name has
DEEPEST = 8  # repeats within each other

_WHOLE = re.compile("(0|[1-9][0-9]*)")
# In compact JSON: a number of its own first, so that a fraction isn't taken for two whole numbers.
_NUMBERS = re.compile(
    r"((?<=[\[:,])-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?=[,\]}])|0|[1-9][0-9]*)"
)


@dataclass(frozen=True, slots=True)
class _Unit:
    """An item, the number of its form (equal where only whole numbers differ), and these."""

    item: object
    form: int
    numbers: tuple[int, ...]


def fold(items: Sequence[object]) -> list[object]:
    """Return a list that stands for the same items, with repeats.

    >>> folded = fold([{"name": f"layers.{n}.fc", "layer": n} for n in range(9)])
    >>> folded[0]["repeat"], folded[0]["next"]
    (9, [{'name': 'layers.1.fc', 'layer': 1}])
    >>> unfold(folded, "rows")[8]
    {'name': 'layers.8.fc', 'layer': 8}
    """
    forms: dict[tuple[str, ...], int] = {}
    units = [_unit_of(item, forms) for item in items]
    for longest in PASSES:
        if len(units) >= LEAST_ROUNDS:
            units = _fold_once(units, longest, forms)
    return [unit.item for unit in units]


def _unit_of(item: object, forms: dict[tuple[str, ...], int]) -> _Unit:
    tokens = _NUMBERS.split(json.dumps(item, separators=(",", ":"), ensure_ascii=False))
    numbers = tokens[1::2]
    fixed = (*tokens[::2], *(token for token in numbers if not token.isdecimal()))
    whole = tuple(int(token) for token in numbers if token.isdecimal())
    return _Unit(item, forms.setdefault(fixed, len(forms)), whole)


def _fold_once(units: list[_Unit], longest: int, forms: dict[tuple[str, ...], int]) -> list[_Unit]:
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, unit in enumerate(units):
        places[unit.form].append(place)
    folded: list[_Unit] = []
    at = 0
    while at < len(units):
        same = places[units[at].form]
        after = bisect_right(same, at)
        periods = [place - at for place in same[after : after + CANDIDATES]]
        rounds = [(_rounds(units, at, p), p) for p in periods if p <= longest]
        tried = [(n * p, p) for n, p in rounds if n >= LEAST_ROUNDS]
        most, period = max(tried, key=lambda one: (one[0], -one[1]), default=(0, 1))
        one = _folded(units, at, period, most // period) if most else None
        folded.append(units[at] if one is None else _unit_of(one, forms))
        at += 1 if one is None else most
    return folded


def _rounds(units: list[_Unit], start: int, period: int) -> int:
    """Return how many rounds of a period go on by equal steps from a start."""
    if start + period * LEAST_ROUNDS > len(units):
        return 1
    first, second = units[start : start + period], units[start + period : start + 2 * period]
    if any(a.form != b.form for a, b in zip(first, second, strict=True)):
        return 1
    steps = [
        [y - x for x, y in zip(a.numbers, b.numbers, strict=True)]
        for a, b in zip(first, second, strict=True)
    ]
    rounds = 2
    while start + (rounds + 1) * period <= len(units):
        for place, (unit, step) in enumerate(zip(first, steps, strict=True)):
            other = units[start + rounds * period + place]
            if unit.form != other.form or any(
                x + rounds * s != y
                for x, s, y in zip(unit.numbers, step, other.numbers, strict=True)
            ):
                return rounds
        rounds += 1
    return rounds


def _folded(units: list[_Unit], start: int, period: int, rounds: int) -> object:
    """Return the item that stands for some rounds; None if it would not be read back the same."""
    items = [unit.item for unit in units[start : start + rounds * period]]
    first, second = items[:period], items[period : 2 * period]
    changes = [_changes(a, b) for a, b in zip(first, second, strict=True)]
    one = {"repeat": rounds, "of": first, "next": changes}
    try:
        back = _written_out(cast("Any", one), "")
    except PlanFileError:  # a number in a key, or in an escape
        return None
    return one if back == items else None


def _changes(first: Any, second: Any) -> object:
    """Return what differs in the second of two equally built values; None if nothing does."""
    if first == second:
        return None
    if isinstance(first, dict):
        both = ((key, _changes(first[key], second[key])) for key in cast("dict[str, Any]", first))
        return {key: change for key, change in both if change is not None}
    if isinstance(first, list):
        items = zip(cast("list[Any]", first), second, strict=True)
        return [_changes(a, b) for a, b in items]
    return second


def unfolded_length(items: Any, depth: int = 0) -> int:
    """Return how many items a list stands for, without writing them out; long changes count more.

    Raises:
        PlanFileError: changes that are nested too deeply.
    """
    if not isinstance(items, (list, tuple)) or depth > DEEPEST:
        return 0
    total = 0
    for item in cast("list[Any]", items):
        if not _is_repeat(item):
            total += 1
            continue
        try:
            changes = len(json.dumps(item["next"])) // TEXT
        except RecursionError as error:
            raise PlanFileError(f"a repeat is nested too deeply. {SAVE_AGAIN}") from error
        total += item["repeat"] * (unfolded_length(item["of"], depth + 1) + changes)
    return total


def unfold(items: Sequence[object], place: str, depth: int = 0) -> list[Any]:
    """Return the items that a list with repeats stands for.

    Raises:
        PlanFileError: a repeat that isn't one, or that stands for too much; names the place.
    """
    if depth > DEEPEST:
        raise PlanFileError(f"{place}: repeats are nested too deeply. {SAVE_AGAIN}")
    if unfolded_length(items) > MOST_UNFOLDED:
        raise PlanFileError(f"{place}: it repeats more than {MOST_UNFOLDED:,} items. {SAVE_AGAIN}")
    found: list[Any] = []
    for number, item in enumerate(items):
        if not (isinstance(item, dict) and "repeat" in cast("dict[str, Any]", item)):
            found.append(item)
        elif not _is_repeat(item):
            raise PlanFileError(
                f"{place}[{number}]: a repeat has a number from {LEAST_ROUNDS}, the items of its "
                f"first round, and as many changes. {SAVE_AGAIN}"
            )
        else:
            rounds = _written_out(cast("Any", item), f"{place}[{number}]")
            found += unfold(rounds, f"{place}[{number}].of", depth + 1)
    return found


def _is_repeat(item: Any) -> bool:
    if type(item) is not dict or {*cast("dict[str, Any]", item)} != {"repeat", "of", "next"}:
        return False  # a key that is there twice makes a subclass
    repeat, of, following = (cast("dict[str, Any]", item)[key] for key in ("repeat", "of", "next"))
    return (
        type(repeat) is int
        and repeat >= LEAST_ROUNDS
        and isinstance(of, list)
        and isinstance(following, list)
        and 0 < len(cast("list[object]", of)) == len(cast("list[object]", following))
    )


def _written_out(one: dict[str, Any], place: str) -> list[Any]:
    of, following = one["of"], one["next"]
    return [
        _after(first, change, number, place)
        for number in range(one["repeat"])
        for first, change in zip(of, following, strict=True)
    ]


def _after(first: Any, change: Any, steps: int, place: str) -> Any:
    """Return what a value of the first round has become after some steps."""
    kinds: list[object] = [type(first), type(change)]
    if change is None:
        return first
    if kinds == [dict, dict] and change.keys() <= first.keys() - {"repeat"}:
        more = {key: _after(first[key], change[key], steps, place) for key in change}
        return {**first, **more}
    if kinds == [list, list] and len(first) == len(change):
        return [_after(a, b, steps, place) for a, b in zip(first, change, strict=True)]
    if kinds == [int, int]:
        return first + steps * (change - first)
    if kinds == [str, str]:
        a, b = _WHOLE.split(first), _WHOLE.split(change)
        if a[::2] == b[::2] and max(map(len, (*a, *b))) <= LONGEST:
            ends = zip(map(int, a[1::2]), map(int, b[1::2]), strict=True)
            a[1::2] = [str(max(x + steps * (y - x), 0)) for x, y in ends]
            return "".join(a)
    raise PlanFileError(f"{place}.next: it has no step from {first!r:.40} to {change!r:.40}")


SAVE_AGAIN = "Save the plan again with plan.save"
