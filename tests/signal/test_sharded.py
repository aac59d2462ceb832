"""A model with sharded weights isn't measured: each process has a part."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import torch
import torch.distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import goodinit as gi

store = torch.distributed.FileStore(sys.argv[1], 1)
torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
layer = torch.nn.Linear(4, 4)
parts = distribute_tensor(layer.weight.detach(), init_device_mesh("cpu", (1,)), [Shard(0)])
layer.weight = torch.nn.Parameter(parts)
try:
    gi.measure(layer, torch.randn(2, 4))
except gi.GoodinitError as error:
    print(error)
torch.distributed.destroy_process_group()
"""


@pytest.mark.battery
def test_a_dtensor_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == (
        "weight is a DTensor, of which each process holds a part: measure the model before it is "
        "sharded, on one process"
    )
