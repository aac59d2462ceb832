"""peft's LoRA initializations against ``gi.recipe("lora")``, as lines of JSON."""

from __future__ import annotations

import json
import warnings
from contextlib import nullcontext
from importlib import import_module
from unittest import mock

import torch
from scipy import stats
from tests.battery.adapters import bert, llama
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import goodinit as gi

RANK = 4
WIDTH = 64  # a block of NF4: bitsandbytes' kernel for CPUs is wrong for rows that end inside of one
DRAWN = ("default", "gaussian", "orthogonal")
INITS = (*DRAWN, "pissa", "olora", "eva", "corda:ipm", "corda:kpm", "loftq")


def gpt2(width: int):
    """Conv1D: the base weight is [in, out]."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_embd=width, n_layer=2, n_head=4, vocab_size=90))


class OnCpu(TorchFunctionMode):
    """Runs on the CPU what peft runs on a GPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def moved(value: object) -> object:
            return "cpu" if not isinstance(value, Tensor) and str(value) == "cuda" else value

        return func(*map(moved, args), **{k: moved(v) for k, v in (kwargs or {}).items()})


def adapted(make, targets: list[str], init: str, inputs: dict) -> nn.Module:
    """Return a model with adapters that peft initialized."""
    import peft
    from peft.tuners.lora.config import CordaConfig
    from peft.tuners.lora.corda import preprocess_corda
    from peft.utils.incremental_pca import IncrementalPCA

    torch.manual_seed(0)
    name, _, method = init.partition(":")
    special = {
        "loftq": {"loftq_config": {"loftq_bits": 4, "loftq_iter": 3}},
        "eva": {"eva_config": peft.EvaConfig(rho=1.0)},  # each layer keeps its rank
        "corda": {"corda_config": CordaConfig(corda_method=method)} if method else {},
    }
    config = peft.LoraConfig(
        r=RANK, lora_alpha=6, target_modules=targets, fan_in_fan_out=make is gpt2,
        init_lora_weights=True if name == "default" else name, **special.get(name, {}),
    )  # fmt: skip
    base = make(WIDTH)
    if name == "corda":
        preprocess_corda(base, config, lambda: base(**inputs))
    with OnCpu() if name == "loftq" else nullcontext():
        model = peft.get_peft_model(base, config)
    if name == "eva":  # its exact decomposition in place of the randomized one
        exact = IncrementalPCA._svd_fn_full
        with mock.patch.object(IncrementalPCA, "_svd_fn_lowrank", exact):
            peft.initialize_lora_eva_weights(model, [inputs], show_progress_bar=False)
    return model


def compared(make, targets: list[str], init: str, inputs: dict) -> dict:
    """How far peft's values and ours are apart; of drawn ones, the least p-value."""
    theirs = adapted(make, targets, init, inputs)
    ours = adapted(make, targets, "default", inputs)
    name, _, method = init.partition(":")
    options = {"corda_method": method or "ipm", "loftq_iter": 3, "faithful": True}
    recipe = gi.recipe("lora", init=name, **options)
    plan = gi.init_(ours, recipe, inputs=inputs, seed=0)
    away, least, written = 0.0, 1.0, 0
    for _, value, other in _values(theirs, ours, product=bool(method)):
        if not torch.equal(value, other) and init in DRAWN:
            a, b = (t.detach().flatten().numpy() for t in (value, other))
            least = min(least, stats.ks_2samp(a, b).pvalue)
            written += 1
        else:
            away = max(away, (value - other).abs().max().item())
    written = written if init in DRAWN else sum(not row.kept for row in plan)
    with torch.no_grad():
        ours.eval()
        y = ours(**inputs)[0]
        with ours.disable_adapter():
            plain = ours(**inputs)[0]
        base = adapted(make, targets, "default", inputs).eval()(**inputs)[0]
    error = ((y - base).norm() / base.norm()).item()
    moved = ((plain - base).norm() / base.norm()).item()
    return {"away": away, "p": least, "written": written, "error": error, "moved": moved}


def _values(theirs: nn.Module, ours: nn.Module, product: bool):
    """Give each parameter's name and two values; B A, where the sign of each half is chance."""
    for name, value in theirs.named_parameters():
        if product and "lora_A" in name:
            up = name.replace("lora_A", "lora_B")
            yield name, *(m.get_parameter(up) @ m.get_parameter(name) for m in (theirs, ours))
        elif not (product and "lora_B" in name):
            yield name, value, ours.get_parameter(name)


def main() -> None:
    warnings.simplefilter("ignore")
    import_module("tests.outside_pytest")  # first: it declares what torchvision asks for
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs = {"input_ids": torch.randint(0, 90, (1, 300))}
    bases = {
        "llama": (llama, ["q_proj", "v_proj"]),
        "bert": (bert, ["query", "value"]),
        "gpt2": (gpt2, ["c_attn"]),
    }
    for base, (make, targets) in bases.items():
        for init in INITS:
            if base == "gpt2" and init in ("olora", "loftq"):
                continue  # peft takes Conv1D's weight the wrong way round; its forward raises
            row = {"base": base, "init": init}
            print(json.dumps(row | compared(make, targets, init, inputs)), flush=True)


if __name__ == "__main__":
    main()
