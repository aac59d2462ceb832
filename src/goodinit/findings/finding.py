"""`Finding`: a numbered verdict with its place, its cause and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from goodinit.errors import printable

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The mildest first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A numbered verdict.

    Attributes:
        code: its number, "GI111".
        severity: "info", "warning" or "error".
        where: the parameters, modules or rules it is about.
        cause: what is the matter, with its numbers.
        remedy: what to do.

    Example:
        >>> print(Finding("GI111", "warning", "bn.weight", "it is N(0, .02)", "draw around 1"))
        warning: bn.weight: it is N(0, .02). Remedy: draw around 1 [GI111]
    """

    code: str
    severity: Severity
    where: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return printable(
            f"{self.severity}: {self.where}: {self.cause}. Remedy: {self.remedy} [{self.code}]"
        )
