"""All that is known of a model when its findings are worked out, and how a mend is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn

from goodinit._common.text import grouped_name
from goodinit.explanation.candidates import Candidate
from goodinit.explanation.chains import Chain
from goodinit.explanation.reading import Seen
from goodinit.explanation.recognition import TRAINED, Look
from goodinit.findings import Finding, Severity
from goodinit.schemes import Constant, Keep, LeCunNormal, Normal, Ones, Scheme, Zeros

__all__ = ["Case", "Verdict", "globs", "named", "verdict"]

FEW = 3  # groups of names that a finding spells out
MOST = 4  # entries of a mapping that a person still reads


class Verdict(NamedTuple):
    """A finding, and the names of the parameters that it is about."""

    finding: Finding
    names: tuple[str, ...]


def verdict(
    code: str, severity: Severity, rows: Iterable[Seen], cause: str, remedy: str
) -> Verdict:
    """Return a finding about some parameters."""
    names = tuple(one.row.name for one in rows)
    return Verdict(Finding(code, severity, named(names), cause, remedy), names)


@dataclass(frozen=True)
class Case:
    """What findings are made from.

    Attributes:
        model: the model.
        seen: its parameters with their values.
        looks: what each looks like, by name.
        best: the recipe that they look like; None if none.
        standard: the plan of goodinit's own default, for what to draw instead.
        chains: weights that follow one another.
        heads: what an embedding that is also the head is multiplied by besides, by name.
        inputs: whether the data flow was seen.
        level: of each test.
    """

    model: nn.Module
    seen: list[Seen]
    looks: Mapping[str, Look]
    best: Candidate | None
    standard: Candidate
    chains: list[Chain]
    heads: Mapping[str, float]
    inputs: bool
    level: float

    def look(self, seen: Seen) -> Look:
        """Return what a parameter looks like."""
        return self.looks[seen.row.name]

    @property
    def names(self) -> list[str]:
        """The names of all parameters."""
        return [one.row.name for one in self.seen]

    @property
    def trained(self) -> bool:
        """Whether most weights have no law: nobody should draw them again."""
        matrices = [one for one in self.seen if one.matrix and one.parts]
        lost = [one for one in matrices if self.look(one).text == TRAINED]
        return len(lost) > len(matrices) / 2

    def init(self, recipe: str) -> str:
        """Return the line that initialises the model."""
        return f"gi.init_(model, {recipe}{', inputs=inputs' if self.inputs else ''})"

    def redraw(
        self, rows: Iterable[Seen], scheme: Scheme | None = None, *, again: bool = False
    ) -> str:
        """Return a line that draws parameters, and nothing else.

        Args:
            rows: which.
            scheme: how; None takes what ``standard`` would draw.
            again: whether to take what the recipe draws that the model looks like, if any: for
                values that are broken, where the recipe isn't to blame.
        """
        like = self.best if again and self.best is not None else self.standard
        by_scheme: dict[str, list[str]] = {}
        for one in rows:
            made = scheme if scheme is not None else self._instead(one, like)
            by_scheme.setdefault(f"gi.{made!r}", []).append(one.row.name)
        groups = sorted(by_scheme.items(), key=lambda group: -len(group[1]))
        left = {name for _, names in groups for name in names}
        entries: list[str] = []
        for text, names in groups:  # what a glob takes too much, a later entry takes back
            others = [name for name in self.names if name not in left]
            left -= {*names}
            entries += [f'"{glob}": {text}' for glob in globs(names, [*others, *names])]
        if len(entries) > MOST and not self.trained:
            return self.init(like.mapping)
        return self.init(f"{{{', '.join(entries)}}}")

    def _instead(self, seen: Seen, like: Candidate) -> Scheme:
        planned = like.rows.get(seen.row.name)
        schemes = [block.scheme for block in planned.parts()] if planned else []
        scheme = next((s for s in schemes if not isinstance(s, Keep)), None)
        if scheme is not None and (not seen.matrix or not isinstance(scheme, Zeros | Constant)):
            return scheme
        if like is not self.standard:
            return self._instead(seen, self.standard)
        if seen.row.facets.kind in ("norm", "scale") and seen.row.facets.part != "bias":
            return Ones()
        if seen.matrix and seen.row.facets.kind != "embedding":
            return LeCunNormal()
        return Zeros() if seen.row.facets.part == "bias" else Normal(0.02)


def globs(names: list[str], every: Iterable[str]) -> list[str]:
    """Return globs that match these names and no other; a name by itself where none does.

    >>> globs(["h.0.fc.weight", "h.1.fc.weight"], ["h.0.fc.weight", "h.1.fc.weight", "fc.weight"])
    ['h.*.fc.weight']
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\d+", "*", name), []).append(name)
    found: list[str] = []
    others = set(every) - set(names)
    for glob, members in groups.items():
        alone = len(members) == 1 or any(fnmatchcase(other, glob) for other in others)
        found += members if alone else [glob]
    return found


def named(names: Iterable[str]) -> str:
    """Return names, those of repeated layers as one: ``h.{0-3}.fc.weight x4``."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\d+", "{}", name), []).append(name)
    shown = [grouped_name(members) for members in groups.values()]
    more = f" and {len(shown) - FEW} more" if len(shown) > FEW else ""
    return ", ".join(shown[:FEW]) + more
