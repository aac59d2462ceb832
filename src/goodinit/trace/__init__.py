"""The only place that runs a model."""

from goodinit.trace.calls import Call, Observer, tensors_in
from goodinit.trace.run import Inputs, Trace, trace

__all__ = ["Call", "Inputs", "Observer", "Trace", "tensors_in", "trace"]
