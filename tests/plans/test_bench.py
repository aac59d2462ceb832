"""`make bench`: what planning ten thousand parameters takes once they are read: half a second.

A table is printed; nothing is asserted, for a busy machine has other figures. What it costs in
lines of Python is asserted in ``test_plan.py`` and ``test_linear_cost.py``.
"""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

import goodinit as gi

pytestmark = pytest.mark.bench


def test_ten_thousand_parameters_and_twenty_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    from goodinit.plans import plan as module

    with torch.device("meta"):
        net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5000)))
    anatomy = module.read(net)
    monkeypatch.setattr(module, "read", lambda *_: anatomy)
    rules = [gi.Rule(f"{n}.*", gi.Zeros()) for n in range(20)]
    taken = []
    for _ in range(5):
        start = time.process_time()
        gi.plan(net, gi.recipe("standard").override(*rules))
        taken.append(time.process_time() - start)
    print(f"\na plan of 10,000 parameters by 20 rules: {min(taken):.2f} s, of 5 {max(taken):.2f} s")
