"""Mimetic initialization: the products that the paper sets, of modules that hold halves of them."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import goodinit as gi
from goodinit.errors import SchemeError

WIDTH, HEAD = 96, 32


class Attention(nn.Module):
    """Packed or separate projections, written in one of two orders."""

    def __init__(self, how: str, width: int = WIDTH, keys: int = WIDTH) -> None:
        super().__init__()
        self.how = how
        self.norm = nn.LayerNorm(width)
        if how == "packed":
            self.qkv = nn.Linear(width, 3 * width)
        elif how == "reversed":
            self.wq, self.wk, self.wv = (nn.Parameter(torch.randn(width, width)) for _ in range(3))
        else:
            self.wq = nn.Linear(width, width)
            self.wk, self.wv = nn.Linear(width, keys), nn.Linear(width, keys)
        self.proj = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        if self.how == "packed":
            q, k, v = self.qkv(y).chunk(3, -1)
        elif self.how == "reversed":
            q, k, v = (y @ w for w in (self.wq, self.wk, self.wv))
        else:
            q, k, v = self.wq(y), self.wk(y), self.wv(y)
        q, k, v = (t.view(*t.shape[:2], -1, HEAD).transpose(1, 2) for t in (q, k, v))
        y = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        x = x + self.proj(y.transpose(1, 2).reshape(x.shape))
        return x + self.down(functional.gelu(self.up(x)))


def halves(net: Attention) -> tuple[Tensor, ...]:
    """Return W_q, W_k, W_v and W_o as [in, out], as the paper has them."""
    if net.how == "packed":
        return (*(w.T for w in net.qkv.weight.chunk(3)), net.proj.weight.T)
    if net.how == "reversed":
        return net.wq, net.wk, net.wv, net.proj.weight.T
    return net.wq.weight.T, net.wk.weight.T, net.wv.weight.T, net.proj.weight.T


@pytest.mark.parametrize("how", ["packed", "separate", "reversed"])
def test_products_are_near_the_identity(how: str) -> None:
    net, x = nn.Sequential(Attention(how), Attention(how)), torch.randn(2, 5, WIDTH)
    plan = gi.init_(net, gi.recipe("mimetic", head_dim=HEAD), inputs=x, seed=0)
    error = 5 * WIDTH**-1.0  # of the mean of a diagonal of Z: WIDTH numbers of variance 1/WIDTH
    for layer in net:
        q, k, v, out = (w.detach().double() for w in halves(layer))
        values = v @ out
        assert abs(values.diagonal().mean() + 0.4) < 0.4 * error
        rest = values - values.diagonal().diag()
        # n (n - 1) independent normal numbers: the relative error of a std is 1/sqrt(2 n^2).
        assert rest.square().sum().item() / WIDTH**2 == pytest.approx(
            0.4**2 / WIDTH * (1 - 1 / WIDTH), rel=5 * 2**0.5 / WIDTH
        )
        for h in range(3):
            part = slice(h * HEAD, (h + 1) * HEAD)
            scores = q[:, part] @ k[:, part].T
            s = torch.linalg.svdvals(scores)
            assert s[HEAD:].max() < 1e-5
            # Orthogonal columns, which share the singular values: the halves of one matrix.
            for half in (q[:, part], k[:, part]):
                assert torch.allclose(half.T @ half, s[:HEAD].diag(), atol=1e-5)
            assert scores.diagonal().mean() > 0.2
        assert layer.down.weight.std().item() == pytest.approx(
            0.02, rel=5 / (2 * 2 * WIDTH**2) ** 0.5
        )
    first, second = (halves(layer)[0] for layer in net)
    assert not torch.allclose(first, second, atol=0.1)
    assert gi.Plan.from_dict(json.loads(json.dumps(plan.to_dict()))).rows == plan.rows


def test_one_head_has_the_whole_product() -> None:
    """Facts of the paper: the diagonal of W_q W_k^T is .7 on average."""
    net = Attention("packed")
    gi.init_(net, gi.recipe("mimetic", head_dim=WIDTH), inputs=torch.randn(2, 5, WIDTH), seed=0)
    q, k, _, _ = halves(net)
    assert (q @ k.T).diagonal().mean().item() == pytest.approx(0.7, abs=5 * 0.7 / WIDTH)


def test_parts_are_those_of_the_whole() -> None:
    net, x = Attention("separate"), torch.randn(2, 5, WIDTH)
    recipe = gi.recipe("mimetic", head_dim=HEAD)
    whole = gi.init_(net, recipe, inputs=x, seed=0)
    again = Attention("separate")
    gi.apply_(again, gi.plan(again, recipe, inputs=x), seed=0)
    assert all(map(torch.equal, net.parameters(), again.parameters()))
    rows = nn.Module()
    rows.wq = nn.Module()
    rows.wq.weight = nn.Parameter(net.wq.weight[32:64].detach().clone().zero_())
    part = gi.Part(net.wq.weight.shape, ((32, 64), (0, WIDTH)))
    gi.apply_(rows, whole, seed=0, part=True, parts={"wq.weight": part})
    assert torch.equal(rows.wq.weight, net.wq.weight[32:64])


@pytest.mark.parametrize(
    ("build", "head", "text"),
    [
        (lambda: Attention("separate", keys=HEAD), HEAD, "is square and of whole heads"),
        (lambda: Attention("packed"), 64, r"pass head_dim="),
    ],
)
def test_what_has_no_such_law_is_refused(build, head: int, text: str) -> None:
    with pytest.raises(SchemeError, match=text):
        gi.plan(build(), gi.recipe("mimetic", head_dim=head), inputs=torch.randn(2, 5, WIDTH))
