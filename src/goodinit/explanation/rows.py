"""The rows of an explanation: the law of one parameter, and the expected one."""

from __future__ import annotations

from dataclasses import dataclass

from goodinit._common.text import shape_text
from goodinit.explanation.context import Context, Verdict
from goodinit.explanation.identify import expected_law
from goodinit.explanation.reading import ParameterValues


@dataclass(frozen=True, slots=True, repr=False)
class ExplainedRow:
    """What was found about one parameter.

    Attributes:
        name: logical dotted name.
        shape: its shape.
        dtype: its dtype, as text without "torch.".
        kind: what it is, one of ``goodinit.anatomy.KINDS``.
        part: what it does there, one of ``goodinit.anatomy.PARTS``.
        looks: the law that its values follow; torch's name if it is one of torch's.
        certain: whether it has enough values to distinguish a normal from a uniform law; if not,
            the values are merely consistent with ``looks``.
        known: whether the values follow any known law.
        mean: of the values; None if they can't be judged.
        std: of the values; None if they can't be judged.
        fan_in: number of products that one output sums; None if it has none or blocks differ.
        gain: std times sqrt(fan_in); 1 preserves the second moment of the input.
        expected: the scheme that the recipe draws here; "" if it draws nothing.
        expected_std: its standard deviation; None if blocks differ.
        ok: whether the values are consistent with ``expected``; None if that is "".
        findings: codes of the findings about it.
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

    def __repr__(self) -> str:
        shape = shape_text(self.shape)
        std = "" if self.std is None else f", std {self.std:.3g}"
        return f"<ExplainedRow {self.name!r}: {shape}, looks like {self.looks}{std}>"


def explained_row(
    parameter: ParameterValues, context: Context, verdicts: list[Verdict]
) -> ExplainedRow:
    """Return the row of one parameter."""
    name, best = parameter.row.name, context.best
    planned = None if best is None else best.rows.get(name)
    holds = None if best is None else best.holds.get(name)
    identified = context.identified(parameter)
    codes = (found.finding.code for found in verdicts if name in found.names)
    sample = None if parameter.whole is None else parameter.whole.sample
    fans = {part.site.fan_in for part in parameter.parts}
    fan_in = fans.pop() if len(fans) == 1 and parameter.matrix else None
    std = None if sample is None else sample.std
    return ExplainedRow(
        name=name,
        shape=parameter.row.shape,
        dtype=str(parameter.row.dtype).removeprefix("torch."),
        kind=parameter.row.facets.kind,
        part=parameter.row.facets.part,
        looks=identified.text,
        certain=identified.certain,
        known=identified.known,
        mean=None if sample is None else sample.mean,
        std=std,
        fan_in=fan_in,
        gain=None if std is None or fan_in is None else std * fan_in**0.5,
        expected=expected_law(planned) if planned is not None and holds is not None else "",
        expected_std=planned.std if planned is not None and holds is not None else None,
        ok=holds,
        findings=tuple(dict.fromkeys(codes)),
        tied=parameter.row.tied,
    )
