"""RWKV 4 to 6, with the laws of BlinkDL/RWKV-LM written as they are there; small.

RWKV-v4neo/src/model.py: RWKV_TimeMix and RWKV_ChannelMix. RWKV-v5/src/model.py: RWKV_Tmix_x052 and
_x060, RWKV_CMix_x052 and _x060. The matrices: generate_init_weight of each. Their kernels, which
need a GPU, are loops here.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional, init

WIDTH, HEAD, LAYERS, TOKENS, RANK = 64, 32, 3, 200, 8


class Mixing(nn.Module):
    """A layer that mixes each token with the one before it."""

    def shares(self, version: int, powers: dict[str, float], layer: int) -> None:
        """Make the parameters that say how much of which."""
        at = (torch.arange(WIDTH) / WIDTH).view(1, 1, -1)
        left, behind = 1.0 - layer / LAYERS, layer / (LAYERS - 1)
        for name, power in powers.items():
            share = at ** (power * left)
            share = share + 0.3 * behind if name == "v" else share
            kind, value = ("time_maa", 1.0 - share) if version == 6 else ("time_mix", share)
            setattr(self, f"{kind}_{name}", nn.Parameter(value))

    def mixed(self, x: Tensor, name: str, more: Tensor | float = 0.0) -> Tensor:
        before = functional.pad(x, (0, 0, 1, -1))
        if hasattr(self, f"time_maa_{name}"):
            return x + (before - x) * (getattr(self, f"time_maa_{name}") + more)
        share = getattr(self, f"time_mix_{name}")
        return x * share + before * (1 - share)


class TimeMixing(Mixing):
    def __init__(self, version: int, layer: int) -> None:
        super().__init__()
        self.version, heads = version, WIDTH // HEAD
        powers = {"k": 1.0, "v": 1.0, "r": 0.5}
        powers |= {"g": 0.5} if version > 4 else {}
        powers |= {"x": 1.0, "w": 1.0} if version == 6 else {}
        self.shares(version, powers, layer)
        behind = layer / (LAYERS - 1)
        at = torch.arange(WIDTH) / (WIDTH - 1)
        zigzag = (torch.arange(WIDTH) + 1) % 3 - 1
        if version == 4:
            self.time_decay = nn.Parameter(-5 + 8 * at ** (0.7 + 1.3 * behind))
            self.time_first = nn.Parameter(torch.ones(WIDTH) * math.log(0.3) + zigzag * 0.5)
        else:
            decay = -6 + 5 * at ** (0.7 + 1.3 * behind)
            shape = (heads, HEAD) if version == 5 else (1, 1, WIDTH)
            self.time_decay = nn.Parameter(decay.reshape(shape))
            first = behind * (1 - at) + zigzag * 0.1
            self.time_faaaa = nn.Parameter(first.reshape(heads, HEAD))
            self.gate = nn.Linear(WIDTH, WIDTH, bias=False)
            self.ln_x = nn.GroupNorm(heads, WIDTH)
            init.orthogonal_(self.gate.weight, gain=0.1)
            init.constant_(self.ln_x.weight, ((1 + layer) / LAYERS) ** 0.7)
        if version == 6:
            self.time_maa_w1 = nn.Parameter(torch.zeros(WIDTH, RANK * 5))
            self.time_maa_w2 = nn.Parameter(torch.zeros(5, RANK, WIDTH).uniform_(-0.01, 0.01))
            self.time_decay_w1 = nn.Parameter(torch.zeros(WIDTH, RANK))
            self.time_decay_w2 = nn.Parameter(torch.zeros(RANK, WIDTH).uniform_(-0.01, 0.01))
        self.receptance, self.key, self.value, self.output = (
            nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4)
        )
        init.orthogonal_(self.value.weight)
        init.zeros_(self.output.weight)
        if version == 4:
            init.zeros_(self.key.weight)
            init.zeros_(self.receptance.weight)
        else:
            init.orthogonal_(self.key.weight, gain=0.1)
            init.orthogonal_(self.receptance.weight)

    def forward(self, x: Tensor) -> Tensor:
        if self.version == 4:
            r, k, v = (self.mixed(x, name) for name in "rkv")
            r, k, v = self.receptance(r), self.key(k), self.value(v)
            return self.output(torch.sigmoid(r) * self.averaged(k, v))
        more = dict.fromkeys("wkvrg", 0.0)
        if self.version == 6:
            low = torch.tanh(self.mixed(x, "x") @ self.time_maa_w1)
            low = low.view(-1, 5, RANK).transpose(0, 1) @ self.time_maa_w2
            more = dict(zip(more, low.view(5, *x.shape).unbind(), strict=True))
        r, k, v, g = (self.mixed(x, name, more[name]) for name in "rkvg")
        decay = self.time_decay
        if self.version == 6:
            w = self.mixed(x, "w", more["w"])
            decay = decay + torch.tanh(w @ self.time_decay_w1) @ self.time_decay_w2
        r, k, v, g = self.receptance(r), self.key(k), self.value(v), self.gate(g)
        y = self.ln_x(self.attended(r, k, v, decay).reshape(-1, WIDTH)).view(x.shape)
        return self.output(y * functional.silu(g))

    def averaged(self, k: Tensor, v: Tensor) -> Tensor:
        """Average the values before, each with exp of its key and of its decay."""
        decay, out = -torch.exp(self.time_decay), []
        above = below = torch.zeros_like(v[:, 0])
        for t in range(v.shape[1]):
            now = torch.exp(self.time_first + k[:, t])
            out.append((above + now * v[:, t]) / (below + now))
            past = torch.exp(k[:, t])
            above = torch.exp(decay) * above + past * v[:, t]
            below = torch.exp(decay) * below + past
        return torch.stack(out, 1)

    def attended(self, r: Tensor, k: Tensor, v: Tensor, decay: Tensor) -> Tensor:
        """Sum over the tokens before: r (state + first k v), the state decaying."""
        batch, steps, _ = r.shape
        r, k, v = (t.view(batch, steps, -1, HEAD) for t in (r, k, v))
        decay = torch.exp(-torch.exp(decay))
        shape = (batch, steps, WIDTH // HEAD, HEAD)
        decay = decay.expand(shape) if self.version == 5 else decay.view(shape)
        state, out = r.new_zeros(batch, r.shape[2], HEAD, HEAD), []
        for t in range(steps):
            now = k[:, t, :, :, None] * v[:, t, :, None]
            seen = state + self.time_faaaa[..., None] * now
            out.append((r[:, t, :, None] @ seen)[:, :, 0])
            state = decay[:, t, :, :, None] * state + now
        return torch.stack(out, 1)


class ChannelMixing(Mixing):
    def __init__(self, version: int, layer: int) -> None:
        super().__init__()
        self.shares(version, {"k": 1.0, "r": 1.0}, layer)
        self.key = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.value = nn.Linear(4 * WIDTH, WIDTH, bias=False)
        self.receptance = nn.Linear(WIDTH, WIDTH, bias=False)
        init.orthogonal_(self.key.weight, gain=2.0 if version == 4 else 1.0)  # 4 rows a column
        init.zeros_(self.value.weight)
        init.zeros_(self.receptance.weight)

    def forward(self, x: Tensor) -> Tensor:
        k = functional.relu(self.key(self.mixed(x, "k"))) ** 2
        return torch.sigmoid(self.receptance(self.mixed(x, "r"))) * self.value(k)


class Block(nn.Module):
    def __init__(self, version: int, layer: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.ln0 = nn.LayerNorm(WIDTH) if layer == 0 else None
        self.att, self.ffn = TimeMixing(version, layer), ChannelMixing(version, layer)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.ln0 is None else self.ln0(x)
        x = x + self.att(self.ln1(x))
        return x + self.ffn(self.ln2(x))


class RWKV(nn.Module):
    def __init__(self, version: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(Block(version, layer) for layer in range(LAYERS))
        self.ln_out, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, TOKENS, bias=False)
        init.uniform_(self.emb.weight, -1e-4, 1e-4)
        init.orthogonal_(self.head.weight, gain=0.5 * math.sqrt(TOKENS / WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.emb(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_out(x))
