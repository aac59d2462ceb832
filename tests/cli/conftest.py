"""The command line in this process: ``call("plan", "demo:mlp")`` returns code, stdout, stderr."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("safetensors")

from goodinit.cli import app

TOY = '''
import torch
from torch import nn


class Net(nn.Module):
    """Tied ends, a bias that the constructor draws, a buffer, a scalar."""

    def __init__(self, width=8, act="relu"):
        super().__init__()
        self.table = nn.Embedding(10, width)
        self.body = nn.Linear(width, width)
        self.own = nn.Parameter(torch.randn(3))
        self.scalar = nn.Parameter(torch.tensor(2.0))
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 10, bias=False)
        self.head.weight = self.table.weight
        self.act = getattr(torch, act)

    def forward(self, words):
        x = self.act(self.body(self.table(words).mean(1)))
        return self.head(self.norm(x)) * self.scalar + self.own.sum()


ready = nn.Linear(3, 2)
number = 3


def loud(width: int = 4):
    print("this goes to stderr")
    return nn.Linear(width, width)


def raises(width: int = 4):
    return nn.Linear(width, -1 * deeper(width))


def deeper(width):
    raise ValueError("no such width")


def nothing():
    return None


def needs_values():
    layer = nn.Linear(3, 3)
    layer.scale = float(layer.weight.detach().sum())
    return layer


def example():
    layer = nn.Linear(3, 3)
    layer.example_input_array = torch.zeros(2, 3)
    return layer


class Broken(nn.Linear):
    def forward(self, x):
        return super().forward(self.mend(x))

    def mend(self, x):
        raise RuntimeError("the model's own error")


def broken():
    return Broken(3, 3)


def broken_example():
    layer = Broken(3, 3)
    layer.example_input_array = torch.zeros(2, 3)
    return layer


def recurrent():
    return nn.LSTM(40, 60)


def parametrized():
    return nn.utils.parametrizations.weight_norm(nn.Linear(64, 512))


def half():
    return nn.Linear(8, 8, dtype=torch.bfloat16)
'''


@dataclass(frozen=True)
class Called:
    """What a call led to."""

    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, with ``toy.py`` in it; what is imported from it is forgotten."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine two threads wait for each other
    yield tmp_path
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Called]:
    """Run a command line in this process, in the folder with ``toy.py``."""

    def run(*argv: object) -> Called:
        capsys.readouterr()
        code = app.run([str(word) for word in argv])
        out, err = capsys.readouterr()
        return Called(code, out, err)

    return run
