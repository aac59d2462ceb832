"""The table of docs/forecast.md: forecasts beside those of AnyInit, on the same models."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.battery

ROOT = Path(__file__).parents[2]
RESEARCH = ROOT / "build" / "research"


def test_forecasts_beside_anyinit():
    if importlib.util.find_spec("anyinit") is None and not (RESEARCH / "anyinit").is_dir():
        pytest.skip("anyinit isn't installed; `make battery` installs it")
    paths = [str(ROOT / "src"), str(RESEARCH), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "tests.battery.forecasters"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    print(f"\n{done.stdout}")
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 10
    assert all(exact.startswith("0.00 / 0.00 ") for _, _, exact, _ in rows)
    medians = [float(other.split(" / ")[0]) for _, _, _, other in rows]
    # Two means of three draws each differ by chance alone, in mamba by a factor of 1.3.
    assert max(medians) < 0.5
