"""What replaces a loss if none is given."""

from __future__ import annotations

import torch
from torch import Tensor

from goodinit._common.text import shape_text
from goodinit.errors import SignalError
from goodinit.streams import Law, Stream
from goodinit.trace.calls import tensors_in


def projection(output: object, otherwise: str = "") -> Tensor:
    """Return a random projection of the floating outputs, for a gradient.

    ``otherwise``: what helps where nothing floating is returned, for the error.

    Raises:
        SignalError: nothing floating is returned, or only empty tensors.
    """
    floating = [t for t in tensors_in(output) if t.is_floating_point()]
    outputs = [t for t in floating if t.numel()]
    if floating and not outputs:
        raise SignalError(
            f"the model returns an empty tensor ({shape_text(floating[0].shape)}): pass inputs of "
            "which no size is 0"
        )
    if not outputs:
        complex_ = any(map(torch.is_complex, tensors_in(output)))
        kind = "only complex tensors" if complex_ else "no floating tensor"
        raise SignalError(f"the model returns {kind}, which no gradient can start from{otherwise}")
    total = torch.zeros((), device=outputs[0].device)
    for number, tensor in enumerate(outputs):
        signs = Stream(0).draw(f"output.{number}", Law.normal(), tuple(tensor.shape))
        total = total + (tensor.float() * signs.to(tensor.device)).sum()
    return total
