# pyright: basic
"""`make battery`: dieharder on the random words, as they come and with many keys taken in turns.

Brown, "dieharder: a random number test suite", with Marsaglia's tests and those of the STS, at
dieharder's own sizes: a quarter of an hour. Left out are opso, oqso, dna and sums, which its list
calls suspect or not to be used, the lagged sums (203) and the test of a test (204).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count

import pytest
import torch

from goodinit.streams.spec import make_key, philox

pytestmark = pytest.mark.battery

SINGLE = [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 15, 16, 17, 100, 101, 102, 205, 206, 207, 208, 209]
OF_TUPLES = [(200, 2), (200, 4), (200, 8), (201, 2), (201, 3), (202, 3), (202, 5)]  # -d, -n
TESTS = [*((test, 0) for test in SINGLE), *OF_TUPLES]
BLOCKS = 1 << 18
KEYS = 256
# Of the p-values of one run, a few hundred, none should be as extreme as this; by chance one in
# several thousand runs has one. dieharder itself says FAILED from 1e-6 on, WEAK from .005 on.
EXTREME = 1e-6

LINE = re.compile(r"^\s*(\w+)\|\s*(\d+)\|\s*\d+\|\s*\d+\|\s*([\d.]+)\|\s*(\w+)", re.MULTILINE)


def of_one_key(test: int) -> Iterator[bytes]:
    """The words of a stream, from a place on that no other test is given."""
    key = make_key(0, "weight")
    for at in count(test << 32, BLOCKS):
        words = philox(key, torch.arange(at, at + BLOCKS)).to(torch.uint32)
        yield words.numpy().tobytes()


def of_many_keys(test: int) -> Iterator[bytes]:
    """A block of each of many parameters' streams in turns."""
    keys = [make_key(test, f"layers.{k}.weight") for k in range(KEYS)]
    size = BLOCKS // KEYS
    for at in count(0, size):
        words = torch.stack([philox(key, torch.arange(at, at + size)) for key in keys], 1)
        yield words.to(torch.uint32).numpy().tobytes()


def dieharder(test: int, size: int, words: Iterator[bytes]) -> list[tuple[str, str, float, str]]:
    """Feed a test until it hangs up; return (name, size, p, assessment) of its lines."""
    command = ["dieharder", "-g", "200", "-d", str(test), *(["-n", str(size)] if size else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        try:
            for some in words:
                run.stdin.write(some)
        except BrokenPipeError:
            pass
        said = run.stdout.read().decode()
    return [(name, size, float(p), word) for name, size, p, word in LINE.findall(said)]


@pytest.mark.skipif(
    shutil.which("dieharder") is None, reason="needs dieharder: apt-get install dieharder"
)
@pytest.mark.parametrize("source", [of_one_key, of_many_keys])
@pytest.mark.parametrize(("test", "size"), TESTS)
def test_dieharder(test: int, size: int, source) -> None:
    found = dieharder(test, size, source(test))
    assert found, "dieharder printed no result"
    for name, length, p, word in found:
        print(f"{name:24} {length:>3} p = {p:.6f} {word}")
        assert word in ("PASSED", "WEAK"), (name, length, p)
        assert EXTREME < p < 1 - EXTREME, (name, length, p)
