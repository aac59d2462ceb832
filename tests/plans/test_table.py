"""Plans as people see them."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import goodinit as gi
from goodinit.errors import UnknownRowError

GOLDEN = Path(__file__).parent / "gpt_table.txt"


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.c_attn(self.ln_1(x)).chunk(3, -1)
        x = x + self.c_proj(functional.scaled_dot_product_attention(q, k, v, is_causal=True))
        return x + self.proj(functional.gelu(self.fc(self.ln_2(x))))


class GPT(nn.Module):
    """Twelve layers, tied."""

    def __init__(self, width: int = 64, vocabulary: int = 100) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(32, width)
        self.h = nn.ModuleList(Block(width) for _ in range(12))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


def planned() -> gi.Plan:
    with torch.device("meta"):
        net = GPT()
    return gi.plan(net, "gpt2", inputs=torch.zeros(1, 8, dtype=torch.long))


def test_the_table_of_a_gpt() -> None:
    plan = planned()
    text = str(plan)
    assert text == GOLDEN.read_text(encoding="utf-8").rstrip("\n")
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) < 40
    assert plan["h.3.proj.weight"].std == pytest.approx(0.02 / 24**0.5)


def bare(result: gi.Plan | gi.Diff) -> str:
    """The page without the attributes of all tables, and where long names may be broken."""
    return re.sub(r"<(\w+)[^>]*>", r"<\1>", result._repr_html_()).replace("<wbr>", "")


def test_html_has_the_same_and_escapes() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_parameter("<b>", nn.Parameter(torch.ones(3)))

    html = gi.plan(Odd(), "standard")._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b></td>" not in html
    assert "h.{0-11}.proj.weight x12" in bare(planned())


def test_ranges_and_marks() -> None:
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight.requires_grad_(False)
    text = str(gi.plan(net, "xavier"))
    assert "{0, 1, 3, 4, ... (5)}.weight x5" in text
    assert "frozen" in text
    assert "kept" in str(gi.plan(net, "xavier", keep="0.*"))
    assert "\n\n\n" not in str(gi.plan(net, "xavier", keep="*"))  # no table is left
    assert "UNRESOLVED" in str(gi.plan(net.to("meta"), "xavier", keep="0.*"))


def test_diff_prints() -> None:
    net = nn.Linear(3, 3)
    a, b = gi.plan(net, "he"), gi.plan(net, "xavier")
    assert not gi.diff(a, a)
    assert str(gi.diff(a, a)) == "no difference"
    difference = gi.diff(a, b)
    assert difference
    assert list(difference.changed) == ["weight"]
    assert str(difference) == "~ weight\n    HeNormal() std 0.816 -> XavierUniform() std 0.577"
    assert "rule: " in difference.to_text(full=True)
    removed = gi.diff(a, gi.plan(nn.Linear(3, 3, bias=False), "he"))
    assert [row.name for row in removed.removed] == ["bias"]
    assert "- bias" in str(removed)


def test_a_diff_has_a_row_for_each_name_that_differs() -> None:
    first = gi.plan(nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3, bias=False)}), "he")
    second = gi.plan(nn.ModuleDict({"a": nn.Linear(3, 3), "c": nn.Linear(3, 3)}), "xavier")
    found = gi.diff(first, second)
    assert {row.name: row.change for row in found} == {
        "c.weight": "added",
        "c.bias": "added",
        "b.weight": "removed",
        "a.weight": "changed",
    }
    assert len(found) == 4
    assert not found.ok
    assert gi.diff(first, first).ok
    assert found["a.weight"].fields["scheme"] == (gi.HeNormal(), gi.XavierUniform())
    assert found.changed == {"a.weight": found["a.weight"].fields}
    assert [row.name for row in found.added] == ["c.weight", "c.bias"]
    assert repr(found) == "<Diff: 2 added, 1 removed, 1 changed>"
    data = json.loads(json.dumps(found.to_dict()))["rows"]
    assert data[0] == {"name": "c.weight", "change": "added", "fields": {}}
    assert data[3]["fields"]["scheme"][0]["scheme"] == "HeNormal"
    assert "<td>b.weight</td><td>removed</td>" in bare(found)
    with pytest.raises(UnknownRowError, match=r"Did you mean 'a\.weight'"):
        found["a.weigth"]


def test_a_plan_is_a_result() -> None:
    plan = planned()
    assert plan["lm_head.weight"] is plan["wte.weight"]
    assert "lm_head.weight" in plan
    assert list(plan) == list(plan.rows)
    assert plan.ok
    assert repr(plan) == "<Plan 'gpt2': 148 rows>"
    around_zero = gi.plan(nn.LayerNorm(3), {"weight": gi.Normal(0.02)})
    assert [finding.code for finding in around_zero.findings] == ["GI111"]
    assert not around_zero.ok


def test_a_reason_of_one_row_alone_has_its_own_number() -> None:
    net = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(2)))
    nn.utils.parametrizations.orthogonal(net[1])
    lines = str(gi.plan(net, "he")).splitlines()
    mark = next(line for line in lines if line.startswith("1.weight")).split()[-1]
    reason = next(line for line in lines if line.startswith(f"   {mark}  "))
    assert "orthogonal makes the weight orthogonal" in reason


class Tower(nn.Module):
    """Like a ResNet: many shapes, norms with buffers, a scale that is kept."""

    def __init__(self) -> None:
        super().__init__()
        widths = [8 * (1 + n // 2) for n in range(16)]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, bias=False), nn.BatchNorm2d(b), nn.Conv2d(b, b, 1))
            for a, b in pairwise(widths)
        )
        self.gamma = nn.ParameterList(nn.Parameter(torch.full((w,), 1e-4)) for w in widths)
        self.fc = nn.Linear(widths[-1], 10)


def test_a_large_plan_fits_a_screen() -> None:
    plan = gi.plan(Tower(), "he")
    text = str(plan)
    assert len(text.splitlines()) <= 32
    assert "16 parameters kept as they are: keeps the value 0.0001" in text
    assert "45 buffers set to 0 or 1: statistics start again" in text
    assert "stages.{0-14}.{0-2:2}.weight x30" in text
    assert "8..576 in" in text
    full = plan.to_text(full=True)
    assert "45 buffers" in full.splitlines()[0]
    assert "stages.{0-14}.1.num_batches_tracked x15" in full
    assert "kind('norm') -> Neutral()" in full
    assert "kind('norm') -> Neutral()" not in text


def test_notes_stay_out_of_the_way() -> None:
    plan = gi.plan(Tower(), "he")
    assert [(f.code, f.severity) for f in plan.findings] == [("GI113", "info"), ("GI119", "info")]
    assert "2 notes (GI113, GI119): plan.to_text(full=True)" in str(plan)
    assert "[GI113]" in plan.to_text(full=True)


def test_rows_print_in_a_line() -> None:
    plan = gi.plan(nn.Linear(4, 2), "he")
    assert repr(plan["weight"]) == "<PlanRow 'weight': 2x4 linear weight, HeNormal(), std 0.707>"
    assert repr(gi.diff(plan, gi.plan(nn.Linear(4, 2), "xavier"))["weight"]) == (
        "<DiffRow 'weight': changed (scheme, rule, why)>"
    )


def test_a_block_that_has_a_reason_of_its_own_shows_it() -> None:
    text = str(gi.plan(nn.LSTM(4, 3), "standard"))
    assert "the cell remembers at first; once, for torch adds two biases" in text
    assert "block('forget')" not in text


def test_the_column_of_the_std_says_the_scale() -> None:
    for scheme, shown in (
        (gi.VarianceScaling(1 / 3), "VarianceScaling "),
        (gi.VarianceScaling(1 / 3, "fan_out"), "VarianceScaling(mode='fan_out')"),
    ):
        assert shown in str(gi.plan(nn.Linear(4, 2), {"weight": scheme}))
