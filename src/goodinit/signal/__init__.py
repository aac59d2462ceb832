"""Moments of the signal and of the gradient through a model, measured on a batch."""

from goodinit.signal.calibrate import calibrate_
from goodinit.signal.calibration import Calibration, CalibrationRow
from goodinit.signal.compare import Comparison, compare
from goodinit.signal.measure import measure
from goodinit.signal.moments import Moments
from goodinit.signal.rows import Signal, SignalRow

__all__ = [
    "Calibration",
    "CalibrationRow",
    "Comparison",
    "Moments",
    "Signal",
    "SignalRow",
    "calibrate_",
    "compare",
    "measure",
]
