"""peft's LoRA initializations: the same values to rounding, or drawn from the same law."""

import pytest
from tests.battery.test_research import RESEARCH, lines

pytestmark = pytest.mark.battery

ROUNDING = 1e-6  # of values below 1 after a decomposition and a product in float32
DIRECTION = 2e-5  # of a singular vector in float32, whose value's neighbors are 5 % away
LEVEL = 1e-3  # of a false alarm, for all comparisons together


def test_as_peft():
    assert RESEARCH.is_dir(), "make battery installs the packages"
    rows = lines("tests.battery.lora")
    assert len(rows) == 25
    assert not [r for r in rows if r["away"] > (DIRECTION if r["init"] == "eva" else ROUNDING)]
    assert not [r for r in rows if r["p"] < LEVEL / 100]  # at most 100 parameters
    quantized = [r for r in rows if r["init"] == "loftq"]
    assert not [r for r in rows if r["error"] > ROUNDING and r not in quantized]
    assert not [r for r in quantized if r["away"] != 0]
    assert not [r for r in quantized if r["error"] >= r["moved"]]  # B A brings it back
    changed = {r["init"] for r in rows if r["moved"] > ROUNDING}
    assert changed == {"pissa", "olora", "corda:ipm", "corda:kpm", "loftq"}
