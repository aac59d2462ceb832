"""`jacobian_spectrum`: singular values of the input-output Jacobian, for dynamical isometry."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from goodinit._common.progress import progress_line
from goodinit.errors import SignalError
from goodinit.signal.batch_axis import batch_of, differentiable, untouched
from goodinit.signal.checks import backward_error, check_runnable, unwrapped
from goodinit.trace.calls import NullObserver, tensors_in
from goodinit.trace.real_run import real_run
from goodinit.trace.run import Inputs, arguments, first_line

MOST_NUMBERS = 2**27  # in the Jacobians of all samples together: 1 GB in float64


@progress_line("measuring the Jacobian")
def jacobian_spectrum(model: nn.Module, inputs: Inputs) -> Tensor:
    """Return the singular values of the model's Jacobian at each sample, for small models.

    Dynamical isometry (Saxe et al., 2014; Pennington et al., 2017): if all are near 1, a gradient
    keeps its size in every direction. Their number is that of the smaller side.

    The Jacobian is computed row by row, in as many backward passes as a sample has outputs, plus
    one per sample to find out whether samples depend on each other (BatchNorm in training). If
    they do, each sample takes as many passes, with the others fixed. The model runs as in
    ``measure`` and isn't changed.

    Args:
        model: with weights; unmodified.
        inputs: as for ``measure``; the Jacobian is with respect to the floating ones.

    Returns:
        float64, [samples, min(inputs, outputs of one sample)], the largest first.

    Raises:
        SignalError: nothing floating goes in or comes out, samples aren't along the first axis,
            the model raised, more than 2^27 numbers.
        MetaModelError: the model has no weights.

    Example:
        >>> layer = nn.Linear(3, 3, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> jacobian_spectrum(nn.Sequential(layer, nn.Tanh()), torch.zeros(2, 3))
        tensor([[1., 1., 1.],
                [1., 1., 1.]], dtype=torch.float64)
    """
    model = unwrapped(model)
    check_runnable(model, inputs)
    batch = batch_of(inputs)
    given: list[Tensor] = []

    with real_run(model, inputs=untouched(inputs)) as run:
        args, kwargs = differentiable(arguments(inputs), given)
        try:
            output = run(NullObserver(), {}, lambda: model(*args, **kwargs))
        except Exception as error:
            raise SignalError(f"the model raised: {first_line(error)}") from error
        returned = [t for t in tensors_in(output) if t.requires_grad]
        outputs = [t for t in returned if t.is_floating_point()]
        if returned and not outputs:
            raise SignalError(
                "the outputs are complex: wrap the model in one that returns "
                "torch.view_as_real(output)"
            )
        _check(given, outputs, batch)
        y = torch.cat([t.reshape(batch, -1) for t in outputs], 1)
        try:
            found = _rows(y, given, batch)
        except Exception as error:
            raise backward_error(error) from error
    if not found.isfinite().all():
        raise SignalError("the Jacobian isn't finite: see goodinit.measure")
    return cast("Tensor", torch.linalg.svdvals(found))


def _check(given: list[Tensor], outputs: list[Tensor], batch: int) -> None:
    if not given:
        raise SignalError(
            "no input is floating: pass what the embedding returns to the rest of the model"
        )
    if not outputs:
        raise SignalError("no output depends on a floating input")
    for tensor in (*given, *outputs):
        if not tensor.dim() or tensor.shape[0] != batch:
            raise SignalError(
                f"a tensor of shape {tuple(tensor.shape)} goes in or comes out, and the first axis "
                f"must be that of the {batch} samples"
            )
    numbers = sum(t.numel() for t in given) * sum(t.numel() for t in outputs) // batch
    if numbers > MOST_NUMBERS:
        raise SignalError(f"the Jacobians have {numbers:,} numbers, more than 2^27: fewer samples?")


def _rows(y: Tensor, given: list[Tensor], batch: int) -> Tensor:
    """Return the Jacobians, [samples, outputs, inputs]."""
    rows = [_gradient(y[:, k].sum(), given, batch) for k in range(y.shape[1])]
    found = torch.stack(rows, 1)
    # If samples are independent, the gradient of their sum has each one's own in its place.
    if not any(_depends_on_others(y, sample, given, batch) for sample in range(batch)):
        return found
    for sample in range(batch):
        for k in range(y.shape[1]):
            found[sample, k] = _gradient(y[sample, k], given, batch)[sample]
    return found


def _depends_on_others(y: Tensor, sample: int, given: list[Tensor], batch: int) -> bool:
    # Outputs may add up to a constant, so they are weighted.
    weights = torch.linspace(1, 2, y.shape[1], device=y.device).to(y)
    gradient = _gradient((y[sample] * weights).sum(), given, batch)
    gradient[sample] = 0
    return bool(gradient.any())


def _gradient(value: Tensor, given: list[Tensor], batch: int) -> Tensor:
    parts = torch.autograd.grad(
        value, given, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([part.reshape(batch, -1).double() for part in parts], 1)
