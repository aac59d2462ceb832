"""Other names that people type: of recipes, and of what is none, with what to call instead.

A model family goes by the recipe that draws what the code draws which the family is known by:
transformers' for language models, the authors', timm's or torchvision's for images.
"""

from __future__ import annotations

from collections.abc import Mapping

_NORMAL, _UNIFORM = {"distribution": "normal"}, {"distribution": "uniform"}
_PLAIN: Mapping[str, str] = {
    "alphafold": "alphafold2 evoformer openfold",
    "beit": "eva02",
    "bert": (
        "albert bart bert_generation big_bird biogpt blenderbot camembert canine convbert "
        "data2vec_text deberta deberta_v2 deberta_v3 distilbert electra ernie esm esm2 eurobert "
        "fnet gte ibert jina_embeddings_v3 layoutlm longformer m2m100 marian mbart "
        "megatron_bert mobilebert mpnet nllb nomic nomic_bert nystromformer opt pegasus plbart "
        "prophetnet rembert roberta roformer segformer splinter squeezebert trocr whisper xglm "
        "xlm_r xlm_roberta yoso"
    ),
    "convnext": "convnext_v2 dinov3_convnext",
    "ddpm": "unet",
    "deepnorm": "deepnet",
    "deit": "cait deit3",
    "e3nn": "ntk",
    "efficientnet": "efficientnet_v2 fbnet mnasnet mobilenet_v3 mobilenet_v4 tinynet",
    "gated_deltanet": "qwen3.5 qwen3_next",
    "gpt2": "gpt3 gpt_bigcode mingpt nanogpt santacoder starcoder",
    "he": "msra",
    "hybrid": "bamba falcon_h1 granite4 granitemoehybrid jamba",
    "instant_ngp": "ngp",
    "llama": (
        "apertus arcee aya baichuan bitnet bloom codegen codellama cohere cohere2 command_r "
        "ctrl cwm deepseek deepseek_r1 deepseek_v2 deepseek_v3 deepseek_v3.1 deepseek_v3.2 "
        "devstral diffllama dots1 ernie4.5 exaone exaone4 falcon falcon2 falcon3 flex_olmo "
        "gemma gemma2 gemma3 gemma3n gemma4 glm glm4 glm4.5 glm4.6 glm4_moe gpt1 gpt_j gpt_neo "
        "granite granitemoe helium hunyuan hunyuan_moe internlm internlm2 internlm3 kimi_k2 "
        "lfm2 llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 mimo_v2_flash minimax_m2 "
        "ministral ministral3 mistral mixtral moshi mpt olmo2 olmo3 olmoe openai_gpt persimmon "
        "phi phi1.5 phi2 phi3 phi3.5 phi4 phimoe pixtral qwen qwen1.5 qwen2 qwen2.5 qwen2_moe "
        "qwen3 qwen3_moe qwq seed_oss smollm smollm2 smollm3 solar solar_open stablelm "
        "tinyllama vaultgemma vicuna yi"
    ),
    "lora": "qlora rslora",
    "lstm": "gru rnn",
    "mae": "vit_mae",
    "megatron": "megatron_lm",
    "mixer": "mlp_mixer",
    "modernbert": "ettin modernbert_decoder",
    "neox": "gpt_neox pythia small_init wang_init",
    "ppo": "a2c cleanrl trpo",
    "resnet": (
        "hrnet resnest resnet101 resnet152 resnet18 resnet34 resnet50 resnext seresnet wide_resnet"
    ),
    "retinanet": "fcos",
    "rwkv7": "rwkv",
    "siglip": "siglip2",
    "stylegan2": "progan stylegan stylegan3",
    "switch": "switch_transformer switch_transformers",
    "t5": "byt5 flan_t5 longt5 mt5 ul2 umt5",
    "torch_default": (
        "alexnet convmixer ddpg dqn encodec flux flux1 flux2 mmdit pytorch sac sd sd1.5 sd2 sd3 "
        "sd3.5 sdxl shufflenet snntorch spikingjelly stable_diffusion td3 torch"
    ),
    "vgg": "mobilenet_v2",
    "vjepa2": "ijepa vjepa",
    "wav2vec2": "hubert",
    "xavier": "gcn",
    "xlstm": "mlstm",
}
"""Recipe -> other names of it."""

_WITH_OPTIONS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "dinov3": ("dinov2", {"flavour": "hf", "layer_scale": 1.0}),
    "falcon_mamba": ("mamba", {"flavour": "hf", "by_depth": False, "std": 0.1}),
    "glorot_normal": ("xavier", _NORMAL),
    "glorot_uniform": ("xavier", _UNIFORM),
    "he_normal": ("he", _NORMAL),
    "he_uniform": ("he", _UNIFORM),
    "jetmoe": ("llama", {"std": 0.01}),
    "kaiming_normal": ("he", _NORMAL),
    "kaiming_uniform": ("he", _UNIFORM),
    "kimi_linear": ("gated_deltanet", {"flavour": "kimi"}),
    "lecun_normal": ("lecun", _NORMAL),
    "lecun_uniform": ("lecun", _UNIFORM),
    "minicpm": ("llama", {"std": 0.1}),
    "minicpm3": ("llama", {"std": 0.1}),
    "nemotron": ("llama", {"std": 0.0134}),
    "nemotron_h": ("hybrid", {"flavour": "nemotron_h"}),
    "corda": ("lora", {"init": "corda"}),
    "eva": ("lora", {"init": "eva"}),
    "loftq": ("lora", {"init": "loftq"}),
    "olora": ("lora", {"init": "olora"}),
    "pissa": ("lora", {"init": "pissa"}),
    "regnet": ("resnet", {"small_head": True}),
    "starcoder2": ("llama", {"std": 0.018}),
    "swin_v2": ("swin", {"v2": True}),
    "torchtitan": ("llama", {"flavour": "torchtitan"}),
    "xavier_normal": ("xavier", _NORMAL),
    "xavier_uniform": ("xavier", _UNIFORM),
    "zamba2": ("hybrid", {"flavour": "zamba2"}),
    "zero_init_residual": ("resnet", {"zero_last_gamma": True}),
}
_FOUND: Mapping[str, tuple[str, Mapping[str, object]]] = {
    **{other: (name, {}) for name, others in _PLAIN.items() for other in others.split()},
    **_WITH_OPTIONS,
}
ALIASES = dict(sorted(_FOUND.items()))
"""Other names -> the recipe and its options. Case, "-", "_" and "." don't count, nor a size."""

_FEW: Mapping[str, str] = {
    "actnorm": "needs a batch, and a recipe has none: gi.calibrate_(net, batch)",
    "admin": "needs a batch, and scales of its own in the forward: 'deepnorm' needs no batch",
    "cnn": "could be many: 'resnet', 'efficientnet' and 'convnext' are families, 'he' fits any",
    "controlnet": "is a copy of a UNet: 'torch_default'; zeros of its convolutions are kept",
    "default": "could be two: 'standard' is goodinit's, 'torch_default' PyTorch's",
    "diffusion": "could be two: 'ddpm' for UNets, 'dit' for transformers",
    "dora": "draws A and B as 'lora' does; its lengths are set by peft's constructor",
    "flax": "draws as 'lecun' does",
    "gan": "could be two: 'dcgan' or 'stylegan2'",
    "gatv2": "draws as 'gat' does, but for biases of its linear layers, which PyTorch Geometric "
    "draws by PyTorch's law",
    "gin": "draws as PyTorch's linear layers do: gi.VarianceScaling(1 / 3, distribution='uniform')",
    "glow": "needs a batch for its norms, and a recipe has none: gi.Normal(.05) for convolutions, "
    "gi.Orthogonal() for those that mix channels, zeros kept; then gi.calibrate_(net, batch)",
    "gpt": "could be two: 'gpt2', or 'openai_gpt', the first, without scaling by depth",
    "graphsage": "draws as 'gin' does: gi.VarianceScaling(1 / 3, distribution='uniform')",
    "icnr": "is a scheme for the convolution in front of a pixel shuffle: "
    "gi.Rule('up.weight', gi.ICNR(gi.HeNormal(), copies=4))",
    "kan": "needs no recipe: its constructor fits the splines to small noise, and they stand",
    "lora_ga": "needs the gradient of a loss on a batch, and a recipe has none: call peft's "
    "preprocess_loraga(model, lora_config, train_step) before get_peft_model",
    "mamba3": "has laws of its own, which 'mamba2' lacks: keep its constructor's values",
    "mica": "freezes B, which goodinit doesn't: pass init_lora_weights='mica' to peft's LoraConfig",
    "mlp": "needs no family's recipe: 'standard' has the gain of each activation",
    "mobilenet": "could be three: 'mobilenet_v2', 'mobilenet_v3' or 'mobilenet_v4'",
    "modded_nanogpt": "changes with each record: q, k, v and feed-forward inputs have been half of "
    "'nanochat', which began from it, and the head N(0, .005^2)",
    "pinn": "is an MLP of tanh or sine: 'xavier', or 'siren'",
    "realnvp": "has no law in its paper: 'torch_default'; zeros that end its couplings are kept",
    "selu": "is an activation: the weights in front of it are 'lecun'",
    "sinusoidal": "is computed, not drawn: a buffer of sines is kept as its class computes it; "
    "for a parameter gi.Function(f), where f(site) returns the sines of site.shape",
    "snn": "needs firing rates, of a batch, for laws of its own; snnTorch and SpikingJelly leave "
    "weights to PyTorch: 'torch_default'",
    "titans": "has no published code; titans-pytorch leaves weights to PyTorch: 'torch_default'",
    "transformer": "could be many: 'gpt2', 'llama', 'bert', 't5' are families, 'standard' fits any",
}
_MANY: Mapping[str, str] = {
    "could be of any layers: 'standard' fits any": (
        "autoencoder crosscoder hopfield sae transcoder vae"
    ),
    "draws as 'xavier:distribution=uniform' does": "keras tensorflow",
    "has laws of its own, which no recipe has yet: keep what its constructor draws": (
        "afmoe alphafold3 bit blip boltz centernet clap coatnet conditional_detr conformer cvt "
        "d_fine dab_detr deeplab_v3 deepseek_v4 deformable_detr depth_anything dimenet "
        "dino_detr dla dpt dreamer dreamerv3 efficientdet efficientvit egnn esmfold faster_rcnn "
        "fcn flaubert funnel ghostnet gmlp googlenet graphormer griffin grounding_dino "
        "inception inception_v3 levit luke mace mask2former mask_rcnn maskformer maxvit "
        "mobilevit muzero nequip nfnet oneformer owlvit perceiver poolformer pvt "
        "recurrent_gemma repvgg res2net resmlp resnetv2 rt_detr s4 s5 sam2 schnet speecht5 "
        "squeezenet ssd tabnet twins upernet videomae vits wavlm xception xlm xlnet youtu zaya"
    ),
    "is an encoder and a language model, which have recipes of their own: "
    "gi.init_(model.language_model, 'llama')": (
        "florence2 idefics idefics2 idefics3 internvl llava paligemma qwen2.5_vl qwen2_vl "
        "qwen3_vl smolvlm"
    ),
    "is left to PyTorch by diffusers: 'torch_default'; its authors' own code may draw it as "
    "'dit' does": (
        "cogvideox hunyuan_video ltx ltx_video lumina lumina2 pixart qwen_image sana wan wan2.1 "
        "z_image"
    ),
    "isn't one network: 'standard' fits any, 'torch_default' is PyTorch's": (
        "alphazero hypernetwork moe neural_ode reward_model seq2seq"
    ),
    "leaves its convolutions to PyTorch: 'torch_default'; the biases of its classes and boxes, "
    "which its constructor sets, are kept; on meta write gi.PriorBias for those of the classes": (
        "yolo yolo11 yolov10 yolov12 yolov5 yolov8 yolov9 yolox"
    ),
    "needs a batch, and a recipe has none: start from gi.init_(net, 'orthogonal'), then "
    "gi.calibrate_(net, batch)": "lsuv",
    "needs no recipe: peft's constructor draws it, and its values stand": (
        "adalora ia3 loha lokr vera"
    ),
    "needs no recipe: scales keep the values that their class gave them": "layerscale",
    "needs no recipe: scales keep the zeros that their class gave them": "rezero skipinit",
}
NO_RECIPES: Mapping[str, str] = dict(
    sorted(
        {**_FEW, **{name: why for why, names in _MANY.items() for name in names.split()}}.items()
    )
)
"""Names that people type, and what to call instead."""
