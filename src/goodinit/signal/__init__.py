"""Does the signal survive: moments forward and backward, measured on a batch."""

from goodinit.signal.compare import Comparison, compare
from goodinit.signal.independence import Independence, independence
from goodinit.signal.jacobian import jacobian
from goodinit.signal.measure import measure
from goodinit.signal.moments import Moments
from goodinit.signal.rows import Signal, SignalRow

__all__ = [
    "Comparison",
    "Independence",
    "Moments",
    "Signal",
    "SignalRow",
    "compare",
    "independence",
    "jacobian",
    "measure",
]
