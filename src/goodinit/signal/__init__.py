"""Does the signal survive: moments forward and backward, measured on a batch."""

from goodinit.signal.independence import Independence, independence
from goodinit.signal.measure import measure
from goodinit.signal.moments import Moments
from goodinit.signal.rows import Signal, SignalRow

__all__ = ["Independence", "Moments", "Signal", "SignalRow", "independence", "measure"]
