"""Lazy modules, whose shapes are known once the model has run."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from goodinit._common.module_tree import buffers_of, parameters_of
from goodinit.errors import LazyParameterError
from goodinit.trace.run import Inputs, arguments, first_line


def run_lazy_modules_(model: nn.Module, inputs: Inputs) -> None:
    """Run a model once if it has lazy parameters, so that they get their shapes.

    Raises:
        LazyParameterError: the model raised.

    Example:
        >>> net = nn.Sequential(nn.LazyLinear(3))
        >>> run_lazy_modules_(net, torch.ones(1, 2))
        >>> net[0].weight.shape
        torch.Size([3, 2])
    """
    if not any(map(is_lazy, (*parameters_of(model), *buffers_of(model)))):
        return
    args, kwargs = arguments(inputs)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model(*args, **kwargs)
    except Exception as error:
        raise LazyParameterError(
            f"the model has lazy modules, and raised when it was run to give them shapes: "
            f"{first_line(error)}"
        ) from error
