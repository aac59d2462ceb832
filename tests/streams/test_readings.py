# pyright: basic
"""The page of the streams, read in C and in JAX: examples that draw the same bits."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from goodinit.streams import Law, Stream, make_key

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FIRST, COUNT, SCALE, LOC = 2**40 + 3, 5000, 0.3, 0.1
KEY = make_key(7, "fc.weight")
WORDS = (KEY.key0, KEY.key1, KEY.high0, KEY.high1)


def drawn() -> np.ndarray:
    law = Law.normal(LOC, SCALE)
    box = ((FIRST, FIRST + COUNT),)
    return Stream(7).draw("fc.weight", law, (2**41,), box=box).numpy()


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, cc")
def test_c(tmp_path: Path) -> None:
    program = tmp_path / "stream"
    flags = ["-O2", "-ffp-contract=off"]
    source = str(EXAMPLES / "stream.c")
    subprocess.run(["cc", *flags, source, "-lm", "-o", str(program)], check=True)
    given = map(str, (*WORDS, SCALE, LOC, FIRST, COUNT))
    lines = subprocess.run([program, *given], check=True, capture_output=True, text=True).stdout
    assert np.array_equal([float.fromhex(line) for line in lines.split()], drawn())


@pytest.mark.battery
def test_jax() -> None:
    pytest.importorskip("jax", reason="needs jax, which make battery installs")
    read = runpy.run_path(str(EXAMPLES / "stream_jax.py"))
    index = np.arange(FIRST, FIRST + COUNT, dtype=np.uint64)
    assert np.array_equal(read["normal"](WORDS, index, SCALE, LOC), drawn())
