"""Which parameters share elements: what each address belongs to, counted by hand."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from goodinit.anatomy.names import Slot
from goodinit.anatomy.shared_memory import overlapping

MEMORY = torch.zeros(64)
HALVES = MEMORY.view(torch.float16)


def slot(name: str, *tensors: Tensor, buffer: bool = False) -> Slot:
    return Slot(name, nn.Module(), name, tensors, buffer=buffer)


def pairs(*tensors: Tensor) -> list[str]:
    slots = [slot(name, tensor) for name, tensor in zip("abcdef", tensors, strict=False)]
    return [first.name + second.name for first, second in overlapping(slots)]


@pytest.mark.parametrize(
    ("tensors", "shared"),
    [
        ((MEMORY[:4], MEMORY[4:8]), []),
        ((MEMORY[:5], MEMORY[4:8]), ["ab"]),
        ((MEMORY[4:8], MEMORY[:5]), ["ba"]),  # in the order of the addresses
        ((MEMORY[:8:2], MEMORY[1:8:2]), []),  # they interleave
        ((MEMORY[:8:2], MEMORY[1:8:3]), ["ab"]),
        ((MEMORY[:9], MEMORY[2:4], MEMORY[6:10]), ["ab", "ac"]),
        ((MEMORY[:4], MEMORY[3:6], MEMORY[5:9]), ["ab", "bc"]),
        ((MEMORY[:4], MEMORY[3:6], MEMORY[20:22], MEMORY[21:25]), ["ab", "cd"]),
        ((MEMORY[:20], MEMORY[2:4], MEMORY[19:25], MEMORY[24:26]), ["ab", "ac", "cd"]),
        ((MEMORY[:4], HALVES[6:9]), ["ab"]),
        ((MEMORY[:4], HALVES[8:12]), []),
        ((HALVES[1:3], HALVES[2:4]), ["ab"]),
        ((HALVES[1:3], HALVES[3:5], HALVES[4:6]), ["bc"]),
        ((MEMORY.view(torch.uint8)[1:9].view(2, 4), MEMORY[2:3]), ["ab"]),
        ((MEMORY[:0], MEMORY[:0]), []),
        ((MEMORY[:4], torch.zeros(4)), []),
        ((MEMORY[0].expand(3), MEMORY[:2]), ["ab"]),
        ((MEMORY[:4].to_sparse(), MEMORY[:4]), []),
    ],
    ids=str,
)
def test_which_share_elements(tensors: tuple[Tensor, ...], shared: list[str]) -> None:
    assert pairs(*tensors) == shared


def test_buffers_and_tensors_of_one_parameter_do_not_count() -> None:
    assert not list(overlapping([slot("a", MEMORY[:4]), slot("b", MEMORY[:4], buffer=True)]))
    assert not list(overlapping([slot("a", MEMORY[:4], MEMORY[2:6])]))


def test_on_meta_the_storage_is_what_they_share() -> None:
    memory = torch.empty(16, device="meta")
    assert pairs(memory[:4], memory[3:6], torch.empty(8, device="meta")[3:6]) == ["ab"]
    assert pairs(memory[:4], memory[4:6]) == []
    assert pairs(memory[2:6].view(2, 2), memory[5:]) == ["ab"]


def test_strided_parts_by_their_elements() -> None:
    draw = random.Random(3)
    for _ in range(60):
        views = []
        for _ in range(draw.randint(2, 4)):
            start, step, count = draw.randrange(30), draw.randint(1, 4), draw.randint(1, 8)
            views.append(MEMORY[start : start + step * count : step])
        order = sorted(
            views, key=lambda v: (v.data_ptr(), v.data_ptr() + 4 * (len(v) - 1) * v.stride(0))
        )
        elements = [{v.data_ptr() + 4 * n * v.stride(0) for n in range(len(v))} for v in order]
        expected = []
        for place, own in enumerate(elements):
            first = next((n for n in range(place) if elements[n] & own), None)
            if first is not None:
                expected.append((order[first].data_ptr(), order[place].data_ptr()))
        slots = [slot("a", view) for view in views]
        found = [(a.tensor.data_ptr(), b.tensor.data_ptr()) for a, b in overlapping(slots)]
        assert found == expected
