"""Biases of heads that start a model at what is known of its targets: ``PriorBias``."""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from goodinit.errors import SchemeError
from goodinit.schemes import fields
from goodinit.schemes.fans import Site
from goodinit.schemes.scheme import Draw, Scheme, mean_and_std

Link = Literal["sigmoid", "softmax", "identity"]

SUM_ERROR = 1e-3  # by which frequencies, rounded to three digits or so, may miss a sum of 1
MOST_CLASSES = 2**20  # of a list: what reading a file may cost; vocabularies are smaller


@dataclass(frozen=True, repr=False)
class PriorBias(Scheme):
    """The bias at which a head starts with what is known of its targets.

    =================================  ===========  ===============================
    what is known                      ``link``     bias
    =================================  ===========  ===============================
    a probability, .01                 "sigmoid"    -log((1 - p)/p)
    frequencies of the classes, or     "softmax"    log p of each class
    how many samples each one has
    the mean of the targets            "identity"   the mean
    =================================  ===========  ===============================

    With small head weights the first loss is then that of a guess by frequency: the entropy of the
    classes instead of ln K. RetinaNet's focal loss needs it, p = .01 (Lin et al. 2017,
    1708.02002, section 4.1; torchvision and mmengine's ``bias_init_with_prob``).
    ``gi.sel.head_bias()`` selects the biases of heads by the data flow.

    Args:
        p: a probability between 0 and 1; a list with one number for each output; with
            ``link="identity"`` a mean or a list of means.
        link: what turns the head's outputs into predictions. "" is "sigmoid" for a number and
            "softmax" for a list.

    Raises:
        SchemeError: a probability that isn't between 0 and 1, a class without a sample,
            frequencies that don't add up; (when planned) another number of outputs, a weight
            instead of a bias.

    Example:
        >>> PriorBias(0.01).moments(Site((80,)))[0]
        -4.59511985013459
        >>> PriorBias([900, 90, 10])
        PriorBias(p=(0.9, 0.09, 0.01))
        >>> PriorBias(22.5, link="identity").moments(Site((1,)))
        (22.5, 0.0)
    """

    no_factor = "{} is what is known of the targets: no factor changes it"

    p: float | tuple[float, ...]
    link: Literal["", "sigmoid", "softmax", "identity"] = ""

    def __post_init__(self) -> None:
        fields.check_choice(self, "link", ("", "sigmoid", "softmax", "identity"))
        given: object = self.p
        if isinstance(given, torch.Tensor):
            given = cast("object", given.tolist())
        if isinstance(given, Sequence) and not isinstance(given, str):
            items = cast("Sequence[object]", given)
            if not 1 < len(items) <= MOST_CLASSES:
                fields.refuse(self, "p", items, "p is one number, or a number for each output")
            each = tuple(fields.as_float(self, "p", item) for item in items)
            object.__setattr__(self, "p", self._list_of(each))
        else:
            object.__setattr__(self, "p", self._single(fields.as_float(self, "p", given)))

    def _resolved(self) -> Link:
        return self.link or ("softmax" if isinstance(self.p, tuple) else "sigmoid")

    def _single(self, p: float) -> float:
        if self.link == "softmax":
            fields.refuse(self, "p", p, "a softmax needs the frequency of each class: a list")
        if self.link != "identity" and not 0 < p < 1:
            fix = f"p must be between 0 and 1. Write gi.PriorBias({p:g}, link='identity') for a "
            fields.refuse(self, "p", p, fix + "mean target")
        return p

    def _list_of(self, each: tuple[float, ...]) -> tuple[float, ...]:
        if self.link == "identity":
            return each
        if self.link == "sigmoid":
            for p in each:
                self._single(p)
            return each
        empty = [number for number, p in enumerate(each) if p <= 0]
        if empty:
            fix = f"class {empty[0]} has {each[empty[0]]:g}, and log 0 is infinite: count a sample"
            fields.refuse(self, "p", each, f"{fix} more of each class")
        total = math.fsum(each)
        if abs(total - 1) > SUM_ERROR and not all(p == int(p) for p in each):
            fix = f"frequencies of classes add up to 1, and these to {total:g}. Of a probability "
            fields.refuse(self, "p", each, f"{fix}for each output, write link='sigmoid'")
        return each if abs(total - 1) <= SUM_ERROR else tuple(p / total for p in each)

    def _values(self) -> Tensor:
        p = torch.tensor(self.p, dtype=torch.float64, device="cpu")
        match self._resolved():
            case "sigmoid":
                return p.log() - (-p).log1p()
            case "softmax":
                return p.log() - p.sum().log()
            case "identity":
                return p

    def check(self, site: Site) -> None:
        if site.layout is not None:
            raise SchemeError(f"{self!r} is the law of a head's bias, and this is a weight")
        if isinstance(self.p, tuple) and math.prod(site.shape) != len(self.p):
            outputs = math.prod(site.shape)
            raise SchemeError(
                f"PriorBias has {len(self.p)} numbers, and this bias {outputs} outputs (shape "
                f"{site.shape}): give one for each output, in their order"
            )

    def moments(self, site: Site) -> tuple[float, float]:
        self.check(site)
        return mean_and_std(self._values())

    @torch.no_grad()
    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        self.check(site)
        values = self._values()
        out.copy_(values.view(site.shape) if values.dim() else values)
