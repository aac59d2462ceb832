"""Rules that a plan's findings offer, tried by planning again before anyone reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from goodinit.errors import GoodinitError
from goodinit.findings import Finding
from goodinit.recipes.by_name import recipe as recipe_named
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import Scheme

MOST_RULES = 3  # in a line to paste; for more, the remedy is described in words


class Offer(str):
    """What may fix a finding, until it is tried: the text says in words what would help.

    Attributes:
        rules: that may fix it, with the text of each.
    """

    rules: dict[str, Rule]


def offer(words: str, rules: Mapping[str, Rule]) -> Offer:
    """Return the remedy that adds rules to a recipe.

    If there are many rules, the words alone are printed.
    """
    made = Offer(words)
    made.rules = dict(rules) if len(rules) <= MOST_RULES else {}
    return made


def named(names: Iterable[str], scheme: Scheme) -> dict[str, Rule]:
    """Return a rule for each of some parameters, by its text."""
    return {f"gi.Rule({n!r}, gi.{scheme!r})": Rule(sel.name(n), scheme) for n in names}


def with_tried_rules(
    findings: Sequence[Finding], recipe: Recipe, again: Callable[[Recipe], Sequence[Finding]]
) -> tuple[Finding, ...]:
    """Return the findings, each with a line that takes it away, or else in words what would."""

    def remedy(finding: Finding, offered: Offer) -> str:
        rules = tuple(offered.rules.values())
        if not rules:
            return str(offered)
        try:
            after = again(recipe.override(*rules))
        except GoodinitError:
            return str(offered)
        codes, left = [f.code for f in findings], [f.code for f in after]
        if left.count(finding.code) >= codes.count(finding.code):
            return str(offered)
        grave = {f.code for f in after if f.severity != "info"}  # rules that lost do no harm
        if any(left.count(code) > codes.count(code) for code in grave):
            return str(offered)
        return f"{offered}: {_called(recipe)}.override({', '.join(offered.rules)})"

    return tuple(
        replace(finding, remedy=remedy(finding, finding.remedy))
        if isinstance(finding.remedy, Offer)
        else finding
        for finding in findings
    )


def _called(recipe: Recipe) -> str:
    """Return the code of a library's recipe; other recipes are what the user calls ``recipe``."""
    try:
        named = recipe_named(recipe.name)
    except GoodinitError:
        return "recipe"
    return f"gi.recipe({recipe.name!r})" if named == recipe else "recipe"
