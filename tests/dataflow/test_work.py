"""Large products of weights: rows of them are enough, and what takes too long isn't tried."""

import pytest
import torch
from torch import nn
from torch.nn import functional as fn
from torch.utils.flop_counter import FlopCounterMode

import goodinit as gi
from goodinit.dataflow import work
from goodinit.dataflow.tape import Entry

SIZE = 96


class Net(nn.Module):
    """Square weights, and what is made of them."""

    def __init__(self, function):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.randn(SIZE, SIZE)) for _ in range(3))
        self.function = function

    def forward(self, x):
        return fn.linear(x, self.function(self))


def rows(function):
    torch.manual_seed(0)
    plan = gi.plan(Net(function), "lecun", inputs=torch.randn(2, SIZE))
    used = [row for row in plan if row.fan_in]
    return {row.name: (row.kind, row.fan_in, row.guessed, row.why) for row in used}


@pytest.fixture
def taken(monkeypatch):
    """What rows were chosen, in each study."""
    found, chosen = [], work.rows_of

    def noted(*given):
        found.append(chosen(*given))
        return found[-1]

    monkeypatch.setattr("goodinit.dataflow.replay.rows_of", noted)
    return found


SHARE = 1 / 4
PRODUCTS = {
    "three": lambda m: m.a @ m.b @ m.c,
    "columns": lambda m: m.a @ (m.b @ m.c),
    "added": lambda m: m.c + m.a @ m.b,
    "transposed": lambda m: (m.a @ m.b).T / 3,
    "by itself": lambda m: m.a @ m.a.T,
    "einsum": lambda m: torch.einsum("ij,jk,kl->li", m.a, m.b, m.c),
    "chain": lambda m: torch.linalg.multi_dot([m.a, m.b, m.c]),
    "spectrum of columns": lambda m: torch.fft.fft(m.a @ m.b, dim=0, norm="ortho").real,
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_rows_of_a_product_give_the_answer_of_the_whole(name, taken, monkeypatch):
    function = PRODUCTS[name]
    whole = rows(function)
    taken.clear()
    monkeypatch.setattr(work, "ENOUGH", 2**16)
    monkeypatch.setattr(work, "FEWEST_ROWS", int(SHARE * SIZE))
    found = rows(function)
    assert len(taken[0].chosen) == SHARE * SIZE
    for row, (kind, fan_in, guessed, why) in whole.items():
        assert found[row][:1] + found[row][2:] == (kind, guessed, why)
        assert found[row][1] == pytest.approx(fan_in, rel=0.05)


@pytest.mark.parametrize(
    "function",
    [lambda m: torch.relu(m.a @ m.b).cumsum(0).cumsum(1) / 900,
     lambda m: torch.matrix_exp(m.a - m.a.T), lambda m: (m.a @ m.b).softmax(-1)],
    ids=["running sum", "exponential", "softmax"],
)  # fmt: skip
def test_the_whole_is_computed_where_rows_are_not_enough(function, monkeypatch):
    before = rows(function)
    monkeypatch.setattr(work, "ENOUGH", 2**16)
    assert rows(function) == before


@pytest.mark.parametrize(
    ("function", "few"),
    [
        (lambda m: (m.a * 2 + m.b).tanh() * m.c.softmax(1), True),
        (lambda m: (m.a * 2 + m.b).tanh() * m.c.softmax(1).softmax(0), True),
        (lambda m: m.a + m.b, False),
    ],
    ids=["by rows", "one by columns", "few sums"],
)
def test_many_sums_of_large_weights_are_taken_of_some_rows(function, few, taken, monkeypatch):
    monkeypatch.setattr(work, "ENOUGH", 2 * work.PER_NUMBER * SIZE**2)
    monkeypatch.setattr(work, "FEWEST_ROWS", SIZE // 8)
    rows(function)
    assert {one is not None for one in taken} == {few}


def filtered(m, x):
    """One filter for each channel, a row."""
    return torch.fft.irfft(torch.fft.rfft(x[:, None]) * torch.fft.rfft(m.a), n=SIZE)


@pytest.mark.parametrize(
    "function",
    [filtered, lambda m, x: (x[:, None] * m.a).sum(-1)],
    ids=["Fourier transforms", "a sum"],
)
def test_rows_are_enough_of_what_follows_a_product(function, taken, monkeypatch):
    class Followed(Net):
        def forward(self, x):
            return self.function(self, x)

    def fans():
        row = gi.plan(Followed(function), "lecun", inputs=torch.randn(2, SIZE))["a"]
        return row.fan_in, row.guessed

    assert fans() == (SIZE, False)
    assert not any(taken)
    monkeypatch.setattr(work, "ENOUGH", work.PER_NUMBER * SIZE**2)
    monkeypatch.setattr(work, "FEWEST_ROWS", SIZE // 8)
    assert fans() == (SIZE, False)
    assert any(one and 2 * len(one.chosen) < SIZE for one in taken)


def test_a_row_is_taken_of_each_part():
    found = work._spread(100, 25)
    assert (found // 4).tolist() == list(range(25))
    assert len({*(found % 4).tolist()}) > 1


def test_what_takes_too_long_is_not_tried(monkeypatch):
    monkeypatch.setattr("goodinit.dataflow.replay.MOST", SIZE**3)
    kind, fan_in, guessed, why = rows(lambda m: m.a @ m.b)["a"]
    assert (kind, guessed, "multiplications" in why) == ("linear", False, False)
    monkeypatch.setattr("goodinit.dataflow.replay.MOST", SIZE**3 - 1)
    kind, fan_in, guessed, why = rows(lambda m: m.a @ m.b)["a"]
    assert (kind, fan_in, guessed) == ("linear", SIZE, True)
    assert f"matmul(W) comes before it, and it takes more than {SIZE**3 - 1} multiplications" in why


def entry(name, role, function, *shapes):
    """Return a call on tensors of such shapes, their shapes and how many products torch counts."""
    given = [torch.randn(shape) for shape in shapes]
    with FlopCounterMode(display=False) as counter:
        result = function(*given)
    sizes = dict(enumerate([*shapes, tuple(result.shape)]))
    inputs = tuple(range(len(shapes)))
    made = Entry(function, name, role, (), {}, inputs, (len(shapes),))
    return work.multiplications(made, sizes.__getitem__), counter.get_total_flops() / 2


@pytest.mark.parametrize(
    ("name", "function", "shapes"),
    [
        ("matmul", torch.matmul, [(3, 5), (5, 7)]),
        ("bmm", torch.bmm, [(2, 3, 5), (2, 5, 7)]),
        ("linear", fn.linear, [(2, 3, 5), (7, 5)]),
        ("einsum", lambda a, b: torch.einsum("ij,kj->ik", a, b), [(3, 5), (7, 5)]),
        ("multi_dot", lambda *m: torch.linalg.multi_dot(m), [(6, 6)] * 4),
    ],
)
def test_multiplications_are_those_that_torch_counts(name, function, shapes):
    found, counted = entry(name, "contract", function, *shapes)
    assert found == pytest.approx(counted)


def test_functions_of_a_matrix_count_as_products_of_it():
    assert entry("linalg_inv", "other", torch.linalg.inv, (6, 6))[0] == 2 * 6**3
    assert entry("matrix_exp", "other", torch.matrix_exp, (4, 6, 6))[0] == 16 * 4 * 6**3
    assert entry("softmax", "softmax", lambda a: a.softmax(-1), (6, 6))[0] == 0
