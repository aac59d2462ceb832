"""Attention that will look at one position alone, by what a plan draws: GI142."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from goodinit._common.text import grouped_names
from goodinit.anatomy import Anatomy
from goodinit.anatomy.attention_scores import Scores, attention_scores
from goodinit.findings import Finding
from goodinit.findings.one_hot import SMALLER_SCORES, forecast_of_scores, scores_are_one_hot
from goodinit.plans.rows import PlanRow
from goodinit.plans.tried_rules import named, offer
from goodinit.schemes import LeCunNormal


def find_one_hot_attention(rows: tuple[PlanRow, ...], anatomy: Anatomy) -> Iterator[Finding]:
    """Yield queries and keys whose scores make a softmax one-hot, of a signal of size 1."""
    by_name = {row.name: row for row in rows}
    scores = attention_scores(anatomy)
    names, cause = one_hot_scores(scores, lambda name, part: _passed_on(by_name.get(name), part))
    if names:
        fix = offer(SMALLER_SCORES, named(names, LeCunNormal()))
        yield Finding("GI142", "warning", grouped_names(names), cause, fix)


def one_hot_scores(
    several: Iterable[Scores], passed_on: Callable[[str, str], float]
) -> tuple[list[str], str]:
    """Return the queries and keys whose scores make a softmax one-hot, and the first one's cause.

    ``passed_on``: parameter, "q" or "k" -> the second moment that it makes of a unit signal.
    """
    names: dict[str, None] = {}
    cause = ""
    for scores in several:
        std = scores.std(passed_on(scores.query, "q"), passed_on(scores.key, "k"))
        if scores_are_one_hot(std, scores.positions):
            cause = cause or forecast_of_scores(std, scores.positions)
            names |= dict.fromkeys((scores.query, scores.key))
    return [*names], cause


def _passed_on(row: PlanRow | None, part: str) -> float:
    """Return the second moment that queries, or keys, have of a unit signal; 0 if unknown."""
    if row is None or row.buffer:
        return 0.0
    moments = {name: mean**2 + std**2 for name, mean, std in row.moments()}
    for block in row.parts():
        if block.name in ("", part) and block.fan_in:
            return block.fan_in * moments.get(block.name, 0.0)
    return 0.0
