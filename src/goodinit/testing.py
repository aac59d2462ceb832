"""For your own tests: ``assert_healthy``."""

from __future__ import annotations

from functools import partial

from torch import nn

from goodinit._common.public_names import listing as _listing
from goodinit._common.text import count
from goodinit.recipes.explained_call import explained
from goodinit.signal.checks import Loss
from goodinit.signal.measure import measure
from goodinit.trace.run import Inputs

__all__ = ["assert_healthy"]
__dir__ = _listing(__all__)


@partial(explained, place="gi.testing")
def assert_healthy(model: nn.Module, inputs: Inputs, loss: Loss | None = None) -> None:
    """Fail unless signal and gradient survive in a model with its current weights.

    Args:
        model: as for ``goodinit.measure``, which runs it and leaves it unchanged.
        inputs: as for ``measure``; at least two samples.
        loss: as for ``measure``; without it the first loss isn't judged.

    Raises:
        AssertionError: lists all warnings and errors, with causes and remedies.
        GoodinitError: as for ``measure``, for example because the model raised.

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> layers = [layer for _ in range(30) for layer in (nn.Linear(64, 64), nn.ReLU())]
        >>> net = nn.Sequential(*layers)
        >>> x = torch.randn(32, 64, generator=torch.manual_seed(0))
        >>> plan = gi.init_(net, "he", inputs=x, seed=0)
        >>> gi.testing.assert_healthy(net, x)
        >>> plan = gi.init_(net, "xavier", inputs=x, seed=0)
        >>> gi.testing.assert_healthy(net, x)
        Traceback (most recent call last):
        AssertionError: 1 finding
        warning: 0:linear to 58:linear: the signal vanishes: ...
    """
    __tracebackhide__ = True  # pytest shows the caller's line
    findings = [f for f in measure(model, inputs, loss).findings if f.severity != "info"]
    if findings:
        lines = [count(len(findings), "finding"), *map(str, findings)]
        raise AssertionError("\n".join(lines))
