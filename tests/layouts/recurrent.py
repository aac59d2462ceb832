"""Kind G: recurrence by hand. The state's weight ends no residual branch, at any length."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

import goodinit as gi

from .layout import Layout, Net, Verdict, facts, graded, holds, raw

D = 24
LENGTHS = (5, 20)


def judge(layout: Layout, state: tuple[str, ...]) -> Verdict:
    """No weight of ``state`` is an end, and no row depends on how many steps there are."""
    module = layout.make()
    plans = [gi.plan(module, "standard", inputs=torch.randn(4, n, D)) for n in LENGTHS]
    told = []
    for name in state:
        rows = [plan[name] for plan in plans]
        if any(row.ends_residual for row in rows):
            told.append((f"{name} ends a residual branch", rows))
    for row in plans[0]:
        other = plans[1][row.name]
        if (row.scheme, row.std, row.blocks) != (other.scheme, other.std, other.blocks):
            told.append((f"{row.name} {row.scheme}, {other.scheme}", [row, other]))
    certain = any(not row.guessed for _, rows in told for row in rows) if told else True
    return graded(not told, certain, "; ".join(text for text, _ in told))


def recurrent(*state: str, **options):
    return holds("G", (4, LENGTHS[0], D), partial(judge, state=state), **options)


def start(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[0], D)


@recurrent("w.weight")
def elman():
    def forward(m, x):
        h = start(x)
        for t in range(x.shape[1]):
            h = torch.tanh(m.u(x[:, t]) + m.w(h))
        return h

    return Net(forward, u=nn.Linear(D, D), w=nn.Linear(D, D))


@recurrent("w")
def elman_of_raw_matrices():
    def forward(m, x):
        h, out = start(x), []
        for part in x.unbind(1):
            h = torch.relu(part @ m.u + h @ m.w + m.b)
            out.append(h)
        return torch.stack(out, 1)

    return Net(forward, u=raw(D, D), w=raw(D, D), b=nn.Parameter(torch.zeros(D)))


@recurrent("w.weight")
def one_layer_of_both():
    """A single Linear of [x, h]."""

    def forward(m, x):
        h = start(x)
        for t in range(x.shape[1]):
            h = torch.tanh(m.w(torch.cat([x[:, t], h], -1)))
        return m.out(h)

    return Net(forward, w=nn.Linear(2 * D, D), out=nn.Linear(D, 5))


@recurrent("w.weight")
def lstm_by_hand():
    def forward(m, x):
        h = c = start(x)
        for t in range(x.shape[1]):
            i, f, g, o = (m.u(x[:, t]) + m.w(h)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h

    return Net(forward, u=nn.Linear(D, 4 * D), w=nn.Linear(D, 4 * D, bias=False))


@recurrent("wi.weight", "wf.weight", "wg.weight", "wo.weight")
def lstm_of_separate_gates():
    def forward(m, x):
        h = c = start(x)
        for t in range(x.shape[1]):
            z = torch.cat([x[:, t], h], 1)
            c = m.wf(z).sigmoid() * c + m.wi(z).sigmoid() * m.wg(z).tanh()
            h = m.wo(z).sigmoid() * c.tanh()
        return h

    return Net(forward, **{f"w{k}": nn.Linear(2 * D, D) for k in "ifgo"})


@recurrent("w.weight")
def gru_by_hand():
    def forward(m, x):
        h = start(x)
        for t in range(x.shape[1]):
            (a, b, c), (d, e, f) = m.u(x[:, t]).chunk(3, -1), m.w(h).chunk(3, -1)
            r, z = torch.sigmoid(a + d), torch.sigmoid(b + e)
            h = (1 - z) * torch.tanh(c + r * f) + z * h
        return h

    return Net(forward, u=nn.Linear(D, 3 * D), w=nn.Linear(D, 3 * D, bias=False))


@recurrent("wz.weight", "wh.weight")
def minimal_gated_unit():
    def forward(m, x):
        h = start(x)
        for t in range(x.shape[1]):
            z = torch.sigmoid(m.wz(torch.cat([x[:, t], h], -1)))
            h = h + z * (torch.tanh(m.wh(torch.cat([x[:, t], z * h], -1))) - h)
        return h

    return Net(forward, wz=nn.Linear(2 * D, D), wh=nn.Linear(2 * D, D))


@recurrent("w.weight")
def fixed_point():
    """DEQ: one layer, iterated."""

    def forward(m, x):
        u = m.u(x[:, 0])
        z = torch.tanh(u)
        for _ in range(x.shape[1]):
            z = torch.tanh(m.w(z) + u)
        return z

    return Net(forward, u=nn.Linear(D, D), w=nn.Linear(D, D, bias=False))


@recurrent("s.weight")
def iterated_shrinkage():
    """LISTA: soft thresholds of W y + S z."""

    def forward(m, x):
        y = m.w(x[:, 0])
        z = fn.softshrink(y, 0.1)
        for _ in range(x.shape[1]):
            z = fn.softshrink(y + m.s(z), 0.1)
        return z

    return Net(forward, w=nn.Linear(D, D, bias=False), s=nn.Linear(D, D, bias=False))


@recurrent("w.weight")
def leaky_integrator():
    """An echo state, a CTRNN: part of the state stays."""

    def forward(m, x):
        h = start(x)
        for t in range(x.shape[1]):
            h = 0.8 * h + 0.2 * torch.tanh(m.u(x[:, t]) + m.w(h))
        return h

    return Net(forward, u=nn.Linear(D, D), w=nn.Linear(D, D))


@recurrent("w.weight")
def convolutional_gru():
    def forward(m, x):
        maps = x[..., None, :].expand(-1, -1, 6, -1)
        h = torch.zeros(x.shape[0], 6, D)
        for t in range(x.shape[1]):
            z, n = m.w(torch.cat([maps[:, t], h], 1)).chunk(2, 1)
            h = torch.lerp(h, n.tanh(), z.sigmoid())
        return h

    return Net(forward, w=nn.Conv1d(12, 12, 3, padding=1))


@recurrent("w.weight")
def spiking_recurrence():
    def forward(m, x):
        u, s = start(x), start(x)
        for t in range(x.shape[1]):
            u = 0.9 * u + m.u(x[:, t]) + m.w(s)
            s = torch.sigmoid(8 * (u - 1))
        return u

    return Net(forward, u=nn.Linear(D, D), w=nn.Linear(D, D, bias=False))


@recurrent("w1.weight", "w2.weight")
def two_recurrent_layers():
    def forward(m, x):
        a = b = start(x)
        for t in range(x.shape[1]):
            a = torch.tanh(m.u1(x[:, t]) + m.w1(a))
            b = torch.tanh(m.u2(a) + m.w2(b))
        return b

    return Net(forward, **{k: nn.Linear(D, D) for k in ("u1", "w1", "u2", "w2")})


@recurrent("cell.weight_hh")
def a_cell_of_torch():
    def forward(m, x):
        h = start(x)
        for t in range(x.shape[1]):
            h = m.cell(x[:, t], h)
        return h

    return Net(forward, cell=nn.RNNCell(D, D))


@recurrent("w.weight")
def gru_of_a_difference():
    """new + z * (h - new), as torch computes it."""

    def forward(m, x):
        h = start(x)
        for t in range(x.shape[1]):
            (a, b, c), (d, e, f) = m.u(x[:, t]).chunk(3, -1), m.w(h).chunk(3, -1)
            new = torch.tanh(c + torch.sigmoid(a + d) * f)
            h = new + torch.sigmoid(b + e) * (h - new)
        return h

    return Net(forward, u=nn.Linear(D, 3 * D), w=nn.Linear(D, 3 * D, bias=False))


STATES_NO_STREAM = {name: {"ends_residual": False, "guessed": False} for name in ("u", "w")}


@facts("G", (4, 5, D), STATES_NO_STREAM)
def gate_of_a_difference():
    """No state is added to itself: the answer is sure."""

    def forward(m, x):
        h = start(x)
        for t in range(x.shape[1]):
            new = torch.tanh(x[:, t] @ m.u + h @ m.w)
            h = new + torch.sigmoid(x[:, t]) * (h - new)
        return h

    return Net(forward, u=raw(D, D), w=raw(D, D))


# One weight holds a matrix for each layer: its parts follow one another, but none comes again.


def one_after_another(step, parts=lambda m: range(4), **shapes):
    def forward(m, x):
        for part in parts(m):
            x = step(m, x, part)
        return x

    return Net(forward, **{name: raw(*shape) for name, shape in shapes.items()})


PLAIN = {"w": {"kind": "linear", "part": "weight", "ends_residual": False, "guessed": False}}
END = {"kind": "linear", "part": "out", "ends_residual": True, "guessed": False}


@facts("G", (4, 5, D), PLAIN)
def a_layer_for_each_index():
    return one_after_another(lambda m, x, i: torch.tanh(x @ m.w[i]), w=(4, D, D))


@facts("G", (4, 5, D), PLAIN)
def a_layer_for_each_part_of_the_rows():
    return one_after_another(
        lambda _, x, w: fn.relu(fn.linear(x, w)), lambda m: m.w.chunk(4), w=(4 * D, D)
    )


@facts("G", (4, 5, D), {"w": END | {"depth": 2}})
def a_residual_layer_for_each_matrix():
    return one_after_another(
        lambda _, x, w: x + torch.tanh(fn.layer_norm(x, (D,)) @ w), lambda m: m.w, w=(4, D, D)
    )


@facts("G", (4, 5, D), {"w": {"part": "in"}, "v": END | {"depth": 2}})
def two_layers_for_each_index():
    def step(m, x, i):
        h = fn.gelu(torch.einsum("btd,df->btf", fn.layer_norm(x, (D,)), m.w[i]))
        return torch.einsum("btf,fd->btd", h, m.v[i]) + x

    return one_after_another(step, w=(4, D, 2 * D), v=(4, 2 * D, D))


@facts("G", (4, 5, D), {"w": {"kind": "recurrent", "ends_residual": False}})
def a_layer_for_each_index_of_a_state():
    """Two recurrent layers: each part comes again at the next step."""

    def forward(m, x):
        first = second = start(x)
        for t in range(x.shape[1]):
            first = torch.tanh(x[:, t] + first @ m.w[0])
            second = torch.tanh(first + second @ m.w[1])
        return second

    return Net(forward, w=raw(2, D, D))


@facts("G", (4, 5, D), {"w.weight": {"ends_residual": False}, "o.weight": {"part": "head"}})
def recurrence_in_logarithms():
    """minGRU, all steps at once: infinite for some of the numbers that measure it."""

    def forward(m, x):
        new, gate = m.w(x).chunk(2, -1)
        kept = -fn.softplus(gate).cumsum(1)
        values = torch.where(new >= 0, (fn.relu(new) + 0.5).log(), -fn.softplus(-new))
        return m.o((kept + (values - fn.softplus(-gate) - kept).logcumsumexp(1)).exp())

    return Net(forward, w=nn.Linear(D, 2 * D), o=nn.Linear(D, 8))


@facts("G", (5, 4, D), {"u": {"part": "in"}, "w": {"part": "recurrent"}, "h": {"part": "bias"}})
def first_state_that_is_learned():
    """It is multiplied by the state's weight in the first step, but sums nothing itself."""

    def forward(m, x):
        h = m.h.expand(4, D)
        for part in x:
            h = torch.tanh(torch.addmm(m.b, part, m.u) + h @ m.w)
        return m.o(h)

    zeros = {name: nn.Parameter(torch.zeros(D)) for name in "bh"}
    return Net(forward, u=raw(D, D), w=raw(D, D), o=nn.Linear(D, 4), **zeros)
