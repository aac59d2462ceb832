"""What goodinit says: contract/messages.txt has calls, and the error or the findings of each.

A line that begins with ``>>> `` is a call; what follows is its answer. The line that fixes it is
part of the message, so that a wrong name in it is seen here. After a change on purpose, run this
file: it writes the answers again. Numbers of what is measured are shown as "#".
"""

import contextlib
import functools
import io
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.recipes import base, by_place, deferred
from goodinit.schemes import Layout, Site
from goodinit.streams import spec

FILE = Path(__file__).parent / "contract" / "messages.txt"
# Names for the calls, besides those below.
NAMES = {**vars(base), **vars(deferred), **vars(by_place), "Law": spec.Law, "math": math}
NAMES |= {"functools": functools}
NUMBER = re.compile(r"(?<![\w#])-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?")

SITE = Site.of((3, 4), Layout(outputs=(0,), inputs=(1,)))
BIAS = Site.of((3,), None)
X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.norm, self.up = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(self.norm(x)).relu())


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Module:
    parts: list[nn.Module] = []
    for number in range(len(sizes) - 1):
        parts += [nn.Linear(sizes[number], sizes[number + 1]), act()]
    return nn.Sequential(*parts[:-1])


def net() -> nn.Module:
    return mlp(8, 8, 3)


def residual(depth: int = 2) -> nn.Module:
    return nn.Sequential(*(Block() for _ in range(depth)), nn.Linear(8, 3))


def on_meta(make=net) -> nn.Module:
    with torch.device("meta"):
        return make()


def with_values(model: nn.Module, **values: object) -> nn.Module:
    """Set parameters by name, "_" for "."; a number fills."""
    names = {name.replace(".", "_"): p for name, p in model.named_parameters()}
    for name, value in values.items():
        with torch.no_grad():
            names[name].copy_(torch.as_tensor(value))
    return model


def init(model: nn.Module, recipe: object, **options: object) -> nn.Module:
    gi.init_(model, recipe, seed=0, **options)
    return model


def tied(first: float = 1.0) -> nn.Module:
    model = nn.Sequential(nn.Embedding(50, 64), nn.Linear(64, 50, bias=False))
    model[1].weight = model[0].weight
    return with_values(model, **{"0_weight": torch.randn(50, 64) * first})


def raw(**tensors: Tensor) -> nn.Module:
    model = nn.Module()
    for name, tensor in tensors.items():
        model.register_parameter(name, nn.Parameter(tensor))
    return model


def frozen(model: nn.Module) -> nn.Module:
    next(model.parameters()).requires_grad_(False)
    return model


def measured(model: nn.Module, inputs: Tensor = X, **options: object) -> Iterator[str]:
    yield from rounded(gi.measure(model, inputs, **options))


def explained(model: nn.Module, **options: object) -> Iterator[str]:
    yield from rounded(gi.explain(model, **options))


def rounded(result: object) -> Iterator[str]:
    yield from (NUMBER.sub("#", str(finding)) for finding in result.findings)


def answer(call: str) -> str:
    """What a call raises, or the findings of what it returns."""
    torch.manual_seed(0)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            made = eval(call, NAMES | globals())
            found = getattr(made, "findings", made)
            if isinstance(found, str | nn.Module) or not hasattr(found, "__iter__"):
                return f"{type(made).__name__}\n"
            return "".join(f"{finding}\n" for finding in found) or "nothing\n"
        except Exception as error:
            text = re.sub("0x[0-9a-f]+", "0x", str(error))
            return f"{type(error).__name__}: {re.sub('Known: .*', 'Known: ...', text)}\n"


def cases() -> dict[str, str]:
    parts = re.split(r"^>>> (.*)\n", FILE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


CASES = cases()
CALLED = sorted({re.split(r"[^\w.]", call)[0] for call in CASES})


@pytest.mark.parametrize("called", CALLED)
def test_it_says(called: str) -> None:
    says = {call: text for call, text in CASES.items() if re.split(r"[^\w.]", call)[0] == called}
    assert {call: answer(call) for call in says} == says


if __name__ == "__main__":
    FILE.write_text("".join(f">>> {call}\n{answer(call)}" for call in cases()))
