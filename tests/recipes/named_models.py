"""Small models of transformers for names that people type, one line each.

``gi.recipe(name)`` draws them as transformers does. Sizes are those of ``SIZES`` that a model's
config has; a row says what else it needs.
"""

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import nn

from .family import Family

SIZES: dict[str, object] = {
    "attention_window": [4, 4, 4], "attention_window_size": 8, "bos_token_id": 1, "chunk_size": 8,
    "d_model": 64, "decoder_attention_heads": 4, "decoder_ffn_dim": 128, "decoder_layers": 2,
    "decoder_start_token_id": 0, "embedding_size": 32, "encoder_attention_heads": 4,
    "encoder_ffn_dim": 128, "encoder_layers": 2, "eos_token_id": 2, "ffn_dim": 128,
    "ffn_hidden_size": 160, "first_k_dense_replace": 1, "head_dim": 16, "hidden_size": 64,
    "hidden_size_per_layer_input": 8, "intermediate_size": 160, "kv_lora_rank": 16,
    "laurel_rank": 8, "linear_key_head_dim": 8, "linear_num_key_heads": 4,
    "linear_num_value_heads": 8, "linear_value_head_dim": 8, "mamba_chunk_size": 8,
    "mamba_d_head": 16, "mamba_d_ssm": 128, "mamba_d_state": 16, "mamba_head_dim": 16,
    "mamba_n_groups": 1, "mamba_n_heads": 8, "mamba_num_heads": 8, "max_position_embeddings": 64,
    "moe_intermediate_size": 32, "moe_num_experts": 4, "moe_num_shared_experts": 1, "n_embd": 64,
    "n_group": 2, "n_groups": 2, "n_head": 4, "n_layer": 3, "n_positions": 64,
    "n_routed_experts": 4, "n_shared_experts": 1, "num_attention_heads": 4, "num_experts": 4,
    "num_experts_per_tok": 2, "num_heads": 4, "num_hidden_layers": 3, "num_key_value_heads": 2,
    "num_layers": 2, "num_local_experts": 4, "num_shared_experts": 1, "pad_token_id": 0,
    "q_lora_rank": 24, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
    "shared_expert_intermediate_size": 32, "shared_intermediate_size": 32, "sliding_window": 8,
    "ssm_state_size": 16, "state_size": 16, "topk_group": 1, "v_head_dim": 16, "vocab_size": 200,
    "vocab_size_per_layer_input": 200,
}  # fmt: skip
ALL_HEADS = {"num_key_value_heads": 4}
HALF = {"layer_types": ["conv", "full_attention", "conv"]}

# name -> model type of transformers, and what its config needs besides
DECODERS: dict[str, tuple[str, dict[str, object]]] = {
    "arcee": ("arcee", {}),
    "bamba": ("bamba", {}),
    "bitnet": ("bitnet", {}),
    "ctrl": ("ctrl", {}),
    "cwm": ("cwm", {}),
    "deepseek_v2": ("deepseek_v2", {}),
    "deepseek_v3.2": ("deepseek_v32", ALL_HEADS),
    "diffllama": ("diffllama", {}),
    "dots1": ("dots1", {}),
    "ernie4.5": ("ernie4_5_moe", {}),
    "exaone4": ("exaone4", {}),
    "falcon_h1": ("falcon_h1", {}),
    "falcon_mamba": ("falcon_mamba", {}),
    "flex_olmo": ("flex_olmo", {}),
    "gemma": ("gemma", {}),
    "gemma4": ("gemma4_text", {}),
    "glm": ("glm", {}),
    "glm4.5": ("glm4_moe", {}),
    "granite4": ("granitemoehybrid", {}),
    "granitemoe": ("granitemoe", {}),
    "helium": ("helium", {}),
    "hunyuan": ("hunyuan_v1_dense", {}),
    "hunyuan_moe": ("hunyuan_v1_moe", {}),
    "internlm3": ("internlm3", {}),
    "jamba": ("jamba", {}),
    "kimi_linear": ("kimi_linear", {}),
    "lfm2": ("lfm2_moe", HALF),
    "llama4": ("llama4_text", {}),
    "mimo_v2_flash": ("mimo_v2_flash", {}),
    "minicpm3": ("minicpm3", {}),
    "minimax_m2": ("minimax_m2", {}),
    "ministral": ("ministral", {}),
    "ministral3": ("ministral3", {}),
    "modernbert_decoder": ("modernbert-decoder", {}),
    "moshi": ("moshi", {}),
    "nemotron_h": ("nemotron_h", {}),
    "openai_gpt": ("openai-gpt", {}),
    "phimoe": ("phimoe", {}),
    "qwen2_moe": ("qwen2_moe", {}),
    "qwen3.5": ("qwen3_5_moe_text", {}),
    "seed_oss": ("seed_oss", {}),
    "solar_open": ("solar_open", {}),
    "vaultgemma": ("vaultgemma", {}),
    "zamba2": ("zamba2", {"layers_block_type": ["hybrid", "mamba", "hybrid"]}),
}
ENCODERS: dict[str, tuple[str, dict[str, object]]] = {
    "big_bird": ("big_bird", {}),
    "bert_generation": ("bert-generation", {}),
    "camembert": ("camembert", {}),
    "canine": ("canine", {}),
    "convbert": ("convbert", {}),
    "data2vec_text": ("data2vec-text", {}),
    "deberta": ("deberta", {}),
    "eurobert": ("eurobert", {}),
    "fnet": ("fnet", {}),
    "gte": ("gte", {}),
    "ibert": ("ibert", {}),
    "jina_embeddings_v3": ("jina_embeddings_v3", {}),
    "layoutlm": ("layoutlm", {}),
    "longformer": ("longformer", {}),
    "megatron_bert": ("megatron-bert", {}),
    "nomic": ("nomic_bert", {}),
    "nystromformer": ("nystromformer", {}),
    "rembert": ("rembert", {}),
    "roformer": ("roformer", {}),
    "splinter": ("splinter", {}),
    "squeezebert": ("squeezebert", {"embedding_size": 64}),
    "yoso": ("yoso", {}),
}


def _build(kind: str, model_type: str, extra: dict[str, object]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import transformers

        config = transformers.CONFIG_MAPPING[model_type]
        known = {one.name for one in fields(config)}
        other = getattr(config, "attribute_map", {})
        given = {
            name: size
            for name, size in SIZES.items()
            if name in known or (name in other and other[name] not in SIZES)
        }
        model = getattr(transformers, kind).from_config(config(**given | extra))
        return model.float()

    return build


def _tokens() -> dict[str, object]:
    return {"input_ids": torch.ones(2, 8, dtype=torch.long)}


NAMED = (
    *(
        Family(
            f"{name} by its name", name, _build("AutoModelForCausalLM", *of),
            lambda: {**_tokens(), "use_cache": False},
        )
        for name, of in DECODERS.items()
    ),
    *(
        Family(f"{name} by its name", name, _build("AutoModel", *of), _tokens)
        for name, of in ENCODERS.items()
    ),
)  # fmt: skip
