"""A process that shares nothing with this one: the same values, the same digest; a closed pipe.

It is one process for all, for it imports torch: seconds.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.cli import app

# Orthogonal: LAPACK's last bits change with the number of threads.
TARGET = ["demo:lstm", "--arg", "width=160", "--arg", "vocabulary=50", "-r", "standard"]
# Prints the code of init, a plan's digest, and then a plan: more than a pipe holds, so that the
# writer sees it close.
CODE = f"""
import contextlib, io, runpy, sys
import torch
from torch import nn
import goodinit as gi
from goodinit.cli import app

with contextlib.redirect_stdout(io.StringIO()):
    code = app.run(["init", *{TARGET}, "-o", "3.safetensors"])
net = nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.BatchNorm1d(6), nn.LSTM(6, 5))
print(code, gi.plan(net, "lstm", prefix="p").digest, file=sys.stderr)
sys.argv = "goodinit plan demo:mlp --arg depth=80 --json".split()
runpy.run_module("goodinit", run_name="__main__")
"""


@dataclass(frozen=True)
class Process:
    """What it sent, line by line, and what it wrote."""

    out: list[str]
    err: list[str]
    weights: bytes


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Process:
    folder = tmp_path_factory.mktemp("process")
    # Buffered: Python's raw files take what was written before for all.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    env |= {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}
    command = f"({shlex.join([sys.executable, '-c', CODE])}; echo $? >&2) | head -1"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=env,
    )
    weights = folder / "3.safetensors"
    assert weights.exists(), done.stderr
    return Process(done.stdout.splitlines(), done.stderr.splitlines(), weights.read_bytes())


def test_other_processes_and_thread_counts_draw_the_same(process, call, folder):
    (folder / "3.safetensors").write_bytes(process.weights)
    verified = call("verify", "3.safetensors", *TARGET)
    assert verified.code == 0, verified.out
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert app.run(["init", *TARGET, "-o", "w.safetensors"]) == 0
        assert Path("w.safetensors").read_bytes() == process.weights


def test_the_digest_is_the_same_in_another_process(process):
    net = nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.BatchNorm1d(6), nn.LSTM(6, 5))
    assert process.err[0] == f"0 {gi.plan(net, 'lstm', prefix='p').digest}"


def test_a_pipe_that_closes_early_is_no_error(process):
    assert process.out == ["{"]
    assert process.err[1:] == ["141"]
