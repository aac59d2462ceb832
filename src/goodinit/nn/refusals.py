"""The errors of ``goodinit.nn.init``: goodinit's own, and each also what torch raises there.

    SchemeError, RuntimeError               InitValueError      a number that no law has
    SchemeError, TypeError, AttributeError  InitTypeError       not a number, not a tensor
    DtypeError, NotImplementedError         InitDtypeError      a dtype or layout without a law
    ExpandedParameterError, RuntimeError    InitMemoryError     shared memory, read-only memory

SchemeError, DtypeError and ExpandedParameterError are ValueErrors as well.
"""

from __future__ import annotations

from typing import NoReturn

from goodinit.errors import DtypeError, ExpandedParameterError, SchemeError
from goodinit.schemes.fields import shown

__all__ = ["InitDtypeError", "InitMemoryError", "InitTypeError", "InitValueError", "refuse"]


class InitValueError(SchemeError, RuntimeError):
    """A number that no law has: a negative std, an empty interval, NaN."""


class InitTypeError(SchemeError, TypeError, AttributeError):
    """An argument of the wrong type: text for a number, a list for a tensor."""


class InitDtypeError(DtypeError, NotImplementedError):
    """A tensor whose dtype or layout has no such law: random integers, a sparse tensor."""


class InitMemoryError(ExpandedParameterError, RuntimeError):
    """A tensor whose elements share memory: they can't be written apart."""


def refuse(function: str, parameter: str, value: object, mend: str) -> NoReturn:
    """Raise the InitValueError that names the function, the parameter, the value and the mend."""
    raise InitValueError(f"{function}({parameter}={shown(value)}): {mend}")
