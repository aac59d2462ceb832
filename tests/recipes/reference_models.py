"""Small models with the laws of codes that can't be installed here, written as they are there."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional, init

STD_AFTER_CUT = 0.87962566103423978  # of a normal law cut at 2 sigma


class TimeMixing(nn.Module):
    """BlinkDL/RWKV-LM RWKV-v7/train_temp/src/model.py, RWKV_Tmix_x070; heads of 64 channels."""

    def __init__(self, width: int, layer: int, layers: int, head: int = 64, rank: int = 32) -> None:
        super().__init__()
        self.layer, self.head = layer, head
        left, behind = 1.0 - layer / layers, layer / (layers - 1)
        at = torch.arange(width) / width
        for name, power in zip("rwkvag", (0.2, 0.9, 0.7, 0.7, 0.9, 0.2), strict=True):
            setattr(self, f"x_{name}", nn.Parameter((1.0 - at ** (power * left)).view(1, 1, -1)))
        linear = torch.arange(width) / (width - 1) - 0.5
        zigzag = (torch.arange(width) % head - (head - 1) / 2) / ((head - 1) / 2)
        zigzag = zigzag * zigzag.abs()
        decay = -6 + 6 * (linear + 0.5) ** (1 + behind**0.3)
        self.w0 = nn.Parameter((decay + 0.5 + zigzag * 2.5).view(1, 1, -1))
        self.a0 = nn.Parameter((-0.19 + zigzag * 0.3 + linear * 0.4).view(1, 1, -1))
        self.v0 = nn.Parameter((0.73 - linear * 0.4).view(1, 1, -1))
        for name in "wavg":
            setattr(self, f"{name}1", nn.Parameter(torch.zeros(width, rank)))
            out = init.orthogonal_(torch.empty(rank, width), gain=0.1)
            setattr(self, f"{name}2", nn.Parameter(out))
        self.k_k = nn.Parameter((0.71 - linear * 0.1).view(1, 1, -1))
        self.k_a = nn.Parameter(torch.full((1, 1, width), 1.02))
        self.r_k = nn.Parameter(torch.full((width // head, head), -0.04))
        self.receptance, self.key, self.value, self.output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.ln_x = nn.GroupNorm(width // head, width, eps=64e-5)
        init.orthogonal_(self.receptance.weight)
        init.orthogonal_(self.key.weight, gain=0.1)
        init.orthogonal_(self.value.weight)
        init.zeros_(self.output.weight)
        init.constant_(self.ln_x.weight, ((1 + layer) / layers) ** 0.7)

    def forward(self, x: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
        batch, steps, width = x.shape
        shifted = functional.pad(x, (0, 0, 1, -1)) - x
        r, w, k, v, a, g = (x + shifted * getattr(self, f"x_{name}") for name in "rwkvag")
        gate = torch.sigmoid(self.v0 + (v @ self.v1) @ self.v2)
        r, k, v = self.receptance(r), self.key(k), self.value(v)
        w = -functional.softplus(-(self.w0 + torch.tanh(w @ self.w1) @ self.w2)) - 0.5
        first = v if first is None else first
        v = v + (first - v) * gate
        a = torch.sigmoid(self.a0 + (a @ self.a1) @ self.a2)
        g = torch.sigmoid(g @ self.g1) @ self.g2
        heads = (batch, steps, width // self.head, self.head)
        unit = functional.normalize((k * self.k_k).view(heads), dim=-1)
        k = k * (1 + (a - 1) * self.k_a)
        r, k, v, a, decay = (t.view(heads) for t in (r, k, v, a, torch.exp(-torch.exp(w))))
        state, out = x.new_zeros(batch, heads[2], self.head, self.head), []
        for t in range(steps):
            erased = (state @ -unit[:, t, :, :, None]) * (unit * a)[:, t, :, None]
            written = v[:, t, :, :, None] * k[:, t, :, None]
            state = state * decay[:, t, :, None] + erased + written
            out.append((state @ r[:, t, :, :, None])[..., 0])
        y = self.ln_x(torch.stack(out, 1).reshape(batch * steps, width)).view(x.shape)
        bonus = ((r * k * self.r_k).sum(-1, keepdim=True) * v).view(x.shape)
        return self.output((y + bonus) * g), first


class ChannelMixing(nn.Module):
    def __init__(self, width: int, layer: int, layers: int) -> None:
        super().__init__()
        at = torch.arange(width) / width
        self.x_k = nn.Parameter((1.0 - at ** ((1.0 - layer / layers) ** 4)).view(1, 1, -1))
        self.key = nn.Linear(width, 4 * width, bias=False)
        self.value = nn.Linear(4 * width, width, bias=False)
        init.orthogonal_(self.key.weight)
        init.zeros_(self.value.weight)

    def forward(self, x: Tensor) -> Tensor:
        shifted = functional.pad(x, (0, 0, 1, -1)) - x
        return self.value(functional.relu(self.key(x + shifted * self.x_k)) ** 2)


class RWKVBlock(nn.Module):
    def __init__(self, width: int, layer: int, layers: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.att, self.ffn = TimeMixing(width, layer, layers), ChannelMixing(width, layer, layers)

    def forward(self, x: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
        y, first = self.att(self.ln1(x), first)
        x = x + y
        return x + self.ffn(self.ln2(x)), first


class RWKV7(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(200, 128)
        self.blocks = nn.ModuleList(RWKVBlock(128, layer, 3) for layer in range(3))
        self.ln_out, self.head = nn.LayerNorm(128), nn.Linear(128, 200, bias=False)
        init.uniform_(self.emb.weight, -1e-4, 1e-4)
        init.orthogonal_(self.head.weight, gain=0.5 * math.sqrt(200 / 128))

    def forward(self, tokens: Tensor) -> Tensor:
        x, first = self.emb(tokens), None
        for block in self.blocks:
            x, first = block(x, first)
        return self.head(self.ln_out(x))


class FixupBlock(nn.Module):
    """hongyizhang/Fixup imagenet/models/fixup_resnet_imagenet.py: two convolutions, or three."""

    def __init__(self, before: int, after: int, stride: int, blocks: int, length: int) -> None:
        super().__init__()
        inner = after if length == 2 else after // 4
        widths = [before, *[inner] * (length - 1), after]
        kernels = [3, 3] if length == 2 else [1, 3, 1]
        strides = [stride, 1] if length == 2 else [1, stride, 1]
        self.convs = nn.ModuleList(
            nn.Conv2d(widths[n], widths[n + 1], k, strides[n], k // 2, bias=False)
            for n, k in enumerate(kernels)
        )
        self.before = nn.ParameterList(torch.zeros(1) for _ in kernels)
        self.after = nn.ParameterList(torch.zeros(1) for _ in kernels)
        self.scale = nn.Parameter(torch.ones(1))
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Conv2d(before, after, 1, stride, bias=False)
            init.normal_(self.downsample.weight, std=math.sqrt(2 / after))
        for conv, kernel in zip(self.convs[:-1], kernels, strict=False):
            std = math.sqrt(2 / (conv.out_channels * kernel**2))
            init.normal_(conv.weight, std=std * blocks ** (-1 / (2 * length - 2)))
        init.zeros_(self.convs[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number, conv in enumerate(self.convs):
            y = conv(y + self.before[number])
            if number < len(self.convs) - 1:
                y = functional.relu(y + self.after[number])
        y = y * self.scale + self.after[-1]
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class FixupResNet(nn.Module):
    """Two stages of two blocks, of two or of three convolutions each."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.conv1, self.bias1 = (
            nn.Conv2d(3, 32, 3, padding=1, bias=False),
            nn.Parameter(torch.zeros(1)),
        )
        sizes = [(32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.layers = nn.Sequential(*(FixupBlock(*size, len(sizes), length) for size in sizes))
        self.bias2, self.fc = nn.Parameter(torch.zeros(1)), nn.Linear(64, 10)
        # Theirs is left to torch; the paper draws it as other layers outside of branches.
        init.normal_(self.conv1.weight, std=math.sqrt(2 / (32 * 9)))
        init.zeros_(self.fc.weight)
        init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(functional.relu(self.conv1(x) + self.bias1))
        return self.fc(x.mean((2, 3)) + self.bias2)


class AttentionWithoutNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(width, width) for _ in range(4)
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = self.q_proj(x), self.k_proj(context), self.v_proj(context)
        return self.out_proj(functional.scaled_dot_product_attention(q, k, v))


class LayerWithoutNorm(nn.Module):
    def __init__(self, width: int, *, cross: bool) -> None:
        super().__init__()
        self.self_attn = AttentionWithoutNorm(width)
        self.encoder_attn = AttentionWithoutNorm(width) if cross else None
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = x + self.self_attn(x, x)
        if self.encoder_attn is not None:
            x = x + self.encoder_attn(x, context)
        return x + self.fc2(functional.relu(self.fc1(x)))


class Stack(nn.Module):
    def __init__(self, width: int, layers: int, *, cross: bool) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(200, width)
        self.layers = nn.ModuleList(LayerWithoutNorm(width, cross=cross) for _ in range(layers))

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, context)
        return x


class Translator(nn.Module):
    """layer6ai-labs/T-Fixup fairseq/models/transformer.py: an encoder and a decoder of 3 layers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Stack(64, 3, cross=False), Stack(64, 3, cross=True)
        self.output_projection = nn.Linear(64, 200, bias=False)
        for name, p in self.named_parameters():
            if p.dim() == 1:
                init.zeros_(p)
                continue
            inner = 0.67 * 3**-0.25 if name.startswith("encoder.") else 27**-0.25
            inner_names = ("v_proj.weight", "out_proj.weight", "fc1.weight", "fc2.weight")
            gain = inner if name.endswith(inner_names) else 1.0
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                gain = math.sqrt(0.5)
            if "embed_tokens" in name:
                init.normal_(p, std=27**-0.25 * 64**-0.5)
            else:
                init.xavier_uniform_(p, gain=gain)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.output_projection(self.decoder(target, self.encoder(source)))


class Dense(nn.Linear):
    """aqlaboratory/openfold openfold/model/primitives.py, Linear."""

    def __init__(self, before: int, after: int, how: str, *, bias: bool = True) -> None:
        super().__init__(before, after, bias=bias)
        if bias:
            init.constant_(self.bias, float(how == "gating"))
        if how == "glorot":
            init.xavier_uniform_(self.weight)
        elif how in ("gating", "final"):
            init.zeros_(self.weight)
        else:
            std = math.sqrt({"default": 1.0, "relu": 2.0}[how] / before) / STD_AFTER_CUT
            init.trunc_normal_(self.weight, std=std, a=-2 * std, b=2 * std)


class GatedAttention(nn.Module):
    """Its Attention, with gates, and a bias from the pairs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.pairs = nn.LayerNorm(width), Dense(32, 1, "default", bias=False)
        self.linear_q, self.linear_k, self.linear_v = (
            Dense(width, width, "glorot", bias=False) for _ in range(3)
        )
        self.linear_g, self.linear_o = Dense(width, width, "gating"), Dense(width, width, "final")

    def forward(self, x: Tensor, pairs: Tensor) -> Tensor:
        y = self.norm(x)
        scores = self.linear_q(y) @ self.linear_k(y).mT / 8 + self.pairs(pairs)[..., 0]
        values = scores.softmax(-1) @ self.linear_v(y)
        return self.linear_o(values * torch.sigmoid(self.linear_g(y)))


class Triangle(nn.Module):
    """openfold/model/triangular_multiplicative_update.py, outgoing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.linear_a_p, self.linear_b_p = (Dense(width, width, "default") for _ in range(2))
        self.linear_a_g, self.linear_b_g = (Dense(width, width, "gating") for _ in range(2))
        self.linear_g, self.linear_z = Dense(width, width, "gating"), Dense(width, width, "final")

    def forward(self, z: Tensor) -> Tensor:
        y = self.norm(z)
        a = self.linear_a_p(y) * torch.sigmoid(self.linear_a_g(y))
        b = self.linear_b_p(y) * torch.sigmoid(self.linear_b_g(y))
        x = self.linear_z(self.norm_out(torch.einsum("nikc,njkc->nijc", a, b)))
        return x * torch.sigmoid(self.linear_g(y))


class Transition(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear_1, self.linear_2 = (
            Dense(width, 4 * width, "relu"),
            Dense(4 * width, width, "final"),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(functional.relu(self.linear_1(self.norm(x))))


class EvoformerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.triangle = GatedAttention(64), Triangle(32)
        self.transition, self.pair_transition = Transition(64), Transition(32)

    def forward(self, m: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        m = m + self.attention(m, z)
        m = m + self.transition(m)
        z = z + self.triangle(z)
        return m, z + self.pair_transition(z)


class Evoformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.single, self.pair = Dense(21, 64, "default"), Dense(21, 32, "default")
        self.blocks = nn.ModuleList(EvoformerBlock() for _ in range(2))
        self.out = Dense(64, 48, "default")

    def forward(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        m, z = self.single(sequence), self.pair(sequence)
        z = z[:, None] + z[:, :, None]
        for block in self.blocks:
            m, z = block(m, z)
        return self.out(m), z


class Equalized(nn.Module):
    """NVlabs/stylegan2-ada-pytorch training/networks.py, FullyConnectedLayer."""

    def __init__(self, before: int, after: int, multiplier: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / multiplier)
        self.bias = nn.Parameter(torch.full((after,), bias))
        self.weight_gain, self.bias_gain = multiplier / before**0.5, multiplier

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class Mapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc0, self.fc1 = Equalized(64, 64, 0.01), Equalized(64, 64, 0.01)

    def forward(self, z: Tensor) -> Tensor:
        z = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        return functional.leaky_relu(self.fc1(functional.leaky_relu(self.fc0(z), 0.2)), 0.2)


class StyledConv(nn.Module):
    """Its SynthesisLayer."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.affine = Equalized(64, channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.noise_const = nn.Buffer(torch.randn(side, side))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w)[:, None, :, None, None]
        weight = self.weight[None] * styles
        weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        batch, channels, side = x.shape[0], x.shape[1], x.shape[2]
        x = x.reshape(1, batch * channels, side, side)
        x = functional.conv2d(x, weight.flatten(0, 1), padding=1, groups=batch)
        x = x.view(batch, channels, side, side) + self.noise_const * self.noise_strength
        return functional.leaky_relu(x + self.bias.view(1, -1, 1, 1), 0.2) * 2**0.5


class StyleGAN2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mapping = Mapping()
        self.const = nn.Parameter(torch.randn(32, 4, 4))
        self.conv1, self.conv2 = StyledConv(32, 4), StyledConv(32, 4)

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z)
        x = self.const.unsqueeze(0).repeat(len(z), 1, 1, 1)
        return self.conv2(self.conv1(x, w), w)


class S4D(nn.Module):
    """state-spaces/s4 models/s4/s4d.py, S4DKernel and S4D."""

    def __init__(self, width: int = 64, states: int = 32) -> None:
        super().__init__()
        steps = torch.rand(width) * math.log(100) + math.log(0.001)
        self.log_dt = nn.Parameter(steps)
        read = torch.randn(width, states // 2, dtype=torch.cfloat)
        self.C = nn.Parameter(torch.view_as_real(read))
        self.log_A_real = nn.Parameter(torch.full((width, states // 2), 0.5).log())
        self.A_imag = nn.Parameter(math.pi * torch.arange(states // 2).float().repeat(width, 1))
        self.D = nn.Parameter(torch.randn(width))
        self.output_linear = nn.Sequential(nn.Conv1d(width, 2 * width, 1), nn.GLU(dim=-2))

    def forward(self, u: Tensor) -> Tensor:
        length = u.size(-1)
        dt = self.log_dt.exp()[:, None]
        a = -self.log_A_real.exp() + 1j * self.A_imag
        c = torch.view_as_complex(self.C) * ((a * dt).exp() - 1.0) / a
        kernel = (a * dt)[..., None] * torch.arange(length, device=u.device)
        k = 2 * torch.einsum("hn,hnl->hl", c, kernel.exp()).real
        spectrum = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(k, n=2 * length)
        y = torch.fft.irfft(spectrum, n=2 * length)[..., :length] + u * self.D[:, None]
        return self.output_linear(functional.gelu(y))


class HashField(nn.Module):
    """Müller et al. 2022, section 4: two levels of hashed features, and a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Embedding(1024, 2) for _ in range(2))
        self.fc1, self.fc2 = nn.Linear(4, 64), nn.Linear(64, 3)
        for table in self.levels:
            init.uniform_(table.weight, -1e-4, 1e-4)
        for layer in (self.fc1, self.fc2):
            init.xavier_uniform_(layer.weight)
            init.zeros_(layer.bias)

    def forward(self, cells: Tensor) -> Tensor:
        x = torch.cat([table(cells[:, n]) for n, table in enumerate(self.levels)], -1)
        return self.fc2(functional.relu(self.fc1(x)))


class RadialLayer(nn.Module):
    """e3nn/nn/_fc.py, _Layer: the weight is divided when it is used."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(before, after))

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.weight / self.weight.shape[0] ** 0.5)


class TensorProduct(nn.Module):
    """e3nn/o3/_tensor_product, FullyConnectedTensorProduct of scalars: one flat weight."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.randn(channels**3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        weight = self.weight.view(self.channels, self.channels, self.channels)
        return torch.einsum("zu,zv,uvw->zw", x, y, weight) / self.channels


class Equivariant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.radial1, self.radial2 = RadialLayer(24, 64), RadialLayer(64, 16)
        self.product, self.out = TensorProduct(16), RadialLayer(16, 32)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        radial = self.radial2(functional.silu(self.radial1(lengths)) * 1.6765)
        return self.out(self.product(x, radial))


class GraphAttention(nn.Module):
    """torch_geometric nn/conv/gat_conv.py, on a matrix of neighbors."""

    def __init__(self, before: int, after: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.lin = nn.Linear(before, heads * after, bias=False)
        self.att_src = nn.Parameter(torch.empty(1, heads, after))
        self.att_dst = nn.Parameter(torch.empty(1, heads, after))
        self.bias = nn.Parameter(torch.zeros(heads * after))
        for p in (self.lin.weight, self.att_src, self.att_dst):
            bound = math.sqrt(6 / (p.shape[-1] + p.shape[-2]))
            init.uniform_(p, -bound, bound)

    def forward(self, x: Tensor, neighbors: Tensor) -> Tensor:
        h = self.lin(x).view(len(x), self.heads, -1)
        scores = (h * self.att_src).sum(-1)[None] + (h * self.att_dst).sum(-1)[:, None]
        scores = functional.leaky_relu(scores, 0.2).masked_fill(~neighbors[..., None], -math.inf)
        return torch.einsum("ijh,jhc->ihc", scores.softmax(1), h).flatten(1) + self.bias


class GAT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = GraphAttention(30, 16, 8), GraphAttention(128, 7, 1)

    def forward(self, x: Tensor, neighbors: Tensor) -> Tensor:
        return self.conv2(functional.elu(self.conv1(x, neighbors)), neighbors)


class Retention(nn.Module):
    """torchscale/component/multiscale_retention.py, MultiScaleRetention, in parallel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.v_proj, self.g_proj = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.out_proj = nn.Linear(2 * width, width, bias=False)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.g_proj):
            init.xavier_uniform_(layer.weight, gain=2**-2.5)
        init.xavier_uniform_(self.out_proj.weight)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        ages = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
        decays = 1 - 2 ** (-5.0 - torch.arange(self.heads))
        mask = torch.where(ages >= 0, decays[:, None, None] ** ages, 0.0)
        scores = q @ k.mT * k.shape[-1] ** -0.5 * mask
        y = (scores / scores.sum(-1, keepdim=True).abs().clamp(min=1)) @ v
        y = functional.rms_norm(y, y.shape[-1:]).transpose(1, 2).flatten(-2)
        return self.out_proj(functional.silu(self.g_proj(x)) * y)


class RetNetLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.retention = Retention(width, 4)
        self.fc1, self.gate = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.fc2 = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.retention(self.norm1(x))
        y = self.norm2(x)
        return x + self.fc2(functional.gelu(self.fc1(y)) * self.gate(y))


class RetNet(nn.Module):
    """torchscale/architecture/retnet.py, RetNetDecoder, of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(200, 64)
        self.layers = nn.ModuleList(RetNetLayer(64) for _ in range(2))
        self.norm, self.output_projection = nn.RMSNorm(64), nn.Linear(64, 200, bias=False)
        for table in (self.embed_tokens.weight, self.output_projection.weight):
            init.normal_(table, std=64**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        x = 8.0 * self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.output_projection(self.norm(x))


class Sines(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.freq = nn.Parameter(torch.full((1, width), 10.0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.freq * x)


class HyenaFilter(nn.Module):
    """HazyResearch/safari src/models/sequence/hyena.py, HyenaFilter: a network makes a filter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias, sines = nn.Parameter(torch.randn(width)), Sines(16)
        self.implicit_filter = nn.Sequential(
            nn.Linear(3, 16), sines, nn.Linear(16, 16), sines, nn.Linear(16, width, bias=False)
        )
        self.deltas = nn.Buffer(torch.linspace(math.log(0.01) / 1.5, math.log(0.01) / 0.3, width))

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[-1]
        t = torch.linspace(0, 1, length)[:, None]
        angles = 2 * math.pi * t
        h = self.implicit_filter(torch.cat([t, angles.cos(), angles.sin()], -1))
        h = (h * torch.exp(-t * self.deltas.abs())).mT
        spectrum = torch.fft.rfft(x, n=2 * length) * torch.fft.rfft(h, n=2 * length)
        y = torch.fft.irfft(spectrum, n=2 * length)[..., :length]
        return y + x * self.bias[:, None]


class HyenaLayer(nn.Module):
    """Its HyenaOperator of order 2, and the feed-forward layer of GPT-2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.in_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.short_filter = nn.Conv1d(3 * width, 3 * width, 3, padding=2, groups=3 * width)
        self.filter_fn = HyenaFilter(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        u = self.short_filter(self.in_proj(self.norm1(x)).mT)[..., : x.shape[1]]
        first, second, v = u.chunk(3, 1)
        x = x + self.out_proj((self.filter_fn(v * second) * first).mT)
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class Hyena(nn.Module):
    """src/models/sequence/long_conv_lm.py, ConvLMHeadModel, of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(200, 64)
        self.layers = nn.ModuleList(HyenaLayer(64) for _ in range(2))
        self.ln_f = nn.LayerNorm(64)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                out = name.endswith(("out_proj", "fc2"))
                init.normal_(module.weight, std=0.02 / 2.0 if out else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.word_embeddings(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.ln_f(x) @ self.word_embeddings.weight.mT


class Detr(nn.Module):
    """facebookresearch/detr models/detr.py: a backbone, torch's transformer, heads for boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 48, 3, 2, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU(),
        )  # fmt: skip
        self.input_proj, self.query_embed = nn.Conv2d(48, 64, 1), nn.Embedding(10, 64)
        self.transformer = nn.Transformer(64, 4, 2, 2, 128, 0.0, batch_first=True)
        self.class_embed = nn.Linear(64, 21)
        self.bbox_embed = nn.ModuleList((nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 4)))
        for conv in (self.backbone[0], self.backbone[3]):
            init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.input_proj(self.backbone(images)).flatten(2).mT
        queries = self.query_embed.weight[None].repeat(len(x), 1, 1)
        y = self.transformer(x, torch.zeros_like(queries) + queries)
        first, second, last = self.bbox_embed
        boxes = last(functional.relu(second(functional.relu(first(y)))))
        return self.class_embed(y), boxes.sigmoid()
