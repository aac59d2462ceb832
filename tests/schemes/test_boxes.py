"""A box of a tensor has the values of the whole one there, with any layout, groups and pieces."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

import goodinit.schemes as s
from goodinit.schemes import Layout, Site, matrices
from goodinit.schemes.haar_parts import fill_matrix_part_
from goodinit.streams import Box, Law, Stream

LAYOUTS = {
    "linear": ((12, 8), Layout((0,), (1,))),
    "transposed": ((8, 12), Layout((1,), (0,))),
    "experts": ((5, 8, 6), Layout((2,), (1,), batch=(0,))),
    "two axes of outputs and a batch": ((2, 3, 4, 5), Layout((1, 3), (2,), batch=(0,))),
    "convolution": ((6, 4, 3, 2), Layout((0,), (1,), (2, 3))),
    "grouped": ((12, 4, 3), Layout((0,), (1,), (2,), groups=3)),
    "grouped, one tap": ((12, 4), Layout((0,), (1,), groups=3)),
    "grouped and transposed": ((12, 5, 3), Layout((1,), (0,), (2,), groups=3, transposed=True)),
}
ANY = [
    s.Normal(0.02), s.Constant(0.3), s.LogUniform(), s.Ramp(0.0, 1.0), s.Sparse(0.3, std=0.1),
    s.Orthogonal(1.5), s.Function(lambda site: torch.arange(site.shape[-1]) / 7),
]  # fmt: skip
BY_WINDOW = {True: [s.Dirac(gain=0.7), s.DeltaOrthogonal()], False: [s.Identity(0.7)]}


def draw(out: Tensor, law: Law, purpose: str = "", box: Box | None = None) -> None:
    shape = draw.shape if box is not None else None  # type: ignore[attr-defined]
    Stream(3).fill_(out, "w", law, shape=shape, box=box, purpose=purpose)


def a_box(rng: random.Random, shape: tuple[int, ...]) -> Box:
    ends = (sorted(rng.sample(range(size + 1), 2)) for size in shape)
    whole = [rng.random() < 0.3 for _ in shape]
    return tuple((0, n) if w else (a, b) for (a, b), n, w in zip(ends, shape, whole, strict=True))


@pytest.mark.parametrize("which", LAYOUTS)
def test_a_box_is_that_of_the_whole(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(which)
    shape, layout = LAYOUTS[which]
    site = Site.of(shape, layout)
    draw.shape = shape  # type: ignore[attr-defined]
    for scheme in ANY + BY_WINDOW[bool(layout.window)]:
        if isinstance(scheme, s.DeltaOrthogonal) and "transposed" in which:
            continue  # fewer outputs than inputs
        whole = torch.full(shape, 9.0)
        scheme.fill_(whole, draw, site)
        for strip in (1 << 22, 40, 7):
            monkeypatch.setattr(matrices, "STRIP", strip)
            monkeypatch.setattr(matrices, "CHUNK", strip)
            for _ in range(4):
                box = a_box(rng, shape)
                expected = whole[tuple(slice(*run) for run in box)]
                out = torch.full(expected.shape, 9.0)
                scheme.fill_part_(out, draw, site, box)
                assert torch.equal(out, expected), (scheme, box, strip)


@pytest.mark.parametrize(
    ("which", "box", "needed", "groups"),
    [
        ("grouped", ((4, 8), (1, 2), (0, 1)), ((4, 8), (0, 4), (0, 3)), 1),
        ("grouped", ((3, 5), (1, 2), (0, 1)), ((0, 8), (0, 4), (0, 3)), 2),
        ("grouped and transposed", ((8, 9), (1, 2), (0, 1)), ((8, 12), (0, 5), (0, 3)), 1),
        ("experts", ((1, 3), (1, 2), (0, 1)), ((1, 3), (0, 8), (0, 6)), 1),
    ],
)
def test_only_the_matrices_that_a_box_touches_are_drawn(
    which: str, box: Box, needed: Box, groups: int
) -> None:
    site = Site.of(*LAYOUTS[which])
    reached, there = s.Orthogonal().reach(site, box)
    assert reached == needed
    assert there.layout is not None
    assert (there.shape, there.layout.groups) == (tuple(b - a for a, b in needed), groups)
    assert (there.fan_in, there.fan_out) == (site.fan_in, site.fan_out)


def test_large_temporaries_are_drawn_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """One matrix at a time, where a strip has the size of one."""
    monkeypatch.setattr(matrices, "STRIP", 48)
    shape, layout = LAYOUTS["experts"]
    sizes: list[int] = []

    def watch(out: Tensor, law: Law, purpose: str = "", box: Box | None = None) -> None:
        sizes.append(out.numel())
        out.fill_(1.0)

    s.Sparse(0.5).fill_part_(torch.empty(shape), watch, Site.of(shape, layout), _all(shape))
    assert max(sizes) <= 48
    assert sum(sizes) == 2 * 5 * 48
    sizes.clear()
    s.Orthogonal().fill_part_(torch.empty(shape), watch, Site.of(shape, layout), _all(shape))
    assert sizes == [48] * 5


def test_a_part_of_a_1x1_convolution_needs_no_second_matrix() -> None:
    for shape, one in (((12, 8, 1), True), ((12, 8, 2), False)):
        site = Site.of(shape, Layout((0,), (1,), (2,)))
        out = torch.empty(shape)
        draw.shape = shape  # type: ignore[attr-defined]
        assert fill_matrix_part_(out, draw, site, _all(shape), _all(shape), 1.0) is one


def _all(shape: tuple[int, ...]) -> Box:
    return tuple((0, size) for size in shape)
