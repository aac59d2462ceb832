"""Cells written by hand: what their weights are, at any number of steps."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn
from torch.nn import functional

from goodinit.anatomy import read

STEPS = (2, 5, 9)
D = 8


class Cell(nn.Module):
    """``Cell(step, U=24, W=24)``: Linears without names that help, and a function of them."""

    def __init__(self, run, bias=True, inputs=None, **outputs):
        super().__init__()
        self.run = run
        for name, width in outputs.items():
            setattr(self, name, nn.Linear((inputs or {}).get(name, D), width, bias))

    def forward(self, x):
        return self.run(self, x)


def zeros(x):
    return x.new_zeros(x.shape[0], D)


def rnn(m, x):
    h = zeros(x)
    for t in range(x.shape[1]):
        h = torch.tanh(m.U(x[:, t]) + m.W(h))
    return h


def rnn_hoisted(m, x):
    u, h = m.U(x), zeros(x)
    for t in range(x.shape[1]):
        h = torch.tanh(u[:, t] + m.W(h))
    return h


def rnn_with_a_head(m, x):
    h, made = zeros(x), []
    for now in x.unbind(1):
        h = functional.layer_norm(functional.relu(m.W(h) + m.U(now)), (D,))
        made.append(m.O(h))
    return torch.stack(made, 1)


def joined(m, x):
    h = zeros(x)
    for t in range(x.shape[1]):
        h = torch.tanh(m.W(torch.cat([x[:, t], h], -1)))
    return h


def two_layers(m, x):
    a = b = zeros(x)
    for t in range(x.shape[1]):
        a = torch.tanh(m.U(x[:, t]) + m.W(a))
        b = torch.tanh(m.V(a) + m.Z(b))
    return b


def deq(m, x):
    u = m.U(x[:, 0])
    z = torch.tanh(u)
    for _ in range(x.shape[1]):
        z = torch.tanh(m.W(z) + u)
    return z


def lista(m, x):
    u, z = m.U(x[:, 0]), zeros(x)
    for _ in range(x.shape[1]):
        v = u + m.W(z)
        z = torch.sign(v) * functional.relu(v.abs() - 0.1)
    return z


def leaky(m, x):
    h = zeros(x)
    for t in range(x.shape[1]):
        h = 0.9 * h + 0.1 * torch.tanh(m.U(x[:, t]) + m.W(h))
    return h


PARTS = {
    rnn: {"U": "in", "W": "recurrent"},
    rnn_hoisted: {"U": "in", "W": "recurrent"},
    rnn_with_a_head: {"U": "in", "W": "recurrent", "O": None},
    joined: {"W": "weight"},
    two_layers: {"U": "in", "W": "recurrent", "V": "in", "Z": "recurrent"},
    deq: {"U": "in", "W": "recurrent"},
    lista: {"U": "in", "W": "recurrent"},
    leaky: {"U": "in", "W": "recurrent"},
}


def rows_of(run, steps, widths=None, **options):
    model = Cell(run, **options, **(widths or dict.fromkeys(PARTS[run], D)))
    return {row.name: row for row in read(model, torch.randn(3, steps, D)).rows}


def answers(rows):
    return {
        name: (row.facets, [(block.name, site) for block, site in row.sites()])
        for name, row in rows.items()
    }


@pytest.mark.parametrize("run", PARTS, ids=lambda f: f.__name__)
def test_the_weights_of_a_state_are_recurrent_at_any_number_of_steps(run):
    options = {"inputs": {"W": 2 * D}} if run is joined else {}
    found = [rows_of(run, steps, **options) for steps in STEPS]
    for rows in found:
        assert answers(rows) == answers(found[0])
        for name, part in PARTS[run].items():
            one = rows[f"{name}.weight"].facets
            if part is None:
                assert one.kind == "linear"
            else:
                assert (one.kind, one.part) == ("recurrent", part)
            assert not one.ends_residual
            assert (
                one.layout.fans(rows[f"{name}.weight"].shape)[0] == rows[f"{name}.weight"].shape[1]
            )


def test_a_state_that_is_added_to_is_unsure():
    """A leaky integrator: 0.9 h + 0.1 f(h) may end a branch of many steps; nobody knows."""
    one = rows_of(leaky, 5)["W.weight"].facets
    assert (one.ends_residual, one.guessed) == (None, True)
    assert "state" in one.doubt


def test_layers_that_share_weights_are_a_stream_of_one_layer():
    """ALBERT, Universal transformers: the branch is added to the stream, in each pass."""

    def run(m, x):
        for _ in range(x.shape[1]):
            x = x + m.B(functional.gelu(m.A(functional.layer_norm(x, (D,)))))
        return m.O(x)

    found = [rows_of(run, steps, {"A": 16, "B": D, "O": 3}, inputs={"B": 16}) for steps in STEPS]
    for rows in found:
        assert answers(rows) == answers(found[0])
        assert rows["B.weight"].facets.ends_residual
        assert rows["B.weight"].facets.depth == 1
        assert "share" in rows["B.weight"].facets.doubt
        assert rows["A.weight"].facets.kind == "linear"


def test_the_steps_of_an_ode_solver_are_no_layers():
    def run(m, x):
        def f(z):
            return m.B(torch.tanh(m.A(z)))

        for _ in range(x.shape[1]):  # Runge-Kutta of order 4
            a = f(x)
            b = f(x + 0.05 * a)
            c = f(x + 0.05 * b)
            d = f(x + 0.1 * c)
            x = x + 0.1 / 6 * (a + 2 * b + 2 * c + d)
        return m.O(x)

    found = [rows_of(run, steps, {"A": 16, "B": D, "O": 3}, inputs={"B": 16}) for steps in STEPS]
    for rows in found:
        assert answers(rows) == answers(found[0])
        assert rows["B.weight"].facets.depth == 1


def test_tied_weights_that_go_back_are_no_recurrence():
    """W' relu(W x): an autoencoder with tied weights."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(8, 8))

        def forward(self, x):
            return functional.relu(x @ self.w) @ self.w.t()

    (row,) = read(Tied(), torch.randn(3, 8)).rows
    assert row.facets.kind == "linear"


def test_towers_that_share_weights_are_no_recurrence():
    def run(m, x):
        a, b = (functional.relu(m.A(part)) for part in (x[:, :2], x[:, 2:]))
        return m.O(torch.cat([a, b], -1))

    rows = rows_of(run, 4, {"A": 8, "O": 3}, inputs={"O": 16})
    assert rows["A.weight"].facets.kind == "linear"


def test_tokens_that_are_sampled_again_are_no_state():
    class Greedy(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.hidden = nn.Embedding(11, 8), nn.Linear(8, 16)
            self.head = nn.Linear(16, 11)

        def forward(self, token):
            for _ in range(4):
                token = self.head(functional.relu(self.hidden(self.table(token)))).argmax(-1)
            return token

    rows = {row.name: row.facets for row in read(Greedy(), torch.tensor([1, 2])).rows}
    assert rows["hidden.weight"].kind == "linear"


def test_many_steps_take_time_in_proportion():
    taken = []
    for steps in (100, 400):
        start = time.process_time()
        rows_of(rnn, steps)
        taken.append(time.process_time() - start)
    assert taken[1] < 12 * taken[0]  # in proportion would be 4, and noise may triple it
