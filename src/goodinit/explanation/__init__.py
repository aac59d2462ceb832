"""Which initialization a model has got, what is wrong with it, and what mends it."""

from __future__ import annotations

from goodinit.explanation.explain import Explanation, explain

__all__ = ["Explanation", "explain"]
