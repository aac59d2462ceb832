"""Which initialization a model has, what is wrong with it, and how to fix it."""

from __future__ import annotations

from goodinit.explanation.explain import explain
from goodinit.explanation.explanation import Explanation

__all__ = ["Explanation", "explain"]
