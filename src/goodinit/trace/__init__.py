"""The only place that runs a model."""

from goodinit.trace.calls import Call, Observer, tensors_in, tensors_of
from goodinit.trace.lazy_modules import run_lazy_modules_
from goodinit.trace.run import Inputs, Trace, trace

__all__ = [
    "Call",
    "Inputs",
    "Observer",
    "Trace",
    "run_lazy_modules_",
    "tensors_in",
    "tensors_of",
    "trace",
]
