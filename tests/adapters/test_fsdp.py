"""FSDP's param_init_fn: shards of the model that gi.init_ makes."""

import gc
import multiprocessing
import os
import socket
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

import goodinit as gi
from goodinit import adapters
from goodinit.errors import (
    EmptyParameterError,
    MetaModelError,
    ModelError,
    StreamError,
    UnresolvedError,
)

if not distributed.is_available():
    pytest.skip("torch was built without torch.distributed", allow_module_level=True)
from torch.distributed import fsdp

if not hasattr(fsdp, "fully_shard"):
    pytest.skip("torch before 2.6 has no public fully_shard", allow_module_level=True)

from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor.debug import CommDebugMode

CPU = torch.device("cpu")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(5, 7), nn.Linear(7, 5), nn.BatchNorm1d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.norm(self.down(torch.relu(self.up(x))))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5, 11, bias=False)
        self.embed = nn.Embedding(11, 5)
        self.embed.weight = self.head.weight
        self.blocks = nn.ModuleList([Block(), Block()])
        self.rnn = nn.LSTM(5, 5)
        self.register_buffer("table", torch.arange(5) / 7)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens) + self.table
        for block in self.blocks:
            x = block(x)
        return self.head(self.rnn(x)[0])


TOKENS = torch.arange(11)


def start(folder: Path, rank: int, size: int) -> None:
    file = (folder / f"{size}").as_posix()
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=size)


def reference() -> dict[str, torch.Tensor]:
    net = Net()
    gi.init_(net, "standard", seed=3, inputs=TOKENS)
    return dict(net.state_dict())


def wrapped(strategy: ShardingStrategy) -> FullyShardedDataParallel:
    with gi.skeleton():
        net = Net()
    return FullyShardedDataParallel(
        net,
        param_init_fn=adapters.fsdp(net, "standard", seed=3, inputs=TOKENS),
        auto_wrap_policy=ModuleWrapPolicy({Block}),
        device_id=CPU,
        sharding_strategy=strategy,
    )


def full(model: FullyShardedDataParallel) -> dict[str, torch.Tensor]:
    with FullyShardedDataParallel.summon_full_params(model):
        state = {name: value.clone() for name, value in model.named_parameters()}
        state |= {name: value.clone() for name, value in model.named_buffers()}
    return {name.replace("_fsdp_wrapped_module.", ""): value for name, value in state.items()}


def compare(values: dict[str, torch.Tensor]) -> None:
    expected = reference()
    assert values.keys() == expected.keys() - {"embed.weight"}
    assert all(torch.equal(value, expected[name]) for name, value in values.items())


def two_processes(rank: int, folder: Path, port: int) -> None:
    torch.manual_seed(rank)
    torch.set_num_threads(1)
    start(folder, rank, 2)
    model = wrapped(ShardingStrategy.FULL_SHARD)
    assert sum(p.numel() for p in model.parameters()) < sum(v.numel() for v in reference().values())
    compare(full(model))
    model(TOKENS).sum().backward()

    with gi.skeleton():
        net = Net()
    init = adapters.fsdp(net, "standard", seed=3, inputs=TOKENS)
    for block in net.blocks:
        fully_shard(block.apply(init))
    fully_shard(net.apply(init))
    assert type(net.head.weight).__name__ == "DTensor"
    compare(
        {name: p.full_tensor() for name, p in net.named_parameters()} | dict(net.named_buffers())
    )
    with pytest.raises(MetaModelError, match="DTensor"):
        gi.init_(net, "standard")
    after_the_split()
    distributed.destroy_process_group()
    # gloo's threads may still free tensors. That aborts a process without its interpreter
    # (pytorch#179291), and torch 2.6 may wait for ever: the page's last line ends the process.
    distributed.destroy_process_group = leave
    the_example_of_the_page(rank, port)


def leave() -> None:
    distributed.barrier()
    os._exit(0)


def the_example_of_the_page(rank: int, port: int) -> None:
    """Run what docs/use/distributed.md says for torchrun, in these two processes."""
    page = Path(__file__).parents[2] / "docs" / "use" / "distributed.md"
    block = page.read_text().split("```python no-run\n# torchrun")[1].split("```")[0]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "WORLD_SIZE": 2}
    os.environ.update({name: str(value) for name, value in where.items()})
    exec("#" + block, {"__name__": "__main__"})


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def after_the_split() -> None:
    """gi.apply_ draws the shards of both FSDPs; planning them is refused, in both processes."""
    planned = gi.plan(Net(), "standard", inputs=TOKENS)
    for originals in (False, True):
        model = FullyShardedDataParallel(
            Net(),
            auto_wrap_policy=ModuleWrapPolicy({Block}),
            device_id=CPU,
            use_orig_params=originals,
        )
        with pytest.raises(EmptyParameterError, match=r"is split by FSDP, .*gi.apply_"):
            gi.init_(model, "standard", seed=3)
        gi.apply_(model, planned, seed=3)
        compare(full(model))
        with FullyShardedDataParallel.summon_full_params(model):
            assert "head.weight" in gi.plan(model, "standard")  # whole for the moment
        with torch.no_grad():
            model(TOKENS)
        gi.apply_(model, planned, seed=3)
        compare(full(model))
    with gi.skeleton():
        net = Net()
    for block in net.blocks:
        fully_shard(block)
    fully_shard(net)
    with CommDebugMode() as collectives:
        gi.apply_(net, planned, seed=3, materialize="cpu")
    assert collectives.get_total_counts() == 0
    compare(
        {name: p.full_tensor() for name, p in net.named_parameters()} | dict(net.named_buffers())
    )
    if not hasattr(torch.cpu.Stream, "record_event"):
        return  # torch 2.6 splits a model on a CPU, and can't run it there
    with torch.no_grad():
        net(TOKENS)  # the root keeps whole copies, in which a write would be lost
    for seed in (4, 3):
        gi.apply_(net, planned, seed=seed)
    assert torch.equal(net.head.weight.full_tensor(), reference()["head.weight"])
    net(TOKENS).sum().backward()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[None]:
    start(tmp_path, 0, 1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("world")
def test_one_process() -> None:
    model = wrapped(ShardingStrategy.NO_SHARD)
    compare(full(model))
    model(TOKENS).sum().backward()


def test_two_processes(tmp_path: Path) -> None:
    """Both are forked from a third, which imports torch once for both."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
    torch.multiprocessing.start_processes(
        two_processes, (tmp_path, free_port()), nprocs=2, start_method="forkserver"
    )


def test_only_what_is_on_meta_is_drawn() -> None:
    with gi.skeleton():
        net = Net()
    loaded = torch.full((5, 7), 2.0)
    net.blocks[0].down.weight = nn.Parameter(loaded.clone())
    init = adapters.fsdp(net, "he", seed=0)
    for _ in range(2):  # the second time all is there
        net.apply(init)
        assert torch.equal(net.blocks[0].down.weight, loaded)
        assert not any(value.is_meta for value in net.state_dict().values())
    assert net.embed.weight is net.head.weight
    assert torch.equal(net.table, Net().table)
    whole = Net()
    gi.init_(whole, "he", seed=0)
    assert torch.equal(net.blocks[0].up.weight, whole.blocks[0].up.weight)


def test_a_tied_weight_is_drawn_under_its_one_name_wherever_it_is_met_first() -> None:
    with gi.skeleton():
        net = Net()
    init = adapters.fsdp(net, "he", seed=0)
    init(net.embed)  # its name is head.weight
    whole = Net()
    gi.init_(whole, "he", seed=0)
    assert torch.equal(net.embed.weight, whole.head.weight)
    init(net.head)
    assert net.head.weight is net.embed.weight


def test_what_the_wrapper_frees_is_free() -> None:
    with gi.skeleton():
        net = nn.Sequential(nn.Linear(3, 3))
    init = adapters.fsdp(net, "he", seed=0)
    net.apply(init)
    weight, layer = weakref.ref(net[0].weight), weakref.ref(net[0])
    del net
    gc.collect()
    assert weight() is None
    assert layer() is None
    assert init


def test_errors() -> None:
    with torch.device("meta"):
        net = Net()
    with pytest.raises(UnresolvedError, match=r"^table: on meta.*skeleton"):
        adapters.fsdp(net, "he", seed=0)
    with gi.skeleton():
        net = Net()
    with pytest.raises(TypeError, match="seed"):
        adapters.fsdp(net, "he")
    with pytest.raises(ModelError, match="a Linear isn't part of the Net"):
        adapters.fsdp(net, "he", seed=0)(nn.Linear(2, 2))
    with pytest.raises(StreamError):
        adapters.fsdp(net, "he", seed=-1)(net.head)
    with pytest.raises(MetaModelError, match="isn't a device"):
        adapters.fsdp(net, "he", seed=0, materialize="cup")(net.head)
    assert net.head.weight.is_meta
