"""Plans to JSON and back. What is read may come from anywhere: nothing in it is believed.

    {"goodinit_plan": 1, "recipe": "he", "how": "meta", "prefix": "", "seed": null,
     "rows": [{"name": "fc.weight", "shape": [10, 20], ...}], "findings": [...]}

Every field is written; a field that is missing, unknown or of another type is refused, with its
place in the file, ``rows[3].blocks[0].box``.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar, cast

import torch

from goodinit.anatomy.rows import KINDS, PARTS, Box
from goodinit.anatomy.writable import check_range
from goodinit.errors import PlanFileError, SchemeError
from goodinit.findings import Finding, Severity
from goodinit.plans import json_strict as strict
from goodinit.plans.rows import PlanBlock, PlanRow, common
from goodinit.schemes import Layout, Scheme, from_dict
from goodinit.schemes.fields import short_repr

__all__ = ["VERSION", "Fields", "dumps", "loads", "read_finding", "read_row", "write_row"]

T = TypeVar("T")
VERSION = 1
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
_BIG = 2**63  # no size, index or seed is larger
_MOST_AXES = 64  # torch's own limit
_LONGEST_NAME = 1000  # characters of a parameter's name
_MOST_CUT = 8  # axes along which blocks are cut
_LAYOUT_AXES = ("outputs", "inputs", "window", "batch")


def dumps(data: object, *, canonical: bool = False) -> str:
    """Return JSON; the canonical form has sorted keys and no spaces, for digests."""
    if canonical:
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return json.dumps(data, indent=1, allow_nan=False)


def loads(raw: bytes, source: str) -> object:
    """Return the data in UTF-8 JSON; strict about duplicate keys, NaN and depth.

    Raises:
        PlanFileError: it is no such JSON.
    """
    try:
        return strict.parsed(raw)
    except ValueError as error:
        message = f"{source} holds no plan: {error}. Save it again with plan.save"
        raise PlanFileError(message) from error


def write_row(row: PlanRow) -> dict[str, object]:
    """Return a row as plain data."""
    return {
        "name": row.name,
        "shape": list(row.shape),
        "dtype": str(row.dtype).removeprefix("torch."),
        "owner": row.owner,
        "kind": row.kind,
        "part": row.part,
        "layer": row.layer,
        "depth": row.depth,
        "activation": row.activation,
        "ends_residual": row.ends_residual,
        "layout": None if row.layout is None else _write_layout(row.layout),
        "fan_in": row.fan_in,
        "fan_out": row.fan_out,
        "scheme": None if row.blocks or row.scheme is None else row.scheme.to_dict(),
        "blocks": [_write_block(block) for block in row.blocks],
        "rule": row.rule,
        "why": row.why,
        "shadowed": list(row.shadowed),
        "tied": list(row.tied),
        "stored": list(row.stored),
        "zero_rows": list(row.zero_rows),
        "grown_from": list(row.grown_from),
        "guessed": row.guessed,
        "frozen": row.frozen,
        "buffer": row.buffer,
        "unresolved": row.unresolved,
    }


def read_row(data: object, path: str) -> PlanRow:
    """Return the row that ``write_row`` wrote.

    Raises:
        PlanFileError: anything else.
    """
    f = Fields(data, path)
    shape = f.ints("shape")
    if len(shape) > _MOST_AXES:
        f.refuse("shape", f"a tensor has at most {_MOST_AXES} axes")
    blocks = tuple(_read_block(b, p, shape) for b, p in f.items("blocks"))
    if blocks and not _covers([block.box for block in blocks], shape):
        f.refuse("blocks", "they don't cover the shape once")
    row = PlanRow(
        name=f.text("name"),
        shape=shape,
        dtype=_read_dtype(f),
        owner=f.text("owner"),
        kind=f.choice("kind", KINDS),
        part=f.choice("part", PARTS),
        layer=f.maybe("layer", f.whole),
        depth=f.maybe("depth", f.whole),
        activation=f.maybe("activation", f.text),
        ends_residual=f.maybe("ends_residual", f.flag),
        layout=_read_layout(f, len(shape)),
        fan_in=f.maybe("fan_in", f.number),
        fan_out=f.maybe("fan_out", f.number),
        scheme=_read_scheme(f, blocks),
        blocks=blocks,
        rule=f.text("rule"),
        why=f.text("why"),
        shadowed=f.texts("shadowed"),
        tied=f.texts("tied"),
        stored=f.texts("stored"),
        zero_rows=f.ints("zero_rows"),
        grown_from=f.ints("grown_from"),
        guessed=f.flag("guessed"),
        frozen=f.flag("frozen"),
        buffer=f.flag("buffer"),
        unresolved=f.flag("unresolved"),
    )
    f.close()
    if any(not shape or row_number >= shape[0] for row_number in row.zero_rows):
        f.refuse("zero_rows", f"not rows of shape {shape}")
    _check_schemes(row, path)
    if max(map(len, (row.name, *row.tied))) > _LONGEST_NAME:
        f.refuse("name", f"no name has more than {_LONGEST_NAME} characters")
    return row


def read_finding(data: object, path: str) -> Finding:
    """Return a finding from plain data."""
    f = Fields(data, path)
    severity = SEVERITIES[SEVERITIES.index(cast("Severity", f.choice("severity", SEVERITIES)))]
    texts = (f.text(key) for key in ("code", "where", "cause", "remedy"))
    code, where, cause, remedy = texts
    f.close()
    return Finding(code, severity, where, cause, remedy)


class Fields:
    """The fields of a JSON object, taken one by one; what isn't taken is refused."""

    def __init__(self, data: object, path: str) -> None:
        if not isinstance(data, Mapping):
            _refuse(path, f"an object is expected, not {_short(data)}")
        self.left = dict(cast("Mapping[object, object]", data))
        self.path = path

    def take(self, key: str) -> object:
        """Return a field of any type."""
        if key not in self.left:
            _refuse(self.at(key), "it is missing")
        return self.left.pop(key)

    def at(self, key: str) -> str:
        """Return the path of a field."""
        return ".".join(filter(None, (self.path, key)))

    def refuse(self, key: str, wrong: str) -> NoReturn:
        """Raise PlanFileError about a field."""
        _refuse(self.at(key), wrong)

    def close(self) -> None:
        """Refuse what was not taken."""
        if self.left:
            names = ", ".join(map(short_repr, list(self.left)[:5]))
            _refuse(self.path, f"unknown: {names}")

    def text(self, key: str) -> str:
        """Return a text."""
        value = self.take(key)
        return value if isinstance(value, str) else self.refuse(key, _not("a text", value))

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value = self.take(key)
        return value if isinstance(value, bool) else self.refuse(key, _not("true or false", value))

    def whole(self, key: str) -> int:
        """Return a whole number from 0."""
        return self._whole(key, self.take(key))

    def number(self, key: str) -> float:
        """Return a finite number from 0."""
        value = self.take(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) >= _BIG:
            self.refuse(key, _not("a finite number", value))
        if math.isnan(value) or value < 0:
            self.refuse(key, _not("a number from 0", value))
        return value

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        """Return a text that is one of the known."""
        value = self.text(key)
        return value if value in known else self.refuse(key, _not(" or ".join(known), value))

    def maybe(self, key: str, read: Callable[[str], T]) -> T | None:
        """Return None for null, else what ``read`` makes of it."""
        if key in self.left and self.left[key] is None:
            del self.left[key]
            return None
        return read(key)

    def items(self, key: str) -> list[tuple[object, str]]:
        """Return the items of a list, each with its path."""
        value = self.take(key)
        if not isinstance(value, (list, tuple)):
            self.refuse(key, _not("a list", value))
        given = cast("list[object]", value)
        return [(item, f"{self.at(key)}[{i}]") for i, item in enumerate(given)]

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(
            item if isinstance(item, str) else _refuse(path, _not("a text", item))
            for item, path in self.items(key)
        )

    def ints(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers from 0."""
        return tuple(self._whole(key, item, path) for item, path in self.items(key))

    def _whole(self, key: str, value: object, path: str = "") -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _BIG:
            _refuse(path or self.at(key), _not("a whole number from 0", value))
        return value


def _write_block(block: PlanBlock) -> dict[str, object]:
    return {
        "name": block.name,
        "box": [list(side) for side in block.box],
        "fan_in": block.fan_in,
        "fan_out": block.fan_out,
        "scheme": block.scheme.to_dict(),
    }


def _read_block(data: object, path: str, shape: tuple[int, ...]) -> PlanBlock:
    f = Fields(data, path)
    box = _read_box(f, shape)
    fans = f.maybe("fan_in", f.number), f.maybe("fan_out", f.number)
    block = PlanBlock(f.text("name"), box, *fans, _scheme(f.take("scheme"), f.at("scheme")))
    f.close()
    return block


def _read_box(f: Fields, shape: tuple[int, ...]) -> Box:
    box: list[tuple[int, int]] = []
    for item, path in f.items("box"):
        side = Fields({"": item}, path).ints("")
        if len(side) != 2:
            _refuse(path, _not("[start, stop]", item))
        box.append((side[0], side[1]))
    inside = len(box) == len(shape) and all(
        start < stop <= size for (start, stop), size in zip(box, shape, strict=True)
    )
    if not inside:
        f.refuse("box", f"{_short(box)} doesn't lie in shape {shape}")
    return tuple(box)


def _covers(boxes: list[Box], shape: tuple[int, ...]) -> bool:
    """Return whether the boxes fill a shape, each element of it once.

    A box is a sum of quadrants, one from each of its corners, with signs that alternate. No
    quadrant is a sum of others: so the boxes add up to the whole just where their corners do.

    >>> _covers([((0, 1), (0, 2)), ((1, 2), (0, 2))], (2, 2))
    True
    >>> _covers([((0, 1), (0, 2)), ((0, 1), (0, 2))], (2, 2))
    False
    """
    whole = tuple((0, size) for size in shape)
    cut = [axis for axis in range(len(shape)) if any(box[axis] != whole[axis] for box in boxes)]
    if len(cut) > _MOST_CUT:
        return False
    total: Counter[tuple[int, ...]] = Counter()
    for number, box in enumerate((*boxes, whole)):
        sign = 1 if number < len(boxes) else -1
        sides = [((box[axis][0], 1), (box[axis][1], -1)) for axis in cut]
        for corner in itertools.product(*sides):
            total[tuple(at for at, _ in corner)] += sign * math.prod(s for _, s in corner)
    return not any(total.values())


def _write_layout(layout: Layout) -> dict[str, object]:
    axes: dict[str, object] = {key: list(getattr(layout, key)) for key in _LAYOUT_AXES}
    return axes | {
        "groups": layout.groups,
        "stride": layout.stride,
        "transposed": layout.transposed,
        "lookup": layout.lookup,
    }


def _read_layout(row: Fields, axes: int) -> Layout | None:
    data = row.take("layout")
    if data is None:
        return None
    f = Fields(data, row.at("layout"))
    outputs, inputs, window, batch = (f.ints(key) for key in _LAYOUT_AXES)
    groups, stride = f.whole("groups"), f.whole("stride")
    layout = Layout(
        outputs, inputs, window, batch, groups, stride, f.flag("transposed"), f.flag("lookup")
    )
    f.close()
    named = (*outputs, *inputs, *window, *batch)
    if len(set(named)) != len(named) or any(axis >= axes for axis in named):
        row.refuse("layout", f"not each axis once of {axes}: {named}")
    if not groups or not stride:
        row.refuse("layout", "groups and stride are at least 1")
    return layout


def _read_dtype(f: Fields) -> torch.dtype:
    name = f.text("dtype")
    dtype: object = vars(torch).get(name)  # getattr would import, for a name such as "onnx"
    return dtype if isinstance(dtype, torch.dtype) else f.refuse("dtype", _not("a dtype", name))


def _read_scheme(f: Fields, blocks: tuple[PlanBlock, ...]) -> Scheme | None:
    data = f.take("scheme")
    if not blocks:
        return _scheme(data, f.at("scheme"))
    if data is not None:
        f.refuse("scheme", "where there are blocks, each has its own and this is null")
    return common([block.scheme for block in blocks])


def _scheme(data: object, path: str) -> Scheme:
    try:
        return from_dict(data)
    except (SchemeError, RecursionError) as error:
        raise PlanFileError(f"{path}: {error}") from error


def _check_schemes(row: PlanRow, path: str) -> None:
    """Refuse schemes that don't fit where they stand: ``apply_`` could not draw them."""
    for number, block in enumerate(row.parts()):
        where = f"{path}.blocks[{number}].scheme" if row.blocks else f"{path}.scheme"
        try:
            block.scheme.check(row.site(block))
            check_range(block.scheme, row.site(block), row.dtype)
        except (SchemeError, ArithmeticError) as error:
            raise PlanFileError(f"{where}: {error}") from error


def _refuse(path: str, wrong: str) -> NoReturn:
    raise PlanFileError(f"{path or 'plan'}: {wrong}. Save the plan again with plan.save")


def _not(expected: str, value: object) -> str:
    return f"{expected} is expected, not {_short(value)}"


def _short(value: object) -> str:
    if isinstance(value, int) and abs(value) >= _BIG:
        return "a huge number"
    text = f"{value!r:.80}" if isinstance(value, (str, int, float, bool)) else ""
    return text or ("null" if value is None else f"a {type(value).__name__}")
