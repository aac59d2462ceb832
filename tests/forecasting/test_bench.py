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
import tests.conftest
import torch, transformers, goodinit as gi
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
signal = gi.forecast(model, inputs, plan, backward={backward}, exact={exact})
done = time.process_time()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
sizes = [p.numel() for p in model.parameters()]
print(f"{{sum(sizes) / 1e9:.2f}} B parameters, {{len(signal.rows)}} rows, backward={backward}, "
      f"exact={exact}: plan {{planned - built:.1f}} CPU-s, forecast {{done - planned:.1f}} CPU-s, "
      f"peak {{peak:.2f}} GiB, {{before:.2f}} before it; largest parameter "
      f"{{max(sizes) / 2**28:.2f}} GiB; {{len(signal.findings)}} findings")
"""
LARGE = (
    "hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, "
    "num_key_value_heads=8, vocab_size=128256"
)
SMALL = (
    "hidden_size=1024, intermediate_size=4096, num_hidden_layers=28, num_attention_heads=16, "
    "num_key_value_heads=16, vocab_size=16000"
)
FAMILIES = "gpt2 llama mistral gemma2 qwen3 phi bert roberta t5 mixtral mamba vit".split()
DRAWS, SURE = 10, 4.0


@pytest.mark.bench
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(
    ("sizes", "exact"), [(LARGE, False), (SMALL, True)], ids=["70 B", "streamed"]
)
def test_a_llama_from_its_configuration(sizes: str, exact: bool, backward: bool) -> None:
    pytest.importorskip("transformers")
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(sizes=sizes, backward=backward, exact=exact)],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    print(f"\n{done.stdout.strip()}")


def mean_and_error(signals: list[gi.Signal], key: str) -> tuple[float, float]:
    """Return the mean of log(second) over draws, and its standard error."""
    logs = torch.tensor([signal[key].forward.second for signal in signals]).log()
    return float(logs.mean()), float(logs.std()) / DRAWS**0.5


@pytest.mark.battery
@pytest.mark.filterwarnings("ignore")  # the library's own
@pytest.mark.parametrize("name", FAMILIES)
def test_means_over_seeds_are_those_of_drawn_models(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.models import families

    monkeypatch.setattr(implicit, "LEAST_ELEMENTS", 32 * 64)
    monkeypatch.setattr(implicit, "VECTORS", 0)
    model, inputs = families.build(name, 2)
    plan = gi.plan(model, "standard", inputs=inputs)
    ours = [gi.forecast(model, inputs, plan, seed=s, backward=False) for s in range(DRAWS)]
    assert "Implicit" in str(ours[0].notes)
    theirs = []
    for seed in range(DRAWS, 2 * DRAWS):
        gi.apply_(model, plan, seed=seed)
        theirs.append(gi.measure(model, inputs, backward=False))
    off = []
    for row in ours[0]:
        if not row.forward.second > 0:
            continue
        (a, da), (b, db) = mean_and_error(ours, row.key), mean_and_error(theirs, row.key)
        off.append(abs(a - b) > SURE * (da**2 + db**2) ** 0.5 + 1e-6)
    print(f"\n{name}: {sum(off)} of {len(off)} rows off")
    assert sum(off) <= 0.05 * len(off)
