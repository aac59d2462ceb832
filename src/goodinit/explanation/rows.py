"""The rows of an explanation: what one parameter looks like, and what was expected."""

from __future__ import annotations

from dataclasses import dataclass

from goodinit.explanation.reading import Seen
from goodinit.explanation.recognition import Look, spelled
from goodinit.plans.rows import PlanRow
from goodinit.schemes import Keep

__all__ = ["ExplainedRow", "explained_row"]


@dataclass(frozen=True, slots=True)
class ExplainedRow:
    """What was found of one parameter.

    Attributes:
        name: logical dotted name.
        shape: its shape.
        dtype: its dtype, as text without "torch.".
        kind: what it is, one of ``goodinit.anatomy.KINDS``.
        part: what it does there, one of ``goodinit.anatomy.PARTS``.
        looks: the law that it looks like, in words; torch's spelling where it is torch's.
        certain: whether it has enough values to tell a normal from a uniform law; where not,
            it is no more than consistent with what ``looks`` says.
        known: whether it looks like any law at all.
        mean: of its values; None where they can't be judged.
        std: likewise.
        fan_in: how many products one output adds up; None where blocks differ or there is none.
        gain: std times sqrt(fan_in); 1 keeps the second moment of what comes in.
        expected: the scheme of the recipe that was found, as text; "" where it says nothing.
        expected_std: its standard deviation; None where blocks differ.
        ok: whether the values are consistent with that; None where it says nothing.
        findings: codes of the findings that are about it.
        tied: its other names.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str
    part: str
    looks: str
    certain: bool
    known: bool
    mean: float | None
    std: float | None
    fan_in: float | None
    gain: float | None
    expected: str
    expected_std: float | None
    ok: bool | None
    findings: tuple[str, ...]
    tied: tuple[str, ...]


def explained_row(
    seen: Seen,
    look: Look,
    planned: PlanRow | None,
    holds: bool | None,
    findings: tuple[str, ...],
) -> ExplainedRow:
    """Return the row of one parameter.

    Args:
        seen: its values.
        look: what they look like.
        planned: what the recipe plans, if one was found and it can be planned here.
        holds: whether the values are consistent with that.
        findings: codes.
    """
    sample = None if seen.whole is None else seen.whole.sample
    fans = {part.site.fan_in for part in seen.parts}
    fan_in = fans.pop() if len(fans) == 1 and seen.matrix else None
    std = None if sample is None else sample.std
    return ExplainedRow(
        name=seen.row.name,
        shape=seen.row.shape,
        dtype=str(seen.row.dtype).removeprefix("torch."),
        kind=seen.row.facets.kind,
        part=seen.row.facets.part,
        looks=look.text,
        certain=look.certain,
        known=look.known,
        mean=None if sample is None else sample.mean,
        std=std,
        fan_in=fan_in,
        gain=None if std is None or fan_in is None else std * fan_in**0.5,
        expected=_expected(planned) if planned is not None and holds is not None else "",
        expected_std=planned.std if planned is not None and holds is not None else None,
        ok=holds,
        findings=findings,
        tied=seen.row.tied,
    )


def _expected(planned: PlanRow) -> str:
    drawn = [block for block in planned.parts() if not isinstance(block.scheme, Keep)]
    return ", ".join(dict.fromkeys(spelled(block.scheme, planned.site(block)) for block in drawn))
