"""Philox for a few blocks, in Python's own integers.

For a tiny parameter, nearly all time is the overhead of a hundred calls of torch. One long Python
integer holds a word of every block in lanes of 64 bits. A product with a 32-bit multiplier stays
within its lane, so each step of Philox is one operation for all blocks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from goodinit.streams.spec import Key

__all__ = ["MOST_BLOCKS", "philox_words"]

MOST_BLOCKS = 256
"""Up to about this many blocks it is faster than torch, as measured. No value depends on it."""


@lru_cache(maxsize=MOST_BLOCKS)
def _lanes(count: int) -> tuple[int, int]:
    """Return the integers whose lanes hold 1, 1, 1, ... and 0, 1, 2, ..."""
    return sum(1 << 64 * i for i in range(count)), sum(i << 64 * i for i in range(count))


def philox_words(key: Key, first: int, count: int) -> Tensor:
    """Return the words of the blocks first, ..., first + count - 1, as ``philox`` does, flat.

    Args:
        key: of ``make_key``.
        first: the first block.
        count: how many blocks, at least one.

    Returns:
        int64 [4 * count] in [0, 2**32).

    >>> from goodinit.streams import Key
    >>> philox_words(Key(0, 0, 0, 0), first=0, count=1).tolist()
    [1713891541, 3781805453, 3159862348, 2600524760]
    """
    ones, ramp = _lanes(count)
    low = 0xFFFFFFFF * ones
    blocks = first * ones + ramp
    c0, c1, c2, c3 = blocks & low, blocks >> 32 & low, key.high0 * ones, key.high1 * ones
    k0, k1 = key.key0, key.key1
    for _ in range(10):
        a, b = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1 = (b >> 32 & low) ^ c1 ^ k0 * ones, b & low
        c2, c3 = (a >> 32 & low) ^ c3 ^ k1 * ones, a & low
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    data = bytearray(b"".join(c.to_bytes(8 * count, "little") for c in (c0, c1, c2, c3)))
    return torch.frombuffer(data, dtype=torch.int64).view(4, count).t().reshape(-1)
