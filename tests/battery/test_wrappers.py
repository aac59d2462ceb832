"""FSDP of accelerate and Lightning, two processes on a CPU: each holds its part of the whole."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import goodinit as gi

PROCESSES, SEED = 2, 3
X = torch.ones(4, 8)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.layer(x))


def build() -> nn.Module:
    return nn.Sequential(Block(), Block(), nn.Linear(8, 3))


def planned() -> gi.Plan:
    with torch.device("meta"):
        return gi.plan(build(), "gpt2", inputs=X)


def is_the_whole(parameters: list[torch.Tensor]) -> bool:
    whole = build()
    gi.init_(whole, "gpt2", inputs=X, seed=SEED)
    return all(torch.equal(a, b) for a, b in zip(parameters, whole.parameters(), strict=True))


def accelerated(version: int, flat: bool) -> None:
    """Prepare, draw and train a step as docs/use/accelerate.md says."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import FullyShardedDataParallel

    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=version,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["Block"],
        cpu_ram_efficient_loading=False,
        use_orig_params=None if version == 2 else not flat,
    )
    accelerator = Accelerator(cpu=True, fsdp_plugin=plugin)
    for state in (PartialState._shared_state, AcceleratorState._shared_state):
        # What accelerate itself decides where there are GPUs.
        state.update(distributed_type=DistributedType.FSDP, device=torch.device("cpu"))
    AcceleratorState._shared_state["fsdp_plugin"] = plugin

    plan, model = planned(), build()
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    gi.apply_(model, plan, seed=SEED)
    if version == 2:
        assert is_the_whole([p.full_tensor() for p in model.parameters()])
    else:
        with FullyShardedDataParallel.summon_full_params(model):
            assert is_the_whole(list(model.parameters()))
    if not flat:  # else an optimizer comes later
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert held == {id(p) for p in model.parameters()}
    accelerator.backward(model(X).square().mean())
    optimizer.step()


def in_lightning() -> None:
    """Build, split and draw in `configure_model`, as docs/use/lightning.md says."""
    import lightning
    from lightning.pytorch.strategies import ModelParallelStrategy
    from torch.distributed.fsdp import fully_shard

    class Sharded(lightning.LightningModule):
        def configure_model(self) -> None:
            with torch.device("meta"):
                self.net = build()
            fully_shard(self.net, mesh=self.device_mesh["data_parallel"])
            gi.apply_(self.net, planned(), seed=SEED, materialize=self.device)

        def on_train_start(self) -> None:
            assert is_the_whole([p.full_tensor() for p in self.net.parameters()])
            print("drawn")

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    strategy = ModelParallelStrategy(data_parallel_size=PROCESSES, tensor_parallel_size=1)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=PROCESSES, strategy=strategy, max_steps=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Sharded(), torch.utils.data.DataLoader([[X[0]]] * PROCESSES, batch_size=1))


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.battery
@pytest.mark.parametrize("how", ["1", "flat", "2", "lightning"])
def test_two_processes(how: str) -> None:
    package = "lightning" if how == "lightning" else "accelerate"
    pytest.importorskip(package, reason="`make battery` installs it into build/research")
    ports = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{free_port()}"}
    places = [{"RANK": f"{n}", "LOCAL_RANK": f"{n}", "WORLD_SIZE": f"{PROCESSES}"}
              for n in range(PROCESSES)]  # fmt: skip
    starts = places[:1] if how == "lightning" else places  # Lightning starts the others
    running = [
        subprocess.Popen(
            [sys.executable, __file__, how],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | ports
            | (place if how != "lightning" else {}),
            cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )
        for place in starts
    ]  # fmt: skip
    outputs = [process.communicate()[0] for process in running]
    assert all(process.returncode == 0 for process in running), "\n".join(outputs)
    assert sum(output.count("drawn") for output in outputs) == PROCESSES, outputs


if __name__ == "__main__":
    import tests.outside_pytest  # noqa: F401  # a stand-in where torchvision is broken

    torch.set_num_threads(1)
    how = sys.argv[1]
    if how == "lightning":
        in_lightning()
    else:
        accelerated(version=2 if how == "2" else 1, flat=how == "flat")
        print("drawn", flush=True)
        os._exit(0)  # gloo's threads may still free tensors (pytorch#179291)
