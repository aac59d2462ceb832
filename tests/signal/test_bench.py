"""`make bench`: what a measurement costs beside a plain forward and backward pass.

Medians of interleaved repetitions in one process; peak memory in a process of its own each. A
table is printed; nothing is asserted, for a busy machine has other figures.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import goodinit as gi

pytestmark = pytest.mark.bench
REPETITIONS = 7

Case = tuple[nn.Module, Any, Callable[[Any], torch.Tensor]]


def resnet50() -> Case:
    import torchvision

    torch.manual_seed(0)
    images, labels = torch.randn(4, 3, 224, 224), torch.arange(4)
    model = torchvision.models.resnet50()
    return model, images, lambda out: nn.functional.cross_entropy(out, labels)


def gpt2() -> Case:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    ids = torch.randint(50257, (4, 128))
    model = GPT2LMHeadModel(GPT2Config(use_cache=False))
    return (
        model,
        {"input_ids": ids},
        lambda out: nn.functional.cross_entropy(out.logits.flatten(0, 1), ids.flatten()),
    )


CASES = {"ResNet-50, 4 x 224 x 224": resnet50, "GPT-2 small, 4 x 128": gpt2}


def plainly(model: nn.Module, inputs: Any, loss: Callable[[Any], torch.Tensor]) -> None:
    output = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    torch.autograd.grad(loss(output), [p for p in model.parameters() if p.requires_grad])


def measured(model: nn.Module, inputs: Any, loss: Callable[[Any], torch.Tensor]) -> None:
    gi.measure(model, inputs, loss)


WAYS = {"plain": plainly, "measured": measured}


def seconds(call: Callable[..., None], *case: Any) -> float:
    start = time.perf_counter()
    call(*case)
    return time.perf_counter() - start


def peak(case: str, way: str) -> float:
    """Peak memory in MiB of a process that does it twice.

    Not of getrusage, which counts what the process was before it became this program.
    """
    code = (
        "import torch; import tests.outside_pytest; torch.set_num_threads(1); "
        "from tests.signal import test_bench as b; "
        f"case = b.CASES[{case!r}](); b.WAYS[{way!r}](*case); b.WAYS[{way!r}](*case); "
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024


@pytest.mark.parametrize("name", CASES)
def test_the_cost_of_a_measurement(name: str) -> None:
    case = CASES[name]()
    for way in WAYS.values():
        way(*case)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(REPETITIONS):
        for way, call in WAYS.items():
            times[way].append(seconds(call, *case))
    plain, ours = (statistics.median(times[way]) for way in WAYS)
    memory = {way: peak(name, way) for way in WAYS}
    print(
        f"\nmeasure, {name}: {plain:.2f} s plain, {ours:.2f} s measured, {ours / plain:.2f} times "
        f"(aim 2); peak {memory['plain']:.0f} MiB plain, {memory['measured']:.0f} MiB measured, "
        f"{memory['measured'] / memory['plain']:.2f} times (aim 1.10)"
    )
