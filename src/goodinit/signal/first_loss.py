"""The first cross-entropy, and what it must be: that of a blind guess, or of a guess by classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from goodinit.findings.logits import blind_guess
from goodinit.trace.calls import Call

ENTROPIES: Mapping[str, Callable[..., Tensor]] = {
    "cross_entropy": functional.cross_entropy,
    "nll_loss": functional.nll_loss,
}
TAKE_LOGITS = frozenset(("cross_entropy", "binary_cross_entropy_with_logits"))
IGNORED = -100  # torch's default of ignore_index


@dataclass(frozen=True, slots=True)
class FirstLoss:
    """A mean cross-entropy, beside those of two models that haven't seen the inputs.

    Attributes:
        value: of this model, on this batch.
        error: its standard error over the targets; None of a single one.
        classes: how many there are.
        blind: of equal probabilities, ln(classes): where small logits start.
        by_frequency: of the frequencies of the classes in this batch, their entropy: where
            ``gi.PriorBias`` starts. A batch smaller than the number of classes has too low a one.
            None where the loss weights or smooths the targets.
        row: number of the row of the logits.

    Example:
        >>> FirstLoss(2.31, 0.01, 10, math.log(10), 2.25).text()
        'cross-entropy 2.31 +- 0.01; a blind guess among 10 classes has 2.30, one by the \
frequencies in this batch 2.25'
    """

    value: float
    error: float | None
    classes: int
    blind: float
    by_frequency: float | None = None
    row: int = -1

    def text(self) -> str:
        """Return both numbers in a sentence."""
        error = "" if self.error is None else f" +- {self.error:.2g}"
        text = f"cross-entropy {self.value:.3g}{error}; a blind guess among {self.classes} classes "
        text += f"has {self.blind:.2f}"
        if self.by_frequency is None:
            return text
        return f"{text}, one by the frequencies in this batch {self.by_frequency:.2f}"


@torch.no_grad()
def cross_entropy_of(call: Call, row: int) -> FirstLoss | None:
    """Return what a cross-entropy says; None for other calls and for logits it can't judge."""
    mean = ENTROPIES.get(call.function)
    given = call.tensors
    if mean is None or not given or not given[0].dim() or not isinstance(call.result, Tensor):
        return None
    logits = given[0]
    classes = logits.shape[1] if logits.dim() > 1 else logits.shape[0]
    kwargs = {**call.kwargs, "reduction": "mean"}
    value = mean(*call.args, **kwargs).item()
    plain = call.kwargs.get("weight") is None and not call.kwargs.get("label_smoothing")
    if not plain or len(given) != 2:
        return FirstLoss(value, None, classes, blind_guess(classes), None, row)
    target, ignored = given[1], call.kwargs.get("ignore_index", IGNORED)
    each = mean(*call.args, **{**kwargs, "reduction": "none"}).flatten()
    if not target.is_floating_point():
        each = each[target.flatten() != ignored]
    error = each.double().std().item() / math.sqrt(len(each)) if len(each) > 1 else None
    shares = _frequencies(target, cast("int", ignored), classes, logits.dim())
    entropy = -torch.xlogy(shares, shares).sum().item()
    return FirstLoss(value, error, classes, blind_guess(classes), entropy, row)


def _frequencies(target: Tensor, ignored: int, classes: int, rank: int) -> Tensor:
    """Return the share of each class among the targets, which are numbers or probabilities."""
    if target.is_floating_point():
        over = [axis for axis in range(rank) if axis != min(1, rank - 1)]
        total = target.double().sum(over) if over else target.double()
        return total / total.sum()
    flat = target.flatten()
    counts = flat[flat != ignored].bincount(minlength=classes).double()
    return counts / counts.sum().clamp(min=1)
