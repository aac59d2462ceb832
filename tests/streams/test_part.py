"""`Part`: what a tensor holds, against plain indexing."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from torch import Tensor

from goodinit.errors import StreamError
from goodinit.streams import Part
from goodinit.streams.part import Box, Runs, intersect, regions

Shape = tuple[int, ...]


def numbered(shape: Shape) -> Tensor:
    return torch.arange(torch.Size(shape).numel()).view(shape)


def a_shape(rng: random.Random) -> Shape:
    return tuple(rng.randint(1, 6) for _ in range(rng.randint(1, 3)))


def some_runs(rng: random.Random, size: int) -> Runs:
    """One to three runs that don't overlap, in any order; some are empty."""
    ends = sorted(rng.randint(0, size) for _ in range(2 * rng.choice((1, 1, 2, 3))))
    runs = list(zip(ends[::2], ends[1::2], strict=True))
    return tuple(rng.sample(runs, len(runs)))


def a_part(rng: random.Random, shape: Shape) -> Part:
    if rng.random() < 0.4:
        total = torch.Size(shape).numel()
        return Part.flat(shape, *sorted((rng.randint(0, total), rng.randint(0, total))))
    return Part(shape, tuple(some_runs(rng, size) for size in shape))


def held(part: Part, whole: Tensor) -> Tensor:
    """What a part holds, by indices."""
    for axis, runs in enumerate(part.box):
        indices = [n for start, stop in runs for n in range(start, stop)]
        whole = whole.index_select(axis, torch.tensor(indices, dtype=torch.int64))
    if part.flat_range is None:
        return whole
    return whole.flatten()[slice(*part.flat_range)]


def gathered(part: Part, whole: Tensor) -> Tensor:
    """What a part holds, by its pieces; -1 where none is."""
    out = torch.full(part.local_shape, -1)
    for box, where in part.pieces():
        out[where] = whole[tuple(slice(*run) for run in box)].reshape(out[where].shape)
    return out


def test_pieces_are_what_is_held() -> None:
    rng = random.Random(0)
    for _ in range(300):
        shape = a_shape(rng)
        whole, part = numbered(shape), a_part(rng, shape)
        assert torch.equal(gathered(part, whole), held(part, whole)), part
        assert all(start < stop for box, _ in part.pieces() for start, stop in box)
        if part.is_whole:
            assert torch.equal(held(part, whole).flatten(), whole.flatten())


def test_a_part_of_a_part() -> None:
    rng = random.Random(1)
    refused = 0
    for _ in range(300):
        shape = a_shape(rng)
        outer = Part(shape, tuple(some_runs(rng, size) for size in shape))
        inner, whole = a_part(rng, outer.local_shape), numbered(shape)
        if inner.flat_range is not None and any(len(runs) > 1 for runs in outer.box):
            with pytest.raises(StreamError, match="several runs of an axis"):
                inner.within(outer)
            refused += 1
            continue
        both = inner.within(outer)
        assert torch.equal(held(both, whole), held(inner, held(outer, whole))), (outer, inner)
        assert torch.equal(gathered(both, whole), held(both, whole))
    assert refused > 20


@pytest.mark.parametrize("of", [Part.flat((4, 2), 0, 8), Part.whole((3, 2)), Part.whole((8,))])
def test_a_part_of_another_shape_is_none(of: Part) -> None:
    with pytest.raises(StreamError, match="isn't one of"):
        Part.whole((4, 2)).within(of)


def test_regions_cut_a_box_in_order() -> None:
    rng = random.Random(2)
    for _ in range(200):
        shape, limit = a_shape(rng), rng.randint(1, 40)
        ends = (sorted(rng.sample(range(size + 1), 2)) for size in shape)
        box: Box = tuple((start, stop) for start, stop in ends)
        cut = [cells(shape, region) for region in regions(box, limit)]
        assert max(map(len, cut)) <= limit
        assert torch.equal(torch.cat(cut), cells(shape, box))
        if len(shape) == 1:  # as few as can be
            assert all(len(one) == limit for one in cut[:-1])


def cells(shape: Shape, box: Box) -> Tensor:
    return numbered(shape)[tuple(slice(*run) for run in box)].flatten()


def test_boxes_that_only_touch_share_nothing() -> None:
    assert intersect(((0, 3), (2, 6)), ((2, 9), (0, 3))) == ((2, 3), (2, 3))
    assert intersect(((0, 3), (2, 6)), ((3, 9), (0, 3))) is None
    assert intersect((), ()) == ()


@pytest.mark.parametrize(("size", "parts_of"), [(16, 4), (5, 4), (2, 4), (0, 3), (7, 1)])
def test_a_split_is_torchs_chunk(size: int, parts_of: int) -> None:
    whole = numbered((size, 2))
    chunks = [held(Part.split(-2, n, parts_of).of((size, 2)), whole) for n in range(parts_of)]
    theirs = whole.chunk(parts_of)
    for ours, chunk in itertools.zip_longest(chunks, theirs, fillvalue=whole[:0]):
        assert torch.equal(ours, chunk)


def test_stacked_projections_are_split_one_by_one() -> None:
    whole = numbered((3, 12))
    for rank in range(2):
        part = Part.split(1, rank, 2, pieces=3).of((3, 12))
        expected = whole.view(3, 3, 2, 2)[:, :, rank].flatten(1)
        assert torch.equal(held(part, whole), expected)
    assert Part.split(0, 0, 1, pieces=3).of((6,)).box == (((0, 6),),)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Part.split(0, 2, 2), "0 <= rank < size"),
        (lambda: Part.split(0, -1, 2), "0 <= rank < size"),
        (lambda: Part.split(0, 0, 2, pieces=0), "pieces from 1"),
        (lambda: Part.split(1, 0, 2).of((4,)), "no such axis"),
        (lambda: Part.split(-2, 0, 2).of((4,)), "no such axis"),
        (lambda: Part.split(0, 0, 2, pieces=3).of((4,)), "isn't a multiple of the pieces"),
        (lambda: Part.split(0, 0.5, 2), "rank must be a whole number"),  # type: ignore[arg-type]
        (lambda: Part.flat((2, 3), 0, 7), "from 0 to 7 lies outside of 6"),
        (lambda: Part.flat((2, 3), -1, 3), "lies outside"),
        (lambda: Part((4,), ((3, 2),)), "overlap or lie outside"),
        (lambda: Part((4,), ([(2, 4), (0, 3)],)), "overlap or lie outside"),
    ],
)  # fmt: skip
def test_refused(make, says: str) -> None:
    with pytest.raises(StreamError, match=says):
        make()


def test_the_ends_that_are_taken() -> None:
    assert Part.flat((2, 3), 0, 6).local_shape == (6,)
    assert Part.flat((2, 3), 6, 6).local_shape == (0,)
    assert Part((4,), ([(2, 4), (0, 2)],)).local_shape == (4,)
    assert not Part((4,), ([(2, 4), (0, 2)],)).is_whole
    assert Part.split(-1, 1, 2).of((4,)).box == (((2, 4),),)
