"""Attention that will look at one position alone, by what a plan draws: GI142."""

from __future__ import annotations

from collections.abc import Iterator

from goodinit._common.text import grouped_names
from goodinit.anatomy import Anatomy
from goodinit.anatomy.attention_scores import attention_scores
from goodinit.findings import Finding
from goodinit.findings.one_hot import SMALLER_SCORES, forecast_of_scores, scores_are_one_hot
from goodinit.plans.rows import PlanRow
from goodinit.plans.tried_rules import named, offer
from goodinit.schemes import LeCunNormal


def find_sure_attention(rows: tuple[PlanRow, ...], anatomy: Anatomy) -> Iterator[Finding]:
    """Yield queries and keys whose scores make a softmax one-hot, of a signal of size 1."""
    by_name = {row.name: row for row in rows}
    names: dict[str, None] = {}
    first: tuple[float, int] | None = None
    for scores in attention_scores(anatomy):
        query, key = by_name.get(scores.query), by_name.get(scores.key)
        std = scores.std(_passed_on(query, "q"), _passed_on(key, "k"))
        if scores_are_one_hot(std, scores.positions):
            first = first or (std, scores.positions)
            names |= dict.fromkeys((scores.query, scores.key))
    if first is not None:
        fix = offer(SMALLER_SCORES, named(names, LeCunNormal()))
        yield Finding("GI142", "warning", grouped_names([*names]), forecast_of_scores(*first), fix)


def _passed_on(row: PlanRow | None, part: str) -> float:
    """Return the second moment that queries, or keys, have of a unit signal; 0 if unknown."""
    if row is None or row.buffer:
        return 0.0
    moments = {name: mean**2 + std**2 for name, mean, std in row.moments()}
    for block in row.parts():
        if block.name in ("", part) and block.fan_in:
            return block.fan_in * moments.get(block.name, 0.0)
    return 0.0
