"""What the tests of schemes share: a way to fill a tensor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from goodinit.schemes import Layout, Scheme, Site
from goodinit.streams import Law, Stream

Fill = Callable[..., Tensor]


@pytest.fixture
def fill() -> Fill:
    """Return a function that fills a tensor (new, or ``out``) and returns it."""

    def fill_(
        scheme: Scheme,
        shape: tuple[int, ...],
        layout: Layout | None = None,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        out: Tensor | None = None,
    ) -> Tensor:
        target = torch.full(shape, torch.nan, dtype=dtype) if out is None else out

        def draw(out: Tensor, law: Law, purpose: str = "") -> None:
            Stream(seed).fill_(out, "weight", law, purpose=purpose)

        site = Site.of(shape, layout)
        scheme.check(site)
        scheme.fill_(target, draw, site)
        return target

    return fill_
