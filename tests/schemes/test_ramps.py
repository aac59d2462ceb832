"""`gi.Ramp`: values along an axis, in closed form."""

import math

import pytest
import torch

import goodinit as gi
from goodinit.errors import SchemeError
from goodinit.schemes import Site, from_dict


def values(scheme: gi.Scheme, *shape: int) -> torch.Tensor:
    out = torch.empty(shape)
    scheme.fill_(out, None, Site(shape))  # type: ignore[arg-type]
    return out


def test_a_ramp_is_even_between_its_ends() -> None:
    assert torch.equal(values(gi.Ramp(3.0, 6.0), 4), torch.tensor([3.0, 4.0, 5.0, 6.0]))
    assert torch.equal(values(gi.Ramp(1.0, 0.0, ends=False), 2, 4)[1], 1 - torch.arange(4) / 4)
    assert values(gi.Ramp(3.0, 6.0), 1).item() == 3.0
    assert values(gi.Ramp(3.0, 6.0), 2).tolist() == [3.0, 6.0]
    assert values(gi.Ramp(3.0, 6.0, ends=False), 1).tolist() == [3.0]
    assert values(gi.Ramp(3.0, 6.0, ends=False), 2).tolist() == [3.0, 4.5]


def test_a_ramp_bends_and_has_waves() -> None:
    assert values(gi.Ramp(0.0, 1.0, power=2.0), 3).tolist() == [0.0, 0.25, 1.0]
    waves = values(gi.Ramp(0.0, 0.0, wave=2.0, period=5), 10)
    assert waves.tolist() == [-2.0, -0.5, 0.0, 0.5, 2.0] * 2


def test_moments_are_those_of_the_values() -> None:
    scheme = gi.Ramp(-5.5, 0.5, power=1.4, wave=2.5, period=8)
    out = values(scheme, 3, 16)
    mean, std = scheme.moments(Site((3, 16)))
    assert (mean, std) == pytest.approx((out.mean().item(), out.std(correction=0).item()))


def test_a_part_of_a_ramp_is_that_of_the_whole() -> None:
    scheme = gi.Ramp(3.0, 6.0, wave=0.5, period=3)
    part = torch.empty(1, 3)
    scheme.fill_part_(part, None, Site((2, 9)), ((1, 2), (4, 7)))  # type: ignore[arg-type]
    assert torch.equal(part[0], values(scheme, 2, 9)[1, 4:7])


def test_a_ramp_runs_along_all_axes() -> None:
    scheme = gi.Ramp(0.0, 5.0, wave=0.5, period=3, phase=1, flat=True)
    zigzag = torch.tensor([0.0, 0.5, -0.5] * 2)
    assert torch.equal(values(scheme, 2, 3), (torch.arange(6.0) + zigzag).view(2, 3))
    assert scheme.moments(Site((2, 3)))[0] == 2.5
    part = torch.empty(1, 2)
    scheme.fill_part_(part, None, Site((2, 3)), ((1, 2), (1, 3)))  # type: ignore[arg-type]
    assert part.tolist() == [[4.5, 4.5]]


def test_a_ramp_is_saved_and_multiplied() -> None:
    scheme = gi.Ramp(3.0, 6.0, 2.0, False, 0.5, 4)
    assert from_dict(scheme.to_dict()) == scheme
    assert scheme.times(2.0) == gi.Ramp(6.0, 12.0, 2.0, False, 1.0, 4)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: gi.Ramp(math.inf, 0.0), "start must be a finite number"),
        (lambda: gi.Ramp(0.0, 1.0, power=0.0), "power must be above 0"),
        (lambda: gi.Ramp(0.0, 1.0, wave=1.0), "a wave has a period of 2 or more"),
        (lambda: gi.Ramp(0.0, 1.0, period=-1), "period must be a whole number from 1"),
        (lambda: gi.Ramp(0.0, 1.0).moments(Site(())), "a number has none"),
    ],
)
def test_what_is_refused(call, text: str) -> None:
    with pytest.raises(SchemeError, match=text):
        call()
