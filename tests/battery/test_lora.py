"""peft's LoRA initializations: the same values to rounding, or drawn from the same law."""

import pytest
from tests.battery.test_research import RESEARCH, lines

pytestmark = pytest.mark.battery

ROUNDING = 1e-6  # of values below 1 after a decomposition and a product in float32
LEVEL = 1e-3  # of a false alarm, for all comparisons together


def test_as_peft():
    assert RESEARCH.is_dir(), "make battery installs the packages"
    rows = lines("tests.battery.lora")
    assert len(rows) == 14
    assert not [row for row in rows if row["away"] > ROUNDING]
    assert not [row for row in rows if row["p"] < LEVEL / 100]  # at most 100 parameters
    assert not [row for row in rows if row["error"] > ROUNDING]
    changed = {row["init"] for row in rows if row["moved"] > ROUNDING}
    assert changed == {"pissa", "olora"}
