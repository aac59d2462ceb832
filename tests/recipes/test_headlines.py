"""The headline numbers of every recipe, by hand from its paper or its code.

Each row is checked twice: on the plan, exactly, and on drawn values, within five standard errors.
"""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi

from .families import FAMILIES

# The truncation of a normal law at 2 sigma takes this much of its standard deviation away:
# sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)); jax.nn.initializers.variance_scaling has the same digits.
CUT_AT_2 = 0.87962566103423978
MUP = "Yang et al. 2022, table 3"


class Block(nn.Module):
    """A pre-norm transformer layer: two residual branches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.attn_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.mlp_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.c_attn(self.ln_1(x)).chunk(3, -1)
        x = x + self.attn_proj(nn.functional.scaled_dot_product_attention(q, k, v))
        return x + self.mlp_proj(nn.functional.gelu(self.c_fc(self.ln_2(x))))


class GPT(nn.Module):
    """Three layers, 64 wide, 300 tokens, 40 positions."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(300, 64, padding_idx=0), nn.Embedding(40, 64)
        self.h = nn.ModuleList(Block(64) for _ in range(3))
        self.ln_f, self.lm_head = nn.LayerNorm(64), nn.Linear(64, 300, bias=False)
        if tied:
            self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class ViT(nn.Module):
    """Patches of 3 * 8 * 8 pixels, two layers, 64 wide, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 64, 8, stride=8)
        self.cls = nn.Parameter(torch.full((1, 1, 64), math.nan))
        self.pos = nn.Parameter(torch.full((1, 17, 64), math.nan))
        self.blocks = nn.ModuleList(Block(64) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).mT
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(40, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0])


class Experts(nn.Module):
    """A norm by Gemma's formula, a router over 8 experts, a low-rank adapter of rank 4."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((64,), math.nan))
        self.router = nn.Linear(64, 8, bias=False)
        self.experts = nn.Parameter(torch.full((8, 64, 64), math.nan))
        self.base = nn.Linear(64, 96)
        self.lora_a = nn.Parameter(torch.full((4, 64), math.nan))
        self.lora_b = nn.Parameter(torch.full((96, 4), math.nan))

    def forward(self, x: Tensor) -> Tensor:
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * (1 + self.scale)
        weights, chosen = self.router(x).softmax(-1).topk(2, dim=-1)
        x = sum(
            weights[:, i, None] * torch.einsum("bi,bio->bo", x, self.experts[chosen[:, i]])
            for i in range(2)
        )
        return self.base(x) + x @ self.lora_a.T @ self.lora_b.T


def rectified() -> nn.Module:
    return nn.Sequential(
        nn.Linear(100, 200), nn.ReLU(), nn.Linear(200, 300), nn.LeakyReLU(0.2),
        nn.Linear(300, 100), nn.PReLU(), nn.Linear(100, 50), nn.Tanh(), nn.Linear(50, 40),
    )  # fmt: skip


def rectified_otherwise() -> nn.Module:
    return nn.Sequential(
        nn.Linear(100, 200), nn.RReLU(), nn.Linear(200, 300), nn.ReLU6(),
        nn.Linear(300, 100), nn.ELU(), nn.Linear(100, 100), nn.LeakyReLU(),
    )  # fmt: skip


def deep() -> nn.Module:
    """Eleven plain layers: five before relu, five before tanh."""
    sizes = [20, *[40] * 10, 10]
    layers = [nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
    bends = [nn.ReLU()] * 5 + [nn.Tanh()] * 5 + [nn.Identity()]
    return nn.Sequential(*(part for pair in zip(layers, bends, strict=True) for part in pair))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3, groups=4), nn.SiLU(),
        nn.ConvTranspose2d(64, 16, 4, stride=2), nn.Tanh(),
    )  # fmt: skip


def generator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(100, 100), nn.Unflatten(1, (100, 1, 1)), nn.ConvTranspose2d(100, 512, 4),
        nn.BatchNorm2d(512), nn.ReLU(), nn.Conv2d(512, 8, 3),
    )  # fmt: skip


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "gpt": (lambda: GPT(tied=True), lambda: torch.ones(2, 7, dtype=torch.long)),
    "untied gpt": (lambda: GPT(tied=False), lambda: torch.ones(2, 7, dtype=torch.long)),
    "vit": (ViT, lambda: torch.ones(2, 3, 32, 32)),
    "lstm": (Tagger, lambda: torch.ones(2, 5, 40)),
    "experts": (Experts, lambda: torch.randn(6, 64, generator=torch.Generator().manual_seed(0))),
    "rectified": (rectified, lambda: torch.ones(2, 100)),
    "rectified otherwise": (rectified_otherwise, lambda: torch.ones(2, 100)),
    "deep": (deep, lambda: torch.ones(2, 20)),
    "convolutions": (convolutions, lambda: torch.ones(2, 8, 12, 12)),
    "generator": (generator, lambda: torch.ones(2, 100)),
}


@dataclass(frozen=True)
class Headline:
    """One number of one recipe.

    Attributes:
        recipe: name.
        model: key of MODELS.
        parameter: its name; "name/block" for one matrix of a packed parameter.
        law: of the values; "constant" has no std.
        std: expected standard deviation, or the expected value of a constant.
        source: paper or upstream file.
        options: of the recipe.
        mean: expected mean.
    """

    recipe: str
    model: str
    parameter: str
    law: str
    std: float
    source: str
    options: dict[str, object] = field(default_factory=dict)
    mean: float = 0.0

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.recipe}({options})-{self.model}-{self.parameter}"


HE = "He et al. 2015, equation 10"
LECUN = "LeCun et al. 1998, equation 16"
UNIT = "the q with E[f(sqrt(q) z)^2] = 1, by Gauss-Hermite quadrature"
BOUNDED = "1/E[f(z)^2], by Gauss-Hermite quadrature"
GLOROT = "Glorot & Bengio 2010, equation 16"
SAXE = "Saxe et al. 2014"
GPT2 = "Radford et al. 2019, section 2.3"
OPENAI = "openai/gpt-2 src/model.py"
HF = "transformers modeling_gpt2.py"
TIMM = "timm/models/vision_transformer.py"
FLAX = "vit_jax/models_vit.py"
KERAS = "keras/src/layers/rnn/lstm.py"
DCGAN = "pytorch/examples dcgan/main.py"
TORCH = "torch/nn/modules, reset_parameters"
FORGET = "Jozefowicz et al. 2015"
LAW_OF_LORA = "peft/tuners/lora/layer.py, kaiming_uniform_(a=sqrt(5))"

HEADLINES = (
    # standard: He before relu-like functions; in plain stacks the gain of what follows, orthogonal
    # in deep ones; LeCun elsewhere, (2 depth)^-1/2 at residual ends.
    Headline("standard", "rectified", "0.weight", "normal", (2 / 100) ** 0.5, HE),
    Headline("standard", "rectified", "2.weight", "normal", (2 / 1.04 / 200) ** 0.5, HE),
    Headline("standard", "rectified", "4.weight", "normal", (2 / 1.0625 / 300) ** 0.5, HE),
    # rrelu's slope is the mean of 1/8 and 1/3; relu6 cuts 2e-9 off the second moment of N(0, 1).
    Headline(
        "standard",
        "rectified otherwise",
        "0.weight",
        "normal",
        (2 / (1 + (11 / 48) ** 2) / 100) ** 0.5,
        HE,
    ),
    Headline("standard", "rectified otherwise", "2.weight", "normal", (2 / 200) ** 0.5, HE),
    Headline("standard", "rectified otherwise", "4.weight", "normal", (1.6332 / 300) ** 0.5, UNIT),
    Headline(
        "standard", "rectified otherwise", "6.weight", "normal", (2 / 1.0001 / 100) ** 0.5, HE
    ),
    Headline("standard", "rectified", "6.weight", "normal", (2.5362 / 100) ** 0.5, BOUNDED),
    Headline("standard", "rectified", "8.weight", "normal", 1 / 50**0.5, LECUN),
    Headline("standard", "rectified", "0.bias", "constant", 0.0, HE),
    Headline("standard", "rectified", "5.weight", "constant", 0.25, TORCH),
    Headline("standard", "deep", "0.weight", "normal", (2 / 20) ** 0.5, HE),  # widens
    Headline("standard", "deep", "2.weight", "orthogonal", (2 / 40) ** 0.5, SAXE),
    Headline("standard", "deep", "12.weight", "orthogonal", (2.5362 / 40) ** 0.5, BOUNDED),
    Headline("standard", "deep", "20.weight", "normal", 1 / 40**0.5, LECUN),
    Headline("standard", "convolutions", "0.weight", "normal", (2 / (8 * 9)) ** 0.5, HE),
    Headline("standard", "convolutions", "2.weight", "normal", (2.4297 / 72) ** 0.5, UNIT),
    # Of the 4 * 4 taps of a transposed convolution with stride 2, 2 * 2 meet at each output.
    Headline("standard", "convolutions", "4.weight", "normal", 1 / (64 * 4) ** 0.5, LECUN),
    Headline("standard", "gpt", "wte.weight", "normal", 1 / 64**0.5, "logits N(0, 1)"),
    Headline("standard", "untied gpt", "wte.weight", "normal", 1.0, "torch.nn.Embedding"),
    Headline("standard", "untied gpt", "lm_head.weight", "normal", 1 / 64**0.5, LECUN),
    Headline("standard", "gpt", "wpe.weight", "normal", 1 / 64**0.5, "as wte, docs/default.md"),
    Headline("standard", "untied gpt", "wpe.weight", "normal", 1.0, "as wte, docs/default.md"),
    Headline("standard", "gpt", "h.1.c_attn.weight/k", "normal", 1 / 64**0.5, LECUN),
    Headline("standard", "gpt", "h.0.c_fc.weight", "normal", 1 / 64**0.5, LECUN),
    Headline("standard", "gpt", "h.0.attn_proj.weight", "normal", (1 / 64 / 6) ** 0.5, GPT2),
    Headline("standard", "gpt", "h.2.attn_proj.weight", "normal", (1 / 64 / 6) ** 0.5, GPT2),
    Headline("standard", "gpt", "h.1.mlp_proj.weight", "normal", (1 / 256 / 6) ** 0.5, GPT2),
    Headline("standard", "vit", "blocks.1.mlp_proj.weight", "normal", (1 / 256 / 4) ** 0.5, GPT2),
    Headline("standard", "vit", "cls", "normal", 0.02, "Touvron et al. 2021 (DeiT)"),
    Headline("standard", "gpt", "ln_f.weight", "constant", 1.0, "Ba et al. 2016"),
    Headline("standard", "experts", "scale", "constant", 0.0, "gemma/model.py, RMSNorm: 1 + w"),
    Headline(
        "standard",
        "experts",
        "router.weight",
        "normal",
        (0.1 / 64) ** 0.5,
        "Fedus et al. 2021, section 2.4",
    ),
    Headline("standard", "experts", "experts/expert3", "normal", 1 / 64**0.5, LECUN),
    Headline("standard", "experts", "lora_a", "uniform", (1 / 3 / 64) ** 0.5, LAW_OF_LORA),
    Headline("standard", "experts", "lora_b", "constant", 0.0, "Hu et al. 2021, section 4.1"),
    Headline("standard", "lstm", "rnn.weight_ih_l0/cell", "normal", 1 / 40**0.5, LECUN),
    Headline("standard", "lstm", "rnn.weight_hh_l0/in", "orthogonal", 1 / 64**0.5, SAXE),
    Headline("standard", "lstm", "rnn.bias_ih_l0/forget", "constant", 1.0, FORGET),
    Headline("standard", "lstm", "rnn.bias_ih_l0/in", "constant", 0.0, FORGET),
    Headline("standard", "lstm", "rnn.bias_hh_l0", "constant", 0.0, FORGET),
    # he: the gain of what follows, relu's elsewhere; residual ends aren't scaled.
    Headline("he", "rectified", "0.weight", "normal", (2 / 100) ** 0.5, HE),
    Headline("he", "rectified", "2.weight", "normal", (2 / 1.04 / 200) ** 0.5, HE),
    Headline("he", "rectified", "8.weight", "normal", (2 / 50) ** 0.5, HE),
    Headline("he", "gpt", "h.1.mlp_proj.weight", "normal", (2 / 256) ** 0.5, HE),
    Headline("he", "convolutions", "2.weight", "normal", (2 / 72) ** 0.5, HE),
    Headline(
        "he", "rectified", "0.weight", "uniform", (2 / 100) ** 0.5, HE, {"distribution": "uniform"}
    ),
    Headline(
        "he",
        "rectified",
        "0.weight",
        "normal",
        (2 / 200) ** 0.5,
        "He et al. 2015, equation 14",
        {"mode": "fan_out"},
    ),
    Headline(
        "he",
        "convolutions",
        "0.weight",
        "normal",
        (2 / (32 * 9)) ** 0.5,
        "He et al. 2015, equation 14",
        {"mode": "fan_out"},
    ),
    Headline("he", "rectified", "0.weight", "normal", (2 / 150) ** 0.5, HE, {"mode": "fan_avg"}),
    Headline(
        "he", "rectified", "2.weight", "normal", (2 / 200) ** 0.5, HE, {"nonlinearity": "relu"}
    ),
    # xavier
    Headline("xavier", "rectified", "0.weight", "uniform", (2 / 300) ** 0.5, GLOROT),
    Headline(
        "xavier",
        "rectified",
        "0.weight",
        "normal",
        (2 / 300) ** 0.5,
        GLOROT,
        {"distribution": "normal"},
    ),
    Headline(
        "xavier",
        "rectified",
        "6.weight",
        "uniform",
        5 / 3 * (2 / 150) ** 0.5,
        GLOROT,
        {"gain": 5 / 3},
    ),
    Headline("xavier", "gpt", "h.0.c_attn.weight/q", "uniform", (2 / 128) ** 0.5, GLOROT),
    Headline("xavier", "convolutions", "0.weight", "uniform", (2 / (72 + 288)) ** 0.5, GLOROT),
    # lecun
    Headline("lecun", "rectified", "0.weight", "normal", 1 / 10, LECUN),
    Headline(
        "lecun", "rectified", "0.weight", "uniform", 1 / 10, LECUN, {"distribution": "uniform"}
    ),
    Headline("lecun", "convolutions", "2.weight", "normal", 1 / 72**0.5, LECUN),
    # orthogonal: the larger side has orthonormal vectors, so that an entry's square is 1/larger.
    Headline("orthogonal", "rectified", "0.weight", "orthogonal", 1 / 200**0.5, SAXE),
    Headline("orthogonal", "rectified", "4.weight", "orthogonal", 1 / 300**0.5, SAXE),
    Headline(
        "orthogonal",
        "rectified",
        "4.weight",
        "orthogonal",
        (2 / 300) ** 0.5,
        SAXE,
        {"gain": 2**0.5},
    ),
    Headline("orthogonal", "gpt", "h.0.c_attn.weight/v", "orthogonal", 1 / 64**0.5, SAXE),
    # dcgan
    Headline("dcgan", "generator", "2.weight", "normal", 0.02, DCGAN),
    Headline("dcgan", "generator", "5.weight", "normal", 0.02, DCGAN),
    Headline("dcgan", "generator", "3.weight", "normal", 0.02, DCGAN, mean=1.0),
    Headline("dcgan", "generator", "3.bias", "constant", 0.0, DCGAN),
    Headline("dcgan", "generator", "0.weight", "uniform", 1 / 300**0.5, TORCH),
    Headline("dcgan", "generator", "2.bias", "uniform", 1 / (3 * 512 * 16) ** 0.5, TORCH),
    # gpt2, two codes
    Headline("gpt2", "gpt", "wte.weight", "normal", 0.02, HF),
    Headline("gpt2", "gpt", "wpe.weight", "normal", 0.02, HF),
    Headline("gpt2", "gpt", "h.1.c_attn.weight/q", "normal", 0.02, HF),
    Headline("gpt2", "gpt", "h.1.attn_proj.weight", "normal", 0.02 / 6**0.5, HF),
    Headline("gpt2", "gpt", "h.1.mlp_proj.weight", "normal", 0.02 / 6**0.5, HF),
    Headline("gpt2", "gpt", "h.1.mlp_proj.bias", "constant", 0.0, HF),
    Headline(
        "gpt2", "experts", "router.weight", "normal", 0.02, "transformers modeling_mixtral.py"
    ),
    Headline("gpt2", "gpt", "wte.weight", "normal", 0.02, OPENAI, {"flavour": "openai"}),
    Headline("gpt2", "gpt", "wpe.weight", "normal", 0.01, OPENAI, {"flavour": "openai"}),
    Headline("gpt2", "gpt", "h.1.attn_proj.weight", "normal", 0.02, OPENAI, {"flavour": "openai"}),
    Headline("gpt2", "gpt", "h.1.mlp_proj.weight", "normal", 0.02, OPENAI, {"flavour": "openai"}),
    Headline("gpt2", "vit", "cls", "normal", 0.02, OPENAI, {"flavour": "openai"}),
    # lstm: gate by gate
    Headline("lstm", "lstm", "rnn.weight_ih_l0/out", "uniform", (2 / 104) ** 0.5, KERAS),
    Headline("lstm", "lstm", "rnn.weight_hh_l0/forget", "orthogonal", 1 / 64**0.5, KERAS),
    Headline("lstm", "lstm", "rnn.bias_ih_l0/forget", "constant", 1.0, KERAS),
    Headline("lstm", "lstm", "rnn.bias_ih_l0/cell", "constant", 0.0, KERAS),
    Headline("lstm", "lstm", "rnn.bias_hh_l0", "constant", 0.0, KERAS),
    Headline("lstm", "lstm", "out.weight", "uniform", (2 / 74) ** 0.5, KERAS),
    # vit, two codes
    Headline("vit", "vit", "blocks.0.c_fc.weight", "normal", 0.02, TIMM),
    Headline("vit", "vit", "blocks.0.mlp_proj.weight", "normal", 0.02, TIMM),
    Headline("vit", "vit", "patch.weight", "uniform", 1 / (3 * 192) ** 0.5, TIMM),
    Headline("vit", "vit", "patch.bias", "uniform", 1 / (3 * 192) ** 0.5, TIMM),
    Headline("vit", "vit", "pos", "normal", 0.02, TIMM),
    Headline("vit", "vit", "cls", "normal", 1e-6, TIMM),
    Headline("vit", "vit", "head.weight", "normal", 0.02, TIMM),
    Headline(
        "vit", "vit", "blocks.0.c_fc.weight", "uniform", (2 / 320) ** 0.5, FLAX, {"flavour": "flax"}
    ),
    Headline(
        "vit",
        "vit",
        "blocks.1.c_attn.weight/q",
        "uniform",
        (2 / 128) ** 0.5,
        FLAX,
        {"flavour": "flax"},
    ),
    Headline("vit", "vit", "patch.weight", "truncated", 1 / 192**0.5, FLAX, {"flavour": "flax"}),
    Headline("vit", "vit", "patch.bias", "constant", 0.0, FLAX, {"flavour": "flax"}),
    Headline("vit", "vit", "pos", "normal", 0.02, FLAX, {"flavour": "flax"}),
    Headline("vit", "vit", "cls", "constant", 0.0, FLAX, {"flavour": "flax"}),
    Headline("vit", "vit", "head.weight", "constant", 0.0, FLAX, {"flavour": "flax"}),
    Headline("vit", "vit", "head.bias", "constant", 0.0, FLAX, {"flavour": "flax"}),
    # torch_default: U(+-1/sqrt(fan_in)), by torch's own fan_in
    Headline("torch_default", "rectified", "0.weight", "uniform", 1 / 300**0.5, TORCH),
    Headline("torch_default", "rectified", "0.bias", "uniform", 1 / 300**0.5, TORCH),
    Headline("torch_default", "rectified", "5.weight", "constant", 0.25, TORCH),
    Headline("torch_default", "convolutions", "2.weight", "uniform", 1 / (3 * 72) ** 0.5, TORCH),
    Headline("torch_default", "convolutions", "4.weight", "uniform", 1 / (3 * 256) ** 0.5, TORCH),
    Headline("torch_default", "lstm", "rnn.weight_ih_l0", "uniform", 1 / (3 * 64) ** 0.5, TORCH),
    Headline("torch_default", "lstm", "rnn.bias_hh_l0", "uniform", 1 / (3 * 64) ** 0.5, TORCH),
    Headline("torch_default", "untied gpt", "wte.weight", "normal", 1.0, TORCH),
    Headline("torch_default", "gpt", "ln_f.weight", "constant", 1.0, TORCH),
    # 4 times as wide as the base, and 3 times as deep
    Headline("mup", "untied gpt", "h.1.c_fc.weight", "normal", 1 / 8, MUP, {"base": 16}),
    Headline("mup", "untied gpt", "lm_head.weight", "normal", 1 / 4 / 4, MUP, {"base": 16}),
    Headline("mup", "untied gpt", "wte.weight", "normal", 1.0, MUP, {"base": 16}),
    Headline(
        "completep",
        "untied gpt",
        "h.1.mlp_proj.weight",
        "normal",
        1 / 128**0.5 / 2 / 3,
        "Dey et al. 2025, table 1",
        {"base": 16, "layers": 1},
    ),
)


@functools.cache
def drawn(recipe: str, options: tuple[tuple[str, object], ...], model: str):
    """A plan, and the values that it draws."""
    build, inputs = MODELS[model]
    torch.manual_seed(0)
    net = build()
    plan = gi.init_(net, gi.recipe(recipe, **dict(options)), inputs=inputs(), seed=0)
    return plan, {name: value.double() for name, value in net.state_dict().items()}


def planned_and_drawn(headline: Headline):
    """(mean, std) as planned, and the drawn values, of a headline's parameter or block."""
    plan, values = drawn(headline.recipe, tuple(headline.options.items()), headline.model)
    name, _, block = headline.parameter.partition("/")
    row = plan[name]
    if not block:
        value = values[name]
        keep = [i for i in range(len(value)) if i not in row.zero_rows]
        return row.mean, row.std, value[keep]
    box = next(b for b in row.parts() if b.name == block).box
    mean, std = next((mean, std) for n, mean, std in row.moments() if n == block)
    return mean, std, values[name][tuple(slice(*side) for side in box)]


def test_every_recipe_has_headlines() -> None:
    assert len(HEADLINES) >= 40
    recipes = {gi.recipe(name).name for name in gi.recipes.names()}  # kaiming is called he
    compared = {gi.recipe(family.recipe).name for family in FAMILIES}
    recipes -= {"lora"}  # in test_lora.py
    assert recipes - compared <= {headline.recipe for headline in HEADLINES} <= recipes


@pytest.mark.parametrize("headline", HEADLINES, ids=str)
def test_planned(headline: Headline) -> None:
    mean, std, _ = planned_and_drawn(headline)
    if headline.law == "constant":
        assert (mean, std) == (headline.std, 0.0)
    else:
        assert mean == headline.mean
        assert std == pytest.approx(headline.std, rel=1e-8)


@pytest.mark.parametrize("headline", HEADLINES, ids=str)
def test_drawn(headline: Headline) -> None:
    _, _, values = planned_and_drawn(headline)
    n, std = values.numel(), headline.std
    if headline.law == "constant":
        assert torch.equal(values, torch.full_like(values, std))
        return
    centered = values - headline.mean
    # The standard error of a mean is std/sqrt(n), of a second moment sqrt((kappa - 1)/n) of it,
    # with kurtosis 3 for a normal law; those of the others are below.
    kappa = 1.8 if headline.law == "uniform" else 3.0
    assert abs(centered.mean()) < 5 * std / math.sqrt(n)
    assert abs(centered.square().mean() / std**2 - 1) < 5 * math.sqrt((kappa - 1) / n)
    assert law_of(centered / std) == headline.law


def law_of(z: Tensor) -> str:
    """The law of values with unit variance, by their largest: 64 or more of them.

    All of n normal values lie within 2 sigma with probability .954^n (.05 for 64, 4e-14 for 640).
    """
    matrix = z.flatten(1) if z.ndim > 1 else z[:, None]
    small, large = sorted(matrix.shape)
    gram = matrix @ matrix.T if len(matrix) == small else matrix.T @ matrix
    if small > 1 and torch.allclose(gram, large * torch.eye(small).double(), atol=1e-4 * large):
        return "orthogonal"
    largest = z.abs().max().item()
    if largest <= math.sqrt(3) * (1 + 1e-6):
        return "uniform"
    # The float32 values of a law that is cut there may be rounded up.
    return "truncated" if largest <= 2 / CUT_AT_2 * (1 + 1e-6) else "normal"


def test_an_std_two_per_cent_off_fails_both() -> None:
    off = next(h for h in HEADLINES if h.model == "generator")  # 819,200 values
    off = replace(off, std=1.02 * off.std)
    for test in (test_planned, test_drawn):
        with pytest.raises(AssertionError):
            test(off)
