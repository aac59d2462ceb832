"""Names of parameters for notes, with the numbers of layers left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from goodinit._common.text import several


def folded(name: str) -> str:
    """Return a dotted name without its numbers.

    >>> folded("layers.0.fc.weight")
    'layers.*.fc.weight'
    """
    return ".".join("*" if part.isdigit() else part for part in name.split("."))


def listed(names: Iterable[str]) -> str:
    """Return names with the numbers in them folded.

    >>> listed(["layers.0.fc", "layers.1.fc", "head"])
    'layers.*.fc (2), head'
    """
    counts = Counter(map(folded, names))
    return several([n if c == 1 else f"{n} ({c})" for n, c in counts.items()], len(counts))
