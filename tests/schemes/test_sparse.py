"""Zeros of columns: the places that sorting each column by itself gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from goodinit.schemes import Layout, matrices
from goodinit.schemes.matrices import smallest, zero_smallest_


def by_sorting(numbers: Tensor, count: int) -> Tensor:
    """Whether a number is among the smallest of its column, by sorting (number, row)."""
    mask = torch.zeros_like(numbers, dtype=torch.bool)
    for column in range(numbers.shape[1]):
        pairs = sorted((x, row) for row, x in enumerate(numbers[:, column].tolist()))
        for _, row in pairs[:count]:
            mask[row, column] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 300),
    columns=st.integers(1, 20),
    share=st.floats(0, 1),
    levels=st.sampled_from([1, 2, 7, 300, 2**24]),
    strip=st.sampled_from([1, 1000, 2**22]),
    seed=st.integers(0, 2**31),
)
def test_the_same_places_with_ties(
    rows: int, columns: int, share: float, levels: int, strip: int, seed: int
) -> None:
    """Few levels make many equal numbers; of these the first rows are chosen."""
    generator = torch.Generator().manual_seed(seed)
    chance = (torch.randint(levels + 1, (rows, columns), generator=generator) / levels).float()
    zeros = max(1, round(share * rows))
    expected = by_sorting(chance, zeros)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrices, "STRIP", strip)
        assert torch.equal(smallest(chance, zeros), expected)


LAYOUTS = {
    "linear": ((60, 50), Layout((0,), (1,))),
    "transposed": ((50, 60), Layout((1,), (0,))),
    "grouped": ((12, 5, 3, 2), Layout((0,), (1,), (2, 3), groups=3)),
    "grouped and transposed": ((12, 5, 3), Layout((1,), (0,), (2,), groups=3, transposed=True)),
    "experts": ((3, 20, 30), Layout((2,), (1,), batch=(0,))),
    "two axes of outputs": ((4, 5, 30), Layout((0, 1), (2,))),
}


@pytest.mark.parametrize("which", LAYOUTS)
def test_layout_and_memory_order(which: str) -> None:
    shape, layout = LAYOUTS[which]
    chance = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    first = len(layout.batch) + 1
    outputs = layout.unfold(chance).shape[first : first + len(layout.outputs)].numel()
    count = outputs // 3
    expected = torch.ones(shape)
    columns = layout.unfold(chance).flatten(first, first + len(layout.outputs) - 1)
    flat = columns.movedim(first, 0).reshape(outputs, -1)
    mask = by_sorting(flat, count).reshape(columns.movedim(first, 0).shape).movedim(0, first)
    layout.unfold(expected)[mask.reshape(layout.unfold(chance).shape)] = 0
    assert (expected == 0).sum() == expected.numel() // outputs * count
    for order in (tuple(range(len(shape))), tuple(range(len(shape)))[::-1]):
        memory = torch.ones([shape[axis] for axis in order])
        values = memory.permute(*(order.index(axis) for axis in range(len(shape))))
        zero_smallest_(values, chance, layout, count)
        assert torch.equal(values, expected)
