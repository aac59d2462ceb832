"""Computed weights of 2048 x 2048: planned in two seconds and eight tensors, right or marked."""

import subprocess
import sys

import pytest

from .large_weights import CASES, MARKED

pytestmark = pytest.mark.battery

SECONDS, TENSORS = 2, 8
"""Of a core, and of the weight's size, or that of the largest parameter."""


@pytest.mark.skipif(sys.platform != "linux", reason="what the C library keeps is another's there")
@pytest.mark.parametrize("name", CASES)
def test_a_large_computed_weight(name: str) -> None:
    """In a process whose memory holds nothing else to be used."""
    run = [sys.executable, "-m", "tests.battery.large_weights", name]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    seconds, tensors, fan, guessed, kept = done.stdout.split("\t")
    print(f"{name}: {float(seconds):.2f} s, {float(tensors):.1f} tensors, fan {float(fan):.5g}")
    right = CASES[name][-1]
    assert guessed == str(right == MARKED)
    if right == "kept":
        assert kept.strip() == "True"
    if isinstance(right, (int, float)):
        assert float(fan) == pytest.approx(right, rel=0.05)
    assert float(seconds) < SECONDS
    assert float(tensors) <= TENSORS
