"""`forecast` without drawing: sampled products have the law of those with drawn matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import goodinit as gi
from goodinit.forecasting import implicit_weights as implicit
from goodinit.forecasting import sampled_products
from goodinit.forecasting.conditional import Conditional

WIDTH, SAMPLES = 48, 3
LAW = gi.Normal(1.3 / math.sqrt(WIDTH))
LEVEL = 0.01  # of all Kolmogorov-Smirnov tests of one function together


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let matrices be implicit that are small, and take many vectors."""
    monkeypatch.setattr(implicit, "LEAST_ELEMENTS", WIDTH * WIDTH)
    monkeypatch.setattr(implicit, "VECTORS", 0)


def batch(*shape: int) -> Tensor:
    return torch.randn(*(shape or (SAMPLES, WIDTH)), generator=torch.Generator().manual_seed(0))


class Deep(nn.Module):
    """Six layers, of own weights or of one."""

    def __init__(self, function: Callable[[Tensor], Tensor], tied: bool) -> None:
        super().__init__()
        layers = [nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(1 if tied else 6)]
        self.layers, self.function = nn.ModuleList(layers), function

    def forward(self, x: Tensor) -> Tensor:
        for step in range(6):
            x = self.function(self.layers[step % len(self.layers)](x))
        return x


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(WIDTH, WIDTH, bias=False)
        self.weight = nn.Parameter(torch.empty(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for _ in range(4):
            h = torch.tanh(self.inward(x) + h @ self.weight)
        return h


class BackAndForth(nn.Module):
    """One weight and its transpose, its halves, and from the left."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.addmm(x, torch.relu(x @ self.weight), self.weight.t())
        low, high = self.weight.chunk(2, 0)
        h = torch.tanh(nn.functional.linear(h, low)) @ high
        return (self.weight @ h.t()).t()


class Tied(nn.Module):
    """A table that is the head, too."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(60, WIDTH)
        self.layer = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        ids = torch.arange(x.shape[0] * 2).view(-1, 2) % 5
        h = self.table(ids).mean(1) + x
        return nn.functional.linear(torch.tanh(self.layer(h)), self.table.weight)


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.empty(3, 2 * WIDTH, WIDTH))
        self.down = nn.Parameter(torch.empty(3, WIDTH, 2 * WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        for expert in (0, 2, 0):
            hidden = torch.relu(nn.functional.linear(x, self.up[expert]))
            x = x + nn.functional.linear(hidden, self.down[torch.tensor(expert)])
        return x


class Stacked(nn.Module):
    """Experts that are multiplied all at once."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.empty(3, WIDTH, 2 * WIDTH))
        self.down = nn.Parameter(torch.empty(3, 2 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(torch.bmm(x.expand(3, -1, -1), self.up))
        y = torch.baddbmm(x.expand(3, -1, -1), hidden, self.down)
        return (torch.tanh(y @ self.up) @ self.down).sum(0) + (x @ self.up)[1, :, :WIDTH]


NETS: dict[str, Callable[[], nn.Module]] = {
    "own, tanh": lambda: Deep(torch.tanh, tied=False),
    "own, relu": lambda: Deep(torch.relu, tied=False),
    "tied, tanh": lambda: Deep(torch.tanh, tied=True),
    "tied, relu": lambda: Deep(torch.relu, tied=True),
    "recurrent": Recurrent,
    "back and forth": BackAndForth,
    "table and head": Tied,
    "experts": Experts,
    "stacked experts": Stacked,
}


def statistics(net: nn.Module, plan: gi.Plan, seed: int, exact: bool) -> tuple[float, ...]:
    """Return the last signal, the first gradient, an overlap of samples and a weight's gradient."""
    signal = gi.forecast(
        net, batch().requires_grad_(), plan, seed=seed, loss=lambda y: y.mean(1).sum(), exact=exact
    )
    assert any(note.startswith("Implicit") for note in signal.notes) is not exact
    last, first = signal.rows[-3], next(row for row in signal.rows if row.backward is not None)
    overlap, size = last.forward.across_samples, signal.gradients[0].size
    assert overlap is not None
    assert first.backward is not None
    return last.forward.second, first.backward.second, overlap, size


def p_values(name: str, draws: int) -> list[float]:
    from scipy.stats import ks_2samp

    with gi.skeleton():
        net = NETS[name]()
    plan = gi.plan(net, {"*": LAW})
    drawn = [statistics(net, plan, seed, exact=True) for seed in range(draws)]
    sampled = [statistics(net, plan, seed, exact=False) for seed in range(draws, 2 * draws)]
    pairs = zip(zip(*drawn, strict=True), zip(*sampled, strict=True), strict=True)
    return [float(ks_2samp(a, b).pvalue) for a, b in pairs]


@pytest.mark.accuracy
@pytest.mark.usefixtures("small")
def test_sampled_products_have_the_law_of_drawn_ones() -> None:
    found: dict[str, list[float]] = {}
    for name in NETS:
        found[name] = p_values(name, 400)
        print(f"{name:15s} " + "  ".join(f"{p:.3f}" for p in found[name]), flush=True)
    assert min(p for values in found.values() for p in values) > LEVEL / (4 * len(NETS))


def test_products_agree_with_one_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    known = Conditional(70, 50, lambda *shape: torch.randn(shape, generator=generator))
    x, d = batch(4, 50), batch(3, 70)
    first, back = known.right(x), known.left(d)
    assert torch.allclose(known.right(x[[2, 0]] - 3 * x[[1, 1]]), first[[2, 0]] - 3 * first[[1, 1]],
                          atol=1e-4)  # fmt: skip
    assert torch.allclose(known.left(d[:1] + d[1:2]), back[:1] + back[1:2], atol=1e-4)
    assert torch.allclose(d @ known.right(x).T, back @ x.T, atol=1e-3)
    # Asked for everything, it is a matrix: 50 unit vectors give it, and 70 the same one.
    whole = known.right(torch.eye(50)).T
    assert torch.allclose(whole, known.left(torch.eye(70)), atol=1e-3)
    assert torch.allclose(x @ whole.T, first, atol=1e-3)


def test_vectors_that_add_nothing_cost_nothing() -> None:
    asked: list[int] = []

    def normal(rows: int, columns: int) -> Tensor:
        asked.append(rows)
        return torch.randn(rows, columns, generator=torch.Generator().manual_seed(len(asked)))

    known = Conditional(64, 64, normal)
    x = batch(1, 64)
    y = known.right(torch.cat([x, 1e-20 * x, -x, 0 * x]))
    assert asked == [1]
    assert torch.allclose(y[1] * 1e20, y[0], rtol=1e-4)
    assert not y[3].any()
    assert known.right(torch.full((1, 64), math.inf)).isnan().all()


@pytest.mark.usefixtures("small")
def test_a_stack_is_sampled_matrix_by_matrix() -> None:
    with gi.skeleton():
        net = Stacked()
    signal = gi.forecast(net, batch(), gi.plan(net, {"*": LAW}))
    assert signal.notes == ("Implicit (products sampled, never drawn): up, down.",)
    first, again = signal[":bmm"], signal[":matmul#3"]  # of the same vectors
    assert again.forward.second == pytest.approx(first.forward.second, rel=1e-4)


@pytest.mark.usefixtures("small")
def test_a_checkpoint_gets_the_same_products_again() -> None:
    class Checkpointed(Deep):
        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(super().forward, x, use_reentrant=self.reentrant)

    signals: list[gi.Signal] = []
    for reentrant in (None, False, True):
        with gi.skeleton():
            net = (Deep if reentrant is None else Checkpointed)(torch.tanh, tied=False)
        net.reentrant = reentrant
        x = batch().requires_grad_()
        signals.append(gi.forecast(net, x, gi.plan(net, {"*": LAW}), seed=1))
    plain, *others = signals
    for other in others:
        sizes = [g.size for g in plain.gradients]
        assert [g.size for g in other.gradients] == pytest.approx(sizes, rel=1e-3)


class Reads(nn.Module):
    """A weight that is used in a product, and its values too."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.a, self.b = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        before = self.a.weight.norm() if self.first else 1.0
        y = self.b(self.a(x) * before)
        return y if self.first else y * self.a.weight.norm()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("first", [True, False])
def test_a_weight_whose_values_are_read_is_drawn(first: bool) -> None:
    with gi.skeleton():
        net = Reads(first)
    signal = gi.forecast(net, batch(), gi.plan(net, {"*": LAW}))
    assert signal.notes[-3:] == (
        "Drawn where used: a.weight.",
        "Implicit (products sampled, never drawn): b.weight.",
        "Drawn although large: a.weight: norm takes its values.",
    )


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("scheme", "why"),
    [
        (gi.Orthogonal(), "its elements are not independent: Orthogonal()"),
        (gi.Sparse(0.5, 1.0), "its elements are not independent: Sparse"),
        (gi.Identity(), "its elements are not independent: Identity()"),
        (gi.Normal(1.0, mean=0.5), "its mean is 0.5"),
        (gi.Uniform(-1, 1), "it is narrow and not normal: Uniform"),
        (gi.TruncatedNormal(1.0), "it is narrow and not normal: TruncatedNormal"),
        (
            gi.Function(lambda site: torch.ones(site.shape)),
            "its elements are not independent: Func",
        ),
    ],
)
def test_other_laws_are_drawn_and_the_note_says_so(scheme: gi.Scheme, why: str) -> None:
    with gi.skeleton():
        net = nn.Linear(WIDTH, WIDTH, bias=False)
    plan = gi.plan(net, {"weight": scheme})
    signal = gi.forecast(net, batch(), plan)
    assert signal.notes[-1].startswith(f"Drawn although large: weight: {why}")
    assert signal.rows == gi.forecast(net, batch(), plan, exact=True).rows


def test_wide_uniform_and_truncated_laws_are_implicit_narrow_cuts_are_not() -> None:
    with gi.skeleton():
        net = nn.Linear(sampled_products.LEAST_WIDTH, sampled_products.LEAST_WIDTH, bias=False)
    x = batch(SAMPLES, sampled_products.LEAST_WIDTH)
    for scheme in (gi.HeUniform(), gi.TruncatedNormal(0.02), gi.TruncatedNormal(0.02, cut=1.0)):
        signal = gi.forecast(net, x, gi.plan(net, {"weight": scheme}))
        cut = scheme == gi.TruncatedNormal(0.02, cut=1.0)
        assert any("cut close" in note for note in signal.notes) is cut
        assert any(note.startswith("Implicit") for note in signal.notes) is not cut


def test_small_matrices_and_many_vectors_are_drawn() -> None:
    with gi.skeleton():
        net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 8))
    plan = gi.plan(net, "he")
    assert "Implicit" in str(gi.forecast(net, batch(32, 256), plan).notes)
    many = gi.forecast(net, batch(33, 256), plan)
    assert "Implicit" not in str(many.notes)
    assert many.rows == gi.forecast(net, batch(33, 256), plan, exact=True).rows


@pytest.mark.usefixtures("small")
def test_blocks_of_different_scale_and_rows_of_zeros() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(100, WIDTH, padding_idx=0)
            self.attention = nn.MultiheadAttention(WIDTH, 4, bias=False)

        def forward(self, ids: Tensor) -> Tensor:
            return nn.functional.linear(self.table(ids), self.attention.in_proj_weight)

    def loss(out: Tensor) -> Tensor:
        packed.append(out.detach())
        return out.sum()

    packed: list[Tensor] = []
    with gi.skeleton():
        net = Packed()
    rules = [gi.Rule(gi.sel.all(), LAW), gi.Rule(gi.sel.block("v"), gi.Normal(5.0))]
    signal = gi.forecast(net, torch.tensor([0, 1, 2, 3]), gi.plan(net, gi.Recipe(rules)), loss=loss)
    assert "in_proj_weight" in str(signal.notes[-1])
    q, k, v = (part.square().mean(1) for part in packed[0].chunk(3, -1))
    assert not packed[0][0].any()
    # A second moment of 48 numbers is known to 20 %, its square root to 10 %; five times that.
    size = signal["table"].forward.second * 4 / 3 * WIDTH
    assert q[1:].mean() == pytest.approx(size * LAW.std**2, rel=0.5)
    assert k[1:].mean() == pytest.approx(size * LAW.std**2, rel=0.5)
    assert v[1:].mean() == pytest.approx(size * 25, rel=0.5)


@pytest.mark.usefixtures("small")
def test_padding_counted_from_the_end_takes_no_gradient() -> None:
    class Padded(nn.Module):
        def __init__(self, padding: int | None) -> None:
            super().__init__()
            self.padding, self.table = padding, nn.Embedding(100, WIDTH)

        def forward(self, ids: Tensor) -> Tensor:
            return nn.functional.embedding(ids, self.table.weight, padding_idx=self.padding)

    def size(padding: int | None) -> float:
        with gi.skeleton():
            net = Padded(padding)
        found = gi.forecast(net, torch.tensor([98, 99]), gi.plan(net, {"*": LAW}), loss=torch.sum)
        assert "Implicit" in str(found.notes)
        return found.gradients[0].size

    assert size(-1) == size(99) < size(None)


def test_a_model_that_takes_gradients_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implicit, "LEAST_ELEMENTS", 1)

    class Force(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.energy = nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 256))

        def forward(self, x: Tensor) -> Tensor:
            x = x.detach().requires_grad_()
            (force,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)
            return force

    with gi.skeleton():
        net = Force()
    plan = gi.plan(net, "lecun")
    signal = gi.forecast(net, batch(4, 256), plan)
    assert "the model takes a gradient while it runs" in signal.notes[-1]
    assert signal.rows == gi.forecast(net, batch(4, 256), plan, exact=True).rows


@pytest.mark.usefixtures("small")
def test_a_checkpoint_that_ends_with_a_product_is_run_again() -> None:
    class Nested(Deep):
        def forward(self, x: Tensor) -> Tensor:
            a, b = self.layers[0], self.layers[1]

            def inner(y: Tensor) -> Tensor:
                return b(checkpoint(lambda z: torch.tanh(a(z)), y, use_reentrant=False))

            return checkpoint(inner, x, use_reentrant=False)

    with gi.skeleton():
        net = Nested(torch.tanh, tied=False)
    signal = gi.forecast(net, batch(), gi.plan(net, {"*": LAW}))
    assert [g.ratio is not None for g in signal.gradients] == [True, True] + 4 * [False]


@pytest.mark.usefixtures("small")
def test_what_changes_nothing_gives_the_parameter() -> None:
    class Moves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(WIDTH, WIDTH))

        def forward(self, x: Tensor) -> Tensor:
            weight = self.weight.to(x.device).float().contiguous()
            return x @ weight.to(dtype=x.dtype, device="cpu").t()

    with gi.skeleton():
        net = Moves()
    plan = gi.plan(net, {"*": LAW})
    forecast = gi.forecast(net, batch(), plan, exact=True)
    gi.apply_(net, plan, seed=0, materialize="cpu")
    assert forecast.rows == gi.measure(net, batch()).rows


@pytest.mark.usefixtures("small")
def test_a_ratio_counts_the_experts_that_no_token_chose() -> None:
    with gi.skeleton():
        net = Experts()  # the second of three is not used
    plan = gi.plan(net, {"*": LAW})
    up, _ = gi.forecast(net, batch(), plan).gradients
    assert up.ratio is not None
    assert up.size / up.ratio == pytest.approx(LAW.std * math.sqrt(3 * 2 * WIDTH * WIDTH))
