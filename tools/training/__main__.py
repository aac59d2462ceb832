"""Train small networks on real data, from several initializations: docs/training.md.

    python -m tools.training            all models, on all cores: `make compare-training`
    python -m tools.training GPT LSTM   some of them; the others' numbers stay

Each pair of a model and an initialization has the rate of Adam, of RATES, with which its training
loss ends lowest with a seed that isn't among SEEDS. Then it is trained with each of SEEDS, which
the initialization and the batches are drawn from. Numbers go to docs/training/, plots to docs/img.
AnyInit is compared where it can be imported.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

import torch
from tests.recipes.training import accuracy, cross_entropy, train
from tools.training import page
from tools.training.experiments import EXPERIMENTS, Experiment, initializations

RATES = (3e-4, 1e-3, 3e-3)
SEEDS, SEED_FOR_RATE = range(5), 5
POINTS = 60  # of a curve: each is the mean of as many losses
Run = dict[str, object]


def trained(experiment: Experiment, initialization: str, rate: float, seed: int) -> Run:
    """Train once."""
    torch.manual_seed(seed)
    task, net = experiment.task(), experiment.build()
    initializations(experiment)[initialization](net, task.shown, seed)
    losses = train(net, task.batches(seed), rate)
    each = len(losses) // POINTS
    curve = [sum(losses[i : i + each]) / each for i in range(0, len(losses), each)]
    with torch.no_grad():
        held_out = cross_entropy(net.eval(), task.held_out).item()
    return {"curve": curve, "held_out": held_out, "accuracy": accuracy(net, task.held_out)}


def final(run: Run) -> float:
    """Return the mean training loss of the last tenth."""
    curve = run["curve"]
    assert isinstance(curve, list)
    last = curve[-POINTS // 10 :]
    return sum(last) / len(last)


def compared(job: tuple[int, str]) -> dict[str, object]:
    """Train one model from one initialization: with each rate, then with each seed."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # layers this small don't get faster with a second one
    experiment, initialization = EXPERIMENTS[job[0]], job[1]
    tried = {
        rate: final(trained(experiment, initialization, rate, SEED_FOR_RATE)) for rate in RATES
    }
    rate = min(RATES, key=lambda rate: (math.isnan(tried[rate]), tried[rate]))
    runs = [trained(experiment, initialization, rate, seed) for seed in SEEDS]
    return {"initialization": initialization, "rate": rate, "runs": runs}


def main(names: list[str]) -> None:
    """Train, write numbers and plots, then the page."""
    unknown = set(names) - {experiment.name for experiment in EXPERIMENTS}
    if unknown:
        sys.exit(
            f"No model is called {', '.join(sorted(unknown))}: see tools/training/experiments.py"
        )
    wanted = [i for i, e in enumerate(EXPERIMENTS) if not names or e.name in names]
    start = time.perf_counter()
    jobs = {i: [(i, name) for name in initializations(EXPERIMENTS[i])] for i in wanted}
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = pool.map(compared, [job for group in jobs.values() for job in group])
        for i, group in jobs.items():
            found = [next(results) for _ in group]
            path = page.ROOT / "docs" / "training" / f"{EXPERIMENTS[i].slug}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(rounded(found)) + "\n")
            minutes = (time.perf_counter() - start) / 60
            print(f"{minutes:5.1f} min  {EXPERIMENTS[i].name}", flush=True)
    page.write()


def rounded(value: object) -> object:
    """Return numbers with four digits, and None for NaN and infinity, which JSON lacks."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main(sys.argv[1:])
