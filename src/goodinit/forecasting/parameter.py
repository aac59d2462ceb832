"""`Parameter`: a stored tensor that has a value only while a call takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from goodinit._common.torch_private import is_mapped, storage_key, unmapped
from goodinit.errors import SignalError
from goodinit.signal.parameters import norm_of

INSTEAD = "draw the model with gi.init_(model, recipe, materialize='cpu'), then gi.measure it"


@dataclass(slots=True, eq=False)
class Parameter:
    """One stored tensor that has a value only while a call takes it.

    Attributes:
        tensor: the model's own, on meta, or with values that the plan replaces.
        name: of the slot.
        number: which of the slot's stored tensors.
        uses: by how many calls it was taken in the forward pass.
        weight: the norm of its values; None before it was drawn.
        arrived: how many gradients arrived.
        sum: of the gradients so far, if more are to come.
        size: the gradient's norm; None if none arrived.
        twin: the tensor itself, or a copy on meta whose views can be taken.
    """

    tensor: Tensor
    name: str
    number: int
    uses: int = 0
    weight: float | None = None
    arrived: int = 0
    sum: Tensor | None = None
    size: float | None = None
    twin: Tensor | None = None

    def base(self, part: Tensor) -> Tensor:
        """Return the tensor whose memory a part shows."""
        return self.twin if self.twin is not None and part.is_meta else self.tensor

    def add(self, gradient: Tensor) -> None:
        """Add a part of the gradient; once no other can come, keep its norm alone."""
        self._note_arrival()
        if self.uses > 1:
            self.sum = gradient.detach() if self.sum is None else self.sum + gradient
            gradient = self.sum
        if self.arrived >= self.uses:
            self.close(gradient)

    def add_norm(self, norm: float) -> None:
        """Note the norm of the gradient, for a parameter that is used once."""
        self._note_arrival()
        self.size = norm

    def _note_arrival(self) -> None:
        if self.size is not None and self.sum is None and self.arrived:
            raise SignalError(
                f"the gradient of {self.name} arrived in more parts than it was used, which a "
                f"forecast can't add up: {INSTEAD}"
            )
        self.arrived += 1

    def close(self, gradient: Tensor | None = None) -> None:
        """Reduce the gradient to its norm."""
        whole = self.sum if gradient is None else gradient
        if whole is not None:
            self.size, self.sum = norm_of(whole), None


def comes_from_vmap(tensor: Tensor, by_storage: Mapping[int, Sequence[Parameter]]) -> bool:
    """Return whether a tensor is one of torch.vmap, and raise if that maps over a parameter.

    ``vmap`` isn't a torch function: no call is seen to take the whole parameter.
    """
    if not is_mapped(tensor):
        return False
    for parameter in by_storage.get(storage_key(unmapped(tensor)), ()):
        raise SignalError(
            f"the model maps over {parameter.name} by torch.vmap, where a forecast can't give it "
            f"a value: {INSTEAD}"
        )
    return True
