"""`make bench`: what the forecast of a 70 B model costs; and, over families, whether it is right.

Processor seconds and peak memory, in a process of its own each. The figures are printed; nothing is
asserted of them, for a busy machine has others.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import goodinit as gi
from goodinit.forecasting import implicit_weights as implicit

CODE = """
import resource, time, warnings
import tests.outside_pytest
import torch, transformers, goodinit as gi
from goodinit.forecasting.streamed import StreamedWeights
warnings.simplefilter("ignore")
torch.set_num_threads(1)
config = transformers.LlamaConfig(
    {sizes}, max_position_embeddings=8192, use_cache=False)
with gi.skeleton():
    model = transformers.LlamaForCausalLM(config).eval()
inputs = {{"input_ids": torch.randint(5, 3000, (4, 4), generator=torch.Generator().manual_seed(0))}}
built = time.process_time()
plan = gi.plan(model, "llama", inputs=inputs)
planned = time.process_time()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
weights, notes = [], StreamedWeights.notes
StreamedWeights.notes = lambda self: weights.append(self) or notes(self)
signal = gi.forecast(model, inputs, plan, backward={backward}, exact={exact})
done = time.process_time()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
sizes = [p.numel() for p in model.parameters()]
print(f"{{sum(sizes) / 1e9:.2f}} B parameters, {{len(signal.rows)}} rows, backward={backward}, "
      f"exact={exact}: plan {{planned - built:.1f}} CPU-s, forecast {{done - planned:.1f}} CPU-s, "
      f"peak {{peak:.2f}} GiB, {{before:.2f}} before it; largest parameter "
      f"{{max(sizes) / 2**28:.2f}} GiB; {{weights[0].drawn / sum(sizes):.2f}} draws a parameter; "
      f"{{len(signal.findings)}} findings")
"""
LARGE = (
    "hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, "
    "num_key_value_heads=8, vocab_size=128256"
)
SMALL = (
    "hidden_size=1024, intermediate_size=4096, num_hidden_layers=28, num_attention_heads=16, "
    "num_key_value_heads=16, vocab_size=16000"
)
TABLES = """
import resource, time
import torch, goodinit as gi
from torch import nn
torch.set_num_threads(1)
class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(128256, 2048), nn.Linear(2048, 128256, bias=False)
    def forward(self, ids):
        return self.head(self.table(ids))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
def forecast(model):
    ids = torch.arange(16).view(2, 8)
    gi.forecast(model, ids, gi.plan(model, {"*": gi.Normal(0.02, mean=0.005)}))
with torch.device("meta"):
    model, small = Words(), nn.Sequential(nn.Embedding(128, 64), nn.Linear(64, 128, bias=False))
forecast(small)  # imports, kernels
before, start = peak(), time.process_time()
forecast(model)
print(f"a table and a head of .98 GiB each, drawn by boxes, backward too: "
      f"{peak() - before:.2f} GiB beyond the {before:.2f} before, "
      f"{time.process_time() - start:.1f} CPU-s")
"""
FAMILIES = "gpt2 llama mistral gemma2 qwen3 phi bert roberta t5 mixtral mamba vit".split()
DRAWS, SURE = 20, 4.0
LEVEL = 0.01  # of the Kolmogorov-Smirnov tests of all families together


@pytest.mark.bench
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(
    ("sizes", "exact"), [(LARGE, False), (SMALL, True)], ids=["70 B", "streamed"]
)
def test_a_llama_from_its_configuration(sizes: str, exact: bool, backward: bool) -> None:
    pytest.importorskip("transformers")
    print_what_is_printed_by(CODE.format(sizes=sizes, backward=backward, exact=exact))


@pytest.mark.bench
def test_tables_that_are_drawn_by_boxes() -> None:
    print_what_is_printed_by(TABLES)


def print_what_is_printed_by(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    print(f"\n{done.stdout.strip()}")


def logs_of(signals: list[gi.Signal], key: str, way: str) -> torch.Tensor:
    """Return log(second) of one row's signal or gradient, over draws; -inf where it is 0."""
    seconds = (getattr(signal[key], way) for signal in signals)
    return torch.tensor([0.0 if one is None else one.second for one in seconds]).log()


def are_apart(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return whether two means are farther apart than their standard errors allow."""
    error = ((a.var() + b.var()) / DRAWS).sqrt()
    return bool((a.mean() - b.mean()).abs() > SURE * error + 1e-6)


@pytest.mark.battery
@pytest.mark.filterwarnings("ignore")  # the library's own
@pytest.mark.parametrize("name", FAMILIES)
def test_draws_have_the_law_of_drawn_models(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against `gi.apply_` and autograd: means of all rows, distributions at both ends."""
    from scipy.stats import ks_2samp
    from tests.models import families

    monkeypatch.setattr(implicit, "LEAST_ELEMENTS", 32 * 64)
    monkeypatch.setattr(implicit, "VECTORS", 0)
    model, inputs = families.build(name, 2)
    plan = gi.plan(model, "standard", inputs=inputs)
    ours = [gi.forecast(model, inputs, plan, seed=seed) for seed in range(DRAWS)]
    assert "Implicit" in str(ours[0].notes)
    theirs = []
    for seed in range(DRAWS, 2 * DRAWS):
        gi.apply_(model, plan, seed=seed)
        theirs.append(gi.measure(model, inputs))
    apart: list[bool] = []
    random: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {"forward": [], "backward": []}
    for way, found in random.items():
        for row in ours[0]:
            a, b = (logs_of(signals, row.key, way) for signals in (ours, theirs))
            if a.isfinite().all() and b.isfinite().all():
                apart.append(are_apart(a, b))
                if a.std() > 1e-3:  # a norm's output has no distribution
                    found.append((a, b))
    sizes = [
        torch.tensor([signal.gradients[0].size for signal in signals]) for signals in (ours, theirs)
    ]
    ends = [random["forward"][-1], random["backward"][0], sizes]
    p_values = [float(ks_2samp(a, b).pvalue) for a, b in ends]
    shown = ", ".join(f"{p:.3f}" for p in p_values)
    print(f"\n{name}: {sum(apart)} of {len(apart)} means apart; p of the ends {shown}")
    assert sum(apart) <= 0.05 * len(apart)
    assert min(p_values) > LEVEL / (len(ends) * len(FAMILIES))
