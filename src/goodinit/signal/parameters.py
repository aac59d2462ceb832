"""`Weights`: where a measurement gets parameters from, and what it does with their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from goodinit.anatomy.logical_values import logical_value
from goodinit.anatomy.names import Slot
from goodinit.errors import SignalError
from goodinit.signal.attention_weights import Concentration, concentration_of
from goodinit.signal.rows import Gradient
from goodinit.trace.calls import Call, Observer
from goodinit.trace.real_run import Change, gradients_restored

# Squares of numbers of such a norm may have left float32, whose range is 1e-38 to 3e38.
LEAST_SURE_NORM, LARGEST_SURE_NORM = 1e-15, 1e15


class Weights:
    """The parameters that a model has in memory.

    Attributes:
        slots: by name.
    """

    def __init__(self, found: Sequence[Slot]) -> None:
        self.slots = {slot.name: slot for slot in found if not slot.buffer}

    @property
    def change(self) -> Change | None:
        """What runs a call in the model's place; None if the call runs as it is."""
        return None

    def value(self, tensor: Tensor) -> Tensor:
        """Return what a call gets for a tensor: a parameter's value, or the tensor itself."""
        return tensor

    def concentration(self, call: Call) -> Concentration | None:
        """Return how concentrated the attention of the call that just returned is."""
        return concentration_of(call)

    @contextmanager
    def around(self, observer: Observer) -> Generator[None]:  # noqa: ARG002
        """Do what has to be done around a run, forward and backward."""
        yield

    def contents(self, name: str) -> Tensor:
        """Return a parameter's values in the form that findings use."""
        return self.slots[name].tensors[-1]

    def gradients(
        self,
        total: Tensor,
        given: list[Tensor],
        run: Callable[..., Any],  # noqa: ARG002
        reentrant: bool,
    ) -> list[Gradient]:
        """Run the backward pass, which the rows' hooks watch; return the parameters' gradients."""
        pairs = [(s, t) for s in self.slots.values() for t in s.tensors if t.requires_grad]
        tensors = [t for _, t in pairs]
        if reentrant:
            made = any(t.grad_fn is not None for t in given)
            back = partial(torch.autograd.backward, total, retain_graph=made)
            found = gradients_by_backward(total, tensors, given, back)
        else:
            found = torch.autograd.grad(total, tensors, allow_unused=True)
        return [gradient_of(s.name, g, t) for (s, t), g in zip(pairs, found, strict=True)]

    def notes(self) -> list[str]:
        """Return notes on where the parameters came from."""
        return []


class ParameterTensors(Mapping[str, Tensor]):
    """The values of parameters by name, in the form that findings use.

    ``computed``: those that a parametrization makes are made, rather than what is stored.
    """

    def __init__(self, weights: Weights, *, computed: bool = False) -> None:
        self._weights, self._computed = weights, computed

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._weights.slots:
            raise KeyError(name)
        stored, slot = self._weights.contents(name), self._weights.slots[name]
        if not self._computed or slot.how == "plain" or slot.tensor.is_meta:
            return stored
        return logical_value(slot).requires_grad_(any(t.requires_grad for t in slot.tensors))

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights.slots)

    def __len__(self) -> int:
        return len(self._weights.slots)


def gradient_of(name: str, gradient: Tensor | None, tensor: Tensor) -> Gradient:
    """Return a parameter's gradient, measured."""
    if gradient is None:
        return Gradient(name, None)
    return Gradient.of_norms(name, norm_of(gradient), norm_of(tensor))


def gradients_by_backward(
    total: Tensor, tensors: list[Tensor], inputs: list[Tensor], back: Callable[[], object]
) -> tuple[Tensor | None, ...]:
    """Return gradients by ``backward()``, the only way that reentrant checkpoints support."""
    # What an input was made from gets a gradient too, by a graph that is the caller's.
    leaves = [node.variable for node in nodes_of(total) if hasattr(node, "variable")]
    touched = [*tensors, *inputs, *leaves]
    if any(getattr(t, "_post_accumulate_grad_hooks", None) for t in touched):
        raise SignalError(
            "reentrant checkpoints beside hooks that run when a gradient is there (an optimizer in "
            "the backward pass?): use checkpoint(..., use_reentrant=False)"
        )
    with gradients_restored(touched):
        back()
        return tuple(t.grad for t in tensors)


def nodes_of(total: Tensor) -> Iterator[Any]:
    """Yield the nodes of the graph that a backward pass goes through."""
    nodes, seen = [total.grad_fn], set[object]()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            nodes += [before for before, _ in node.next_functions]


# A sum of the squares of more numbers loses digits in float32: of 40 million, the fifth.
PIECE = 2**14


def norm_of(tensor: Tensor) -> float:
    """Return the norm of a tensor whose squares may leave float32's range."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided:  # of a sparse table; rows that came twice are added up
        coo = tensor if tensor.layout == torch.sparse_coo else tensor.to_sparse_coo()
        tensor = coo.coalesce().values()
    if not tensor.is_complex() and tensor.dtype != torch.float64:
        tensor = tensor.float()
    norm = _norm(tensor)
    if LEAST_SURE_NORM < norm < LARGEST_SURE_NORM or not tensor.numel():
        return norm
    largest = tensor.abs().amax().item()
    if not 0 < largest < math.inf:
        return largest
    return largest * _norm(tensor / largest)


def _norm(tensor: Tensor) -> float:
    flat = tensor.flatten()  # a copy where it isn't contiguous
    whole = flat.numel() - flat.numel() % PIECE
    parts = flat[:whole].view(-1, PIECE), flat[None, whole:]
    norms = torch.cat([cast("Tensor", torch.linalg.vector_norm(part, dim=1)) for part in parts])
    return cast("Tensor", torch.linalg.vector_norm(norms.double())).item()
