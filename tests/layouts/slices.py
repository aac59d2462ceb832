"""Kind E: several slices of one parameter on several inputs, or gathered by index."""

import torch
from torch.nn import functional as fn

from .layout import Net, gain, raw

X = (64, 48)
PAIR = [(64, 48), (64, 48)]


def both(m, x, y):
    return x, y


@gain("E", X)
def columns_on_parts_of_the_input():
    def product(m, x):
        a, b, c = x.split(16, -1)
        return a @ m.w[:16] + b @ m.w[16:32] + c @ m.w[32:]

    return Net(product, w=raw(48, 32))


@gain("E", X)
def chunks_of_the_input_dimension():
    def product(m, x):
        return sum(fn.linear(p, w) for p, w in zip(x.chunk(4, 1), m.w.chunk(4, 1), strict=True))

    return Net(product, w=raw(32, 48))


@gain("E", X)
def unequal_slices():
    def product(m, x):
        return fn.linear(x[:, :8], m.w[:, :8]) + fn.linear(x[:, 8:], m.w[:, 8:])

    return Net(product, w=raw(32, 48))


@gain("E", X)
def even_and_odd_columns():
    def product(m, x):
        return fn.linear(x[:, ::2], m.w[:, ::2]) + fn.linear(x[:, 1::2], m.w[:, 1::2])

    return Net(product, w=raw(32, 48))


@gain("E", X)
def slices_by_index_select():
    def product(m, x):
        first, second = torch.arange(0, 16), torch.arange(16, 48)
        a = x.index_select(1, first) @ m.w.index_select(0, first)
        return a + x.index_select(1, second) @ m.w.index_select(0, second)

    return Net(product, w=raw(48, 32))


@gain("E", X)
def rows_for_separate_outputs():
    """No sum: each slice has the whole input."""
    return Net(
        lambda m, x: torch.cat([fn.linear(x, m.w[:10]), fn.linear(x, m.w[10:])], -1), w=raw(32, 48)
    )


@gain("E", X)
def accumulated_in_a_loop():
    def product(m, x):
        y = x.new_zeros(64, 32)
        for k in range(6):
            y = y + x[:, 8 * k : 8 * k + 8] @ m.w[8 * k : 8 * k + 8]
        return y

    return Net(product, w=raw(48, 32))


@gain("E", X)
def accumulated_in_place():
    def product(m, x):
        y = x.new_zeros(64, 32)
        for part, w in zip(x.split(12, 1), m.w.split(12), strict=True):
            y += part @ w
        return y

    return Net(product, w=raw(48, 32))


@gain("E", X)
def accumulated_by_addmm():
    def product(m, x):
        y = x.new_zeros(64, 32)
        for part, w in zip(x.split(12, 1), m.w.split(12), strict=True):
            y = torch.addmm(y, part, w)
        return y

    return Net(product, w=raw(48, 32))


@gain("E", X)
def stacked_and_summed():
    def product(m, x):
        parts = x.view(64, 3, 16).unbind(1)
        return torch.stack([p @ w for p, w in zip(parts, m.w, strict=True)]).sum(0)

    return Net(product, w=raw(3, 16, 32))


@gain("E", (16, 8, 20))
def taps_of_a_convolution():
    """Position by position: one 1x1 product a tap."""

    def product(m, x):
        return sum(torch.einsum("bil,oi->bol", x[..., k : k + 16], m.w[..., k]) for k in range(5))

    return Net(product, w=raw(24, 8, 5))


@gain("E", (4, 8, 10, 10))
def shifts_of_an_image():
    def product(m, x):
        y = 0
        for i in range(3):
            for j in range(3):
                y = y + fn.conv2d(x[..., i : i + 8, j : j + 8], m.w[:, :, i, j, None, None])
        return y

    return Net(product, w=raw(16, 8, 3, 3))


@gain("E", [(64, 48), (64, 24)])
def two_inputs_one_weight():
    """Concatenated in the weight only: y has the summands of both."""
    return Net(lambda m, x, z: fn.linear(x, m.w[:, :48]) + fn.linear(z, m.w[:, 48:]), w=raw(32, 72))


@gain("E", (32, 6, 16))
def flat_experts_in_a_loop():
    """Each expert has its own tokens: no sum over experts."""

    def product(m, x):
        w = m.w.view(6, 16, 24)
        return torch.stack([x[:, e] @ w[e] for e in range(6)], 1)

    return Net(product, w=raw(6 * 16, 24))


@gain("E", (32, 6, 16))
def flat_experts_by_bmm():
    return Net(lambda m, x: torch.bmm(x.transpose(0, 1), m.w.view(6, 16, 24)), w=raw(6 * 16 * 24))


@gain("E", [X, lambda: torch.randint(0, 5, (64,))])
def experts_gathered_by_token():
    return Net(lambda m, x, e: torch.bmm(x[:, None], m.w[e])[:, 0], w=raw(5, 48, 32))


@gain("E", [X, lambda: torch.randint(0, 5, (64,))])
def flat_experts_gathered_by_token():
    return Net(
        lambda m, x, e: torch.einsum("bi,bio->bo", x, m.w.view(5, 48, 32)[e]), w=raw(5 * 48, 32)
    )


@gain("E", [X, lambda: torch.tensor(2)])
def one_matrix_of_a_bank():
    return Net(lambda m, x, k: x @ m.w[k], w=raw(4, 48, 32))


@gain("E", [X, lambda: torch.tensor([1])])
def one_matrix_by_index_select():
    return Net(lambda m, x, k: x @ m.w.index_select(0, k)[0], w=raw(4, 48, 32))


@gain("E", X, seeds=64)
def circulant_by_index():
    index = (torch.arange(48)[:, None] - torch.arange(48)) % 48
    return Net(lambda m, x: x @ m.c[m.index], c=raw(48), index=index)


@gain("E", X, seeds=64)
def toeplitz_by_index():
    index = torch.arange(48)[:, None] - torch.arange(48) + 47
    return Net(lambda m, x: fn.linear(x, m.c[m.index]), c=raw(95), index=index)


@gain("E", X, seeds=64)
def toeplitz_by_stride():
    return Net(lambda m, x: fn.linear(x, m.c.unfold(0, 48, 1)), c=raw(95))


@gain("E", X, seeds=64)
def block_circulant():
    index = (torch.arange(12)[:, None] - torch.arange(12)) % 12

    def product(m, x):
        w = m.c[:, :, m.index]  # out blocks, in blocks, 12, 12
        return torch.einsum("bjk,ijlk->bil", x.view(64, 4, 12), w).reshape(64, -1)

    return Net(product, c=raw(6, 4, 12), index=index)


@gain("E", X, seeds=64)
def hashed_weights():
    """HashedNets: 200 values for 32 x 48 places."""
    index = torch.randint(0, 200, (32, 48))
    return Net(lambda m, x: fn.linear(x, m.w[m.index]), w=raw(200), index=index)


@gain("E", X)
def triangle_from_a_vector():
    def product(m, x):
        w = x.new_zeros(48, 48)
        rows, columns = torch.tril_indices(48, 48)
        w[rows, columns] = m.w
        return fn.linear(x, w)

    return Net(product, w=raw(48 * 49 // 2))


@gain("E", X)
def scattered_weights():
    places = torch.randperm(32 * 48)[:512]

    def product(m, x):
        w = torch.zeros(32 * 48).scatter(0, m.places, m.w).view(32, 48)
        return fn.linear(x, w)

    return Net(product, w=raw(512), places=places)


@gain("E", X)
def permuted_columns():
    return Net(lambda m, x: fn.linear(x, m.w[:, m.order]), w=raw(32, 48), order=torch.randperm(48))


@gain("E", X)
def flipped():
    return Net(lambda m, x: fn.linear(x, m.w.flip(1)), w=raw(32, 48))


@gain("E", X, seeds=64)
def two_layers_in_one_vector():
    """A flat parameter: both layers have 48 inputs."""

    def product(m, x):
        first, second = m.flat.split([48 * 48, 32 * 48])
        return fn.linear(fn.linear(x, first.view(48, 48)), second.view(32, 48))

    return Net(product, flat=raw(80 * 48))
