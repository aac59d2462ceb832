"""What every result can do: be iterated over, looked up by name, printed, and judged."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from goodinit.errors import UnknownRowError, nearest
from goodinit.findings import Finding

RowT = TypeVar("RowT")

# What other libraries' results have, and the line that does it here.
_MEANT = {
    "apply": "gi.apply_(model, {})",
    "apply_": "gi.apply_(model, {})",
    "diff": "gi.diff({}, other)",
    "items": "[(row.name, row) for row in {}]",
    "keys": "[row.name for row in {}]",
    "print": "print({})",
    "save": "json.dumps({}.to_dict())",
    "show": "print({})",
    "summary": "print({})",
    "to_csv": "{}.to_dict()",
    "to_dataframe": "{}.to_dict()",
    "to_json": "json.dumps({}.to_dict())",
    "values": "{}.rows",
}


class Result(Generic[RowT]):
    """The protocol of plans, signals, comparisons, explanations: a subclass is a frozen dataclass.

    It has ``rows``, where it gives verdicts ``findings``, and a text.
    """

    rows: tuple[RowT, ...]
    findings: tuple[Finding, ...] = ()

    def __iter__(self) -> Iterator[RowT]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> RowT:
        """Return the row of that name.

        Raises:
            UnknownRowError: there is none; also a KeyError. Suggests the nearest names.
        """
        row = self._by_name.get(name)
        if row is None:
            raise UnknownRowError(f"there is no row {name!r}.{self._meant_row(name)}")
        return row

    def _meant_row(self, name: object) -> str:
        kind = type(self).__name__
        if isinstance(name, int):
            return f" Rows have names. Write {kind.lower()}.rows[{name}]"
        inside = [known for known in self._by_name if known.startswith(f"{name}.")]
        if inside:
            return f" Did you mean {' or '.join(map(repr, inside[:2]))}?"
        return f"{nearest(str(name), self._by_name)} This {kind} has {len(self)} rows"

    if not TYPE_CHECKING:  # type checkers must not take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            """Raise: what people ask results for has a function that does it."""
            kind = type(self).__name__
            rows = self.__dict__.get("rows", ())  # none while it is being unpickled
            line = "" if name.startswith("_") else _MEANT.get(name, "").format(kind.lower())
            if not line and not name.startswith("_") and rows:
                line = self._meant_attribute(name, rows)
            hint = f". Write {line}" if line else ""
            raise AttributeError(f"{kind!r} object has no attribute {name!r}{hint}")

    def _meant_attribute(self, name: str, rows: tuple[RowT, ...]) -> str:
        """Return the code for what each row has under that name, or for a row, or ""."""
        of = type(self).__name__.lower()
        if hasattr(rows[0], name):
            return f"[row.{name} for row in {of}]"
        inside = (known for known in self._by_name if known.startswith((f"{name}.", f"{name}:")))
        return next((f"{of}[{known!r}]" for known in inside), "")

    @property
    def ok(self) -> bool:
        """True if every finding is informational."""
        return all(finding.severity == "info" for finding in self.findings)

    def to_text(self, *, full: bool = False) -> str:
        """Return what ``print`` shows: what matters, or with ``full`` all there is."""
        raise NotImplementedError  # each result has its own

    def __str__(self) -> str:
        return self.to_text()

    def to_dict(self) -> dict[str, object]:
        """Return plain data, ready for strict JSON: NaN and infinity become None."""
        return {
            field.name: plain_data(getattr(self, field.name))
            for field in dataclasses.fields(cast("Any", self))
        }

    def _names(self, row: RowT) -> Iterable[str]:
        """Return the names by which a row is found."""
        return (cast("Any", row).name,)

    @cached_property
    def _by_name(self) -> dict[str, RowT]:
        found: dict[str, RowT] = {}
        for row in self.rows:
            for name in self._names(row):
                found.setdefault(name, row)
        return found


def plain_data(value: object) -> object:
    """Return dataclasses and containers as dicts and lists; what isn't finite as None.

    >>> plain_data({"a": (1, math.inf)})
    {'a': [1, None]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain_data(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {name: plain_data(item) for name, item in items}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [plain_data(item) for item in cast("Sequence[object]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value
