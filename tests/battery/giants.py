"""Plans of language models of 405 B to a trillion parameters, each in a process of its own.

    python tests/battery/giants.py llama|moe|trillion|listed|modules

Prints JSON: parameters, rows, CPU seconds to plan with inputs, to save and to load, the peak memory
of the process in GiB, and the size of the file in MB.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import goodinit as gi


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.q, self.o = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(width, groups * self.size, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        def split(y: Tensor, heads: int) -> Tensor:
            return y.view(*x.shape[:2], heads, self.size).transpose(1, 2)

        q, k, v = (
            split(self.q(x), self.heads),
            *(split(p(x), self.groups) for p in (self.k, self.v)),
        )
        k, v = (t.repeat_interleave(self.heads // self.groups, 1) for t in (k, v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(x.shape))


class Gated(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Stacked(nn.Module):
    """Experts in two tensors, and one that all tokens share."""

    def __init__(self, width: int, hidden: int, experts: int) -> None:
        super().__init__()
        self.router, self.shared = nn.Linear(width, experts, bias=False), Gated(width, hidden)
        self.gate_up = nn.Parameter(torch.empty(experts, width, 2 * hidden))
        self.down = nn.Parameter(torch.empty(experts, hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        share = self.router(x).softmax(-1).flatten(0, 1)
        tokens = x.flatten(0, 1).expand(len(self.down), -1, -1)
        gate, up = torch.bmm(tokens, self.gate_up).chunk(2, -1)
        y = torch.bmm(functional.silu(gate) * up, self.down) * share.t().unsqueeze(-1)
        return y.sum(0).view(x.shape) + self.shared(x)


class Listed(nn.Module):
    """Experts in a ModuleList."""

    def __init__(self, width: int, hidden: int, experts: int) -> None:
        super().__init__()
        self.router, self.shared = nn.Linear(width, experts, bias=False), Gated(width, hidden)
        self.experts = nn.ModuleList(Gated(width, hidden) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        share, y = self.router(x).softmax(-1), self.shared(x)
        for number, expert in enumerate(self.experts):
            y = y + share[..., number : number + 1] * expert(x)
        return y


class Block(nn.Module):
    def __init__(self, attention: nn.Module, mlp: nn.Module, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention, self.mlp = attention, mlp

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        return x + self.mlp(self.second(x))


class Model(nn.Module):
    def __init__(
        self, width: int, layers: int, heads: int, groups: int, mlp: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(128_256, width), nn.RMSNorm(width)
        self.layers = nn.ModuleList(
            Block(Attention(width, heads, groups), mlp(number), width) for number in range(layers)
        )
        self.head = nn.Linear(width, 128_256, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def mixture(layers: int, experts: int, kind: Callable[..., nn.Module]) -> nn.Module:
    """Return a model of DeepSeek-V3's sizes: three layers have no experts."""
    dense = lambda: Gated(7168, 18432)  # noqa: E731
    return Model(7168, layers, 128, 128, lambda n: dense() if n < 3 else kind(7168, 2048, experts))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "llama": lambda: Model(16384, 126, 128, 8, lambda _: Gated(16384, 53248)),
    "moe": lambda: mixture(61, 256, Stacked),
    "trillion": lambda: mixture(61, 384, Stacked),
    "listed": lambda: mixture(18, 256, Listed),  # 15,626 modules
    "modules": lambda: mixture(61, 256, Listed),  # 671 B
}


def measured(name: str) -> dict[str, float]:
    gi.plan(nn.Linear(2, 2), "gpt2", inputs=torch.zeros(1, 2))  # imports
    with torch.device("meta"):
        model = MODELS[name]()
    facts: dict[str, float] = {"parameters": sum(p.numel() for p in model.parameters())}
    facts["modules"] = len(list(model.modules()))
    times = [time.process_time()]
    plan = gi.plan(model, "gpt2", inputs=torch.zeros(1, 8, dtype=torch.long))
    times.append(time.process_time())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.json"
        plan.save(file)
        times.append(time.process_time())
        assert gi.Plan.load(file) == plan
        times.append(time.process_time())
        facts["MB"] = file.stat().st_size / 1e6
    std = plan["layers.0.mlp.down.weight"].std
    assert std is not None
    assert math.isclose(std, 0.02 / (2 * len(model.layers)) ** 0.5)
    facts["rows"] = len(plan)
    steps = zip(("plan", "save", "load"), times, times[1:], strict=False)
    facts |= {what: stop - start for what, start, stop in steps}
    status = Path("/proc/self/status").read_text()
    return facts | {"GiB": int(status.split("VmHWM:")[1].split()[0]) / 2**20}


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
