"""Kind H: sums into a residual stream, of any form; and what only looks like one (Q)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import NOT_TRUE, Net, facts, full, raw

D = 24
X = (4, 10, D)
END, NO = {"ends_residual": True}, {"ends_residual": NOT_TRUE}


def blocks(n: int, step, **parts):
    """A stack of n modules, each with a step x -> x."""
    return nn.Sequential(
        *(Net(step, **{name: make() for name, make in parts.items()}) for _ in range(n))
    )


def linear(i=D, o=D):
    return lambda: nn.Linear(i, o)


def norm():
    return nn.LayerNorm(D)


MLP = {"norm": norm, "up": linear(D, 2 * D), "out": linear(2 * D, D)}
PARALLEL = {**MLP, "v": linear(), "a": linear()}
MLP_ENDS = {f"{i}.out.weight": END for i in range(3)} | {f"{i}.up.weight": NO for i in range(3)}
BOTH_ENDS = MLP_ENDS | {f"{i}.a.weight": END for i in range(3)}


def mlp(m, x):
    return m.out(fn.gelu(m.up(x)))


def attend(m, h):
    return m.a((h @ h.mT).softmax(-1) @ m.v(h))


@facts("H", X, MLP_ENDS)
def pre_norm():
    return blocks(3, lambda m, x: x + mlp(m, m.norm(x)), **MLP)


@facts("H", X, MLP_ENDS)
def post_norm():
    return blocks(3, lambda m, x: m.norm(x + mlp(m, x)), **MLP)


@facts("H", X, BOTH_ENDS)
def parallel_branches():
    """GPT-J."""

    def step(m, x):
        h = m.norm(x)
        return x + attend(m, h) + mlp(m, h)

    return blocks(3, step, **PARALLEL)


@facts("H", X, BOTH_ENDS)
def parallel_branches_summed_first():
    """NeoX: attn + mlp + x."""

    def step(m, x):
        h = m.norm(x)
        return mlp(m, h) + attend(m, h) + x

    return blocks(3, step, **PARALLEL)


@facts("H", X, BOTH_ENDS)
def sum_of_a_list():
    return blocks(3, lambda m, x: sum([x, attend(m, m.norm(x)), mlp(m, m.norm(x))]), **PARALLEL)


@facts("H", X, BOTH_ENDS)
def sum_of_a_stack():
    return blocks(
        3,
        lambda m, x: torch.stack([x, attend(m, h := m.norm(x)), mlp(m, h)]).sum(0),
        **PARALLEL,
    )


@facts("H", X, BOTH_ENDS)
def einsum_of_a_stack():
    def step(m, x):
        h = m.norm(x)
        return torch.einsum("sbld->bld", torch.stack([x, attend(m, h), mlp(m, h)]))

    return blocks(3, step, **PARALLEL)


@facts("H", X, MLP_ENDS)
def weighted_sum_of_a_stack():
    def step(m, x):
        both = torch.stack([x, mlp(m, m.norm(x))], -1)
        return (both * torch.tensor([1.0, 0.5])).sum(-1)

    return blocks(3, step, **MLP)


@facts("H", X, MLP_ENDS)
def lerp():
    return blocks(3, lambda m, x: torch.lerp(x, mlp(m, m.norm(x)), 0.5), **MLP)


@facts("H", X, MLP_ENDS)
def add_with_a_factor():
    return blocks(3, lambda m, x: torch.add(x, mlp(m, m.norm(x)), alpha=0.1), **MLP)


@facts("H", X, MLP_ENDS)
def addcmul():
    return blocks(
        3,
        lambda m, x: torch.addcmul(x, m.scale, mlp(m, m.norm(x))),
        **MLP,
        scale=lambda: full(0.1, D),
    )


@facts("H", X, MLP_ENDS)
def in_place():
    def step(m, x):
        x = x.clone()
        x += mlp(m, m.norm(x))
        return x

    return blocks(3, step, **MLP)


@facts("H", X, MLP_ENDS)
def index_add():
    """Mixture of depths: some tokens go through the branch."""

    def step(m, x):
        some = torch.tensor([0, 3, 4, 7])
        return x.index_add(1, some, mlp(m, m.norm(x[:, some])))

    return blocks(3, step, **MLP)


@facts("H", X, MLP_ENDS)
def scatter_add():
    def step(m, x):
        place = torch.tensor([0, 3, 4, 7])[None, :, None].expand(4, 4, D)
        return x.scatter_add(1, place, mlp(m, m.norm(x.gather(1, place))))

    return blocks(3, step, **MLP)


@facts("H", X, {f"{i}.w": END for i in range(3)} | {f"{i}.up.weight": NO for i in range(3)})
def addmm():
    def step(m, x):
        flat = x.reshape(-1, D)
        h = fn.gelu(m.up(m.norm(flat)))
        return torch.addmm(flat, h, m.w).view_as(x)

    return blocks(3, step, norm=norm, up=linear(D, 2 * D), w=lambda: raw(2 * D, D))


@facts("H", X, {f"{i}.w": END for i in range(3)})
def baddbmm():
    def step(m, x):
        h = fn.gelu(m.up(m.norm(x)))
        return torch.baddbmm(x, h, m.w.expand(4, -1, -1))

    return blocks(3, step, norm=norm, up=linear(D, 2 * D), w=lambda: raw(2 * D, D))


@facts("H", X, MLP_ENDS)
def difference():
    """x - f(x)."""
    return blocks(3, lambda m, x: x - mlp(m, m.norm(x)), **MLP)


@facts("H", X, MLP_ENDS)
def scaled_residual():
    return blocks(3, lambda m, x: 0.5**0.5 * (x + mlp(m, m.norm(x))), **MLP)


@facts("H", X, MLP_ENDS)
def drop_path():
    def step(m, x):
        keep = torch.rand(x.shape[0], 1, 1) < 0.9
        return x + mlp(m, m.norm(x)) * keep / 0.9

    return blocks(3, step, **MLP)


LATENT = {f"layers.{i}.{k}.weight": END for i in range(2) for k in ("a", "out")}


def perceiver(grow):
    def forward(m, x):
        z = grow(m.latents, x.shape[0])
        for layer in m.layers:
            score = layer.q(z) @ layer.k(x).mT
            z = z + layer.a(score.softmax(-1) @ layer.v(x))
            z = z + mlp(layer, layer.norm(z))
        return z

    parts = {**PARALLEL, "q": linear(), "k": linear()}
    layers = [Net(None, **{name: make() for name, make in parts.items()}) for _ in range(2)]
    return Net(forward, latents=raw(5, D), layers=layers)


@facts("H", X, LATENT)
def expanded_latents():
    return perceiver(lambda latents, n: latents.expand(n, -1, -1))


@facts("H", X, LATENT)
def repeated_latents():
    return perceiver(lambda latents, n: latents[None].repeat(n, 1, 1))


@facts("H", X, {"0.f.weight": END, "0.g.weight": END, "1.f.weight": END, "1.g.weight": END})
def reversible():
    def step(m, x):
        a, b = x.chunk(2, -1)
        a = a + m.f(fn.gelu(m.fu(b)))
        b = b + m.g(fn.gelu(m.gu(a)))
        return torch.cat([a, b], -1)

    h = D // 2
    return blocks(2, step, fu=linear(h, D), f=linear(D, h), gu=linear(h, D), g=linear(D, h))


@facts("H", X, {f"{i}.{k}": END if k == "down" else NO for i in range(2) for k in ("down", "up")})
def mixture_of_experts():
    def step(m, x):
        share = m.router(x).softmax(-1)
        h = fn.gelu(torch.einsum("bld,edf->blef", x, m.up))
        return x + torch.einsum("blef,efd,ble->bld", h, m.down, share)

    return blocks(
        2,
        step,
        router=linear(D, 3),
        up=lambda: raw(3, D, 2 * D),
        down=lambda: raw(3, 2 * D, D),
    )


@facts(
    "H",
    [X, (4, D)],
    {f"layers.{i}.{k}.weight": NO if k == "c" else END for i in range(2) for k in ("c", "out")},
)
def modulation_is_no_end():
    """adaLN: the layer that makes shift, scale and gate."""

    def forward(m, x, c):
        for layer in m.layers:
            shift, scale, gate = layer.c(fn.silu(c))[:, None].chunk(3, -1)
            x = x + gate * mlp(layer, layer.norm(x) * (1 + scale) + shift)
        return x

    parts = {**MLP, "c": linear(D, 3 * D)}
    layers = [Net(None, **{k: make() for k, make in parts.items()}) for _ in range(2)]
    return Net(forward, layers=layers)


@facts("H", [X, (4, D)], {f"layers.{i}.{k}.weight": NO for i in range(2) for k in ("c", "f")})
def film_is_no_residual():
    def forward(m, x, c):
        for layer in m.layers:
            scale, shift = layer.c(c)[:, None].chunk(2, -1)
            x = fn.relu(layer.f(x) * (1 + scale) + shift)
        return x

    layers = [Net(None, c=nn.Linear(D, 2 * D), f=nn.Linear(D, D)) for _ in range(2)]
    return Net(forward, layers=layers)


@facts("H", [X, X], {f"layers.{i}.{k}.weight": NO for i in range(2) for k in "cf"})
def modulation_by_position_is_no_residual():
    """SPADE: one layer on a second signal as long makes scale and shift."""

    def forward(m, x, z):
        for layer in m.layers:
            scale, shift = layer.c(z).chunk(2, -1)
            x = fn.relu(layer.f(x) * (1 + scale) + shift)
        return x

    layers = [Net(None, c=nn.Linear(D, 2 * D), f=nn.Linear(D, D)) for _ in range(2)]
    return Net(forward, layers=layers)


@facts("H", [X, (4, D)], {f"layers.{i}.{k}.weight": NO for i in range(2) for k in "gsf"})
def modulation_by_two_layers_is_no_residual():
    def forward(m, x, c):
        for layer in m.layers:
            x = fn.relu(layer.f(x) * (1 + layer.g(c)[:, None]) + layer.s(c)[:, None])
        return x

    layers = [Net(None, **{name: nn.Linear(D, D) for name in "gsf"}) for _ in range(2)]
    return Net(forward, layers=layers)


@facts("H", X, {f"{k}.weight": NO for k in ("a", "b", "c")})
def concatenation_is_no_residual():
    """DenseNet."""

    def forward(m, x):
        x = torch.cat([x, fn.relu(m.a(x))], -1)
        x = torch.cat([x, fn.relu(m.b(x))], -1)
        return m.c(x)

    return Net(forward, a=nn.Linear(D, D), b=nn.Linear(2 * D, D), c=nn.Linear(3 * D, D))


@facts("H", X, {"a.weight": NO, "b.weight": NO, "c.weight": NO})
def two_inputs_summed_are_no_residual():
    def forward(m, x):
        return m.c(torch.tanh(m.a(x[..., :12]) + m.b(x[..., 12:])))

    return Net(forward, a=nn.Linear(12, D), b=nn.Linear(12, D), c=nn.Linear(D, D))


@facts("H", X, {f"{i}.{k}.weight": NO if k == "t" else {} for i in range(3) for k in "th"})
def highway():
    """The transform gate isn't an end; whether h is one is a matter of taste."""

    def step(m, x):
        t = torch.sigmoid(m.t(x))
        return t * torch.tanh(m.h(x)) + (1 - t) * x

    return blocks(3, step, t=linear(), h=linear())


# Gates on a branch that come from the stream itself.

GATED = {"g.weight": NO, "out.weight": END}


@facts("Q", X, GATED)
def branch_times_what_is_pooled():
    """DiT whose condition is a mean of its own stream: one number for all positions gates."""

    def forward(m, x):
        return torch.addcmul(x, m.g(x.mean(1, keepdim=True)), m.out(fn.gelu(m.norm(x))))

    return Net(forward, norm=norm(), g=linear()(), out=linear()())


@facts("Q", X, GATED)
def branch_times_the_first_token():
    def forward(m, x):
        return x + m.out(fn.gelu(m.norm(x))) * (1 + m.g(x[:, :1]))

    return Net(forward, norm=norm(), g=linear()(), out=linear()())


@facts("Q", X, GATED)
def gates_of_a_state_that_starts_at_zero():
    """SRU: in the first step the forget gate multiplies zeros alone."""

    def forward(m, x):
        forget, new = torch.sigmoid(m.g(x)), m.out(x)
        c, states = x.new_zeros(x.shape[0], D), []
        for t in range(x.shape[1]):
            c = forget[:, t] * c + (1 - forget[:, t]) * new[:, t]
            states.append(c)
        return x + torch.stack(states, 1)

    return Net(forward, g=linear()(), out=linear()())


@facts("Q", X, {"g.weight": END})
def branch_of_shares_times_a_buffer():
    """Where nothing else makes the branch, what the shares are made by ends it."""
    return Net(
        lambda m, x: x + m.g(m.norm(x)).sigmoid() * m.share,
        norm=norm(),
        g=linear()(),
        share=torch.full((D,), 0.5),
    )
