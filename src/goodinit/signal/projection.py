"""What stands in for a loss where none is given."""

from __future__ import annotations

import torch
from torch import Tensor

from goodinit.streams import Law, Stream
from goodinit.trace.calls import tensors_in


def projection(output: object) -> Tensor | None:
    """Return a random projection of the floating outputs, for a gradient; None without any."""
    outputs = [t for t in tensors_in(output) if t.is_floating_point() and t.numel()]
    if not outputs:
        return None
    total = torch.zeros((), device=outputs[0].device)
    for number, tensor in enumerate(outputs):
        signs = Stream(0).draw(f"output.{number}", Law.normal(), tuple(tensor.shape))
        total = total + (tensor.float() * signs.to(tensor.device)).sum()
    return total
