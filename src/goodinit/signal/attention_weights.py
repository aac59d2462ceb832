"""How concentrated attention is: rows with all weight on one position, and their scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from goodinit.findings.one_hot import CHOSEN_WEIGHT, LEAST_TO_CHOOSE_FROM
from goodinit.signal.attention_products import ATTENTION, bound
from goodinit.signal.moments import GOLDEN
from goodinit.trace.calls import Call

CHOOSING = frozenset(("softmax", "attention"))  # roles of calls that may be asked
FUSED = "scaled_dot_product_attention"
FUSED_TAKES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
ROWS = 4096  # that are looked at: a share is compared with a half, two percent is enough
QUERIES, SAMPLES = 32, 4  # of a fused call, whose scores are computed once more
HIDDEN = -5e3  # masks write -1e4, -1e9 or -inf into the scores


class Concentration(NamedTuple):
    """How concentrated the rows of a softmax are.

    Attributes:
        share: of the rows that have a choice, those with nearly all their weight on one position.
        std: of the scores of a row.
    """

    share: float
    std: float


@torch.no_grad()
def concentration_of(call: Call) -> Concentration | None:
    """Return how concentrated a softmax or an attention is; None if it has no choice."""
    scores = None
    if call.function == "softmax":
        scores = _given(call)
    elif call.function == FUSED:
        scores = _of_fused({**dict(zip(FUSED_TAKES, call.args, strict=False)), **call.kwargs})
    elif call.function == ATTENTION:
        scores = _of_module(bound(call.args, call.kwargs))
    return None if scores is None else _concentration(scores)


def _concentration(scores: Tensor) -> Concentration | None:
    """Return how concentrated rows of scores are, the positions along the last axis.

    >>> round(_concentration(torch.tensor([[0.0, 9.0], [0.0, 0.1], [0.0, -1e9]])).share, 3)
    0.5
    """
    rows = scores.reshape(-1, scores.shape[-1])
    if len(rows) > ROWS:
        steps = torch.arange(ROWS, dtype=torch.float64, device=rows.device) * GOLDEN % 1
        rows = rows[(steps * len(rows)).long()]
    rows = rows.float()
    seen = rows > HIDDEN
    rows, seen = (x[seen.sum(1) >= LEAST_TO_CHOOSE_FROM] for x in (rows, seen))
    if not len(rows) or not bool(rows[seen].isfinite().all()):
        return None
    largest = rows.masked_fill(~seen, -math.inf).softmax(1).amax(1)
    count = seen.sum(1)
    centered = rows - rows.masked_fill(~seen, 0).sum(1, keepdim=True) / count[:, None]
    each = centered.masked_fill(~seen, 0).square().sum(1) / count
    return Concentration((largest > CHOSEN_WEIGHT).float().mean().item(), each.mean().sqrt().item())


def _given(call: Call) -> Tensor | None:
    """Return the scores that a softmax takes, its axis last."""
    given = {**dict(zip(("input", "dim"), call.args, strict=False)), **call.kwargs}
    scores, axis = given.get("input"), given.get("dim")
    if not isinstance(scores, Tensor) or not isinstance(axis, int) or not scores.dim():
        return None
    return scores.movedim(axis, -1) if scores.is_floating_point() else None


def _of_fused(given: Mapping[str, Any]) -> Tensor | None:
    query, key = cast("Tensor", given["query"]), cast("Tensor", given["key"])
    if query.is_nested or key.is_nested or min(query.dim(), key.dim()) < 2:
        return None
    if query.dim() > 3 and query.shape[-3] != key.shape[-3]:  # heads of queries share keys
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    mask, scale = given.get("attn_mask"), given.get("scale")
    shape = (*query.shape[:-1], key.shape[-2])
    if mask is None and given.get("is_causal"):
        mask = torch.ones(shape[-2:], dtype=torch.bool, device=query.device).tril()
    if mask is not None:
        mask = (~mask if mask.dtype == torch.bool else mask).expand(shape)
    if query.dim() > 3:
        query, key = query[:SAMPLES], key[:SAMPLES]
        mask = None if mask is None else mask[:SAMPLES]
    at = _evenly(shape[-2], query)
    factor = query.shape[-1] ** -0.5 if scale is None else float(scale)
    scores = query[..., at, :].float() @ key.float().mT * factor
    return scores if mask is None else _hidden(scores, mask[..., at, :])


def _of_module(given: Mapping[str, Any]) -> Tensor | None:
    """Return the scores of torch's multi-head attention, [samples, heads, queries, keys]."""
    query, key, heads = given["query"], given["key"], given["num_heads"]
    if given.get("static_k") is not None or given.get("bias_k") is not None or query.is_nested:
        return None
    if query.dim() == 2:
        query, key = query.unsqueeze(1), key.unsqueeze(1)
    if given.get("use_separate_proj_weight"):
        weights = given["q_proj_weight"], given["k_proj_weight"]
    else:
        weights = given["in_proj_weight"].chunk(3)[:2]
    bias = given.get("in_proj_bias")
    biases = (None, None) if bias is None else bias.chunk(3)[:2]
    at, samples = _evenly(len(query), query), min(query.shape[1], SAMPLES)
    q, k = (
        _in_heads(functional.linear(x[:, :samples], w, b), heads)
        for x, w, b in zip((query[at], key), weights, biases, strict=True)
    )
    scores = q @ k.mT * q.shape[-1] ** -0.5
    mask, padding = given.get("attn_mask"), given.get("key_padding_mask")
    if mask is not None:
        each = mask if mask.dim() == 2 else mask.unflatten(0, (-1, heads))[:samples]
        scores = _hidden(scores, each[..., at, :])
    if padding is not None:
        scores = _hidden(scores, padding.reshape(-1, 1, 1, padding.shape[-1])[:samples])
    return scores


def _in_heads(x: Tensor, heads: int) -> Tensor:
    """Return [positions, samples, features] as [samples, heads, positions, features of one]."""
    return x.float().reshape(*x.shape[:2], heads, -1).permute(1, 2, 0, 3)


def _evenly(length: int, like: Tensor) -> Tensor:
    """Return up to ``QUERIES`` numbers of queries, the last among them."""
    count = min(length, QUERIES)
    return torch.linspace(0, length - 1, count, device=like.device).round().long()


def _hidden(scores: Tensor, mask: Tensor) -> Tensor:
    """Hide scores where a mask is True, or add what it says."""
    return scores.masked_fill(mask, -math.inf) if mask.dtype == torch.bool else scores + mask
