"""GI142: attention that looks at one position, whichever way it is called and masked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.signal.made import Calls
from tests.signal.sick import Attention, noise
from torch import Tensor, nn

import goodinit as gi
from goodinit.signal.measure import measured

F = nn.functional
N = 32
TOKENS = noise(4, 12, N)
ALONE = torch.eye(12, dtype=torch.bool)  # each position sees itself


def codes(model: nn.Module, inputs: gi.Inputs = TOKENS) -> list[str]:
    return [f.code for f in measured(model, inputs).findings]


def drawn(model: nn.Module, std: float) -> nn.Module:
    laws = {
        name: gi.Normal(std) if p.dim() > 1 else gi.Zeros() for name, p in model.named_parameters()
    }
    gi.init_(model, laws, seed=0)
    return model


def layers(*names: str) -> dict[str, nn.Module]:
    return {name: nn.Linear(N, N, bias=False) for name in names}


def by_hand(s: Calls, x: Tensor, mask: Tensor) -> Tensor:
    return (s.q(x) @ s.k(x).mT * N**-0.5 + mask).softmax(-1) @ s.v(x)


def fused(s: Calls, x: Tensor, mask: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(s.q(x), s.k(x), s.v(x), attn_mask=mask)


def grouped(s: Calls, x: Tensor) -> Tensor:
    q, k, v = (f(x).unflatten(-1, (4, -1)).transpose(1, 2) for f in (s.q, s.k, s.v))
    y = F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True)
    return y.transpose(1, 2).flatten(-2)


def separate(s: Calls, x: Tensor) -> Tensor:
    return s.a(x, x[..., :16], x[..., :16], need_weights=False)[0]


MADE: dict[str, Callable[[], nn.Module]] = {
    "fused": lambda: Attention(N, fused=True),
    "by hand": lambda: Attention(N, fused=False),
    "grouped": lambda: Calls(grouped, **layers("q", "k", "v")),
    "separate": lambda: Calls(
        separate, a=nn.MultiheadAttention(N, 2, kdim=16, vdim=16, batch_first=True)
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_weights_that_are_too_large_are_found_and_right_ones_are_not(name: str) -> None:
    ill, well = drawn(MADE[name](), 1.0), drawn(MADE[name](), N**-0.5)
    (found,) = (f for f in gi.measure(ill, TOKENS).findings if f.code == "GI142")
    assert "GI142" not in codes(well)
    exec(found.remedy, {"gi": gi, "model": ill, "inputs": TOKENS})
    assert "GI142" not in codes(ill)


@pytest.mark.parametrize("run", [by_hand, fused])
@pytest.mark.parametrize("mask", [-1e4, -1e9, -torch.inf])
def test_a_row_without_a_choice_says_nothing(run: Callable[..., Tensor], mask: float) -> None:
    net = drawn(Calls(run, **layers("q", "k", "v")), 0.1)
    shut = torch.zeros(12, 12).masked_fill(~ALONE, mask)
    shut[0] = 0.0  # the only row that may choose
    assert "GI142" not in codes(net, (TOKENS, shut))
    assert "GI142" not in codes(drawn(net, 0.1), (TOKENS, 2 * shut))


def test_what_masks_leave_is_judged() -> None:
    net = drawn(Calls(fused, **layers("q", "k", "v")), 1.0)
    two = ALONE | ALONE.roll(1, 1)
    assert "GI142" in codes(net, (TOKENS, two))
    assert "GI142" in codes(net, (TOKENS, torch.zeros(12, 12).masked_fill(~two, -1e4)))
    layer = nn.MultiheadAttention(N, 2, batch_first=True)
    net = drawn(Calls(lambda s, x: s.a(x, x, x, key_padding_mask=s.late)[0],
                      a=layer, late=torch.arange(12).expand(4, 12) > 0), 1.0)  # fmt: skip
    assert "GI142" not in codes(net)
    net.late = torch.arange(12).expand(4, 12) > 7
    assert "GI142" in codes(net)


def test_a_softmax_that_weighs_no_signal_may_be_sure() -> None:
    """Codes of a table, and probabilities at the output, are sharp on purpose."""
    table = nn.Embedding(16, N)
    net = Calls(lambda s, x: (50 * s.e(x)).softmax(-1) @ s.t.weight, e=nn.Linear(N, 16), t=table)
    assert "GI142" not in codes(net)
    net = nn.Sequential(nn.Linear(N, 16), nn.Softmax(-1))
    assert "GI142" not in codes(drawn(net, 9.0))


def test_a_router_that_is_sure_of_one_expert() -> None:
    def run(s: Calls, x: Tensor) -> Tensor:
        share, expert = s.router(x).softmax(-1).topk(1, -1)
        return share * (expert == 0) * s.first(x) + share * (expert > 0) * s.second(x)

    net = Calls(run, router=nn.Linear(N, 4), **layers("first", "second"))
    assert "GI142" not in codes(drawn(net, N**-0.5))
    nn.init.constant_(drawn(net, N**-0.5).router.bias[:1], 50.0)
    (found,) = (f for f in gi.measure(net, TOKENS).findings if f.code == "GI142")
    exec(found.remedy, {"gi": gi, "model": net, "inputs": TOKENS})
    assert "GI142" not in codes(net)


def test_the_share_is_that_of_all_rows() -> None:
    net = drawn(Attention(N, fused=True), 1.0)
    signal = measured(net, TOKENS)
    share = signal[":scaled_dot_product_attention"].forward.idle
    assert share == pytest.approx(
        measured(drawn(Attention(N, False), 1.0), TOKENS)[":softmax"].forward.idle
    )
