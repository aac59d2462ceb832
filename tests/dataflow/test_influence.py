"""How computed numbers depend on each parameter, whole: a table of functions.

Most answers can be told by hand: of a mask of a third it is 1/3. Here they are held whole, so that
none changes unseen. After a change on purpose, run this file, which writes influences.txt, and read
the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tests.dataflow.test_calls import graph_of
from tests.whole_tables import VERSION, expected
from torch import Tensor, nn
from torch.nn import functional as fn

from goodinit.dataflow.influence import Influence, influences
from goodinit.dataflow.replay import Computed, ReplayError, replaying
from goodinit.dataflow.response import response_of

FILE = Path(__file__).parent / "influences.txt"
X = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Parameters of random numbers, of ones and of zeros, and what is no parameter."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        random = torch.Generator().manual_seed(0)
        for name, shape in {
            "w": (6, 5), "u": (6, 3), "v": (3, 5), "t": (5, 5), "g": (6, 1), "row": (5,),
            "pair": (2,), "point": (), "single": (1,), "parts": (6, 5, 2), "long": (40, 5),
        }.items():  # fmt: skip
            setattr(self, name, nn.Parameter(torch.randn(shape, generator=random)))
        self.zero_u, self.zero_v = (nn.Parameter(torch.zeros(s)) for s in ((6, 3), (3, 5)))
        self.ones, self.halves = (nn.Parameter(torch.full((6, 5), n)) for n in (1.0, 0.5))
        self.frozen = nn.Parameter(torch.randn(6, 5, generator=random), requires_grad=False)
        self.register_buffer("mask", (torch.arange(30).view(6, 5) % 3 == 0).float())
        self.register_buffer("few", torch.eye(6, 5))
        self.register_buffer("many", torch.randn(6, 5, generator=random))

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


WEIGHTS: dict[str, Callable[[Net], Tensor]] = {
    "half": lambda m: m.w * 0.5,
    "masked": lambda m: m.w * m.mask,
    "sparse": lambda m: m.w * m.few,
    "times numbers": lambda m: m.w * m.many,
    "twice": lambda m: m.w + m.w,
    "less its mean": lambda m: m.w - m.w.mean(0),
    "symmetric": lambda m: m.t + m.t.T,
    "triangle": lambda m: m.t.tril(),
    "padded": lambda m: fn.pad(m.u, (0, 2)),
    "repeated": lambda m: m.g.repeat(1, 5),
    "of a row": lambda m: m.row.repeat(6, 1),
    "of a pair": lambda m: m.w * m.pair[0] + m.many * m.pair[1],
    "of a point": lambda m: m.w * m.point,
    "of a single": lambda m: m.w * (1 + m.single),
    "of rows": lambda m: m.w * m.g,
    "of columns": lambda m: m.w * m.row,
    "of both": lambda m: m.g * m.w * m.row,
    "outer": lambda m: m.g * m.row,
    "outer of one": lambda m: m.row[:, None] * m.row,
    "low rank": lambda m: m.u @ m.v,
    "low rank, by name": lambda m: torch.matmul(m.u, other=m.v),
    "low rank and more": lambda m: m.w + m.u @ m.v,
    "low rank of a frozen one": lambda m: m.frozen + m.u @ m.v,
    "an adapter": lambda m: m.w + m.zero_u @ m.v,
    "an adapter, the other way": lambda m: m.w + m.u @ m.zero_v,
    "an adapter alone": lambda m: m.zero_u @ m.v,
    "an adapter to a frozen one": lambda m: m.frozen + m.zero_u @ m.v * 2,
    "two adapters": lambda m: m.w + m.zero_u @ m.v + m.u @ m.zero_v,
    "adapter of three": lambda m: m.w + (m.zero_u @ m.v) @ m.t,
    "zeros alone": lambda m: m.zero_u @ m.zero_v,
    "three": lambda m: m.u @ m.v @ m.t,
    "cube": lambda m: m.w**3,
    "square": lambda m: m.w**2,
    "fourth": lambda m: m.w**4,
    "eighth": lambda m: m.w.abs() ** 8,
    "ninth": lambda m: m.w**9,
    "squares of a product": lambda m: (m.u @ m.v) ** 2,
    "size": lambda m: m.w.abs(),
    "half of it": lambda m: m.w.relu(),
    "leaky": lambda m: fn.leaky_relu(m.w, 0.1),
    "signs": lambda m: m.w.sign(),
    "normalized": lambda m: fn.normalize(m.w, dim=1),
    "weight norm": lambda m: m.g * m.w / m.w.norm(dim=1, keepdim=True),
    "standardized": lambda m: (m.w - m.w.mean(1, True)) / (m.w.std(1, keepdim=True) + 1e-5),
    "spectral": lambda m: m.w / torch.linalg.matrix_norm(m.w, 2),
    "rounded": lambda m: (m.w * 64).round() / 64,
    "rounded to halves": lambda m: (m.w * 2).round() / 2,
    "rounded to quarters": lambda m: (m.w * 4).round() / 4,
    "rounded to eighths": lambda m: (m.w * 8).round() / 8,
    "clamped": lambda m: m.w.clamp(-3, 3),
    "clamped closely": lambda m: m.w.clamp(-0.5, 0.5),
    "clamped at a deviation": lambda m: m.w.clamp(-0.9, 0.9),
    "clamped from below": lambda m: m.w.clamp(min=-1.2),
    "tanh": lambda m: m.w.tanh(),
    "nearly itself": lambda m: m.w + 0.01 * m.w.tanh(),
    "tanh of little": lambda m: (0.01 * m.w).tanh(),
    "exp": lambda m: m.w.exp(),
    "log": lambda m: m.w.abs().log(),
    "log of minus": lambda m: m.w.log(),
    "inverse": lambda m: 1 / m.w,
    "inverse of a large one": lambda m: torch.linalg.inv(m.t + 50 * torch.eye(5)),
    "matrix exponential": lambda m: torch.linalg.matrix_exp(m.t - m.t.T),
    "plus one": lambda m: 1 + m.w,
    "plus little": lambda m: m.w + 0.01,
    "plus less than nothing": lambda m: m.w + 0.06 * torch.ones(6, 5),
    "plus a mask": lambda m: m.w * m.mask + m.few,
    "plus what is beside it": lambda m: torch.cat([m.u, torch.ones(6, 2)], 1),
    "plus rows of ones": lambda m: torch.cat([m.w, torch.ones(2, 5)]),
    "beside numbers": lambda m: torch.cat([m.w * 2, 100 * torch.ones(2, 5)]) * 0.5,
    "plus a frozen one": lambda m: m.w + m.frozen,
    "times a frozen one": lambda m: m.w * m.frozen,
    "times ones": lambda m: m.w * m.ones,
    "times halves": lambda m: m.w * m.halves,
    "times more than halves": lambda m: m.w * (m.halves + 1) * m.g,
    "ones alone": lambda m: m.ones * 2,
    "times a sigmoid": lambda m: m.w * m.g.sigmoid(),
    "times an exp": lambda m: m.w * m.row.exp(),
    "times a softplus": lambda m: m.w * fn.softplus(m.point),
    "times a sum": lambda m: m.w * (m.g + m.row),
    "times a square": lambda m: m.w * m.row**2,
    "a sum of two": lambda m: m.w + m.halves + m.many * m.point,
    "a sum of terms": lambda m: m.w * m.row + m.frozen * m.g,
    "a basis": lambda m: torch.einsum("k,kij->ij", m.pair, m.parts.permute(2, 0, 1)),
    "shares": lambda m: torch.einsum("k,kij->ij", m.pair.softmax(0), m.parts.permute(2, 0, 1)),
    "complex": lambda m: torch.view_as_complex(m.parts).abs(),
    "real": lambda m: torch.view_as_complex(m.parts).real * 2,
    "product of complex": lambda m: (torch.view_as_complex(m.parts) * 1j).real,
    "kron": lambda m: torch.kron(m.u, m.row)[:, :5],
    "circulant": lambda m: m.row[(torch.arange(5)[:, None] - torch.arange(5)) % 5],
    "many rows": lambda m: m.long * m.long.mean() * 2,
    "dropped": lambda m: fn.dropout(m.w, 0.5),
    "noise": lambda m: m.w + torch.randn(6, 5) * 0.1,
    "noise that multiplies": lambda m: m.w * torch.randn(6, 5),
    "written": lambda m: torch.zeros(6, 5).index_copy(0, torch.arange(3), m.w[:3]),
    "in place": lambda m: m.w.clone().mul_(3).add_(m.w),
    "zero times": lambda m: m.w * 0,
    "nothing of one": lambda m: m.w * 0 + m.t[0] * 2,
    "half precision": lambda m: (m.w.half() * 3).float(),
    "in doubles": lambda m: (m.w.double() * 3).float(),
    "permuted": lambda m: m.w[torch.tensor([2, 0, 1, 5, 4, 3])] * 2,
    "a sum of neighbors": lambda m: m.w + m.w.roll(1, 1) * 0.5,
    "cumulative": lambda m: m.w.cumsum(1),
    # Just above what counts as equal, and just below.
    "bent a little": lambda m: m.w + 2e-3 * m.w**3,
    "bent by less": lambda m: m.w + 2e-4 * m.w**3,
    "hardly more than a constant": lambda m: 1 + 2e-3 * m.w,
    "hardly anything": lambda m: 1 + 2e-4 * m.w,
    "hardly a scale": lambda m: m.w * (2e-3 + m.g),
    "a scale": lambda m: m.w * (2e-4 + m.g),
    "another degree": lambda m: m.u @ m.v + 5e-3 * m.u.repeat(1, 2)[:, :5],
    "hardly another degree": lambda m: m.u @ m.v + 2e-4 * m.u.repeat(1, 2)[:, :5],
    "beside an adapter": lambda m: m.w + m.zero_u @ m.v + 5e-3 * m.v.repeat(2, 1),
    "hardly beside an adapter": lambda m: m.w + m.zero_u @ m.v + 2e-4 * m.v.repeat(2, 1),
    "a constant of note": lambda m: m.w + 0.0633 * m.ones,
    "constants of note": lambda m: m.w + 0.0633,
    "constants of no note": lambda m: m.w + 0.0632,
    "constants beside": lambda m: m.w * m.halves.round() + 0.0633 * m.few,
    "rounded finely": lambda m: (m.w * 32).round() / 32,
    "rounded a little": lambda m: (m.w * 6).round() / 6,
    "as far as can be": lambda m: m.w.clamp(-0.8, 0.8),
    "clamped further": lambda m: m.w.clamp(-0.7, 0.7),
    "shifted by rounding": lambda m: ((m.w + 0.05) * 4).floor() / 4,
    "of 64 numbers": lambda m: m.long.flatten()[:64].view(8, 8)[:6, :5] + m.long[0] * 0.5,
    "powers of eight": lambda m: m.w * m.w**7,
    "a power of a half": lambda m: m.w.abs() ** 0.5,
    "Fourier": lambda m: torch.fft.irfft(torch.fft.rfft(m.w) * 2, n=5),
}  # fmt: skip

PRODUCTS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "a sum": lambda m, x: (x[:, None] * m.w).sum(-1),
    "a mean": lambda m, x: (x[:, None] * m.w).mean(-1),
    "a scaled sum": lambda m, x: 3 * (x[:, None] * m.w).sum(-1),
    "of a product": lambda m, x: (x[:, None] * (m.u @ m.v)).sum(-1),
    "of a mask": lambda m, x: (x[:, None] * m.w * m.mask).sum(-1),
    "causal": lambda m, x: (x * m.row).cumsum(-1),
    "causal, of many": lambda m, x: (x[:, None] * m.long.repeat(2, 1)).cumsum(-1),
    "a scale": lambda m, x: x * m.row,
    "an offset": lambda m, x: (x * m.row + m.row.flip(0)).sum(-1),
    "a scale and an offset": lambda m, x: x * (1 + m.row) - m.row * x.sum(-1, keepdim=True),
    "a convolution": lambda m, x: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(m.row), n=5),
    "bent": lambda m, x: (x[:, None] * m.w).tanh().sum(-1),
    "twice": lambda m, x: (x[:, None] * m.w).sum(-1) + (x.flip(1)[:, None] * m.w).sum(-1),
    "slices": lambda m, x: x[:, :2] @ m.w[:, :2].T + x[:, 2:] @ m.w[:, 2:].T,
    "slices times": lambda m, x: (x[:, None, :2] * m.w[:, :2]).sum(-1) * x[:, :1],
    "a point": lambda m, x: x * m.point,
    "a sum by a point": lambda m, x: (x * m.single).sum(-1),
    "complex": lambda m, x: (x[:, None] * torch.view_as_complex(m.parts)).sum(-1).abs(),
    "a sum that is masked": lambda m, x: (x[:, None] * m.w * m.mask).sum(-1) * m.few[:, 0],
    "differences": lambda m, x: (x * m.row).diff(dim=-1),
    "of a square": lambda m, x: (x * m.row**2).sum(-1),
    "an offset that counts": lambda m, x: (x * m.row + 2e-3 * m.row.flip(0)).sum(-1),
    "an offset that doesn't": lambda m, x: (x * m.row + 2e-4 * m.row.flip(0)).sum(-1),
    "nearly a scale": lambda m, x: x * m.row + 0.01 * (x * m.row).flip(-1),
    "as good as a scale": lambda m, x: x * m.row + 1e-4 * (x * m.row).flip(-1),
    "outputs that differ": lambda m, x: (x * m.row * torch.tensor([1, 1.001, 1, 1, 1])).flip(0),
    "two outputs": lambda m, x: torch.stack([(x * m.row).sum(-1), (x * m.row).sum(-1)]),
    "of 256": lambda m, x: (x[:, None] * m.long.repeat(2, 1)[:52]).cumsum(-1),
    "of one number": lambda m, x: fn.linear(x[:, :1], m.w[:1, :1] * 0.5),
    "one number of all": lambda m, x: (x[0] * m.row).sum(),
    "of exp": lambda m, x: (x[:, None] * m.w.exp()).sum(-1),
}


def studies(net: Net) -> Iterator[str]:
    """Yield what is found of each computed tensor, and of each product with the data."""
    graph, names = graph_of(net, X), [name for name, _ in net.named_parameters()]
    tape = graph.recorder.tape
    uses = [use for node in graph.nodes for use in node.uses]
    for operand, met in dict.fromkeys((use.operand, use.met) for use in uses):
        use = next(use for use in uses if (use.operand, use.met) == (operand, met))
        try:
            if met is not None:
                computed, fan = response_of(tape, met), 1.0
            elif operand is not None:
                entries = tape.entries_for(operand, use.at, frozenset())
                computed, fan = Computed(tape, entries, [operand]), use.fan_in
            else:
                continue
            with replaying():
                found = influences(computed, fan, met is not None)
        except ReplayError as error:
            yield str(error)
        else:
            what = "product" if met is not None else "weight"
            yield from (f"{what}, {names[n]}: {influence_text(one)}" for n, one in found.items())


def influence_text(one: Influence) -> str:
    marks = ["about"] * (not one.exact) + ["not additive"] * (not one.additive)
    said = " ".join([one.kind, f"{one.second:.{3 if one.exact else 2}g}^1/{one.degree}", *marks])
    return f"{said}: {one.doubt}" if one.doubt else said


def all_functions() -> dict[str, Callable[[Net, Tensor], Tensor]]:
    def layer(function: Callable[[Net], Tensor]) -> Callable[[Net, Tensor], Tensor]:
        return lambda m, x: fn.linear(x, function(m))

    return {name: layer(function) for name, function in WEIGHTS.items()} | {
        f"product: {name}": function for name, function in PRODUCTS.items()
    }


def all_influences() -> str:
    lines: list[str] = []
    for name, function in all_functions().items():
        lines += [f"=== {name}", *studies(Net(function))]
    return "\n".join([VERSION, *lines]) + "\n"


def test_each_influence_is_as_before() -> None:
    assert all_influences() == expected(FILE)


if __name__ == "__main__":
    FILE.write_text(all_influences(), encoding="utf-8")
