"""Four processes on gloo, end to end: every layout draws the model of one device, and trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.distributed import checkpoint
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

import goodinit as gi
from goodinit.errors import GoodinitError, PlanError
from goodinit.nn import init

TOKENS = torch.arange(22).view(2, 11)
SEED = 7


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(12), nn.Linear(12, 20), nn.Linear(20, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(22, 12, padding_idx=3)
        self.layers = nn.ModuleDict({str(n): Block() for n in range(4)})
        self.mix = nn.Linear(12, 12)  # orthogonal below
        self.head = nn.Linear(12, 22, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x) if self.embed is not None else x
        for block in self.layers.values():
            x = block(x)
        return self.head(self.mix(x)) if self.head is not None else x


def recipe() -> gi.Recipe:
    return gi.recipe("gpt2").override(gi.Rule("mix.weight", gi.Orthogonal()))


def planned() -> gi.Plan:
    with torch.device("meta"):
        return gi.plan(Net(), recipe(), inputs=TOKENS)


def on_meta() -> Net:
    with torch.device("meta"):
        return Net()


def sharded(dp: int, tp: int) -> Net:
    net = on_meta()
    mesh = init_device_mesh("cpu", (dp, tp), mesh_dim_names=("dp", "tp"))
    for block in net.layers.values():
        if tp > 1:
            parallelize_module(
                block, mesh["tp"], {"up": ColwiseParallel(), "down": RowwiseParallel()}
            )
        if dp > 1:
            fully_shard(block, mesh=mesh["dp"])
    if dp > 1:
        fully_shard(net, mesh=mesh["dp"])
    return net


def full(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def compare(net: nn.Module, truth: dict[str, torch.Tensor]) -> None:
    for name, value in net.state_dict().items():
        assert torch.equal(full(value), truth[name]), name


def check_layouts(plan: gi.Plan, truth: dict[str, torch.Tensor], folder: Path) -> None:
    for dp, tp in ((4, 1), (2, 2), (1, 4)):
        net = sharded(dp, tp)
        state = torch.get_rng_state()
        with CommDebugMode() as collectives:
            gi.apply_(net, plan, seed=SEED, materialize="cpu")
        assert collectives.get_total_counts() == 0
        assert torch.equal(torch.get_rng_state(), state)
        compare(net, truth)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        net(TOKENS).float().square().mean().backward()
        optimizer.step()
        gi.apply_(net, plan, seed=SEED)  # again, after training
        compare(net, truth)
        if (dp, tp) == (2, 2):
            checkpoint.save({"model": net.state_dict()}, checkpoint_id=folder / "saved")
    net = sharded(4, 1)
    net.to_empty(device="cpu")
    values = net.state_dict()
    checkpoint.load({"model": values}, checkpoint_id=folder / "saved")
    net.load_state_dict(values)
    compare(net, truth)


def check_loaded(truth: dict[str, torch.Tensor], folder: Path) -> None:
    """A folder with a part of the model: each process reads its part of that and draws the rest."""
    source = sharded(2, 2)
    gi.apply_(source, planned(), seed=SEED, materialize="cpu")
    state = {n: v.detach() + 1 for n, v in source.state_dict().items() if n.startswith("layers")}
    checkpoint.save(state, checkpoint_id=folder / "layers")
    expected = truth | {name: truth[name] + 1 for name in state}
    with torch.device("meta"):
        plan = gi.plan(Net(), recipe(), inputs=TOKENS, keep=folder / "layers")
    for dp, tp in ((4, 1), (2, 2), (1, 4)):
        net = sharded(dp, tp)
        loaded = gi.load_(net, folder / "layers", plan, seed=SEED, materialize="cpu")
        compare(net, expected)
        assert {row.name for row in loaded if row.kept} == set(state)
        with pytest.raises(PlanError, match=r"draws layers.0.norm.weight, and the checkpoint has"):
            gi.load_(net, folder / "layers", planned(), seed=SEED)
        compare(net, expected)  # nothing was written
    one = Net()  # alone in each process, and all read together
    report = gi.load_(one, folder / "layers", recipe(), inputs=TOKENS, seed=SEED)
    compare(one, expected)
    assert (report.rows, report.findings) == (loaded.rows, loaded.findings)


def check_uneven(folder: Path) -> None:
    """Where torch's offsets aren't those of the shards: the value is read whole and cut."""
    whole = {"weight": torch.arange(21.0).view(7, 3), "bias": torch.arange(7.0)}
    checkpoint.save(whole, checkpoint_id=folder / "uneven")
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    with torch.device("meta"):
        net = nn.Linear(3, 7)
        plan = gi.plan(net, "he", keep=folder / "uneven")
    parallelize_module(net, mesh["tp"], ColwiseParallel())
    fully_shard(net, mesh=mesh["dp"])
    gi.load_(net, folder / "uneven", plan, materialize="cpu")
    compare(net, whole)


def check_stages(plan: gi.Plan, truth: dict[str, torch.Tensor], rank: int) -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("pp", "dp"))
    late = rank >= 2
    net = on_meta()
    for n in (0, 1) if late else (2, 3):
        del net.layers[str(n)]
    if late:
        net.embed = None
    else:
        net.mix = net.head = None
    for block in net.layers.values():
        fully_shard(block, mesh=mesh["dp"])
    fully_shard(net, mesh=mesh["dp"])
    drawn = gi.apply_(net, plan, seed=SEED, materialize="cpu", part=True)
    compare(net, truth)  # head.weight too, whose row is embed.weight
    assert gi.same_everywhere(plan, SEED, drawn=drawn) == SEED
    with pytest.raises(PlanError, match=r"no process has drawn embed.weight"):
        gi.same_everywhere(plan, SEED, drawn=gi.Plan(drawn.rows[2:4]))
    x = torch.randn(2, 11, 12) if late else TOKENS
    net(x).square().mean().backward()


def check_agreement(plan: gi.Plan, rank: int) -> None:
    assert gi.same_everywhere(plan, seed=3) == 3
    torch.manual_seed(rank)
    seeds = [torch.zeros(1, dtype=torch.int64) for _ in range(4)]
    mine = torch.tensor([gi.same_everywhere(plan) % 2**62])
    distributed.all_gather(seeds, mine)
    assert len({int(seed) for seed in seeds}) == 1
    with pytest.raises(PlanError, match=r"^process 2 and process 0 differ in the seed"):
        gi.same_everywhere(plan, seed=3 + (rank == 2))
    other = gi.plan(Net(), "he") if rank in (1, 3) else plan
    with pytest.raises(PlanError, match=r"^processes 1, 3 and process 0 differ in the plan"):
        gi.same_everywhere(other, seed=3)


def check_refused(plan: gi.Plan) -> None:
    mesh = init_device_mesh("cpu", (2, 2))
    weight = distribute_tensor(torch.zeros(8, 3), mesh, [Shard(0), Replicate()])
    for function in (init.normal_, init.orthogonal_):
        with pytest.raises(GoodinitError, match="equal values"):
            function(weight)
    net = sharded(2, 2)
    for refuse in (
        lambda: gi.apply_(net, plan, materialize="cpu"),
        lambda: gi.plan(net, "he", inputs=TOKENS),
        lambda: gi.init_(net.to_empty(device="cpu"), "he", seed=0),
        lambda: gi.measure(net, TOKENS),
        lambda: gi.load_(Net(), net.state_dict()),
    ):
        with pytest.raises(GoodinitError):
            refuse()
    assert not weight.to_local().any()


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    file = (folder / "meet").as_posix()
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=4)
    plan, one = planned(), Net()
    gi.init_(one, recipe(), inputs=TOKENS, seed=SEED)
    truth = dict(one.state_dict())
    check_layouts(plan, truth, folder)
    check_loaded(truth, folder)
    check_uneven(folder)
    check_stages(plan, truth, rank)
    check_agreement(plan, rank)
    check_refused(plan)
    distributed.destroy_process_group()


@pytest.mark.battery
def test_four_processes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (tmp_path,), nprocs=4)
