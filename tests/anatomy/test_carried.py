"""Whether something else carries the signal where a parameter of zeros meets it, case by case."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from goodinit.anatomy import read
from goodinit.anatomy.carried import is_carried


class Net(nn.Module):
    """Two matrices, a vector and a matrix that are zeros, and a function of them."""

    def __init__(self, run: Callable[..., Tensor]) -> None:
        super().__init__()
        self.run = run
        self.p, self.q = nn.Parameter(torch.zeros(4, 4)), nn.Parameter(torch.zeros(4, 4))
        self.v, self.w = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def attention(m: Net, x: Tensor, *, scores: bool) -> Tensor:
    q, v = (x @ m.p, x @ m.w) if scores else (x @ m.w, x @ m.p)
    return functional.scaled_dot_product_attention(q, x @ m.w, v)


def written_into(m: Net, x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :1] = m.v
    return y @ m.w


CARRIED = {
    "added to the signal": lambda m, x: x + x @ m.p,
    "the head": lambda m, x: (x @ m.w).relu() @ m.p,
    "the head, bent": lambda m, x: ((x @ m.w) @ m.p).tanh(),
    "one plus it multiplies": lambda m, x: (x * (1 + m.v)) @ m.w,
    "a sigmoid of it multiplies": lambda m, x: (x * (x @ m.p).sigmoid()) @ m.w,
    "a softmax of it mixes": lambda m, x: ((x @ m.p).softmax(-1) @ x) @ m.w,
    "scores": lambda m, x: attention(m, x, scores=True) @ m.w,
    "a bias of scores": lambda m, x: functional.scaled_dot_product_attention(x, x, x, m.p) @ m.w,
    "a token beside the signal": lambda m, x: torch.cat([x, m.v.expand(3, 1, 4)], 1) @ m.w,
    "written into the signal": written_into,
    "where the signal is read": lambda m, x: (
        functional.grid_sample(x[:, None], (x @ m.p)[..., None].expand(-1, -1, -1, 2))[:, 0] @ m.w
    ),
}
LOST = {
    "the trunk": lambda m, x: (x @ m.p) @ m.w,
    "the trunk, bent": lambda m, x: (x @ m.p).relu() @ m.w,
    "a bend that is 1 at 0": lambda m, x: (x @ m.p).cosh() @ m.w,
    "a sigmoid in the trunk": lambda m, x: (x @ m.p).sigmoid() @ m.w,
    "it multiplies the signal": lambda m, x: (x * m.v) @ m.w,
    "values": lambda m, x: attention(m, x, scores=False) @ m.w,
    "added to other zeros": lambda m, x: (x @ m.p + x @ m.q) @ m.w,
    "times other zeros": lambda m, x: x + (x @ m.p) * (x @ m.q),
    "twice in a row": lambda m, x: x + (x @ m.p) @ m.p.relu(),
    "features beside the signal's": lambda m, x: torch.cat([x, x @ m.p], -1)[..., :4] @ m.w,
    "two kinds of use": lambda m, x: x + x @ m.p + (x @ m.p) @ m.w,
    "sampled": lambda m, x: (
        functional.grid_sample((x @ m.p)[:, None], x[..., None].expand(-1, -1, -1, 2))[:, 0] @ m.w
    ),
    "used for nothing": lambda m, x: [x @ m.p, x @ m.w][1],
    "its shape alone": lambda m, x: x * (1 + torch.zeros_like(m.p)),
}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param(run, carried, id=name)
        for runs, carried in ((CARRIED, True), (LOST, False))
        for name, run in runs.items()
    ],
)
def test_what_carries_the_signal(run: Callable[..., Tensor], expected: bool) -> None:
    anatomy = read(Net(run), torch.randn(3, 4, 4))
    graph = anatomy.graph
    assert graph is not None
    numbers = {row.name: number for number, row in enumerate(anatomy.rows)}
    zero = {numbers[name] for name in "pqv"}
    outputs = [graph.nodes[-1].index]
    used = [n for n in zero if any(graph.nodes[i].consumers for i in graph.sources.get(n, ()))]
    assert {is_carried(graph, number, zero, outputs) for number in used} == {expected}
