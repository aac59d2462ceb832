"""peft: whether a model with an adapter is the base model after ``gi.init_``."""

from __future__ import annotations

import json
import warnings
from importlib import import_module

import torch

import goodinit as gi


def llama(width=32):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(hidden_size=width, intermediate_size=48, num_hidden_layers=2,
                         vocab_size=90, num_attention_heads=4, num_key_value_heads=4)  # fmt: skip
    return LlamaForCausalLM(config)


def bert(width=32):
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(hidden_size=width, intermediate_size=48, num_hidden_layers=2,
                                num_attention_heads=4, vocab_size=90))  # fmt: skip


def configurations(targets: list[str], feed: list[str]):
    import peft

    on = {"target_modules": targets}
    yield "LoRA", peft.LoraConfig(r=4, **on)
    yield "rsLoRA", peft.LoraConfig(r=4, use_rslora=True, **on)
    yield "DoRA", peft.LoraConfig(r=4, use_dora=True, **on)
    yield "LoRA with a bias", peft.LoraConfig(r=4, lora_bias=True, **on)
    yield "LoHa", peft.LoHaConfig(r=4, **on)
    yield "LoKr", peft.LoKrConfig(r=4, **on)
    yield "OFT", peft.OFTConfig(r=0, oft_block_size=4, **on)
    yield "BOFT", peft.BOFTConfig(boft_block_size=4, **on)
    yield "VeRA", peft.VeraConfig(r=4, **on)
    yield "IA3", peft.IA3Config(target_modules=targets + feed, feedforward_modules=feed)
    yield "AdaLoRA", peft.AdaLoraConfig(init_r=4, total_step=10, **on)
    yield "FourierFT", peft.FourierFTConfig(n_frequency=20, **on)
    yield "HRA", peft.HRAConfig(r=4, **on)
    yield "VB-LoRA", peft.VBLoRAConfig(r=4, num_vectors=8, vector_length=4, topk=2, **on)
    yield "RandLoRA", peft.RandLoraConfig(r=4, **on)
    yield "Bone", peft.MissConfig(r=4, **on)
    yield "LN tuning", peft.LNTuningConfig(target_modules=feed and ["norm", "LayerNorm"])


def share(model, inputs) -> float:
    """|y - y of the base| / |y of the base|."""
    model.eval()
    with torch.no_grad():
        y = model(**inputs)[0]
        with model.disable_adapter():
            base = model(**inputs)[0]
    return ((y - base).norm() / base.norm()).item()


def main() -> None:
    warnings.simplefilter("ignore")
    import_module("tests.outside_pytest")  # first: it declares what torchvision asks for
    import peft

    torch.set_num_threads(1)
    inputs = {"input_ids": torch.randint(0, 90, (2, 9))}
    bases = {
        "llama": (llama, ["q_proj", "v_proj"], ["down_proj"]),
        "bert": (bert, ["query", "value"], ["output.dense"]),
    }
    for base, (make, targets, feed) in bases.items():
        for name, config in configurations(targets, feed):
            torch.manual_seed(0)
            row = {"base": base, "adapter": name}
            try:
                model = peft.get_peft_model(make(), config)
                row["start"] = share(model, inputs)
            except Exception as error:
                print(
                    json.dumps(row | {"broken": f"{type(error).__name__}: {error}"[:300]}),
                    flush=True,
                )
                continue
            for way, given in (("with", inputs), ("without", None)):
                torch.manual_seed(0)
                model = peft.get_peft_model(make(), config)
                try:
                    gi.init_(model, "standard", inputs=given, seed=0)
                    row[way] = share(model, inputs)
                except Exception as error:
                    row[way] = f"{type(error).__name__}: {error}"[:300]
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
