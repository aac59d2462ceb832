"""Kinds A, B, D and F: what is taken of a product, or of a signal before the weight.

Differences from an own part, Fourier transforms, exponentials, running sums, the largest of
several, places between positions; and tables whose rows are weights as well. Whether what these do
to the second moment is meant for the weight isn't known: these are marked.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, full, gain, raw

X = (64, 48)
STEPS = (16, 12, 24)
MAP = (6, 16, 9, 9)
FIELD = (4, 16, 12, 12)


def ids():
    return torch.randint(0, 100, (16, 12))


def points():
    return torch.rand(64, 2) * 2 - 1


def around(after=lambda m, y: y, before=lambda m, x: x, inputs=24, outputs=32, **parts):
    return Net(lambda m, x: after(m, m.f(before(m, x))), f=nn.Linear(inputs, outputs), **parts)


def layout(kind="A", x=STEPS, **options):
    """A layout of a function that returns the module."""
    return gain(kind, x, undecidable=True, **options)


# A signal less its own last step, its first token, its neighbor.


@layout()
def series_less_its_last_step():
    def forward(m, x):
        last = x[:, -1:].detach()
        return m.f((x - last).mT).mT + last

    return Net(forward, f=nn.Linear(12, 12))


@layout()
def series_less_its_first_step():
    def forward(m, x):
        first = x.narrow(1, 0, 1)
        return m.f((x - first).mT).mT + first

    return Net(forward, f=nn.Linear(12, 12))


@layout()
def tokens_less_the_first():
    return around(before=lambda m, x: x - x.select(1, 0).unsqueeze(1))


@layout()
def each_step_less_the_one_before():
    return around(before=lambda m, x: x[:, 1:] - x[:, :-1])


@layout(x=(16, 12, 3))
def places_relative_to_each_other():
    return around(before=lambda m, x: x[:, :, None] - x[:, None], inputs=3)


# Fourier transforms that aren't orthonormal.


@layout("B", X)
def real_part_of_a_transform():
    return around(lambda m, y: torch.fft.rfft(y).real, inputs=48)


@layout("B", X)
def transform_over_two_axes():
    return around(lambda m, y: torch.fft.fft2(y).real, inputs=48)


@layout("B", X)
def size_of_a_transform():
    return around(lambda m, y: torch.fft.rfft(y).abs(), inputs=48)


@layout("B", X)
def inverse_transform_of_a_product():
    return around(lambda m, y: torch.fft.ifft(y).real, inputs=48)


@layout("B", (8, 16, 32))
def modes_mixed_without_a_norm():
    def forward(m, x):
        y = torch.fft.rfft(x, norm="backward")
        made = torch.zeros(8, 16, 17, dtype=torch.cfloat)
        made[:, :, :6] = torch.einsum("bix,iox->box", y[:, :, :6], m.w)
        return torch.fft.irfft(made, n=32, norm="backward")

    return Net(forward, w=nn.Parameter(0.02 * torch.randn(16, 16, 6, dtype=torch.cfloat)))


# A product beside a fixed one, or beside what a constant makes of itself.


@layout(x=X)
def beside_a_product_with_a_buffer():
    return Net(lambda m, x: x @ m.w + x @ m.b, w=raw(48, 32), b=torch.randn(48, 32) / 48**0.5)


@layout(x=X)
def beside_a_network_of_random_features():
    fixed = [nn.Linear(48, 64).requires_grad_(False), nn.Linear(64, 32).requires_grad_(False)]
    return Net(lambda m, x: m.f(x) + 3 * m.g[1](m.g[0](x)), f=nn.Linear(48, 32), g=fixed)


@layout(x=X)
def added_to_a_fixed_product():
    return Net(
        lambda m, x: torch.addmm(x @ m.b, x, m.w), w=raw(48, 32), b=torch.randn(48, 32) / 48**0.5
    )


@layout()
def nodes_and_their_neighbors_by_one_layer():
    nearest = torch.softmax(9 * torch.randn(12, 12), -1)
    return Net(lambda m, x: m.f(x) + m.a @ m.f(x), f=nn.Linear(24, 32), a=nearest)


@layout()
def product_and_its_mixture():
    def after(m, y):
        return y + m.a @ y

    return around(after, a=torch.linalg.qr(torch.randn(12, 12))[0])


# Powers and exponentials of sums and products.


@layout(x=X)
def square_of_a_residual_sum():
    return Net(lambda m, x: (x + m.f(x)) ** 2, f=nn.Linear(48, 48))


@layout(x=X)
def residual_sum_times_itself():
    def forward(m, x):
        h = x + m.f(x)
        return h * h

    return Net(forward, f=nn.Linear(48, 48))


@layout(x=X)
def energy_of_a_residual_sum():
    return Net(lambda m, x: 0.1 * (x + m.f(x)).pow(2).sum(-1), f=nn.Linear(48, 48))


@layout(x=[X, X])
def exponential_times_a_signal():
    return Net(lambda m, x, y: torch.exp(m.f(x)) * y, f=nn.Linear(48, 48))


@layout(x=X)
def scale_of_a_coupling():
    def forward(m, x):
        a, b = x.chunk(2, -1)
        return m.f(a).exp() * b

    return Net(forward, f=nn.Linear(24, 24))


@layout(x=X)
def rate_of_counts():
    return around(lambda m, y: torch.expm1(y), inputs=48)


@layout(x=X)
def positive_random_features():
    def features(m, y):
        return torch.exp(y - y.square().sum(-1, keepdim=True) / 2)

    return around(features, inputs=48)


@gain("A", X)
def logistic_function_by_hand():
    """An activation, with a gain of its own."""
    return around(lambda m, y: 3.41**0.5 * 1 / (1 + torch.exp(-y)), inputs=48, outputs=48)


# Running sums and products of gates.


@layout(x=X)
def running_product_of_gates():
    return around(before=lambda m, x: x * torch.sigmoid(x).cumprod(-1), inputs=48)


@layout(x=X)
def running_sum_of_gates():
    return around(before=lambda m, x: x * torch.sigmoid(x).cumsum(-1), inputs=48)


@layout()
def sticks_broken():
    def before(_, x):
        share = torch.sigmoid(x)
        return x * share * torch.cumprod(1 - share, 1)

    return around(before=before)


@layout()
def decayed_by_gates_of_a_layer():
    def before(m, x):
        return x * torch.sigmoid(m.g(x)).log().cumsum(1).exp()

    return around(before=before, g=nn.Linear(24, 24))


# What is kept of several products.


@layout()
def running_maximum():
    return around(lambda m, y: y.cummax(1)[0])


@layout()
def running_log_sum_exp():
    return around(lambda m, y: y.logcumsumexp(1))


@layout()
def log_sum_exp_of_steps():
    return around(lambda m, y: y.logsumexp(1))


@layout()
def running_sum_of_products():
    return around(lambda m, y: y.cumsum(1))


@layout()
def largest_of_four():
    return around(lambda m, y: y.unflatten(-1, (8, 4)).amax(-1))


@layout()
def last_of_the_sorted():
    return around(lambda m, y: y.sort(-1)[0][..., -4:])


# Places between positions.


@layout("B", FIELD)
def sampled_where_noise_says():
    def before(_, x):
        return fn.grid_sample(x, torch.rand(4, 12, 12, 2) * 2 - 1, align_corners=False)

    return Net(lambda m, x: m.f(before(m, x)), f=nn.Conv2d(16, 24, 1))


@layout("B", FIELD)
def sampled_after_the_product():
    def after(_, y):
        return fn.grid_sample(y, torch.rand(4, 12, 12, 2) * 2 - 1, align_corners=False)

    return Net(lambda m, x: after(m, m.f(x)), f=nn.Conv2d(16, 24, 1))


@layout("B", FIELD)
def enlarged_by_an_affine_grid():
    def before(_, x):
        matrix = 0.4 * torch.eye(2, 3).expand(4, 2, 3)
        return fn.grid_sample(x, fn.affine_grid(matrix, (4, 16, 9, 9), False), align_corners=False)

    return Net(lambda m, x: m.f(before(m, x)), f=nn.Conv2d(16, 24, 3))


@layout("B", points)
def learned_plane():
    def forward(m, x):
        return fn.grid_sample(m.plane, x[None, None], align_corners=True)[0, :, 0].T

    return Net(forward, plane=raw(1, 32, 16, 16))


@layout("B", points)
def learned_plane_before_a_layer():
    def forward(m, x):
        return m.f(fn.grid_sample(m.plane, x[None, None], align_corners=True)[0, :, 0].T)

    return Net(forward, plane=raw(1, 32, 16, 16), f=nn.Linear(32, 16))


# Kernels made of the data.


@layout(x=MAP)
def involution_by_a_softmax():
    def forward(m, x):
        kernel = m.k(x).view(6, 4, 1, 9, 81).softmax(3)
        patches = fn.unfold(x, 3, padding=1).view(6, 4, 4, 9, 81)
        return m.o((kernel * patches).sum(3).view(6, 16, 9, 9))

    return Net(forward, k=nn.Conv2d(16, 36, 1), o=nn.Conv2d(16, 16, 1))


@layout(x=MAP)
def involution_of_products():
    def forward(m, x):
        kernel = m.k(x).softmax(1).view(6, 1, 9, 81)
        patches = fn.unfold(m.v(x), 3, padding=1).view(6, 16, 9, 81)
        return (kernel * patches).sum(2).view(6, 16, 9, 9)

    return Net(forward, k=nn.Conv2d(16, 9, 3, padding=1), v=nn.Conv2d(16, 16, 1))


@layout()
def dynamic_taps_of_each_head():
    def forward(m, x):
        taps = m.k(x).view(16, 12, 4, 3).softmax(-1)
        steps = fn.pad(x, (0, 0, 2, 0)).unfold(1, 3, 1).view(16, 12, 4, 6, 3)
        return m.o((steps * taps[:, :, :, None]).sum(-1).flatten(2))

    return Net(forward, k=nn.Linear(24, 12), o=nn.Linear(24, 24))


# Tables whose rows are a layer's weight too.


@layout("F", ids)
def logits_by_the_table():
    return Net(lambda m, i: fn.linear(m.e(i), m.e.weight), e=nn.Embedding(100, 48))


@layout("F", ids)
def logits_by_the_table_behind_a_layer():
    return Net(
        lambda m, i: m.f(torch.relu(m.g(m.e(i)))) @ m.e.weight.T,
        e=nn.Embedding(100, 48),
        g=nn.Linear(48, 48),
        f=nn.Linear(48, 48),
    )


@layout("F", X)
def nearest_of_a_code_book():
    def forward(m, x):
        scores = x @ m.e.T - 0.5 * m.e.square().sum(-1)
        nearest = m.e[scores.argmax(-1)]
        return m.f(x + (nearest - x).detach())

    return Net(forward, e=raw(20, 48), f=nn.Linear(48, 32))


@gain("F", ids, accepts=(1.47,))
def logits_by_the_table_behind_a_norm():
    """Decided: the std is that of the logits. Of its own id a logit is sqrt(48), one of 100."""
    return Net(lambda m, i: fn.layer_norm(m.e(i), (48,)) @ m.e.weight.T, e=nn.Embedding(100, 48))


@gain("F", ids)
def rows_enlarged_before_the_logits():
    """As in the first transformers: the rows are N(0, 1) again."""
    return Net(
        lambda m, i: m.f(48**0.5 * m.e(i)) @ m.e.weight.T,
        e=nn.Embedding(100, 48),
        f=nn.Linear(48, 48),
    )


@layout(x=X)
def measured_from_a_center():
    def before(m, x):
        away = x - m.c
        return away / (1 + away.norm(dim=-1, keepdim=True))

    return around(before=before, inputs=48, c=full(0, 48))


# Products of one layer on several inputs or steps, or beside another input.


@layout(x=[X, X])
def both_of_a_pair_by_one_layer():
    return Net(lambda m, x, y: m.f(x) + m.f(y), f=nn.Linear(48, 32))


@layout("D")
def leaky_state_that_is_read_out():
    def forward(m, x):
        h, read = torch.zeros(16, 16), []
        for t in range(12):
            h = 0.9 * h + x[:, t] @ m.w
            read.append(h @ m.c)
        return torch.stack(read, 1)

    return Net(forward, w=raw(24, 16), c=raw(16, 24))


@layout("D")
def complex_state_that_is_read_out():
    def forward(m, x):
        h, read = torch.zeros(16, 16, dtype=torch.cfloat), []
        for t in range(12):
            h = m.a * h + x[:, t].to(torch.cfloat) @ m.w
            read.append((h @ m.c).real)
        return torch.stack(read, 1)

    return Net(
        forward,
        a=torch.polar(torch.full((16,), 0.9), torch.linspace(0, 3, 16)),
        w=nn.Parameter(0.02 * torch.randn(24, 16, dtype=torch.cfloat)),
        c=nn.Parameter(0.02 * torch.randn(16, 24, dtype=torch.cfloat)),
    )


@layout(x=[X, (64, 32)])
def another_input_added():
    return Net(lambda m, x, y: m.f(x) + y, f=nn.Linear(48, 32))


@layout(x=[(64, 32), (64, 16)])
def condition_added_to_an_input():
    return Net(
        lambda m, x, c: m.f(torch.relu(x + m.g(c))), f=nn.Linear(32, 32), g=nn.Linear(16, 32)
    )


@layout(x=[X, X])
def another_input_subtracted():
    return Net(lambda m, x, y: y - m.f(x), f=nn.Linear(48, 48))


# One expert of several, times its share; a generated weight that a number divides.


def experts():
    return {"gate": nn.Linear(48, 4), "f": [nn.Linear(48, 32) for _ in range(4)]}


@layout(x=X)
def best_expert_written_into_its_rows():
    def forward(m, x):
        shares, best = m.gate(x).softmax(-1).max(-1)
        made = torch.zeros(64, 32)
        for e, expert in enumerate(m.f):
            made[best == e] = shares[best == e, None] * expert(x[best == e])
        return made

    return Net(forward, **experts())


@layout(x=X)
def best_expert_gathered():
    def forward(m, x):
        shares, best = m.gate(x).softmax(-1).max(-1, keepdim=True)
        made = torch.stack([expert(x) for expert in m.f], 1)
        return shares * made.gather(1, best[..., None].expand(-1, 1, 32))[:, 0]

    return Net(forward, **experts())


@layout(x=X)
def all_experts_each_by_its_share():
    def forward(m, x):
        shares = m.gate(x).softmax(-1)
        return torch.cat([shares[:, e : e + 1] * f(x) for e, f in enumerate(m.f)], -1)

    return Net(forward, **experts())


@layout("D", (16, 12, 24))
def messages_by_generated_weights_over_a_number():
    def forward(m, x):
        weights = m.e(m.edges).view(12, 12, 24, 8)
        return torch.einsum("bni,nmio->bmo", x, weights) / 12**0.5

    return Net(forward, edges=torch.randn(12, 12, 5), e=nn.Linear(5, 192))
