"""Families of transformers as small base models: how they are built, and their residual ends.

``ENDS`` was written by hand, from reading each ``modeling_*.py``: the names of the weights whose
output is added to the residual stream, by the ends of their names.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

WIDTH, VOCABULARY, LENGTH = 64, 99, 16

# What a configuration calls its sizes. Each family takes those that it knows.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size"), WIDTH),
    **dict.fromkeys(("word_embed_proj_dim", "attention_hidden_size"), WIDTH),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads",), 4),
    **dict.fromkeys(("head_dim", "d_kv", "v_head_dim"), 16),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "encoder_ffn_dim"), 2 * WIDTH),
    **dict.fromkeys(("decoder_ffn_dim", "ffn_hidden_size", "ffn_size"), 2 * WIDTH),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 64),
    "vocab_size": VOCABULARY, "type_vocab_size": 2, "relative_attention_num_buckets": 8,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_group": 1, "topk_group": 1,
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "image_size": 32, "patch_size": 8, "rotary_dim": 8, "num_labels": 5,
}  # fmt: skip
DEPTHS = (
    "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers "
    "num_encoder_layers num_decoder_layers num_self_attends_per_block"
).split()

SPEECH = {
    "conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2),
    "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
MORE: dict[str, dict[str, Any]] = {
    "deepseek_v3": {"head_dim": 8},
    "mamba2": {"num_heads": 8, "n_groups": 2, "chunk_size": 8, "state_size": 8},
    "rwkv": {"rescale_every": 0, "context_length": 64},  # else evaluation halves the stream
    "videomae": {"num_frames": 4, "tubelet_size": 2},
    "vivit": {"num_frames": 4, "tubelet_size": [2, 8, 8]},
    **dict.fromkeys(("hubert", "wav2vec2", "wavlm"), SPEECH),
}  # fmt: skip

PARALLEL = "codegen cohere cohere2 falcon gpt_neox gpt_neox_japanese gptj phi".split()
PRE_NORM = """
    biogpt bloom clip_text_model ctrl diffllama ernie4_5 esm gemma glm gpt2 gpt_bigcode gpt_neo
    gpt_oss granite helium hunyuan_v1_dense imagegpt llama megatron-bert mistral modernbert mpt
    nemotron olmo opt persimmon phi3 qwen2 qwen3 roberta-prelayernorm smollm3 stablelm starcoder2
    xglm xlm-roberta-xl
""".split()
SANDWICH = "exaone4 gemma2 gemma3_text glm4 olmo2 olmo3".split()
POST_NORM = """
    bert camembert convbert data2vec-text deberta deberta-v2 distilbert electra ernie fnet
    layoutlm nomic_bert nystromformer rembert roberta roformer splinter xlm-roberta xlnet
""".split()
ENCODER_DECODER = """
    bart blenderbot blenderbot-small fsmt longt5 m2m_100 marian mbart mt5 pegasus plbart
    prophetnet switch_transformers t5 umt5
""".split()
STATE_SPACE = "falcon_mamba jamba mamba mamba2 recurrent_gemma rwkv".split()
EXPERTS = "deepseek_v2 deepseek_v3 granitemoe mixtral nllb-moe olmoe qwen2_moe qwen3_moe".split()
OTHER = """
    beit clip_vision_model deit dinov2 hubert siglip_vision_model videomae vit vit_mae vivit
    wav2vec2 wavlm
""".split()
FAMILIES = (
    PARALLEL + PRE_NORM + SANDWICH + POST_NORM + ENCODER_DECODER + STATE_SPACE + EXPERTS + OTHER
)

_LLAMA = ("self_attn.o_proj", "mlp.down_proj")
_BART = ("self_attn.out_proj", "encoder_attn.out_proj", "fc2")
ENDS: dict[str, tuple[str, ...]] = {
    # x + attn(norm(x)) + mlp(norm(x))
    "gpt_neox": ("attention.dense", "mlp.dense_4h_to_h"),
    "gptj": ("attn.out_proj", "mlp.fc_out"),
    "phi": ("self_attn.dense", "mlp.fc2"),
    "falcon": ("self_attention.dense", "mlp.dense_4h_to_h"),
    "cohere": _LLAMA,
    "codegen": ("attn.out_proj", "mlp.fc_out"),
    # x = x + attn(norm(x)); x = x + mlp(norm(x))
    "gpt2": ("attn.c_proj", "mlp.c_proj"),
    "llama": _LLAMA,
    "opt": ("self_attn.out_proj", "fc2"),
    "bloom": ("self_attention.dense", "mlp.dense_4h_to_h"),
    "mpt": ("attn.out_proj", "ffn.down_proj"),
    "nemotron": _LLAMA,
    "xglm": ("self_attn.out_proj", "fc2"),
    "modernbert": ("attn.Wo", "mlp.Wo"),
    # x + norm(attn(x)), before which there may be another norm
    "gemma2": _LLAMA,
    "olmo2": _LLAMA,
    "glm4": _LLAMA,
    # norm(x + attn(x))
    "bert": ("attention.output.dense", "output.dense"),
    "fnet": ("output.dense",),  # the Fourier branch has no weight
    # An encoder and a decoder.
    "t5": ("SelfAttention.o", "EncDecAttention.o", "DenseReluDense.wo"),
    "bart": _BART,
    "pegasus": _BART,
    # State spaces and recurrences.
    "mamba": ("mixer.out_proj",),
    "mamba2": ("mixer.out_proj",),
    "rwkv": ("attention.output", "feed_forward.value"),
    "recurrent_gemma": (
        "temporal_block.linear_out", "temporal_block.o_proj", "mlp_block.down_proj"
    ),
    # Experts.
    "qwen2_moe": ("self_attn.o_proj", "experts.down_proj", "shared_expert.down_proj"),
}  # fmt: skip


def build(name: str, layers: int) -> tuple[nn.Module, dict[str, Tensor]]:
    """Build a base model with so many layers, and what it is called with."""
    import transformers

    transformers.logging.set_verbosity_error()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        config_class = type(transformers.AutoConfig.for_model(name))
        sizes = {**SIZES, **dict.fromkeys(DEPTHS, layers)}
        known = config_class().to_dict().keys()
        config = config_class(**{k: v for k, v in sizes.items() if k in known} | MORE.get(name, {}))
        model = transformers.AutoModel.from_config(config).eval()
        return model, _inputs(name, model, getattr(config, "is_encoder_decoder", False))


def _inputs(name: str, model: nn.Module, decodes: bool) -> dict[str, Tensor]:
    words = torch.randint(5, VOCABULARY - 5, (2, 2, LENGTH))
    match model.main_input_name:
        case "pixel_values":
            frames = (4,) if name in ("videomae", "vivit") else ()
            return {"pixel_values": torch.randn(2, *frames, 3, 32, 32)}
        case "input_values":
            return {"input_values": torch.randn(2, 800)}
    given = {"input_ids": words[0]}
    return given | ({"decoder_input_ids": words[1]} if decodes else {})
