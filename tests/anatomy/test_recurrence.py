"""Cells written by hand: what their weights are, at any number of steps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tests.steps import LINEAR, steps
from torch import nn
from torch.nn import functional

import goodinit as gi
from goodinit.anatomy import read
from goodinit.anatomy.recurrence import USES_IN_A_STEP, Loop, find_loops, floors

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


def one_joined(m, x):
    """A concatenation of the state alone."""
    h = zeros(x)
    for t in range(x.shape[1]):
        h = torch.tanh(m.U(x[:, t]) + m.W(torch.cat([h], -1)))
    return h


PARTS = {
    one_joined: {"U": "in", "W": "recurrent"},
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


def shared(m, x):
    for _ in range(x.shape[1]):
        x = x + m.B(functional.gelu(m.A(functional.layer_norm(x, (D,)))))
    return m.O(x)


def driven(m, x):
    """An equation whose input is new at each step; two weights between state and state."""
    h = zeros(x)
    for t in range(x.shape[1]):
        h = h + m.B(torch.tanh(m.A(h) + m.U(x[:, t])))
    return m.O(h)


def towers(m, x):
    y = m.B(x)
    a, b = (functional.relu(m.A(part)) for part in (y[:, :2], y[:, 2:]))
    return m.O(torch.cat([a, b], -1))


TWO = {"widths": {"A": 16, "U": 16, "B": D, "O": 3}, "inputs": {"B": 16}}
# run, how its modules are made, and of each loop: whether elementwise functions alone lie
# between, whether something new comes in, whether the state is added
LOOPS = {
    rnn: ({}, {"W": (True, True, False)}),
    rnn_hoisted: ({}, {"W": (True, True, False)}),
    joined: ({"inputs": {"W": 2 * D}}, {"W": (True, True, False)}),
    two_layers: ({}, {"W": (True, True, False), "Z": (True, True, False)}),
    deq: ({}, {"W": (True, False, False)}),
    lista: ({}, {"W": (True, False, False)}),
    leaky: ({}, {"W": (True, True, True)}),
    shared: (TWO, {"A": (False, False, False), "B": (False, False, False)}),
    driven: (TWO, {"A": (False, True, False), "B": (False, True, False)}),
    towers: ({"widths": {"A": D, "B": D, "O": 3}, "inputs": {"O": 2 * D}}, {}),
}


@pytest.mark.parametrize("run", LOOPS, ids=lambda f: f.__name__)
def test_loops(run):
    options, expected = LOOPS[run]
    widths = options.get("widths") or dict.fromkeys(PARTS[run], D)
    model = Cell(run, inputs=options.get("inputs"), **widths)
    anatomy = read(model, torch.randn(3, 4, D))
    found = find_loops(anatomy.graph)
    names = {anatomy.rows[param].name.removesuffix(".weight"): one for param, one in found.items()}
    assert {n: (bool(one.path), one.fed, one.adds) for n, one in names.items()} == expected
    steps = 2 if run is towers else 4
    for one in names.values():
        assert len(one.uses) == steps
        assert (one.first, one.again) == (one.uses[0], one.uses[1])


def test_no_skip_starts_many_uses_before():
    """-1 for the first uses and outside of the loop; then the use a step before."""
    graph = SimpleNamespace(nodes=[None] * 40)
    uses = list(range(2, 35, 3))
    loop = Loop(uses, 2, 5, {3}, fed=True)
    expected = [-1] * 40
    for index in range(uses[USES_IN_A_STEP], uses[-1] + 1):
        expected[index] = uses[(index - 2) // 3 - USES_IN_A_STEP]
    assert floors(graph, {0: loop}) == expected
    assert expected[26:33] == [2, 2, 2, 5, 5, 5, 8]
    loop.fed = False
    assert floors(graph, {0: loop}) == [-1] * 40


def test_a_driven_equation_is_unsure():
    rows = rows_of(driven, 3, TWO["widths"], inputs=TWO["inputs"])
    ends = {name: row.facets.ends_residual for name, row in rows.items() if "bias" not in name}
    assert ends == {"A.weight": False, "U.weight": False, "B.weight": None, "O.weight": False}
    assert "how many steps" in rows["B.weight"].facets.doubt


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


def test_many_steps_cost_in_proportion():
    rows_of(rnn, 2)  # imports
    assert steps(lambda: rows_of(rnn, 100)) < LINEAR * steps(lambda: rows_of(rnn, 25))


# Gates: which rows of a weight, and which bias, belong to which gate.


def lstm(m, x):
    h = c = zeros(x)
    for t in range(x.shape[1]):
        i, f, g, o = (m.U(x[:, t]) + m.W(h)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


def lstm_of_one_sigmoid(m, x):
    h, c = zeros(x), zeros(x)
    for t in range(x.shape[1]):
        y = m.U(x[:, t]) + m.W(h)
        shares, g = torch.sigmoid(y[:, : 3 * D]), torch.tanh(y[:, 3 * D :])
        i, f, o = shares[:, :D], shares[:, D : 2 * D], shares[:, 2 * D :]
        c = c * f + g * i
        h = c.tanh() * o
    return h


def lstm_joined(m, x):
    h, c = zeros(x), zeros(x)
    for t in range(x.shape[1]):
        f, i, o, g = m.W(torch.cat((x[:, t], h), 1)).split(D, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return h


def lstm_apart(m, x):
    h, c = zeros(x), zeros(x)
    for now in x.unbind(1):
        y = torch.cat([now, h], -1)
        f, i, o = torch.sigmoid(m.F(y)), torch.sigmoid(m.I(y)), torch.sigmoid(m.O(y))
        c = f * c + i * torch.tanh(m.G(y))
        h = o * torch.tanh(c)
    return h


def gru(m, x):
    h = zeros(x)
    for t in range(x.shape[1]):
        (a, b, c), (d, e, f) = m.U(x[:, t]).chunk(3, -1), m.W(h).chunk(3, -1)
        r, z = torch.sigmoid(a + d), torch.sigmoid(b + e)
        h = (1 - z) * torch.tanh(c + r * f) + z * h
    return h


def gru_from_ones(m, x):
    h, one = zeros(x), torch.ones(1)
    for t in range(x.shape[1]):
        (a, b, c), (d, e, f) = m.U(x[:, t]).chunk(3, -1), m.W(h).chunk(3, -1)
        r, z = torch.sigmoid(a + d), torch.sigmoid(b + e)
        h = (one - z) * torch.tanh(c + r * f) + z * h
    return h


def gru_apart(m, x):
    h, u = zeros(x), m.U(x)
    for t in range(x.shape[1]):
        a, b, c = u[:, t].chunk(3, -1)
        r, z = torch.sigmoid(a + m.R(h)), torch.sigmoid(b + m.Z(h))
        h = h + z * (torch.tanh(c + m.N(r * h)) - h)
    return h


def gru_by_lerp(m, x):
    h = zeros(x)
    for t in range(x.shape[1]):
        r, z = torch.sigmoid(m.U(x[:, t]) + m.W(h)).chunk(2, -1)
        h = torch.lerp(h, torch.tanh(m.V(x[:, t]) + m.N(r * h)), z)
    return h


LSTM = ["in", "forget", "cell", "out"]
GRU = ["reset", "update", "new"]
# run, widths, names of the blocks of each weight, the bias that holds the forget gate
GATES = {
    "lstm": (lstm, {"U": 4 * D, "W": 4 * D}, {"U": LSTM, "W": LSTM}, ["U.bias"]),
    "one sigmoid": (
        lstm_of_one_sigmoid,
        {"U": 4 * D, "W": 4 * D},
        {"W": ["in", "forget", "out", "cell"]},
        ["U.bias"],
    ),
    "joined": (lstm_joined, {"W": 4 * D}, {"W": ["forget", "in", "out", "cell"]}, ["W.bias"]),
    "apart": (lstm_apart, dict.fromkeys("FIOG", D), {"F": [""], "G": [""]}, ["F.bias"]),
    "gru": (gru, {"U": 3 * D, "W": 3 * D}, {"U": GRU, "W": GRU}, []),
    "gru from ones": (gru_from_ones, {"U": 3 * D, "W": 3 * D}, {"U": GRU, "W": GRU}, []),
    "gru apart": (gru_apart, {"U": 3 * D, "R": D, "Z": D, "N": D}, {"U": GRU, "N": [""]}, []),
    "lerp": (gru_by_lerp, {"U": 2 * D, "W": 2 * D, "V": D, "N": D}, {"W": GRU[:2]}, []),
}


@pytest.mark.parametrize("name", GATES)
def test_gates_are_found(name):
    run, widths, blocks, forget = GATES[name]
    joined = run in (lstm_joined, lstm_apart)
    inputs = dict.fromkeys(widths, 2 * D) if joined else {}
    found = [rows_of(run, steps, widths, inputs=inputs) for steps in STEPS]
    for rows in found:
        assert answers(rows) == answers(found[0])
        for key, row in rows.items():
            if not key.endswith("bias"):
                assert row.facets.kind == "recurrent"
            assert not row.facets.ends_residual
            assert not row.facets.guessed, row.facets.doubt
        for key, expected in blocks.items():
            assert [block.name for block, _ in rows[f"{key}.weight"].sites()] == expected
        biases = {key: row for key, row in rows.items() if key.endswith("bias")}
        held = [k for k, r in biases.items() if "forget" in {b.name for b in r.facets.blocks}]
        assert held == forget


def test_forget_gates_start_open_once():
    model = Cell(lstm, U=4 * D, W=4 * D)
    gi.init_(model, "standard", inputs=torch.randn(3, 4, D), seed=0)
    assert model.U.bias.view(4, D).mean(1).tolist() == [0, 1, 0, 0]
    assert not model.W.bias.any()
    for gate in model.W.weight.view(4, D, D):
        assert torch.allclose(gate @ gate.T, torch.eye(D), atol=1e-5)


def added_whole(m, y):
    return functional.linear(y, m.W.weight, m.b).chunk(4, -1)


def added_to_weights_of_their_own(m, y):
    pairs = zip((m.F, m.I, m.G, m.O), m.b.chunk(4), strict=True)
    return [functional.linear(y, layer.weight, part) for layer, part in pairs]


def added_in_part(m, y):
    return *functional.linear(y, m.W.weight, m.b[D : 3 * D]).chunk(2, -1), m.G(y), m.O(y)


FIGO = ["forget", "in", "cell", "out"]
RAW_BIASES = [
    (added_whole, {"W": 4 * D}, FIGO),
    (added_to_weights_of_their_own, dict.fromkeys("FIGO", D), FIGO),
    (added_in_part, {"W": 2 * D, "G": D, "O": D}, ["rest0", "forget", "in", "rest3"]),
]


@pytest.mark.parametrize(("add", "widths", "names"), RAW_BIASES)
def test_a_raw_bias_has_the_names_of_its_gates(add, widths, names):
    def run(m, x):
        h = c = zeros(x)
        for now in x.unbind(1):
            f, i, g, o = add(m, torch.cat([now, h], -1))
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h

    model = Cell(run, bias=False, inputs=dict.fromkeys(widths, 2 * D), **widths)
    model.b = nn.Parameter(torch.zeros(4 * D))
    row = {row.name: row for row in read(model, torch.randn(3, 2, D)).rows}["b"]
    assert row.facets.part == "bias"
    assert [(b.name, b.box) for b in row.facets.blocks] == [
        (name, ((n * D, (n + 1) * D),)) for n, name in enumerate(names)
    ]
