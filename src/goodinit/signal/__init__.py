"""Moments of the signal and of the gradient through a model, measured on a batch."""

from goodinit.signal.compare import Comparison, compare
from goodinit.signal.measure import measure
from goodinit.signal.moments import Moments
from goodinit.signal.rows import Signal, SignalRow

__all__ = ["Comparison", "Moments", "Signal", "SignalRow", "compare", "measure"]
