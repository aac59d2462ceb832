"""peft's LoRA initializations against ``gi.recipe("lora")``, as lines of JSON."""

from __future__ import annotations

import json
import warnings
from importlib import import_module

import torch
from scipy import stats
from tests.battery.adapters import bert, llama
from torch import nn

import goodinit as gi


def gpt2():
    """Conv1D: the base weight is [in, out]."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=90))


def adapted(make, targets: list[str], init: object) -> nn.Module:
    import peft

    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=targets, init_lora_weights=init,
        fan_in_fan_out=make is gpt2,
    )  # fmt: skip
    return peft.get_peft_model(make(), config)


def compared(make, targets: list[str], init: str, inputs: dict) -> dict:
    """How far peft's values and ours are apart; of drawn ones, the least p-value."""
    theirs = adapted(make, targets, True if init == "default" else init)
    ours = adapted(make, targets, True)
    plan = gi.init_(ours, gi.recipe("lora", init=init), inputs=inputs, seed=0)
    away, least, written = 0.0, 1.0, 0
    drawn = init in ("default", "gaussian", "orthogonal")
    for name, value in theirs.named_parameters():
        other = ours.get_parameter(name)
        if not torch.equal(value, other) and drawn:
            a, b = (t.detach().flatten().numpy() for t in (value, other))
            least = min(least, stats.ks_2samp(a, b).pvalue)
            written += 1
        else:
            away = max(away, (value - other).abs().max().item())
    written = written if drawn else sum(not row.kept for row in plan)
    with torch.no_grad():
        ours.eval()
        y = ours(**inputs)[0]
        with ours.disable_adapter():
            plain = ours(**inputs)[0]
        base = adapted(make, targets, True).eval()(**inputs)[0]
    error = ((y - base).norm() / base.norm()).item()
    moved = ((plain - base).norm() / base.norm()).item()
    return {"away": away, "p": least, "written": written, "error": error, "moved": moved}


def main() -> None:
    warnings.simplefilter("ignore")
    import_module("tests.conftest")  # first: it declares what torchvision asks for
    torch.set_num_threads(1)
    inputs = {"input_ids": torch.randint(0, 90, (2, 9))}
    bases = {
        "llama": (llama, ["q_proj", "v_proj"]),
        "bert": (bert, ["query", "value"]),
        "gpt2": (gpt2, ["c_attn"]),
    }
    for base, (make, targets) in bases.items():
        for init in ("default", "gaussian", "pissa", "olora", "orthogonal"):
            if (base, init) == ("gpt2", "olora"):
                continue  # peft takes Conv1D's weight the wrong way round; its forward raises
            row = {"base": base, "init": init}
            print(json.dumps(row | compared(make, targets, init, inputs)), flush=True)


if __name__ == "__main__":
    main()
