"""Which weights of zeros ever learn, compared with autograd on random networks."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from goodinit.anatomy import read
from goodinit.dataflow.learning import Step, blocking_weights, steps_of, stuck_weights

WIDTH, BATCH, NETWORKS = 3, 5, 120


def drawn(rng: random.Random) -> tuple[list[Step], list[str]]:
    """Draw a few calls, each of earlier results or of the input; and which parameters are 0."""
    steps: list[Step] = []
    names: list[str] = []

    def new(kind: str) -> str:
        names.append(f"{kind}{len(names)}")
        return names[-1]

    def some(kind: str) -> tuple[str, ...]:
        return (new(kind),) * rng.randint(0, 1)

    for number in range(rng.randint(2, 6)):
        one = (rng.choice([number - 1, number - 1, *range(-1, number)]),)
        two = tuple(rng.sample(range(-1, number), 2)) if number else one
        steps.append(rng.choice([
            Step(one, "contract", "linear", (new("w"),), some("b")),
            Step(one, "contract", "linear", (new("w"),)),
            Step(two, "contract", "matmul") if number else Step(one, "view", "view"),
            Step(one, "mul", "mul", (new("s"),)),
            Step(two, "mul", "mul") if number else Step(one, "mul", "mul", constant=True),
            Step(two, "add", "add", (), some("b") if not number else ()),
            Step(one, "add", "add", constant=bool(rng.randint(0, 1))),
            Step(one, "norm", "rms_norm", (new("s"),), some("b")),
            Step(one, "activation", rng.choice(["tanh", "relu", "sigmoid", "gelu", "softplus"])),
            Step(one, "cast", rng.choice(["clone", "dropout1d"])),
        ]))  # fmt: skip
    used = {name for step in steps for name in (*step.factors, *step.offsets)}
    return steps, [name for name in sorted(used) if rng.random() < 0.7]


def run(steps: Sequence[Step], values: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    made: list[Tensor] = []
    for step in steps:
        first, *more = (x if n < 0 else made[n] for n in step.takes)
        factors, offsets = ([values[n] for n in names] for names in (step.factors, step.offsets))
        match step.role:
            case "contract" if factors:
                y = first @ factors[0]
            case "contract":
                y = first * more[0].sum(-1, keepdim=True)
            case "mul":
                y = first * (factors[0] if factors else more[0] if more else 2)
            case "add":
                y = sum(more, first) + step.constant
            case "norm":
                y = first / (first.square().mean(-1, keepdim=True) + 1e-6).sqrt() * factors[0]
            case "activation":
                y = getattr(functional, step.function)(first)
            case _:
                y = first.clone()
        made.append(sum(offsets, y))
    return made


def values_of(steps: Sequence[Step], zero: Sequence[str]) -> dict[str, Tensor]:
    used = {name for step in steps for name in (*step.factors, *step.offsets)}
    shapes = {n: (WIDTH, WIDTH) if n[0] == "w" else (WIDTH,) for n in sorted(used)}
    found = {n: torch.randn(shape, dtype=torch.float64) for n, shape in shapes.items()}
    return {n: v * (n not in zero) for n, v in found.items()}


def left_at_zero(steps: Sequence[Step], zero: Sequence[str]) -> set[str]:
    """Give what gets a gradient values, until nothing more does."""
    values, left = values_of(steps, zero), set(zero)
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64)
    while True:
        leaves = {n: v.clone().requires_grad_() for n, v in values.items()}
        out = run(steps, leaves, x)[-1]
        loss = (out * torch.randn_like(out)).sum()
        found: tuple[Tensor | None, ...] = ()
        if loss.requires_grad:
            found = torch.autograd.grad(loss, [*leaves.values()], allow_unused=True)
        grads = dict(zip(leaves, found, strict=False))
        moved = {n for n in left if (g := grads.get(n)) is not None and bool(g.any())}
        if not moved:
            return left
        left -= moved
        values |= {n: torch.randn_like(values[n]) for n in moved}


def before_a_layer(steps: Sequence[Step]) -> set[str]:
    """Return the factors of calls that a later layer depends on."""
    found: set[str] = set()
    for layer in steps:
        waiting = [*layer.takes] if layer.role == "contract" and layer.factors else []
        while waiting:
            if (taken := waiting.pop()) >= 0:
                found.update(steps[taken].factors)
                waiting += steps[taken].takes
    return found


def test_what_is_stuck_gets_no_gradient_and_the_rest_does() -> None:
    rng, sizes = random.Random(0), set[int]()
    torch.manual_seed(0)
    for _ in range(NETWORKS):
        steps, zero = drawn(rng)
        found = stuck_weights(steps, {len(steps) - 1}, zero)
        assert found == left_at_zero(steps, zero), (steps, zero)
        sizes.add(len(found))
    assert {0, 1, 2, 3} <= sizes


def test_weights_block_where_no_output_depends_on_the_input() -> None:
    rng, answers = random.Random(1), set[tuple[bool, int]]()
    torch.manual_seed(1)
    for _ in range(NETWORKS):
        steps, zero = drawn(rng)
        last = {n for step in steps for n in step.factors} - before_a_layer(steps)
        inner = [name for name in zero if name not in last]
        values = values_of(steps, inner)
        x, other = torch.randn(2, BATCH, WIDTH, dtype=torch.float64)
        shut = torch.equal(run(steps, values, x)[-1], run(steps, values, other)[-1])
        found = blocking_weights(steps, {len(steps) - 1}, zero)
        assert found <= set(inner)
        if found or all(step.function != "matmul" for step in steps):  # of two signals: unknown
            assert bool(found) == shut, (steps, zero)
        answers.add((shut, len(found)))
    assert {(False, 0), (True, 1)} <= answers


def test_a_model_without_outputs_says_nothing() -> None:
    steps = [Step((-1,), "contract", "linear", ("a",)), Step((0,), "contract", "linear", ("b",))]
    assert stuck_weights(steps, set(), {"a", "b"}) == set()
    assert blocking_weights(steps, set(), {"a"}) == blocking_weights(steps, {-1}, {"a"}) == set()


def test_one_zero_factor_of_a_product_blocks_it():
    """``einsum("bi,ir,ro->bo", x, a, c)`` is 0 if either weight is."""
    steps = [Step((-1,), "contract", "einsum", ("a", "c")), LINEAR]
    assert blocking_weights(steps, {1}, {"c"}) == {"c"}
    assert blocking_weights(steps, {1}, {"a", "c"}) == {"a", "c"}
    assert stuck_weights(steps, {1}, {"a", "b"}) == {"a", "b"}
    assert stuck_weights(steps, {1}, {"a", "b"}, moved=["a"]) == set()
    assert stuck_weights(steps, {1}, {"a", "b", "unused"}, moved=["b"]) == set()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.fc, self.norm = nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4)
        self.cell, self.scale = nn.GRU(4, 4, batch_first=True), nn.Parameter(torch.zeros(4))
        self.other = nn.Parameter(torch.zeros(4, 4))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        y = self.norm(self.fc(x).relu() * self.scale + 1.0)
        z = self.cell(y)[0] + x
        return z @ self.other.exp() + torch.zeros_like(z) + torch.arange(4.0)


def test_the_calls_of_a_run() -> None:
    anatomy = read(Net(), torch.tensor([[1, 2, 3]]))
    graph = anatomy.graph
    assert graph is not None
    steps, outputs = steps_of(graph, [row.name for row in anatomy.rows])
    live = {n: step for n, step in enumerate(steps) if step.takes}
    numbers = {n: at for at, n in enumerate(live)} | {-1: -1}
    found = [
        (tuple(numbers[n] for n in one.takes), one.role, one.function, one.factors, one.offsets,
         one.constant, one.moves)
        for one in live.values()
    ]  # fmt: skip
    assert outputs == {max(live)}
    cell = tuple(f"cell.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    assert found == [
        ((-1,), "pick", "embedding", ("table.weight",), (), False, False),
        ((0,), "contract", "linear", ("fc.weight",), ("fc.bias",), False, False),
        ((1,), "activation", "relu", (), (), False, False),
        ((2,), "mul", "mul", ("scale",), (), False, False),
        ((3,), "add", "add", (), (), True, False),
        ((4,), "norm", "layer_norm", ("norm.weight",), ("norm.bias",), False, False),
        ((5,), "opaque", "gru", cell, (), False, False),
        ((6, 0), "add", "add", (), (), False, False),
        ((7,), "contract", "matmul", (), (), True, True),  # exp(0) is 1
        ((8,), "add", "add", (), (), False, False),
        ((9,), "add", "add", (), (), True, False),
    ]


def table(*factors: str, takes: tuple[int, ...] = (-1,), **more: bool) -> Step:
    return Step(takes, "pick", "embedding", factors, **more)


def cell(takes: tuple[int, ...], *factors: str) -> Step:
    return Step(takes, "opaque", "gru", factors)


FIRST = Step((-1,), "contract", "linear", ("a",))
ALSO = Step((-1,), "contract", "linear", ("b",))
OTHER = Step((-1,), "contract", "linear", ("c",))
LINEAR = Step((0,), "contract", "linear", ("b",))
BEHIND = Step((1,), "contract", "linear", ("b",))


@pytest.mark.parametrize(
    ("steps", "stuck"),
    [
        # Products of two, of which the first call or another one is 0.
        ([FIRST, ALSO, Step((0, 1), "contract", "matmul")], {"a", "b"}),
        ([FIRST, OTHER, Step((0, 1), "contract", "matmul")], set()),
        ([OTHER, FIRST, Step((0, 1), "contract", "matmul")], set()),
        ([FIRST, ALSO, Step((0, 1), "mul", "mul")], {"a", "b"}),
        ([FIRST, OTHER, Step((0, 1), "mul", "mul")], set()),
        ([FIRST, ALSO, Step((0, 1), "add", "add")], set()),
        ([FIRST, Step((0,), "activation", "relu"), Step((1,), "view", "view")], {"a"}),
        ([OTHER, Step((0,), "activation", "relu"), BEHIND], set()),
        ([FIRST, Step((0,), "norm", "rms_norm", ("b",))], {"a", "b"}),
        ([OTHER, Step((0,), "norm", "rms_norm", ("b",)), Step((1,), "mul", "mul", ("a",))],
         {"a", "b"}),
        ([cell((-1,), "a"), cell((0,), "b")], set()),  # a cell's factors include its biases
        ([cell((-1,), "a"), cell((0,), "c")], set()),
        ([table("a"), LINEAR], {"a", "b"}),  # rows of zeros, and a weight of zeros behind
        ([table("a", constant=True), LINEAR], set()),
        ([Step((-1,), "view", "getitem", ("a",)), LINEAR], {"a", "b"}),
        ([cell((-1,), "a"), LINEAR], {"a", "b"}),  # it has no state but 0
        ([cell((-1, -1), "a"), LINEAR], set()),
        ([Step((-1,), "other", "unheard_of", ("a",)), LINEAR], set()),
        ([Step((-1,), "other", "unheard_of"), LINEAR], set()),
        ([Step((-1,), "contract", "linear", ("a",), moves=True), LINEAR], set()),
        ([Step((-1,), "contract", "linear", ("a",), learns=True), LINEAR], set()),
        ([Step((-1,), "contract", "linear", ("a",), constant=True), LINEAR], set()),
        ([Step((-1,), "contract", "einsum", ("a", "c")), LINEAR], {"a", "b"}),  # a product of both
        ([FIRST, Step((0,), "cast", "half"), BEHIND], set()),  # nobody knows that it keeps zeros
        ([FIRST, Step((0,), "cast", "to"), BEHIND], {"a", "b"}),
        ([FIRST, Step((0,), "cast", "dropout2d"), BEHIND], {"a", "b"}),
    ],
)  # fmt: skip
def test_calls_that_no_random_network_has(steps: list[Step], stuck: set[str]) -> None:
    assert stuck_weights(steps, {len(steps) - 1}, {"a", "b"}) == stuck
