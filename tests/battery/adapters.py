"""peft: whether a model with an adapter is the base model after ``gi.init_``."""

from __future__ import annotations

import inspect
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
    yield "MiSS, bat", peft.MissConfig(r=4, init_weights="bat", **on)
    for start in ("gaussian", "olora", "orthogonal", "pissa"):
        yield f"LoRA, {start}", peft.LoraConfig(r=4, init_lora_weights=start, **on)
    yield "constrained OFT", peft.OFTConfig(r=0, oft_block_size=4, coft=True, **on)
    yield "LoKr of both factors", peft.LoKrConfig(r=4, decompose_both=True, **on)
    yield "AdaMSS", peft.AdamssConfig(r=8, num_subspaces=2, **on)
    yield "BEFT", peft.BeftConfig(**on)
    yield "C3A", peft.C3AConfig(block_size=8, **on)
    yield "DEFT", peft.DeftConfig(r=4, **on)
    yield "DeLoRA", peft.DeloraConfig(r=4, **on)
    yield "FRoD", peft.FrodConfig(progressbar=False, **on)
    yield "GLoRA", peft.GloraConfig(r=4, **on)
    yield "GraLoRA", peft.GraloraConfig(r=4, **on)
    yield "HiRA", peft.HiraConfig(r=4, **on)
    yield "Lily", peft.LilyConfig(r=4, **on)
    yield "OSF", peft.OSFConfig(**on)
    yield "PEANuT", peft.PeanutConfig(r=4, **on)
    yield "PSOFT", peft.PsoftConfig(r=4, **on)
    yield "PVeRA", peft.PveraConfig(r=4, **on)
    yield "RoAd", peft.RoadConfig(group_size=4, **on)
    yield "SHiRA", peft.ShiraConfig(r=2, **on)
    yield "super tuning", peft.SupertuningConfig(**on)
    yield "TinyLoRA", peft.TinyLoraConfig(**on)
    yield "Uni-LoRA", peft.UniLoraConfig(**on)
    yield "WaveFT", peft.WaveFTConfig(n_frequency=20, **on)
    yield "trainable tokens", peft.TrainableTokensConfig(token_indices=[1, 3])
    yield "LoRA and tokens", peft.LoraConfig(r=4, trainable_token_indices=[1, 3], **on)


def of_language_models():
    """Adapters of a model that generates text, most of which put tokens in front of it."""
    import peft

    one = {"task_type": "CAUSAL_LM"}
    yield "prompt tuning", peft.PromptTuningConfig(num_virtual_tokens=3, **one)
    yield "p-tuning", peft.PromptEncoderConfig(
        num_virtual_tokens=3, encoder_hidden_size=16, **one
    )  # fmt: skip
    yield "prefix tuning", peft.PrefixTuningConfig(num_virtual_tokens=3, **one)
    yield "projected prefix", peft.PrefixTuningConfig(
        num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=16, **one
    )  # fmt: skip
    yield "multitask prompts", peft.MultitaskPromptTuningConfig(
        num_virtual_tokens=3, num_tasks=2, **one
    )  # fmt: skip
    yield "CPT", peft.CPTConfig(
        cpt_token_ids=[1, 2, 3], cpt_mask=[1, 1, 1], cpt_tokens_type_mask=[1, 2, 3], **one
    )  # fmt: skip
    yield "LLaMA-Adapter", peft.AdaptionPromptConfig(adapter_len=3, adapter_layers=2, **one)
    yield (
        "Poly",
        peft.PolyConfig(r=4, n_skills=2, n_tasks=2, target_modules=["q_proj", "v_proj"], **one),
    )
    yield "cartridge", peft.CartridgeConfig(num_virtual_tokens=3, **one)
    yield "shadow", peft.ShadowConfig(r=4, **one)


TASKS = {"Poly", "multitask prompts"}  # a sample says which task it is of


def share(model, inputs) -> float:
    """|y - y of the base| / |y of the base|, without tokens that were put in front."""
    model.eval()
    given = inspect.signature(model.get_base_model().forward).parameters
    plain = {name: value for name, value in inputs.items() if name in given}
    with torch.no_grad():
        y = model(**inputs)[0]
        with model.disable_adapter():
            base = model(**(plain if model.active_peft_config.is_prompt_learning else inputs))[0]
    y = y[:, -base.shape[1] :]
    return ((y - base).norm() / base.norm()).item()


def output(model, inputs) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs)[0]


def main() -> None:
    warnings.simplefilter("ignore")
    import_module("tests.outside_pytest")  # first: it declares what torchvision asks for
    import peft

    torch.set_num_threads(1)
    tokens = {"input_ids": torch.randint(0, 90, (2, 9))}
    bases = {
        "llama": (llama, ["q_proj", "v_proj"], ["down_proj"]),
        "bert": (bert, ["query", "value"], ["output.dense"]),
    }
    for base, (make, targets, feed) in bases.items():
        found = [*configurations(targets, feed), *(of_language_models() if base == "llama" else ())]
        for name, config in found:
            torch.manual_seed(0)
            inputs = tokens | ({"task_ids": torch.tensor([0, 1])} if name in TASKS else {})
            row = {"base": base, "adapter": name}
            try:
                model = peft.get_peft_model(make(), config)
                row["start"] = share(model, inputs)
                y = output(model, inputs)
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
                    change = (output(model, inputs) - y).norm() / y.norm()
                    row[f"change {way}"] = change.item()
                except Exception as error:
                    row[way] = f"{type(error).__name__}: {error}"[:300]
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
