"""Small models of many kinds, in plain PyTorch: what people write, in a few lines each.

``PLAIN[name]()`` returns ``(model, inputs)``. The transformers ones are in ``zoo_hf.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

Built = tuple[nn.Module, Any]
PLAIN: dict[str, Callable[[], Built]] = {}

VOCABULARY = 50
WIDTH = 32


# These repeat a kind, and are left to the battery where many models are tried.
MORE = {"resnet_bottleneck", "gpt", "dcgan_discriminator"}  # resnet_basic, gpt_right, convnet


def marks(name: str) -> list[pytest.MarkDecorator]:
    """The mark of a model that repeats a kind."""
    return [pytest.mark.battery] if name in MORE else []


def plain(builder: Callable[[], Built]) -> Callable[[], Built]:
    PLAIN[builder.__name__] = builder
    return builder


def build(name: str, device: str = "cpu") -> Built:
    """Build a model of the zoo, the same one each time; its inputs are on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, inputs = PLAIN[name]()
        if device != "cpu":
            with torch.device(device):
                model, _ = PLAIN[name]()
        return model, inputs


def ids(*shape: int) -> Tensor:
    return torch.randint(1, VOCABULARY, shape)


# Plain stacks.


@plain
def mlp() -> Built:
    net = nn.Sequential(
        nn.Linear(8, 16),
        nn.ReLU(),
        nn.Linear(16, 24),
        nn.BatchNorm1d(24),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.1),
        nn.Linear(24, 12, bias=False),
        nn.Tanh(),
        nn.Linear(12, 4),
    )
    return net, torch.randn(6, 8)


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, groups=4)
        self.bn2 = nn.BatchNorm2d(32)
        self.depthwise = nn.Conv2d(32, 32, 5, padding=2, stride=2, groups=32)
        self.fc1 = nn.Linear(32 * 4, 24)
        self.fc2 = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 2)
        x = functional.relu(self.bn2(self.conv2(x)))
        x = functional.gelu(self.depthwise(x))
        x = functional.adaptive_avg_pool2d(x, 2).flatten(1)
        return self.fc2(functional.dropout(functional.elu(self.fc1(x)), 0.5, self.training))


@plain
def convnet() -> Built:
    return ConvNet(), torch.randn(4, 3, 16, 16)


# Residual networks.


class BasicBlock(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1 or width != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += skip
        return functional.relu(x, inplace=True)


class Bottleneck(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        inner = out // 4
        self.conv1 = nn.Conv2d(width, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or width != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, block: Callable[[int, int, int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(block(16, 16, 1), block(16, 16, 1))
        self.layer2 = nn.Sequential(block(16, 32, 2), block(32, 32, 1))
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        return self.fc(x.mean((2, 3)))


@plain
def resnet_basic() -> Built:
    return ResNet(BasicBlock), torch.randn(2, 3, 16, 16)


@plain
def resnet_bottleneck() -> Built:
    return ResNet(Bottleneck), torch.randn(2, 3, 16, 16)


class DoubleConv(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, out, 3, padding=1)
        self.norm1 = nn.GroupNorm(4, out)
        self.second = nn.Conv2d(out, out, 3, padding=1)
        self.norm2 = nn.GroupNorm(4, out)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.norm1(self.first(x)))
        return functional.silu(self.norm2(self.second(x)))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1 = DoubleConv(3, 8)
        self.down2 = DoubleConv(8, 16)
        self.middle = DoubleConv(16, 32)
        self.up2 = nn.ConvTranspose2d(32, 16, 4, 2, 1)
        self.dec2 = DoubleConv(32, 16)
        self.up1 = nn.ConvTranspose2d(16, 8, 2, 2)
        self.dec1 = DoubleConv(16, 8)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(functional.max_pool2d(a, 2))
        c = self.middle(functional.max_pool2d(b, 2))
        b = self.dec2(torch.cat([self.up2(c), b], dim=1))
        a = self.dec1(torch.cat([self.up1(b), a], dim=1))
        return self.last(a)


@plain
def unet() -> Built:
    return UNet(), torch.randn(2, 3, 16, 16)


# Transformers.


class PackedAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        x = scores.softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(batch, length, width))


class VitBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = PackedAttention(width, 4)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * width, width)
        )
        self.gamma = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.gamma * self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 4, 4)
        self.cls = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos = nn.Parameter(torch.zeros(1, 17, WIDTH))
        self.blocks = nn.ModuleList([VitBlock(WIDTH) for _ in range(3)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.pos
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


@plain
def vit() -> Built:
    return ViT(), torch.randn(2, 3, 16, 16)


class GptBlock(nn.Module):
    def __init__(self, width: int, linear: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.c_attn = linear(width, 3 * width)
        self.c_proj = linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = linear(width, 4 * width)
        self.mlp_c_proj = linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).split(width, dim=2)
        q, k, v = (t.view(batch, length, 4, -1).transpose(1, 2) for t in (q, k, v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(batch, length, width))
        h = self.c_fc(self.ln_2(x))
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
        return x + self.mlp_c_proj(h)


class Gpt(nn.Module):
    def __init__(self, linear: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.wte = nn.Embedding(VOCABULARY, WIDTH)
        self.wpe = nn.Embedding(16, WIDTH)
        self.h = nn.ModuleList([GptBlock(WIDTH, linear) for _ in range(3)])
        self.ln_f = nn.LayerNorm(WIDTH)
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.wte(tokens) + self.wpe(positions)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class RightLinear(nn.Module):
    """Hugging Face's Conv1D: ``x @ W + b`` with W [in, out]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) * 0.02)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        flat = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return flat.view(*x.shape[:-1], -1)


@plain
def gpt() -> Built:
    return Gpt(nn.Linear), ids(2, 12)


@plain
def gpt_right() -> Built:
    return Gpt(RightLinear), ids(2, 12)


class RmsNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        h = x.float()
        h = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * h.to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


class LlamaBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention_norm = RmsNorm(width)
        self.wq = nn.Linear(width, width, bias=False)
        self.wk = nn.Linear(width, width // 2, bias=False)
        self.wv = nn.Linear(width, width // 2, bias=False)
        self.wo = nn.Linear(width, width, bias=False)
        self.ffn_norm = RmsNorm(width)
        self.w1 = nn.Linear(width, 2 * width, bias=False)
        self.w2 = nn.Linear(2 * width, width, bias=False)
        self.w3 = nn.Linear(width, 2 * width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        h = self.attention_norm(x)
        q = self.wq(h).view(batch, length, 4, -1).transpose(1, 2)
        k = self.wk(h).view(batch, length, 2, -1).transpose(1, 2)
        v = self.wv(h).view(batch, length, 2, -1).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = k.repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        mask = torch.full((length, length), float("-inf"), device=x.device).triu(1)
        y = torch.softmax((scores + mask).float(), dim=-1).type_as(q) @ v
        x = x + self.wo(y.transpose(1, 2).reshape(batch, length, width))
        h = self.ffn_norm(x)
        return x + self.w2(functional.silu(self.w1(h)) * self.w3(h))


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList([LlamaBlock(WIDTH) for _ in range(2)])
        self.norm = RmsNorm(WIDTH)
        self.output = nn.Linear(WIDTH, VOCABULARY, bias=False)
        angles = torch.outer(torch.arange(16.0), 10000 ** -(torch.arange(0, 8, 2) / 8))
        self.register_buffer("angles", torch.cat([angles, angles], dim=-1), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tok_embeddings(tokens)
        angles = self.angles[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, angles.cos(), angles.sin())
        return self.output(self.norm(x))


@plain
def llama() -> Built:
    return Llama(), ids(2, 12)


class Seq2Seq(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        self.position = nn.Parameter(torch.randn(16, WIDTH) * 0.02)
        encoder = nn.TransformerEncoderLayer(WIDTH, 4, 64, activation="gelu", batch_first=True)
        decoder = nn.TransformerDecoderLayer(WIDTH, 4, 64, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, 3, norm=nn.LayerNorm(WIDTH))
        self.generator = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        s = self.embed(source) + self.position[: source.shape[1]]
        t = self.embed(target) + self.position[: target.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(t.shape[1])
        memory = self.encoder(s, src_key_padding_mask=source == 0)
        return self.generator(self.decoder(t, memory, tgt_mask=mask, tgt_is_causal=True))


@plain
def seq2seq() -> Built:
    return Seq2Seq(), (ids(2, 10), ids(2, 7))


class Experts(nn.Module):
    """Four experts, stacked [expert, in, out], two for each token; weighted, none left out."""

    def __init__(self, width: int, inner: int, count: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, count, bias=False)
        self.up = nn.Parameter(torch.randn(count, width, 2 * inner) * 0.02)
        self.down = nn.Parameter(torch.randn(count, inner, width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = self.router(flat).softmax(-1).topk(2, dim=-1)
        share = torch.zeros(len(flat), len(self.up)).scatter(-1, chosen, weights)
        gate, value = torch.bmm(flat.expand(len(self.up), -1, -1), self.up).chunk(2, dim=-1)
        y = torch.bmm(functional.silu(gate) * value, self.down)
        return torch.einsum("te,etd->td", share, y).view_as(x)


class EinsumExperts(nn.Module):
    """Three experts, stacked [expert, out, in], by einsum."""

    def __init__(self, width: int, inner: int, count: int) -> None:
        super().__init__()
        self.choose = nn.Parameter(torch.randn(width, count) * 0.02)
        self.first = nn.Parameter(torch.randn(count, inner, width) * 0.02)
        self.first_bias = nn.Parameter(torch.zeros(count, inner))
        self.second = nn.Parameter(torch.randn(count, width, inner) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.einsum("btd,de->bte", x, self.choose)
        best = scores.argmax(-1, keepdim=True)
        share = torch.zeros_like(scores).scatter(-1, best, scores.sigmoid().gather(-1, best))
        h = torch.einsum("btd,ehd->bteh", x, self.first) + self.first_bias
        y = torch.einsum("bteh,edh->bted", functional.relu(h), self.second)
        return torch.einsum("bted,bte->btd", y, share)


class MoE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(2)])
        self.by_bmm = Experts(WIDTH, 24, 4)
        self.by_einsum = EinsumExperts(WIDTH, 40, 3)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = x + self.by_bmm(self.norms[0](x))
        x = x + self.by_einsum(self.norms[1](x))
        return self.head(x)


@plain
def moe() -> Built:
    return MoE(), ids(2, 6)


# Others.


class LstmClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 20, padding_idx=0)
        self.lstm = nn.LSTM(20, 24, 2, batch_first=True, bidirectional=True)
        self.classify = nn.Linear(48, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        _, (state, _) = self.lstm(self.embed(tokens))
        return self.classify(torch.cat([state[-2], state[-1]], dim=-1))


@plain
def lstm() -> Built:
    return LstmClassifier(), ids(3, 9)


class LoraLinear(nn.Module):
    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) * 0.02)
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return (
            self.base(x) + functional.linear(functional.linear(x, self.lora_a), self.lora_b) * 2.0
        )


@plain
def lora() -> Built:
    net = nn.Sequential(
        LoraLinear(nn.Linear(16, 32), 4), nn.ReLU(), LoraLinear(nn.Linear(32, 32), 4), nn.ReLU(),
        nn.Linear(32, 5),
    )  # fmt: skip
    return net, torch.randn(3, 16)


@plain
def dcgan_generator() -> Built:
    net = nn.Sequential(
        nn.ConvTranspose2d(20, 32, 4, 1, 0, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(True),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(True),
        nn.ConvTranspose2d(16, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    return net, torch.randn(2, 20, 1, 1)


@plain
def dcgan_discriminator() -> Built:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(16, 32, 4, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(32, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
    )
    return net, torch.randn(2, 3, 16, 16)
