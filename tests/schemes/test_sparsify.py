"""Zeros of columns: the compiled code, torch's and a sort choose the same places."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from goodinit.schemes import Layout, sparsify
from goodinit.schemes.smallest_k import lowest
from goodinit.streams import Box, Law, Stream, native
from goodinit.streams.native.smallest_k import zero_lowest

needs_library = pytest.mark.skipif(
    native.load().fill is None, reason=f"no native kernels here: {native.load().found}"
)


def slowly(chance: Tensor, count: int) -> Tensor:
    """Whether a number is among the lowest of its column, by sorting (number, row)."""
    mask = torch.zeros_like(chance, dtype=torch.bool)
    for column in range(chance.shape[1]):
        pairs = sorted((x, row) for row, x in enumerate(chance[:, column].tolist()))
        for _, row in pairs[:count]:
            mask[row, column] = True
    return mask


@needs_library
@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(1, 700),
    columns=st.integers(1, 40),
    share=st.floats(0, 1),
    levels=st.sampled_from([1, 2, 7, 300, 2**24]),
    beside=st.integers(0, 3),
    seed=st.integers(0, 2**31),
)
def test_the_same_places_with_ties(
    rows: int, columns: int, share: float, levels: int, beside: int, seed: int
) -> None:
    """Few levels make many equal numbers, far from where a quantile is looked for."""
    numbers = torch.randint(levels + 1, (rows, columns), generator=torch.manual_seed(seed))
    chance = (numbers / levels).float()
    count = max(1, round(share * rows))
    memory = torch.ones(rows, columns + beside)
    assert zero_lowest(memory[:, :columns], chance, count)
    wanted = slowly(chance, count)
    assert torch.equal(memory[:, :columns] == 0, wanted)
    assert (memory[:, columns:] == 1).all()
    assert torch.equal(lowest(chance[None], count)[0], wanted)


LAYOUTS = {
    "linear": ((60, 50), Layout((0,), (1,))),
    "transposed": ((50, 60), Layout((1,), (0,))),
    "grouped": ((12, 5, 3, 2), Layout((0,), (1,), (2, 3), groups=3)),
    "grouped and transposed": ((12, 5, 3), Layout((1,), (0,), (2,), groups=3, transposed=True)),
    "experts": ((3, 20, 30), Layout((2,), (1,), batch=(0,))),
}


@pytest.mark.parametrize("which", LAYOUTS)
def test_strips_and_memory_make_no_difference(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, layout = LAYOUTS[which]

    def chance(out: Tensor, *, box: Box | None = None) -> None:
        Stream(0).fill_(out, "w", Law.uniform(0.0, 1.0), shape=shape, box=box)

    outputs = layout.unfold(torch.empty(shape)).shape[len(layout.batch) + 1]
    count = max(1, outputs // 3)
    wanted = torch.ones(shape)
    monkeypatch.setattr(sparsify, "zero_lowest", lambda *_: False)
    sparsify.thin_(wanted, layout, count, chance)
    assert (wanted == 0).sum() == wanted.numel() // outputs * count
    monkeypatch.undo()
    monkeypatch.setattr(sparsify, "STRIP", 200)
    for order in (tuple(range(len(shape))), tuple(range(len(shape)))[::-1]):
        memory = torch.ones([shape[axis] for axis in order])
        values = memory.permute(*(order.index(axis) for axis in range(len(shape))))
        sparsify.thin_(values, layout, count, chance)
        assert torch.equal(values, wanted)
