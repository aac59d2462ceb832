"""The products inside of torch's multi-head attention, which is one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

ATTENTION = "multi_head_attention_forward"
OUT = ("out_proj_weight", "out_proj_bias")
SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")

_SIGNATURE = inspect.signature(functional.multi_head_attention_forward)


def bound(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by their names."""
    return dict(_SIGNATURE.bind(*args, **kwargs).arguments)


def in_products(given: Mapping[str, Any]) -> Iterator[tuple[str, str, Callable[[], list[Tensor]]]]:
    """Yield each projection of query, key and value: its weight, its bias, its products.

    A bias that several weights share has no name here, and isn't added.
    """
    signals: list[Tensor] = [given["query"], given["key"], given["value"]]
    if not given.get("use_separate_proj_weight"):

        def packed() -> list[Tensor]:
            bias = given.get("in_proj_bias")
            biases = (None,) * 3 if bias is None else torch.chunk(bias, 3)
            weights = torch.chunk(given["in_proj_weight"], 3)
            return [functional.linear(*each) for each in zip(signals, weights, biases, strict=True)]

        yield "in_proj_weight", "in_proj_bias", packed
        return
    for weight, signal in zip(SEPARATE, signals, strict=True):
        yield weight, "", lambda w=weight, x=signal: [functional.linear(x, given[w])]
