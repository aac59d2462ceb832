"""Complex weights: their real and imaginary parts are drawn one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from goodinit.plans.rows import PlanRow
from goodinit.schemes import Scheme
from goodinit.schemes.complex_numbers import complex_parts
from goodinit.streams import Law

PARTS = ("real", "imag")


class Filler(Protocol):
    """Fills a tensor with a parameter's numbers: a stream, or that of one part."""

    def fill_(
        self,
        out: Tensor,
        name: str,
        law: Law,
        *,
        shape: Sequence[int] | None = None,
        box: Sequence[tuple[int, int]] | None = None,
        purpose: str = "",
    ) -> Tensor:
        """Write the parameter's values into ``out`` and return it."""
        ...


@dataclass(frozen=True, slots=True)
class _PartStream:
    """A stream whose numbers are those of the real, or of the imaginary part."""

    stream: Filler
    part: str

    def fill_(self, out: Tensor, name: str, law: Law, *, purpose: str = "", **place: Any) -> Tensor:
        purpose = f"{purpose} {self.part}".strip()
        return self.stream.fill_(out, name, law, purpose=purpose, **place)


def parts_of_complex(
    out: Tensor, row: PlanRow, stream: Filler
) -> Iterator[tuple[Tensor, PlanRow, Filler]]:
    """Yield a view of each part of a complex tensor, the row with its schemes, and its stream."""
    views = torch.view_as_real(out.detach()).unbind(-1)
    for number, (view, part) in enumerate(zip(views, PARTS, strict=True)):
        blocks = tuple(replace(b, scheme=_of_part(b.scheme, number)) for b in row.blocks)
        scheme = None if row.scheme is None else _of_part(row.scheme, number)
        yield view, replace(row, blocks=blocks, scheme=scheme), _PartStream(stream, part)


def _of_part(scheme: Scheme, number: int) -> Scheme:
    return complex_parts(scheme)[number]
