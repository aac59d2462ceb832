"""Networks on which He's assumption is looked at: where it holds by theory, and where it breaks.

Theory: with an independent, zero-mean readout that is used nowhere else, R = 1 up to O(layers /
width) (Yang, 2020, condition 1). With W iid N(0, s^2) and a gradient g that depends on W through
y = W x alone, r = 1 + E(y g)^2 / (s^2 |x|^2 n |g|^2): 0 on top for odd y g, 1/pi for relu and a
constant g, n_out/n for g = y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.signal.ways import normal
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import goodinit as gi
from goodinit.trace.calls import tensors_in

F = nn.functional
WIDTH, BATCH, CLASSES = 256, 64, 10


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        build: makes the model.
        inputs: what it is run on.
        loss: of its output.
        recipe: what it is drawn by; None leaves it as it was built.
        says: words of the verdict where the assumption breaks; "" where it holds.
        layers: over width: half of what log R may be at finite width.
    """

    build: Callable[[], nn.Module]
    inputs: Any
    loss: Callable[[Any], Tensor]
    recipe: Any = "he"
    says: str = ""
    layers: float = 6 / WIDTH

    def run(self, seed: int, redraws: int = 8) -> gi.Independence:
        torch.manual_seed(seed)
        model = self.build()
        plan = None
        if self.recipe is not None:
            plan = gi.init_(model, self.recipe, inputs=self.inputs, seed=seed)
        return gi.theory.independence(model, self.inputs, self.loss, plan, redraws)


def ids(*shape: int, high: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(0))


# Losses.


def cross_entropy(z: Tensor) -> Tensor:
    return F.cross_entropy(z, torch.arange(len(z)) % z.shape[-1])


def regression(z: Tensor) -> Tensor:
    return F.mse_loss(z, normal(*z.shape, seed=3))


def logistic(z: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(z, (normal(*z.shape, seed=3) > 0).float())


def mean_readout(z: Tensor) -> Tensor:
    return z.flatten(1).mean(1).sum()


def squared(z: Tensor) -> Tensor:
    return z.square().sum()


def hugging(inputs: Tensor) -> Callable[[Any], Tensor]:
    """Next-token cross-entropy."""

    def loss(out: Any) -> Tensor:
        return F.cross_entropy(out.logits[:, :-1].flatten(0, 1), inputs[:, 1:].flatten())

    return loss


def tokens(z: Tensor) -> Tensor:
    z = z.flatten(0, -2)
    return F.cross_entropy(z, torch.arange(len(z)) % z.shape[-1])


def total(out: object) -> Tensor:
    """A loss for any model: a zero-mean projection of each floating output."""
    parts = [
        (t.float() * normal(*t.shape, seed=7)).sum()
        for t in tensors_in(out)
        if t.is_floating_point() and t.requires_grad
    ]
    return torch.stack(parts).sum()


# Models.


def tower(layers: int, width: int, activation: Callable[[], nn.Module]) -> list[nn.Module]:
    return [
        part for _ in range(layers) for part in (nn.Linear(width, width, bias=False), activation())
    ]


def mlp(
    activation: Callable[[], nn.Module] = nn.ReLU,
    layers: int = 4,
    width: int = WIDTH,
    classes: int | None = CLASSES,
    norm: Callable[[int], nn.Module] | None = None,
) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        parts = tower(layers, width, activation)
        if norm is not None:
            parts = [
                p for q in parts for p in ((q, norm(width)) if isinstance(q, nn.Linear) else (q,))
            ]
        head = [] if classes is None else [nn.Linear(width, classes, bias=False)]
        return nn.Sequential(*parts, *head)

    return build


class Residual(nn.Module):
    def __init__(self, blocks: int = 6, width: int = WIDTH, pre: bool = True) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width) if pre else nn.Identity(),
                nn.Linear(width, width),
                nn.ReLU(),
                nn.Linear(width, width),
            )
            for _ in range(blocks)
        )
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x) / len(self.blocks) ** 0.5
        return self.head(x)


def cnn(
    norm: Callable[[int], nn.Module] = nn.Identity, groups: int = 1, inplace: bool = False
) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for width, out, step in ((8, 128, 1), (128, 128, 2), (128, 256, 1)):
            layers += [
                nn.Conv2d(width, out, 3, step, 1, padding_mode="circular",
                          groups=groups if width > 8 else 1, bias=False),
                norm(out),
                nn.ReLU(inplace),
            ]  # fmt: skip
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256 * 16, CLASSES))

    return build


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(64, 128, 2, 2, bias=False), nn.ReLU(True),
        nn.ConvTranspose2d(128, 128, 2, 2, groups=4, bias=False), nn.ReLU(True),
        nn.Conv2d(128, 3, 1),
    )  # fmt: skip


class TiedAutoencoder(nn.Module):
    def __init__(self, transpose: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH) * (2 / WIDTH) ** 0.5)
        self.transpose = transpose

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(F.linear(x, self.weight))
        return F.linear(h, self.weight.t()) if self.transpose else h @ self.weight


class TiedDepth(nn.Module):
    """One layer, used again and again."""

    def __init__(self, activation: Callable[[Tensor], Tensor], times: int = 8) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH, bias=False)
        self.activation, self.times = activation, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.activation(self.layer(x))
        return x


class Recurrent(nn.Module):
    """torch's own, which is one call, over embedded tokens."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, WIDTH)
        self.cell = getattr(nn, kind)(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.cell(self.embed(x))
        return self.head(out[:, -1])


class HandRnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, WIDTH)
        self.into, self.over = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), WIDTH)
        for step in self.embed(x).unbind(1):
            h = torch.tanh(self.into(step) + self.over(h))
        return self.head(h)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 128)
        self.first = nn.Linear(128, 128)
        self.attention = nn.MultiheadAttention(128, 4, batch_first=True)
        self.norm, self.head = nn.LayerNorm(128), nn.Linear(128, 50)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.first(x)
        return self.head(self.norm(x + self.attention(x, x, x)[0]))


def transformers(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        library = pytest.importorskip("transformers")
        if not library.is_torch_available():
            pytest.skip("this transformers needs a newer torch")
        library.logging.set_verbosity_error()
        config = getattr(library, f"{name}Config")(**options)
        return getattr(library, {"GPT2": "GPT2LMHeadModel"}.get(name, f"{name}ForCausalLM"))(config)

    return build


GPT = {"vocab_size": 500, "n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 64,
       "bos_token_id": 1, "eos_token_id": 1, "use_cache": False}  # fmt: skip
LLAMA = {"vocab_size": 500, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2,
         "max_position_embeddings": 64, "use_cache": False}  # fmt: skip
TEXT = ids(8, 32, high=500)
WORDS = ids(BATCH, 12, high=50)
FLAT, IMAGES = normal(BATCH, WIDTH), normal(8, 8, 8, 8)

ACTIVATIONS = {
    "relu": nn.ReLU, "leaky": lambda: nn.LeakyReLU(0.2), "elu": nn.ELU, "selu": nn.SELU,
    "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "softsign": nn.Softsign,
    "linear": nn.Identity,
}  # fmt: skip
ONE_SIDED = "readout above isn't zero-mean"
CURVED = "loss that is curved"
TIED = "(tied)"

CASES: dict[str, Case] = {
    **{f"{n} cross-entropy": Case(mlp(a), FLAT, cross_entropy) for n, a in ACTIVATIONS.items()},
    # z - t is curved in z: CLASSES / WIDTH a layer, of 5.
    **{f"{n} regression": Case(mlp(a), FLAT, regression, layers=5 * CLASSES / WIDTH)
       for n, a in ACTIVATIONS.items() if n in ("relu", "gelu", "tanh")},
    "logistic": Case(mlp(classes=1), FLAT, logistic),
    "8 layers": Case(mlp(layers=8), FLAT, cross_entropy, layers=10 / WIDTH),
    "512 wide": Case(mlp(width=512), normal(BATCH, 512), cross_entropy),
    "128 wide": Case(mlp(width=128), normal(BATCH, 128), cross_entropy, layers=6 / 128),
    "100 classes": Case(mlp(width=512, classes=100), normal(BATCH, 512), cross_entropy,
                        layers=6 / 512 + 0.02),
    "xavier": Case(mlp(nn.Tanh), FLAT, cross_entropy, "xavier"),
    "orthogonal": Case(mlp(nn.Tanh), FLAT, cross_entropy, "orthogonal"),
    "torch's own": Case(mlp(nn.Tanh), FLAT, cross_entropy, None),
    "layer norms": Case(mlp(norm=nn.LayerNorm), FLAT, cross_entropy),
    "batch norms": Case(mlp(norm=nn.BatchNorm1d), FLAT, cross_entropy),
    "pre-norm residual": Case(Residual, FLAT, cross_entropy, layers=14 / WIDTH),
    "plain residual": Case(lambda: Residual(pre=False), FLAT, cross_entropy, layers=14 / WIDTH),
    "convolutions": Case(cnn(), IMAGES, cross_entropy, layers=0.05),
    "convolutions, batch norms": Case(cnn(nn.BatchNorm2d, inplace=True), IMAGES, cross_entropy,
                                      layers=0.05),
    "grouped convolutions": Case(cnn(groups=4), IMAGES, cross_entropy, layers=0.1),
    "transposed convolutions": Case(transposed, normal(8, 64, 4, 4), total, layers=0.1),
    "weight norm": Case(lambda: nn.Sequential(
        parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)), nn.ReLU(),
        nn.Linear(WIDTH, CLASSES)), FLAT, cross_entropy),
    "rnn by hand": Case(HandRnn, WORDS, cross_entropy, "standard", layers=0.1),
    "nn.RNN": Case(lambda: Recurrent("RNN"), WORDS, cross_entropy, "standard"),
    "nn.LSTM": Case(lambda: Recurrent("LSTM"), WORDS, cross_entropy, "standard"),
    "nn.MultiheadAttention": Case(Attention, ids(8, 16, high=50), tokens, "standard",
                                  layers=6 / 128),
    "gpt, tied": Case(transformers("GPT2", **GPT), {"input_ids": TEXT}, hugging(TEXT), "gpt2",
                      layers=12 / 128),
    "gpt, untied": Case(transformers("GPT2", **GPT, tie_word_embeddings=False),
                        {"input_ids": TEXT}, hugging(TEXT), "gpt2", layers=12 / 128),
    "llama": Case(transformers("Llama", **LLAMA), {"input_ids": TEXT}, hugging(TEXT), None,
                  layers=12 / 128),
    "qwen2": Case(transformers("Qwen2", **LLAMA), {"input_ids": TEXT}, hugging(TEXT), "standard",
                  layers=12 / 128),
    "mean readout, tanh": Case(mlp(nn.Tanh, classes=None), FLAT, mean_readout),
    # Where it breaks.
    "transposed convolutions, regression": Case(transposed, normal(8, 64, 4, 4), regression,
                                                says="is known for linear layers only"),
    "mean readout, relu": Case(mlp(layers=6, classes=None), FLAT, mean_readout, says=ONE_SIDED),
    "mean readout, gelu": Case(mlp(nn.GELU, 6, classes=None), FLAT, mean_readout, says=ONE_SIDED),
    "mean readout, silu": Case(mlp(nn.SiLU, 6, classes=None), FLAT, mean_readout, says=ONE_SIDED),
    "squared, 64 outputs": Case(mlp(layers=0, classes=64), FLAT, squared, says=CURVED),
    "squared, square layer": Case(mlp(layers=0, classes=WIDTH), FLAT, squared, says=CURVED),
    "1000 classes, loud": Case(lambda: nn.Linear(64, 1000, bias=False), normal(256, 64),
                               cross_entropy, gi.Normal(1.0), says=CURVED),
    "tied autoencoder": Case(TiedAutoencoder, FLAT, lambda y: F.mse_loss(y, FLAT), None, TIED),
    "tied autoencoder, x @ W": Case(lambda: TiedAutoencoder(False), FLAT,
                                    lambda y: F.mse_loss(y, FLAT), None, TIED),
    "tied depth, mean": Case(lambda: TiedDepth(torch.relu), FLAT, mean_readout, "he", TIED),
    "tied depth, squared": Case(lambda: TiedDepth(torch.relu), FLAT, squared, "he", TIED),
}  # fmt: skip
