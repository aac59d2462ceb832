"""Transformers architectures from tiny configurations: two layers, widths around 32.

``HF[name]`` says how each is built; ``build(name)`` returns ``(model, inputs)``, in evaluation
mode, with transformers' own initial values.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

Built = tuple[nn.Module, dict[str, Any]]
V = 96


def ids(*shape: int) -> Tensor:
    return torch.randint(5, V - 5, shape or (2, 9))


def text() -> dict[str, Tensor]:
    return {"input_ids": ids()}


def two_texts() -> dict[str, Tensor]:
    return {"input_ids": ids(), "decoder_input_ids": ids(2, 6)}


def image() -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(2, 3, 32, 32)}


# Configuration class, model class, configuration, inputs.
Recipe = tuple[str, str, dict[str, Any], Callable[[], dict[str, Tensor]]]

_LLAMA: dict[str, Any] = {
    "vocab_size": V, "hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_BERT: dict[str, Any] = {
    "vocab_size": V, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 40, "type_vocab_size": 2,
}  # fmt: skip

HF: dict[str, Recipe] = {
    # Decoders.
    "gpt2": ("GPT2Config", "GPT2LMHeadModel",
             {"vocab_size": V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32}, text),
    "llama": ("LlamaConfig", "LlamaForCausalLM", _LLAMA, text),
    "gemma": ("GemmaConfig", "GemmaForCausalLM", _LLAMA, text),
    "mistral": ("MistralConfig", "MistralForCausalLM", _LLAMA, text),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", _LLAMA, text),
    "phi": ("PhiConfig", "PhiForCausalLM", {**_LLAMA, "num_key_value_heads": 4}, text),
    "opt": ("OPTConfig", "OPTForCausalLM",
            {"vocab_size": V, "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2,
             "num_attention_heads": 4, "max_position_embeddings": 32,
             "word_embed_proj_dim": 32}, text),
    "bloom": ("BloomConfig", "BloomForCausalLM",
              {"vocab_size": V, "hidden_size": 32, "n_layer": 2, "n_head": 4}, text),
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM",
                 {k: v for k, v in _LLAMA.items() if k not in ("num_key_value_heads", "head_dim")},
                 text),
    # Encoders.
    "bert": ("BertConfig", "BertForMaskedLM", _BERT, text),
    "roberta": ("RobertaConfig", "RobertaForMaskedLM", _BERT, text),
    "electra": ("ElectraConfig", "ElectraModel", {**_BERT, "embedding_size": 16}, text),
    "deberta_v2": ("DebertaV2Config", "DebertaV2Model",
                   {**_BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"],
                    "position_biased_input": False, "position_buckets": 8,
                    "max_relative_positions": 16, "share_att_key": True}, text),
    # Encoder and decoder.
    "t5": ("T5Config", "T5ForConditionalGeneration",
           {"vocab_size": V, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2,
            "num_heads": 4, "relative_attention_num_buckets": 8}, two_texts),
    "bart": ("BartConfig", "BartForConditionalGeneration",
             {"vocab_size": V, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2,
              "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64,
              "decoder_ffn_dim": 64, "max_position_embeddings": 32, "pad_token_id": 1,
              "eos_token_id": 2, "bos_token_id": 0, "forced_eos_token_id": 2}, two_texts),
    # Vision.
    "vit": ("ViTConfig", "ViTForImageClassification",
            {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
             "intermediate_size": 64, "image_size": 32, "patch_size": 8, "num_labels": 5}, image),
    "swin": ("SwinConfig", "SwinForImageClassification",
             {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2],
              "num_heads": [2, 4], "window_size": 4, "num_labels": 5}, image),
    "convnext": ("ConvNextConfig", "ConvNextForImageClassification",
                 {"hidden_sizes": [16, 32], "depths": [2, 2], "num_stages": 2,
                  "num_labels": 5}, image),
    "resnet": ("ResNetConfig", "ResNetForImageClassification",
               {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [2, 2],
                "layer_type": "bottleneck", "num_labels": 5}, image),
    # Speech.
    "whisper": ("WhisperConfig", "WhisperForConditionalGeneration",
                {"vocab_size": V, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2,
                 "encoder_attention_heads": 4, "decoder_attention_heads": 4,
                 "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_mel_bins": 16,
                 "max_source_positions": 20, "max_target_positions": 16, "pad_token_id": 0,
                 "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1},
                lambda: {"input_features": torch.randn(2, 16, 40),
                         "decoder_input_ids": ids(2, 6)}),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2ForCTC",
                 {"vocab_size": V, "hidden_size": 32, "num_hidden_layers": 2,
                  "num_attention_heads": 4, "intermediate_size": 64, "conv_dim": (16, 16),
                  "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2,
                  "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4},
                 lambda: {"input_values": torch.randn(2, 800)}),
    # Experts.
    "mixtral": ("MixtralConfig", "MixtralForCausalLM",
                {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}, text),
    "qwen2_moe": ("Qwen2MoeConfig", "Qwen2MoeForCausalLM",
                  {**_LLAMA, "num_experts": 4, "num_experts_per_tok": 2,
                   "moe_intermediate_size": 24, "shared_expert_intermediate_size": 40}, text),
    "switch_transformers": ("SwitchTransformersConfig",
                            "SwitchTransformersForConditionalGeneration",
                            {"vocab_size": V, "d_model": 32, "d_kv": 8, "d_ff": 64,
                             "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
                             "num_experts": 3, "num_sparse_encoder_layers": 1,
                             "num_sparse_decoder_layers": 1, "relative_attention_num_buckets": 8,
                             "expert_capacity": 16}, two_texts),
    # State space, linear attention.
    "mamba": ("MambaConfig", "MambaForCausalLM",
              {"vocab_size": V, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 2,
               "conv_kernel": 4, "time_step_rank": 4}, text),
    "mamba2": ("Mamba2Config", "Mamba2ForCausalLM",
               {"vocab_size": V, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 2,
                "num_heads": 4, "head_dim": 16, "n_groups": 2, "conv_kernel": 4,
                "chunk_size": 4}, text),
    "rwkv": ("RwkvConfig", "RwkvForCausalLM",
             {"vocab_size": V, "hidden_size": 32, "attention_hidden_size": 32,
              "num_hidden_layers": 2, "intermediate_size": 64, "context_length": 32}, text),
    # Two towers.
    "clip": ("CLIPConfig", "CLIPModel",
             {"text_config": {"vocab_size": V, "hidden_size": 32, "intermediate_size": 64,
                              "num_hidden_layers": 2, "num_attention_heads": 4,
                              "max_position_embeddings": 16, "eos_token_id": V - 1,
                              "bos_token_id": 1, "pad_token_id": 0},
              "vision_config": {"hidden_size": 48, "intermediate_size": 96,
                                "num_hidden_layers": 3, "num_attention_heads": 4,
                                "image_size": 32, "patch_size": 8},
              "projection_dim": 24},
             lambda: {**text(), **image()}),
}  # fmt: skip


# One of each kind is left to `make test`: the battery runs these too.
MORE = {
    *("llama", "resnet", "vit"),  # as in zoo.py
    *("gemma", "mistral", "qwen2", "phi", "opt", "bloom", "gpt_neox"),  # gpt2, llama
    *("bert", "roberta", "electra", "bart", "whisper"),  # deberta_v2, t5, wav2vec2
    *("qwen2_moe", "switch_transformers", "mamba"),  # mixtral, mamba2
}


def marks(name: str) -> list[pytest.MarkDecorator]:
    """The mark of a model that repeats a kind."""
    return [pytest.mark.battery] if name in MORE else []


def build(name: str, device: str = "cpu") -> Built:
    """Build a model from its tiny configuration, the same one each time."""
    transformers = pytest.importorskip("transformers")  # `make compat` has none
    if not transformers.is_torch_available():
        pytest.skip("this transformers needs a newer torch")
    transformers.logging.set_verbosity_error()
    config_class, model_class, options, inputs = HF[name]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what transformers says while it builds is its own
        torch.manual_seed(0)
        config = getattr(transformers, config_class)(**options)
        with torch.device(device):
            model = getattr(transformers, model_class)(config)
        return model.eval(), inputs()
