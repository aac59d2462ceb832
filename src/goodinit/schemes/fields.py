"""Checks of a scheme's fields, when it is constructed."""

from __future__ import annotations

import math
import reprlib
from numbers import Real
from typing import TYPE_CHECKING, NoReturn

from goodinit.errors import SchemeError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable


def short_repr(value: object) -> str:
    """Return a short repr that never raises, for any value from outside.

    >>> short_repr([[[[[[[[1]]]]]]]])
    '[[[[[[...]]]]]]'
    """
    try:
        return reprlib.repr(value)
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
        near = nearest(value, known) if isinstance(value, str) else ""
        refuse(of, field, value, f"{field} must be one of {', '.join(filter(None, known))}.{near}")


def as_factor(of: object, factor: object) -> float:
    """Return the factor of ``times``: finite and not negative, or refused."""
    return as_float(f"{type(of).__name__}.times", "factor", factor, 0.0)
