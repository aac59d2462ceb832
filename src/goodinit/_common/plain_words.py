"""Plain words for the terms of printed results, each said once on a page."""

from __future__ import annotations

import re

# The term as it is printed -> what a reader needs in order to go on. docs/glossary.md has more.
WORDS = {
    "fans": "how many products one output sums > how many outputs one input reaches",
    "second moment": "the mean of the squares; for values around 0 it is the variance",
    "ends a residual branch": "f's last layer in x + f(x): each such sum makes x larger",
    "residual stream": "the x that all branches f are added to: x + f(x)",
    "cosine": "between two samples: 1 if the network can't tell them apart, 0 if unrelated",
    "gradient": "the second moment of the gradient that arrives at this call",
    "gain": "std times sqrt(fan_in): 1 keeps the second moment, 1.41 where relu halves it",
    "saturated": "on the flat part of the activation, where no gradient passes",
    "dead": "0 for every sample, so that no gradient passes",
}


def plain_words(text: str, *terms: str) -> list[str]:
    """Return a line for each term that is given; if none are, for each that the text uses.

    >>> plain_words("keeps the second moment")
    ['second moment: the mean of the squares; for values around 0 it is the variance']
    """
    used = [term for term in WORDS if term in terms or (not terms and _has(text, term))]
    said = " ".join(WORDS[term] for term in used)
    used += [term for term in WORDS if term not in used and not terms and _has(said, term)]
    return [f"{term}: {WORDS[term]}" for term in used]


def _has(text: str, term: str) -> bool:
    return re.search(rf"\b{term}\b", text) is not None
