"""Plans to JSON and back. A file may come from anywhere: everything in it is checked.

    {"goodinit_plan": 1, "recipe": "he", "how": "meta", "prefix": "", "seed": null,
     "rows": [{"name": "fc.weight", "shape": [10, 20], ...}], "findings": [...]}

What follows a pattern (layers, experts) is written once, with a repeat: ``plans/repeats.py``.

Every field is written. A field that is missing, unknown, repeated or of another type is refused,
and the error names its place: ``rows[3].blocks[0].box``, counted from 0 as in Python, and as if
repeats were written out.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NoReturn, TypeVar, cast

import torch

from goodinit._common.text import several
from goodinit.anatomy.rows import KINDS, PARTS, Box
from goodinit.errors import PlanFileError, SchemeError
from goodinit.findings import SEVERITIES, Finding
from goodinit.plans.repeats import MOST_UNFOLDED, SAVE_AGAIN, fold, unfold, unfolded_length
from goodinit.plans.rows import PlanBlock, PlanRow, Rates, common
from goodinit.schemes import Layout, Scheme, Site, from_dict
from goodinit.schemes.dtype_range import check_range
from goodinit.schemes.fields import short_repr
from goodinit.streams.part import whole_box

T = TypeVar("T")
Reader = Callable[[object, str], T]
"""Returns what a value in a file stands for; refuses it by its place, the second argument."""

VERSION = 1
# Bounds of what a hostile file can cost.
LARGEST = 2**63  # no size, index or seed is larger
MOST_DIGITS = 400  # of a whole number: reading one takes quadratic time
MOST_AXES = 64  # torch's own limit
LONGEST_NAME = 1000  # characters of a parameter's name
MOST_CUT = 8  # axes along which blocks are cut: checking them takes 2**8 corners for each


# writing


def dump(data: object, *, canonical: bool = False) -> str:
    """Return JSON; the canonical form has sorted keys and no spaces, for digests."""
    if canonical:
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return json.dumps(data, indent=1, allow_nan=False)


def write_plan(fields: Mapping[str, object]) -> dict[str, object]:
    """Return a plan's fields as plain data."""
    return {"goodinit_plan": VERSION} | {
        key: _plain(fields[key]) for key in _PLAN if key != "goodinit_plan"
    }


def fold_plan(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan's data with repeats, as files have it; each row's blocks are folded first."""
    known: dict[str, list[object]] = {}
    rows: list[object] = []
    for row in data["rows"]:
        if row["blocks"]:  # layers of experts have equal ones
            text = json.dumps(row["blocks"])
            if text not in known:
                known[text] = fold(row["blocks"])
            row = row | {"blocks": known[text]}  # noqa: PLW2901
        rows.append(row)
    return {**data, "rows": fold(rows)}


def write_row(row: PlanRow) -> dict[str, object]:
    """Return a row as plain data."""
    data = {key: _plain(getattr(row, key)) for key in _ROW}
    if row.rates is None:  # of most recipes
        del data["rates"]
    return data | {"scheme": None} if row.blocks else data  # each block has its own


def _plain(value: object) -> object:
    match value:
        case PlanRow():
            return write_row(value)
        case Scheme():
            return value.to_dict()
        case PlanBlock():  # there may be tens of thousands
            scheme = value.scheme.to_dict()
            box = [list(side) for side in value.box]
            fans = {"fan_in": value.fan_in, "fan_out": value.fan_out}
            return {"name": value.name, "box": box, **fans, "scheme": scheme}
        case Layout() | Finding() | Rates():
            names = [field.name for field in dataclasses.fields(value)]
            return {name: _plain(getattr(value, name)) for name in names}
        case tuple():
            return [_plain(item) for item in cast("tuple[object, ...]", value)]
        case torch.dtype():
            return str(value).removeprefix("torch.")
        case _:
            return value


# reading


def parse(raw: bytes) -> object:
    """Return the data in UTF-8 JSON; what JSON has no numbers for is left to ``read_plan``.

    Raises:
        PlanFileError: it is not valid JSON; the message has the line.
    """
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=lambda text: int(text) if len(text) <= MOST_DIGITS else math.inf,
        )
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PlanFileError(f"not UTF-8 text: line {line}. {SAVE_AGAIN}") from error
    except ValueError as error:
        raise PlanFileError(f"not valid JSON: {error}. {SAVE_AGAIN}") from error
    except RecursionError as error:
        raise PlanFileError(f"nested too deeply. {SAVE_AGAIN}") from error


def read_plan(data: object) -> dict[str, Any]:
    """Return the fields of a plan from plain data.

    Raises:
        PlanFileError: anything but what ``write_plan`` returns.
    """
    fields = _read_object(data, "", _PLAN)
    del fields["goodinit_plan"]
    names = [name for row in fields["rows"] for name in (row.name, *row.tied)]
    if len(set(names)) != len(names):
        _refuse("rows", "a name is there twice")
    return fields


class _Repeated(dict[str, object]):
    """An object with a repeated key."""

    key = ""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = _Repeated(found)
    counts = Counter(key for key, _ in pairs)
    repeated.key = next(key for key, count in counts.items() if count > 1)
    return repeated


def _read_mapping(data: object, place: str) -> Mapping[object, object]:
    if not isinstance(data, Mapping):
        _expect("an object", data, place)
    if isinstance(data, _Repeated):
        _refuse(place, f"the key {short_repr(data.key)} is there twice")
    return cast("Mapping[object, object]", data)


def _read_object(data: object, place: str, readers: Mapping[str, Reader[Any]]) -> dict[str, Any]:
    """Return an object of exactly these fields, each as its reader returns it."""
    given = _read_mapping(data, place)
    fields: dict[str, Any] = {}
    for key, read in readers.items():
        at = f"{place}.{key}" if place else key
        if key not in given and key not in _OMITTED:
            _refuse(at, "it is missing")
        fields[key] = read(given.get(key), at)
    unknown = [key for key in given if key not in fields]
    if unknown:
        _refuse(place, f"unknown: {several(map(short_repr, unknown))}")
    return fields


def _read_version(value: object, place: str) -> int:
    if value != VERSION or isinstance(value, bool):
        _refuse(place, f"this goodinit reads version {VERSION}")
    return VERSION


def _instance_of(kind: type[T], expected: str) -> Reader[T]:
    return lambda value, place: (
        value if isinstance(value, kind) else _expect(expected, value, place)
    )


_read_text, _read_flag = _instance_of(str, "a text"), _instance_of(bool, "true or false")


def _read_whole(value: object, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST:
        _expect("a whole number from 0", value, place)
    return value


def _read_positive(value: object, place: str) -> int:
    return _read_whole(value, place) or _expect("a whole number from 1", value, place)


def _read_number(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST:
        _expect("a finite number", value, place)  # NaN is not below it either
    return value if value >= 0 else _expect("a number from 0", value, place)


def _read_dtype(value: object, place: str) -> torch.dtype:
    name = _read_text(value, place)
    dtype: object = vars(torch).get(name)  # getattr would import, for a name such as "onnx"
    return dtype if isinstance(dtype, torch.dtype) else _expect("a dtype", name, place)


def _read_scheme(value: object, place: str) -> Scheme:
    data = _read_mapping(value, place)
    try:
        return _scheme_of(json.dumps(data))
    except (SchemeError, TypeError, ValueError, RecursionError) as error:
        raise PlanFileError(f"{place}: {error}") from error


@lru_cache(maxsize=256)  # a plan has few that differ, and may have a hundred thousand in all
def _scheme_of(text: str) -> Scheme:
    return from_dict(json.loads(text))


def _choice(*known: str) -> Reader[str]:
    def read(value: object, place: str) -> str:
        text = _read_text(value, place)
        return text if text in known else _expect(" or ".join(known), text, place)

    return read


def _optional(read: Reader[T]) -> Reader[T | None]:
    return lambda value, place: None if value is None else read(value, place)


def _tuple_of(read: Reader[T]) -> Reader[tuple[T, ...]]:
    def read_all(value: object, place: str) -> tuple[T, ...]:
        if not isinstance(value, (list, tuple)):
            _expect("a list", value, place)
        items = cast("list[object]", value)
        return tuple(read(item, f"{place}[{number}]") for number, item in enumerate(items))

    return read_all


def _read_side(value: object, place: str) -> tuple[int, ...]:
    side = _tuple_of(_read_whole)(value, place)
    return side if len(side) == 2 else _expect("[start, stop]", value, place)


def _made_of(make: Callable[..., T], readers: Mapping[str, Reader[Any]]) -> Reader[T]:
    return lambda data, place: make(**_read_object(data, place, readers))


def _read_row(data: object, place: str) -> PlanRow:
    row = PlanRow(**_read_object(data, place, _ROW))
    if len(row.shape) > MOST_AXES:
        _refuse(f"{place}.shape", f"a tensor has at most {MOST_AXES} axes")
    if max(map(len, (row.name, *row.tied))) > LONGEST_NAME:
        _refuse(f"{place}.name", f"no name has more than {LONGEST_NAME} characters")
    if any(number >= (row.shape or (0,))[0] for number in row.zero_rows):
        _refuse(f"{place}.zero_rows", f"not rows of shape {row.shape}")
    if row.layout is not None:
        axes = [axis for key in _AXES for axis in getattr(row.layout, key)]
        if len(set(axes)) != len(axes) or any(axis >= len(row.shape) for axis in axes):
            _refuse(f"{place}.layout", f"not each axis once of {len(row.shape)}: {axes}")
    if not row.blocks and row.scheme is None:
        _expect("a scheme", None, f"{place}.scheme")
    if row.blocks:
        if row.scheme is not None:
            _refuse(f"{place}.scheme", "where there are blocks, each has its own and this is null")
        _check_boxes(row, place)
        row = dataclasses.replace(row, scheme=common([block.scheme for block in row.blocks]))
    _check_schemes(row, place)
    return row


def _read_blocks(value: object, place: str) -> tuple[PlanBlock, ...]:
    if isinstance(value, _Blocks):
        return value.read
    given = unfold(cast("list[object]", value), place) if isinstance(value, list) else value
    return _tuple_of(_made_of(PlanBlock, _BLOCK))(given, place)


class _Blocks(list[object]):
    """Blocks that have been read: the rounds of a repeat share theirs."""

    read: tuple[PlanBlock, ...] = ()


def _read_rows(value: object, place: str) -> tuple[PlanRow, ...]:
    if not isinstance(value, list):
        return _tuple_of(_read_row)(value, place)
    rows: list[Any] = unfold(cast("list[object]", value), place)
    blocks: list[Any] = [row.get("blocks") if type(row) is dict else None for row in rows]
    if sum(map(unfolded_length, blocks)) > MOST_UNFOLDED:
        _refuse(place, f"they repeat more than {MOST_UNFOLDED:,} blocks")
    known: dict[int, _Blocks] = {}
    found: list[PlanRow] = []
    for number, (row, given) in enumerate(zip(rows, blocks, strict=True)):
        at, whole = f"{place}[{number}]", row
        if given and isinstance(given, list):
            one = known.setdefault(id(cast("object", given)), _Blocks())
            one.read = one.read or _read_blocks(cast("object", given), f"{at}.blocks")
            whole = {**row, "blocks": one}
        found.append(_read_row(whole, at))
    return tuple(found)


def _check_boxes(row: PlanRow, place: str) -> None:
    for number, block in enumerate(row.blocks):
        inside = len(block.box) == len(row.shape) and all(
            start < stop <= size for (start, stop), size in zip(block.box, row.shape, strict=True)
        )
        if not inside:
            what = f"{short_repr(block.box)} doesn't lie in shape {row.shape}"
            _refuse(f"{place}.blocks[{number}].box", what)
    if not _covers(tuple(block.box for block in row.blocks), row.shape):
        _refuse(f"{place}.blocks", "they don't cover the shape once")


@lru_cache(maxsize=64)  # layers of experts have equal ones
def _covers(boxes: tuple[Box, ...], shape: tuple[int, ...]) -> bool:
    """Return whether the boxes fill a shape, each element of it once.

    A box is a sum of quadrants, one from each of its corners, with signs that alternate. No
    quadrant is a sum of others, so the boxes add up to the whole exactly if their corners do.
    """
    whole = whole_box(shape)
    cut = [axis for axis in range(len(shape)) if any(box[axis] != whole[axis] for box in boxes)]
    if len(cut) > MOST_CUT:
        return False
    total: Counter[tuple[int, ...]] = Counter()
    for number, box in enumerate((*boxes, whole)):
        sign = 1 if number < len(boxes) else -1
        sides = [((box[axis][0], 1), (box[axis][1], -1)) for axis in cut]
        for corner in itertools.product(*sides):
            total[tuple(at for at, _ in corner)] += sign * math.prod(s for _, s in corner)
    return not any(total.values())


def _check_schemes(row: PlanRow, place: str) -> None:
    """Refuse schemes that don't fit where they stand: ``apply_`` could not draw them."""
    for number, block in enumerate(row.parts()):
        where = f"{place}.blocks[{number}].scheme" if row.blocks else f"{place}.scheme"
        try:
            _check_scheme(block.scheme, row.site(block), row.dtype)
        except (SchemeError, ArithmeticError) as error:
            raise PlanFileError(f"{where}: {error}") from error


@lru_cache(maxsize=1024)
def _check_scheme(scheme: Scheme, site: Site, dtype: torch.dtype) -> None:
    scheme.check(site)
    check_range(scheme, site, dtype)


# The fields of each object, in the order in which they are written.
_AXES = ("outputs", "inputs", "window", "batch")
_LAYOUT: Mapping[str, Reader[Any]] = {
    **dict.fromkeys(_AXES, _tuple_of(_read_whole)),
    "groups": _read_positive,
    "stride": _read_positive,
    "transposed": _read_flag,
    "lookup": _read_flag,
}
_BLOCK: Mapping[str, Reader[Any]] = {
    "name": _read_text,
    "box": _tuple_of(_read_side),
    "fan_in": _optional(_read_number),
    "fan_out": _optional(_read_number),
    "scheme": _read_scheme,
}
_OMITTED = frozenset(("rates",))  # fields that are left out where they are null
_RATES: Mapping[str, Reader[Any]] = dict.fromkeys(("adam", "sgd", "eps"), _optional(_read_number))
_ROW: Mapping[str, Reader[Any]] = {
    "name": _read_text,
    "shape": _tuple_of(_read_whole),
    "dtype": _read_dtype,
    "owner": _read_text,
    "kind": _choice(*KINDS),
    "part": _choice(*PARTS),
    "layer": _optional(_read_whole),
    "depth": _optional(_read_whole),
    "activation": _optional(_read_text),
    "ends_residual": _optional(_read_flag),
    "layout": _optional(_made_of(Layout, _LAYOUT)),
    "fan_in": _optional(_read_number),
    "fan_out": _optional(_read_number),
    "scheme": _optional(_read_scheme),
    "blocks": _read_blocks,
    "rule": _read_text,
    "why": _read_text,
    **dict.fromkeys(("shadowed", "tied", "stored"), _tuple_of(_read_text)),
    **dict.fromkeys(("zero_rows", "grown_from"), _tuple_of(_read_whole)),
    **dict.fromkeys(("guessed", "frozen", "buffer", "unresolved"), _read_flag),
    "rates": _optional(_made_of(Rates, _RATES)),
}
_FINDING: Mapping[str, Reader[Any]] = {
    "code": _read_text,
    "severity": _choice(*SEVERITIES),
    "where": _read_text,
    "cause": _read_text,
    "remedy": _read_text,
}
_PLAN: Mapping[str, Reader[Any]] = {
    "goodinit_plan": _read_version,
    "recipe": _read_text,
    "how": _read_text,
    "prefix": _read_text,
    "seed": _optional(_read_whole),
    "rows": _read_rows,
    "findings": _tuple_of(_made_of(Finding, _FINDING)),
}


def _refuse(place: str, wrong: str) -> NoReturn:
    raise PlanFileError(f"{place or 'plan'}: {wrong}. {SAVE_AGAIN}")


def _expect(expected: str, value: object, place: str) -> NoReturn:
    """Refuse a value of another type."""
    if isinstance(value, int) and abs(value) >= LARGEST:
        got = "a huge number"
    elif isinstance(value, (str, int, float)):
        got = f"{value!r:.80}"
    else:
        got = "null" if value is None else f"a {type(value).__name__}"
    _refuse(place, f"{expected} is expected, not {got}")
