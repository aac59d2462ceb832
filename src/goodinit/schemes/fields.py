"""Checks of a scheme's fields, when it is constructed."""

from __future__ import annotations

import math
import reprlib
from numbers import Real
from typing import TYPE_CHECKING, NoReturn

from torch import Tensor

from goodinit.errors import SchemeError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable


class _OneLine(reprlib.Repr):
    """Reprs of one short line: of tensors and arrays the shape and dtype, of modules the class."""

    # What ``reprlib`` calls for a class is named for it.
    def repr_Tensor(self, x: Tensor, level: int) -> str:  # noqa: ARG002, N802
        if math.prod(x.shape) <= self.maxtuple and len(text := repr(x)) <= self.maxother:
            return text
        return f"<{type(x).__name__} of shape {tuple(x.shape)}, {x.dtype}>"

    repr_Parameter = repr_ndarray = repr_Tensor  # noqa: N815

    def repr_instance(self, x: object, level: int) -> str:
        lines = repr(x).splitlines()
        return super().repr_instance(x, level) if len(lines) == 1 else f"<{type(x).__name__}>"

    def repr_dict(self, x: dict[object, object], level: int) -> str:
        if len(x) > self.maxdict:
            return super().repr_dict(x, level)
        each = (f"{self.repr1(k, level - 1)}: {self.repr1(v, level - 1)}" for k, v in x.items())
        return f"{{{', '.join(each)}}}"  # in its own order


_SHORT, _LONG = _OneLine(), _OneLine()
_LONG.maxstring = _LONG.maxother = 200


def short_repr(value: object) -> str:
    """Return a repr of one short line that never raises, for any value from outside.

    >>> short_repr([[[[[[[[1]]]]]]]])
    '[[[[[[...]]]]]]'
    """
    return _line_of(value, _SHORT)


def one_line(value: object) -> str:
    """Return a repr of one line, in which a text may have 200 characters.

    >>> one_line({"fc.weight": Tensor(64, 64)})
    "{'fc.weight': <Tensor of shape (64, 64), torch.float32>}"
    """
    return _line_of(value, _LONG)


def _line_of(value: object, how: reprlib.Repr) -> str:
    try:
        return how.repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def refuse(of: object, field: str, value: object, fix: str) -> NoReturn:
    """Raise the SchemeError that names the scheme, its field, the value and the fix."""
    name = of if isinstance(of, str) else type(of).__name__
    raise SchemeError(f"{name}({field}={short_repr(value)}): {fix}", (field,))


def as_float(of: object, field: str, value: object, least: float = -math.inf) -> float:
    """Return the value as a finite float that is at least ``least``, or refuse it."""
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, Real)):
        fix = f"{field} must be a number, not {type(value).__name__}"
        if field == "gain" and (isinstance(value, str) or callable(value)):
            name = of if isinstance(of, str) else type(of).__name__
            shown = repr(value) if isinstance(value, str) else getattr(value, "__name__", "f")
            fix += f". Write gi.{name}(gain=gi.gain({shown}))"
        refuse(of, field, value, fix)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        refuse(of, field, value, f"{field} must be a finite number")
    if number < least:
        refuse(of, field, value, f"{field} must be at least {least:g}")
    return number


def set_float(of: object, field: str, least: float = -math.inf) -> None:
    """Convert the field to a finite float that is at least ``least``, or refuse it."""
    object.__setattr__(of, field, as_float(of, field, getattr(of, field), least))


def check_count(of: object, field: str) -> None:
    """Refuse a field that isn't an int from 1, or is larger than any size."""
    value: object = getattr(of, field)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**63:
        refuse(of, field, value, f"{field} must be a whole number from 1")


def check_flag(of: object, field: str) -> None:
    """Refuse a field that isn't True or False."""
    value: object = getattr(of, field)
    if not isinstance(value, bool):
        refuse(of, field, value, f"{field} must be True or False")


def check_choice(of: object, field: str, known: Iterable[str]) -> None:
    """Refuse a field that isn't one of the known names."""
    value: object = getattr(of, field)
    known = list(known)
    if not isinstance(value, str) or value not in known:
        near = nearest(value, known)
        refuse(of, field, value, f"{field} must be one of {', '.join(filter(None, known))}.{near}")


def as_factor(of: object, factor: object) -> float:
    """Return the factor of ``times``: finite and not negative, or refused."""
    return as_float(f"{type(of).__name__}.times", "factor", factor, 0.0)
