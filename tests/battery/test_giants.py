"""What plans of the largest models cost, with inputs, and how large their files are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PLAN_SECONDS, LOAD_SECONDS = 10.0, 1.0  # of the CPU
GIB = 1.0  # of the process, torch's .35 among it
MB = 1.0  # of the file


@pytest.mark.battery
@pytest.mark.skipif(sys.platform != "linux", reason="the peak memory is read from /proc")
@pytest.mark.parametrize("name", ["llama", "moe", "trillion", "listed"])
def test_a_giant(name: str) -> None:
    script = Path(__file__).with_name("giants.py")
    run = subprocess.run([sys.executable, script, name], capture_output=True, text=True, check=True)
    facts = json.loads(run.stdout)
    print(name, {key: round(value, 2) for key, value in facts.items()})
    assert facts["plan"] < PLAN_SECONDS
    assert facts["load"] < LOAD_SECONDS
    assert facts["GiB"] < GIB
    assert facts["MB"] < MB
