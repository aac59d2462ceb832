"""The errors of ``goodinit.nn.init``: each is goodinit's own and what torch raises there.

    SchemeError, RuntimeError               InitValueError      a number that defines no law
    SchemeError, TypeError, AttributeError  InitTypeError       not a number, not a tensor
    DtypeError, NotImplementedError         InitDtypeError      a dtype or layout without a law
    ExpandedParameterError, RuntimeError    InitMemoryError     shared or read-only memory

SchemeError, DtypeError and ExpandedParameterError are ValueErrors as well.
"""

from __future__ import annotations

from typing import NoReturn

from goodinit.errors import DtypeError, ExpandedParameterError, SchemeError
from goodinit.schemes.fields import short_repr


class InitValueError(SchemeError, RuntimeError):
    """A number that defines no law: a negative std, an empty interval, NaN."""


class InitTypeError(SchemeError, TypeError, AttributeError):
    """An argument of the wrong type: a string for a number, a list for a tensor."""


class InitDtypeError(DtypeError, NotImplementedError):
    """A tensor whose dtype or layout has no such law: integers for random numbers, sparse."""


class InitMemoryError(ExpandedParameterError, RuntimeError):
    """A tensor whose elements share memory, or can't be written at all."""


def refuse(function: str, parameter: str, value: object, fix: str) -> NoReturn:
    """Raise the InitValueError that names the function, the parameter, the value and the fix."""
    raise InitValueError(f"{function}({parameter}={short_repr(value)}): {fix}")
