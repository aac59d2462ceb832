"""How often verdicts are right on networks that the rules have not seen (`make battery`).

The labels of ``unseen.py`` were written first. What is wrong is pinned, and left as it is.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch

import goodinit as gi

from .unseen import ILL, UNSEEN

pytestmark = [pytest.mark.battery, pytest.mark.filterwarnings("ignore")]

# Kernels of a grouped convolution that another layer makes: the batch lies along the channels.
MISSED = {"generated_kernels"}
# The bias of an affine map that starts as the identity: its weight is 0 on purpose.
FALSE = {"spatial_transformer: GI132 warning by measure"}


@cache
def verdicts(name: str) -> dict[str, set[str]]:
    """Return the codes that are no mere information, by who says so."""
    torch.manual_seed(0)
    model, inputs = UNSEEN[name]()
    said = {
        "measure": gi.measure(model, inputs),
        "explain": gi.explain(model, inputs),
        "explain without inputs": gi.explain(model),
    }
    return {
        who: {f"{f.code} {f.severity}" for f in result.findings if f.severity != "info"}
        for who, result in said.items()
    }


def test_ill_networks_are_found_by_measuring(capsys: pytest.CaptureFixture[str]) -> None:
    missed = {name for name in ILL if not verdicts(name)["measure"]}
    with capsys.disabled():
        print(f"\n{len(ILL) - len(missed)} of {len(ILL)} ill networks are found")
        for name in UNSEEN:
            print(f"  {name}, {'ill' if name in ILL else 'healthy'}: {verdicts(name)}")
    assert missed == MISSED


def test_healthy_networks_are_left_alone() -> None:
    alarms = {
        f"{name}: {code} by {who}"
        for name in UNSEEN.keys() - ILL.keys()
        for who, codes in verdicts(name).items()
        for code in codes
    }
    assert alarms == FALSE


@pytest.mark.parametrize("name", UNSEEN)
def test_explain_knows_no_error_without_inputs(name: str) -> None:
    codes = verdicts(name)["explain without inputs"]
    assert not [code for code in codes if code.startswith(("GI122 e", "GI123 e"))]
