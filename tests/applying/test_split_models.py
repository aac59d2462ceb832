"""Models split over simulated ranks: DTensors, ZeRO-3, hand-written layers, pipeline stages."""

import enum
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("torch.distributed.tensor.placement_types", reason="torch before 2.5")
from torch.distributed.tensor import Partial, Replicate, Shard
from torch.distributed.tensor.placement_types import _StridedShard

import goodinit as gi
from goodinit.applying.agree import check_drawn, check_facts
from goodinit.errors import (
    CheckpointError,
    EmptyParameterError,
    GoodinitError,
    MetaModelError,
    ModelError,
    ParametrizationError,
    PlanError,
    SignalError,
    StreamError,
    TraceError,
    UnresolvedError,
)
from goodinit.nn import init

from .meshes import DTensor, FakeMesh, coordinates, distributed, held

TOKENS = torch.zeros(2, 3, dtype=torch.long)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 10), nn.Linear(10, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Net(nn.Module):
    """A language model whose stages keep its names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6, padding_idx=3)
        self.layers = nn.ModuleDict({str(n): Block() for n in range(4)})
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        for block in self.layers.values():
            x = block(x)
        return self.head(x)


@pytest.fixture(scope="module")
def plan() -> gi.Plan:
    with torch.device("meta"):
        return gi.plan(Net(), "gpt2", inputs=TOKENS)


@pytest.fixture(scope="module")
def whole(plan: gi.Plan) -> nn.Module:
    net = Net()
    gi.apply_(net, plan, seed=7)
    return net


MESH = (3, 2)
COLUMNS = ((_StridedShard(0, split_factor=2), Shard(0)), ((1, 0, 1), (0, 0, 1)))
ROWS = ((Shard(0), Shard(1)), ((1, 1, 1), (0, 0, 1)))
COPIES = ((Shard(0), Replicate()), ((0, 0, 1),))


def style(name: str) -> tuple:
    if ".up." in name:
        return COLUMNS
    return ROWS if name.endswith("down.weight") else COPIES


def split(net: nn.Module, coordinate, device="meta") -> nn.Module:
    """Return the model as FSDP over tensor parallelism leaves it on one rank."""
    done: dict[int, nn.Parameter] = {}
    for name, module in net.named_modules():
        for attr, parameter in list(module._parameters.items()):
            if parameter is not None:
                placements, cuts = style(f"{name}.{attr}")
                tensor = distributed(parameter.data, MESH, coordinate, placements, cuts)
                tensor._local_tensor = tensor._local_tensor.to(device)
                made = done.setdefault(id(parameter), nn.Parameter(tensor))
                module._parameters[attr] = made
    return net


def split_on_meta(coordinate) -> nn.Module:
    with torch.device("meta"):
        return split(Net(), coordinate)


def local(parameter: torch.Tensor) -> torch.Tensor:
    return parameter._local_tensor


def test_each_rank_draws_its_part_and_asks_nobody(plan: gi.Plan, whole: nn.Module) -> None:
    # The stand-in raises at any operation but detach and empty_like: there are no collectives.
    state = torch.get_rng_state()
    for coordinate in coordinates(MESH):
        net = split_on_meta(coordinate)
        applied = gi.apply_(net, plan, seed=7, materialize="cpu")
        assert net.head.weight is net.embed.weight
        assert applied.seed == 7
        for (name, mine), truth in zip(net.named_parameters(), whole.parameters(), strict=True):
            assert type(mine).__name__ == "DTensor"
            expected = held(truth.detach(), MESH, coordinate, style(name)[1])
            assert torch.equal(local(mine), expected), (name, coordinate)
        before = local(net.embed.weight).clone()
        local(net.embed.weight).zero_()
        gi.apply_(net, plan, seed=7)  # again: the same bits
        assert torch.equal(local(net.embed.weight), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_process_outside_of_the_mesh_holds_and_draws_nothing(plan: gi.Plan) -> None:
    net = split(Net(), (0, 0), "cpu")
    for parameter in net.parameters():
        parameter._local_tensor = torch.empty(0)
        parameter.device_mesh = FakeMesh(MESH, None)
    gi.apply_(net, plan, seed=7)


def test_a_mesh_of_one_device_type_and_tensors_of_another(plan: gi.Plan) -> None:
    """CPU offload: torch draws equal shards there (pytorch#180088)."""
    parts = []
    for rank in range(2):
        mesh = FakeMesh((2,), (rank,))
        mesh.device_type = "cuda"
        weight = DTensor(torch.zeros(3, 4), (6, 4), mesh, (Shard(0),))
        gi.init_(weight, gi.Normal(1.0), prefix="fc.weight", seed=0)
        parts.append(local(weight))
    assert not torch.equal(*parts)
    one = torch.empty(6, 4)
    gi.init_(one, gi.Normal(1.0), prefix="fc.weight", seed=0)
    assert torch.equal(torch.cat(parts), one)


def test_planning_on_meta_after_the_split_is_planning_before_it() -> None:
    net = split_on_meta((0, 1))
    with torch.device("meta"):
        assert gi.plan(net, "he").digest == gi.plan(Net(), "he").digest


@pytest.mark.parametrize(
    ("placement", "words"),
    [
        (Partial(), r"fc is Partial.* over 2 processes.*redistribute"),
        (Shard(2), r"fc: .*axis that shape \(4, 4\) hasn't"),
        (type("_Ring", (), {"__repr__": lambda _: "_Ring()"})(), r"fc has the placement _Ring\(\)"),
    ],
)
def test_layouts_that_are_refused(placement, words: str) -> None:
    weight = DTensor(torch.zeros(4, 4), (4, 4), FakeMesh((2,), (0,)), (placement,))
    with pytest.raises(ModelError, match=words):
        gi.init_(weight, gi.Normal(1.0), prefix="fc", seed=0)
    assert not local(weight).any()


def test_a_local_tensor_of_another_shape_is_refused() -> None:
    weight = DTensor(torch.zeros(4, 3), (7, 3), FakeMesh((2,), (1,)), (Shard(0),))  # padded: 3 rows
    with pytest.raises(ModelError, match=r"fc of shape \(7, 3\) is held here with .*\(4, 3\)"):
        gi.init_(weight, gi.Normal(1.0), prefix="fc", seed=0)
    assert not local(weight).any()


def test_partial_on_one_process_and_an_order_of_its_own() -> None:
    one = torch.empty(4, 4)
    gi.init_(one, gi.Normal(1.0), prefix="fc", seed=0)
    weight = DTensor(torch.zeros(4, 4), (4, 4), FakeMesh((1,), (0,)), (Partial(),))
    gi.init_(weight, gi.Normal(1.0), prefix="fc", seed=0)
    assert torch.equal(local(weight), one)
    order = (SimpleNamespace(tensor_dim=0, mesh_dims=(1, 0)),)  # the second mesh axis cuts first
    for coordinate in coordinates((2, 2)):
        cuts = ((1, 0, 1), (0, 0, 1))
        weight = distributed(one, (2, 2), coordinate, (Shard(0), Shard(0)), cuts, order=order)
        gi.init_(weight, gi.Normal(1.0), prefix="fc", seed=0)
        assert torch.equal(local(weight), held(one, (2, 2), coordinate, cuts))


def refused(net: nn.Module, error: type[Exception], words: str, call) -> None:
    """The call raises, and no byte has changed."""
    tensors = [local(t) if hasattr(t, "_local_tensor") else t for t in net.parameters()]
    before = [t.detach().clone() for t in tensors]
    with pytest.raises(error, match=words):
        call(net)
    assert all(map(torch.equal, tensors, before))


def test_what_is_refused_of_a_split_model(plan: gi.Plan) -> None:
    net = split(Net(), (0, 0), "cpu")
    refused(net, StreamError, "seed=None.*embed.weight", lambda n: gi.apply_(n, plan))
    refused(net, MetaModelError, "embed.weight is a DTensor.*gi.plan", lambda n: gi.plan(n, "he"))
    refused(net, MetaModelError, "gi.apply_", lambda n: gi.init_(n, "he", seed=0))
    refused(net, MetaModelError, "gi.apply_", lambda n: n.apply(gi.recipe("he").each))
    refused(net, TraceError, "before parallelize_module", lambda n: gi.plan(n, "he", inputs=TOKENS))
    refused(
        net, PlanError, r"up.weight is split here as a tensor of shape \(10, 6\).*leave it out",
        lambda n: gi.apply_(n, plan, seed=0, parts={"*.0.up.weight": gi.Part.split(0, 0, 2)}),
    )  # fmt: skip
    with torch.device("meta"):
        other = gi.plan(nn.Linear(3, 2))
    refused(net, PlanError, "isn't this model's", lambda n: gi.apply_(n, other, seed=0))


def test_kept_values_that_a_split_on_meta_lost_are_named(plan: gi.Plan) -> None:
    with torch.device("meta"):
        kept = gi.plan(Net(), "gpt2", inputs=TOKENS, keep="layers.1.norm.weight")
    with pytest.raises(UnresolvedError, match=r"^layers.1.norm.weight: .* is split"):
        gi.apply_(split_on_meta((0, 0)), kept, seed=0, materialize="cpu")


def test_noise_and_parametrized_weights_are_refused() -> None:
    with torch.device("meta"):
        net = nn.Linear(4, 6)
        recipe = gi.Recipe([gi.Rule(gi.sel.all(), gi.AddNoise())])
        plan = gi.plan(net, recipe)
    weight = distributed(torch.ones(6, 4), (2,), (0,), (Shard(0),), ((0, 0, 1),))
    net.weight, net.bias = nn.Parameter(weight), nn.Parameter(torch.zeros(6))
    refused(
        net,
        ModelError,
        "weight gets what is computed from its values",
        lambda n: gi.apply_(n, plan, seed=0),
    )
    net = nn.utils.parametrizations.weight_norm(nn.Linear(4, 6))
    plan = gi.plan(net, "he")
    steps = net.parametrizations.weight
    whole = steps.original1.detach()
    steps.original1 = nn.Parameter(distributed(whole, (2,), (0,), (Shard(0),), ((0, 0, 1),)))
    refused(
        net, ParametrizationError, "weight is computed from", lambda n: gi.apply_(n, plan, seed=0)
    )


def test_the_local_part_is_refused_where_it_can_be_told() -> None:
    class _ToTorchTensorBackward(torch.autograd.Function):
        forward = staticmethod(lambda ctx, tensor: tensor.view_as(tensor))
        backward = staticmethod(lambda ctx, gradient: gradient)

    name = _ToTorchTensorBackward.__name__  # torch adds "Backward" to a function's name
    kind = type(name.removesuffix("Backward"), (_ToTorchTensorBackward,), {})
    part = kind.apply(torch.zeros(4, 3, requires_grad=True))
    with pytest.raises(ModelError, match=r"^fc.weight is the local part of a DTensor.*prefix='fc"):
        gi.init_(part, gi.XavierUniform(), prefix="fc.weight", seed=0)


def test_torch_would_draw_equal_parts_on_a_cpu() -> None:
    weight = distributed(torch.zeros(8, 3), (2,), (0,), (Shard(0),), ((0, 0, 1),))
    for function in (init.normal_, init.xavier_uniform_, init.trunc_normal_, init.orthogonal_):
        with pytest.raises(GoodinitError, match=r"DTensor of shape \(8, 3\).*gi.init_"):
            function(weight)
    with pytest.raises(GoodinitError, match="sparse_"):
        init.sparse_(weight, 0.5)


class Status(enum.Enum):
    AVAILABLE = 1
    NOT_AVAILABLE = 2


def zero3(net: nn.Module, rank: int, size: int) -> nn.Module:
    """Return the model as DeepSpeed's ZeRO-3 leaves it: empty, with a padded part beside each."""
    for parameter in net.parameters():
        shape, total = parameter.shape, parameter.numel()
        part = torch.full((-(-total // size),), 9.0)
        part.status = Status.AVAILABLE
        parameter.ds_shape, parameter.ds_numel, parameter.ds_tensor = shape, total, part
        parameter.ds_status = Status.NOT_AVAILABLE
        group = SimpleNamespace(rank=lambda: rank, size=lambda: size)
        parameter.ds_process_group = group
        parameter.data = torch.empty(0)
    return net


def test_zero3_draws_into_its_partitions(plan: gi.Plan, whole: nn.Module) -> None:
    with pytest.raises(SignalError, match=r"embed.weight is split by ZeRO-3"):
        gi.measure(zero3(Net(), 0, 4), TOKENS)
    for rank in range(4):
        net = zero3(Net(), rank, 4)
        gi.apply_(net, plan, seed=7)
        for mine, truth in zip(net.parameters(), whole.parameters(), strict=True):
            flat, each = truth.detach().flatten(), mine.ds_tensor.numel()
            expected = flat[rank * each : (rank + 1) * each]
            assert torch.equal(mine.ds_tensor[: len(expected)], expected)
            assert (mine.ds_tensor[len(expected) :] == 9).all()  # the padding


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: setattr(p, "ds_status", Status.AVAILABLE), "gathered: leave deepspeed"),
        (lambda p: setattr(p, "_z3_optimizer", object()), "before deepspeed.initialize"),
        (lambda p: setattr(p, "ds_tensor", torch.zeros(3)), "aren't how ZeRO-3 splits"),
        (lambda p: setattr(p.ds_tensor, "ds_quant_scale", 1), "quantized"),
        (lambda p: setattr(p.ds_tensor, "status", Status.NOT_AVAILABLE), "swapped out"),
    ],
)
def test_zero3_that_is_refused(plan: gi.Plan, change, words: str) -> None:
    net = zero3(Net(), 1, 4)
    change(net.head.weight)
    with pytest.raises(ModelError, match=f"^embed.weight is split by ZeRO-3, and .*{words}"):
        gi.apply_(net, plan, seed=7)
    assert (net.layers["0"].up.weight.ds_tensor == 9).all()
    with pytest.raises(EmptyParameterError, match=r"embed.weight is split by ZeRO-3.*gi.plan"):
        gi.init_(net, "gpt2", seed=7)


def by_hand(rank: int) -> nn.Module:
    """Tensor parallelism of two ranks with plain local tensors, as in Megatron."""
    net = Net()
    for block in net.layers.values():
        block.up, block.down = nn.Linear(6, 5), nn.Linear(5, 6)
        for parameter in block.up.parameters():
            parameter.tensor_model_parallel, parameter.partition_dim = True, 0
    return net


PARTS = {
    "*.up.*": lambda rank: gi.Part.split(0, rank, 2),
    "*.down.weight": lambda rank: gi.Part.split(1, rank, 2),
}


def test_hand_written_layers_say_what_they_hold(plan: gi.Plan, whole: nn.Module) -> None:
    for rank in range(2):
        net = by_hand(rank)
        gi.apply_(net, plan, seed=7, parts={glob: of(rank) for glob, of in PARTS.items()})
        up, down = whole.layers["2"].up, whole.layers["2"].down
        assert torch.equal(net.layers["2"].up.weight, up.weight.chunk(2)[rank])
        assert torch.equal(net.layers["2"].up.bias, up.bias.chunk(2)[rank])
        assert torch.equal(net.layers["2"].down.weight, down.weight.chunk(2, 1)[rank])
        assert torch.equal(net.embed.weight, whole.embed.weight)

        def part(name: str, tensor: torch.Tensor, rank: int = rank) -> gi.Part | None:
            shape = plan[name].shape
            if tensor.shape == shape:
                return None
            box = [(0, n) if n == m else (rank * n, rank * n + n)
                   for n, m in zip(tensor.shape, shape, strict=True)]  # fmt: skip
            return gi.Part(shape, tuple(box))

        again = by_hand(rank)
        gi.apply_(again, plan, seed=7, parts=part)
        assert all(map(torch.equal, again.parameters(), net.parameters()))


def test_layers_split_by_hand_and_then_by_fsdp_or_zero3(plan: gi.Plan, whole: nn.Module) -> None:
    for rank, shard in coordinates((2, 2)):
        parts = {glob: of(rank) for glob, of in PARTS.items()}
        net = by_hand(rank)
        up, down = net.layers["1"].up, net.layers["1"].down
        cuts = ((0, 0, 1),)
        for layer in (up, down):  # rows, or columns, of what is held, cut along its rows
            mine = distributed(layer.weight.data, (2,), (shard,), (Shard(0),), cuts)
            layer.weight = nn.Parameter(mine)
        gi.apply_(net, plan, seed=7, parts=parts)
        truth = whole.layers["1"].up.weight.chunk(2)[rank]
        assert torch.equal(local(up.weight), held(truth.detach(), (2,), (shard,), cuts))
        truth = whole.layers["1"].down.weight.chunk(2, 1)[rank]
        assert torch.equal(local(down.weight), held(truth.detach(), (2,), (shard,), cuts))

        net = zero3(by_hand(rank), shard, 2)
        gi.apply_(net, plan, seed=7, parts=parts)
        mine = net.layers["1"].down.weight.ds_tensor
        assert torch.equal(mine, truth.flatten().chunk(2)[shard])


REST = {"*.up.bias": gi.Part.split(0, 0, 2), "*.down.weight": gi.Part.split(1, 0, 2)}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (None, r"layers.0.up.weight: shape.*parts=\{'layers.0.up.weight': gi.Part.split\(0"),
        ({"*.upp.*": gi.Part.split(0, 0, 2)}, r"'\*.upp.\*' matches nothing"),
        ({"*.up.*": gi.Part.split(0, 0, 2), "*.weight": gi.Part.split(0, 0, 2)}, "both match"),
        ({"*.up.weight": gi.Part.split(2, 0, 2)}, r"up.weight: .*no such axis"),
        (
            {"*.up.weight": gi.Part.split(0, 0, 3)} | REST,
            r"shape \(5, 6\), and its part .*\(4, 6\)",
        ),
        ({"*.0.up.weight": gi.Part((9, 6), ((0, 5), (0, 6)))}, r"\(10, 6\) in the plan, and \(9"),
        ({"*.up.weight": (0, 5)}, "needs a gi.Part"),
        ("*.up", "parts is a mapping"),
    ],
)
def test_parts_that_are_refused(plan: gi.Plan, parts, words: str) -> None:
    refused(by_hand(0), PlanError, words, lambda n: gi.apply_(n, plan, seed=0, parts=parts))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gi.Part((4, 4), ((0, 5), (0, 4))), "axis 0 has 4 indices"),
        (lambda: gi.Part((4,), ([(0, 2), (1, 3)],)), "overlap or lie outside"),
        (lambda: gi.Part((4,), ((-1, 2),)), "0 <= start"),
        (lambda: gi.Part((4, 4), ((0, 2),)), "1 axes in the box, 2 in the shape"),
        (lambda: gi.Part((4,), ("ab",)), "pass the whole shape"),
        (lambda: gi.Part.split(0, 2, 2), "rank < size"),
        (lambda: gi.Part.split(0, 0.5, 2), "rank must be a whole number"),
        (lambda: gi.Part.split(0, 0, 2, pieces=3).of((8,)), "multiple of the pieces"),
        (lambda: gi.Part.flat((4,), 3, 5), "outside of 4 elements"),
    ],
)
def test_parts_that_are_none(make, words: str) -> None:
    with pytest.raises(StreamError, match=words):
        make()


def test_gate_and_up_in_one_weight_are_split_one_by_one() -> None:
    whole = torch.arange(16)
    for rank in range(2):
        part = gi.Part.split(-1, np.int64(rank), 2, pieces=2).of((16,))
        expected = torch.cat([half.chunk(2)[rank] for half in whole.chunk(2)])
        index = [i for start, stop in part.box[0] for i in range(start, stop)]
        assert index == expected.tolist()


def stage(first: int, last: int) -> nn.Module:
    """Return a pipeline stage that keeps the model's names, as torchtitan makes them."""
    net = Net()
    for n in range(4):
        if not first <= n < last:
            del net.layers[str(n)]
    if first:
        del net.embed
    if last < 4:
        del net.head
    return net


def test_stages_get_the_whole_models_values(plan: gi.Plan, whole: nn.Module) -> None:
    truth = whole.state_dict()
    for first, last in ((0, 2), (2, 4)):
        net = stage(first, last)
        applied = gi.apply_(net, plan, seed=7, part=True)
        assert len(applied) == len(list(net.parameters()))
        assert all(torch.equal(value, truth[name]) for name, value in net.state_dict().items())
    assert "head.weight" in net.state_dict()  # drawn as embed.weight, which another stage holds
    std = plan["layers.3.down.weight"].std
    assert std == pytest.approx(0.02 / math.sqrt(8))  # the depth is the whole model's


def test_stages_that_are_refused(plan: gi.Plan) -> None:
    net = stage(2, 4)
    refused(net, PlanError, "pass part=True", lambda n: gi.apply_(n, plan, seed=0))
    refused(net, StreamError, "seed=None", lambda n: gi.apply_(n, plan, part=True))
    net.layers["4"] = Block()
    refused(
        net, PlanError, "no layers.4.norm.weight.*plan the whole.*Did you mean",
        lambda n: gi.apply_(n, plan, seed=0, part=True),
    )  # fmt: skip
    net = stage(0, 4)
    net.head.weight = nn.Parameter(torch.zeros(11, 6))
    refused(
        net, PlanError, "embed.weight and head.weight are one tensor",
        lambda n: gi.apply_(n, plan, seed=0, part=True),
    )  # fmt: skip


@pytest.mark.parametrize("span", [(0, 2), (2, 4), (0, 4)])
def test_a_plan_that_was_made_of_the_part_is_refused(span: tuple[int, int]) -> None:
    net = stage(*span)
    with torch.device("meta"):
        own = gi.plan(stage(*span), "gpt2")
    refused(
        net, PlanError, f"has all {len(own)} rows of the plan.*Plan the whole.*leave part=True out",
        lambda n: gi.apply_(n, own, seed=0, part=True),
    )  # fmt: skip


def test_a_checkpoint_of_dtensors_is_refused_by_name() -> None:
    values = split(Net(), (0, 0), "cpu").state_dict()
    net = Net()
    refused(net, CheckpointError, "embed.weight is a DTensor", lambda n: gi.load_(n, values))


FACTS = [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (0, "how same_everywhere is called"),
        (1, "the plan: plan the whole model"),
        (2, "the seed: pass one number"),
        (3, "the dtypes of parameters"),
        (4, "the version of goodinit"),
    ],
)
def test_processes_that_differ_are_named(place: int, words: str) -> None:
    other = [fact + (n == place) for n, fact in enumerate([0, *FACTS[1:]])]
    first = [0, *FACTS[1:]]
    check_facts([first, first], [4, 5])
    with pytest.raises(PlanError, match=f"^processes 6, 7 and process 4 differ in {words}"):
        check_facts([first, first, other, other], [4, 5, 6, 7])


def test_without_a_seed_the_first_process_has_it() -> None:
    check_facts([[1, 2, 30, 4, 5], [1, 2, 31, 4, 5]], [0, 1])
    torch.manual_seed(0)
    seed = gi.same_everywhere(gi.plan(nn.Linear(2, 2)))
    torch.manual_seed(0)
    assert seed == gi.init_(nn.Linear(2, 2)).seed


def test_rows_that_no_process_draws_are_found(plan: gi.Plan) -> None:
    """The second stage's layers are numbered from 0 again: it draws the first stage's numbers."""
    first, second = stage(0, 2), stage(2, 4)
    drawn = [gi.apply_(first, plan, seed=7, part=True)]
    renumbered = nn.ModuleDict({str(n): block for n, block in enumerate(second.layers.values())})
    second.layers = renumbered
    drawn.append(gi.apply_(second, plan, seed=7, part=True))
    named = [torch.tensor([row.name in part for row in plan]) for part in drawn]
    with pytest.raises(PlanError, match=r"no process has drawn layers.2.norm.weight, .*12 rows"):
        check_drawn(plan, named)
    second = stage(2, 4)
    drawn[1] = gi.apply_(second, plan, seed=7, part=True)
    check_drawn(plan, [torch.tensor([row.name in part for row in plan]) for part in drawn])
    with pytest.raises(PlanError, match=r"no process has drawn layers.2.norm.weight, .*12 rows"):
        gi.same_everywhere(plan, 7, drawn=drawn[0])  # there is one process
    with pytest.raises(PlanError, match=r"drawn is the plan that gi.apply_ returned here, got 'x'"):
        gi.same_everywhere(plan, 7, drawn="x")


def test_a_stage_that_is_planned_alone_is_marked() -> None:
    def found(net: nn.Module, recipe: str = "gpt2") -> list[str]:
        findings = gi.plan(net, recipe, inputs=torch.randn(2, 6)).findings
        return [finding.where for finding in findings if finding.code == "GI140"]

    net = nn.Sequential(*(Block() for _ in range(4)))
    assert found(net[2:]) == ["2"]
    assert found(net) == found(net[1:]) == found(net[2:], "he") == []
    net[1].up.weight.tensor_model_parallel = True
    assert found(net) == []  # there is one process: Megatron marks what isn't split, too
