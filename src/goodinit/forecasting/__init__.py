"""The signal of models whose weights are not in memory, and may never have been drawn."""

from goodinit.forecasting.calibrated import calibrated
from goodinit.forecasting.forecast import forecast

__all__ = ["calibrated", "forecast"]
