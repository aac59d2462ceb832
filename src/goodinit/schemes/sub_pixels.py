"""Weights in front of a pixel shuffle."""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: D102

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from goodinit.errors import FanError, SchemeError
from goodinit.schemes import fields
from goodinit.schemes.fans import Site
from goodinit.schemes.scheme import Draw, FromValues, Scheme, Unplanned
from goodinit.streams import Box


@dataclass(frozen=True, repr=False)
class ICNR(Scheme):
    """``law``, with ``copies`` outputs in a row alike: no checkerboard after a pixel shuffle.

    A pixel shuffle that upscales by r makes r * r channels in a row the pixels of one square. If
    they start alike, the result is the smaller image with each pixel repeated (Aitken et al.
    2017, 1707.02937, section 3.2, "initialization to convolution NN resize").

    Args:
        law: the scheme of the first of each row of copies.
        copies: r * r in two dimensions, r in one, r ** 3 in three.

    Raises:
        SchemeError: ``law`` isn't a scheme with numbers of its own, ``copies`` isn't 1 or more;
            (when used) the outputs aren't a multiple of ``copies``.
        FanError: (when used) the tensor has no axis of outputs, such as a bias.

    Example:
        >>> from torch import nn
        >>> from goodinit.applying.apply import init_
        >>> from goodinit.schemes import HeNormal
        >>> up = nn.Conv2d(8, 3 * 4, 3)
        >>> plan = init_(up, {nn.Conv2d: ICNR(HeNormal(), copies=4)}, seed=0)
        >>> bool((up.weight[:4] == up.weight[0]).all()), bool((up.weight[4] == up.weight[0]).any())
        (True, False)
    """

    law: Scheme
    copies: int = 4

    def __post_init__(self) -> None:
        known = isinstance(self.law, Scheme)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not known or isinstance(self.law, FromValues | Unplanned):
            fields.refuse(self, "law", self.law, "law is a scheme with numbers, like HeNormal()")
        fields.check_count(self, "copies")

    def moments(self, site: Site) -> tuple[float, float]:
        self._axis(site)
        return self.law.moments(site)

    def check(self, site: Site) -> None:
        self._axis(site)
        self.law.check(site)

    def times(self, factor: float) -> Scheme:
        return replace(self, law=self.law.times(factor))

    @torch.no_grad()
    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        axis = self._axis(site)
        self.law.fill_(out, draw, site)
        rows = out.movedim(axis, 0)
        for number in range(1, self.copies):
            rows[number :: self.copies] = rows[:: self.copies]

    def reach(self, site: Site, box: Box) -> tuple[Box, Site]:
        axis = self._axis(site)
        start, stop = box[axis]
        whole = (start // self.copies * self.copies, -(-stop // self.copies) * self.copies)
        return self.law.reach(site, (*box[:axis], whole, *box[axis + 1 :]))

    def _axis(self, site: Site) -> int:
        """Return the axis of the outputs, or raise."""
        if site.layout is None or len(site.layout.outputs) != 1:
            raise FanError(
                f"{self!r} is for the weight of a convolution or a linear layer, and a tensor of "
                f"shape {site.shape} without an axis of outputs is none: give {self.law!r}"
            )
        axis = site.layout.outputs[0]
        if site.shape[axis] % self.copies:
            raise SchemeError(
                f"{self!r} needs a multiple of {self.copies} outputs, and there are "
                f"{site.shape[axis]}: copies is r * r for a pixel shuffle that upscales by r"
            )
        return axis
