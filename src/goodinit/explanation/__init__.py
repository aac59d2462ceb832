"""Which initialization a model has, what is wrong with it, and how to fix it."""

from __future__ import annotations

from goodinit.explanation.explain import explain
from goodinit.explanation.explanation import Explanation
from goodinit.explanation.identification import Identification
from goodinit.explanation.identify import identify

__all__ = ["Explanation", "Identification", "explain", "identify"]
