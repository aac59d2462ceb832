"""Plans as people see them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import goodinit as gi

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


def test_html_has_the_same_and_escapes() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_parameter("<b>", nn.Parameter(torch.ones(3)))

    html = gi.plan(Odd(), "standard")._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "h.{0-11}.proj.weight x12" in planned()._repr_html_()


def test_ranges_and_marks() -> None:
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight.requires_grad_(False)
    text = str(gi.plan(net, "xavier"))
    assert "{0, 1, 3, 4, ... (5)}.weight x5" in text
    assert "frozen" in text
    assert "kept" in str(gi.plan(net, "xavier", keep="0.*"))
    assert "UNRESOLVED" in str(gi.plan(net.to("meta"), "xavier", keep="0.*"))


def test_diff_prints() -> None:
    net = nn.Linear(3, 3)
    a, b = gi.plan(net, "he"), gi.plan(net, "xavier")
    assert not gi.diff(a, a)
    assert str(gi.diff(a, a)) == "no difference"
    difference = gi.diff(a, b)
    assert difference
    assert list(difference.changed) == ["weight"]
    assert "HeNormal() -> XavierUniform()" in str(difference)
    removed = gi.diff(a, gi.plan(nn.Linear(3, 3, bias=False), "he"))
    assert [row.name for row in removed.removed] == ["bias"]
    assert "- bias" in str(removed)
