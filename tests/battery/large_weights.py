"""Weights of 2048 x 2048 that a module computes before it uses them, for test_large_weights.py."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as fn
from torch.nn.utils import parametrizations

import goodinit as gi

N = 2048
MARKED = "marked"

Make = Callable[[], tuple[Callable[["Net", Tensor], Tensor], dict[str, object]]]
CASES: dict[str, tuple[Make, str, float | str]] = {}


class Net(nn.Module):
    """Parameters (by their shapes), buffers and layers, and a function of these."""

    def __init__(self, function: Callable[[Net, Tensor], Tensor], parts: dict[str, object]) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, tuple):
                setattr(self, name, nn.Parameter(0.02 * torch.randn(part)))
            elif isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def add(name: str, right: float | str, weight: Callable[[Net], Tensor], **parts: object) -> None:
    """A case ``linear(x, weight(module))``; ``right`` is the fan of the first part, or a mark."""
    add_called(name, right, lambda m, x: fn.linear(x, weight(m)), **parts)


def add_called(
    name: str, right: float | str, function: Callable[[Net, Tensor], Tensor], **parts: object
) -> None:
    CASES[name] = (lambda: (function, made(parts)), next(iter(parts)), right)


def made(parts: dict[str, object]) -> dict[str, object]:
    """Return parts, of which functions are called in the process that measures the case."""
    layer = nn.Module
    return {
        name: part() if callable(part) and not isinstance(part, (Tensor, layer)) else part
        for name, part in parts.items()
    }


def square(*names: str) -> dict[str, object]:
    return dict.fromkeys(names, (N, N))


def full(value: float, *shape: int) -> Callable[[], nn.Parameter]:
    return lambda: nn.Parameter(torch.full(shape, value))


def places() -> Tensor:
    return torch.arange(N)


# Factors. Each of k has the kth root of what they sum over.

add("a product and a weight", MARKED, lambda m: m.w + m.a @ m.b, **square("w", "a", "b"))
add("two factors", N, lambda m: m.a @ m.b, **square("a", "b"))
add("four factors", N, lambda m: m.a @ m.b @ m.c @ m.d, **square("a", "b", "c", "d"))
add("a chain of three", N, lambda m: torch.linalg.multi_dot([m.a, m.b, m.c]),
    **square("a", "b", "c"))  # fmt: skip
add("a chain of four", N, lambda m: torch.linalg.multi_dot([m.a, m.b, m.c, m.d]),
    **square("a", "b", "c", "d"))  # fmt: skip
add("an einsum of three", N, lambda m: torch.einsum("ij,jk,kl->il", m.a, m.b, m.c),
    **square("a", "b", "c"))  # fmt: skip
add_called("an einsum with the input", N, lambda m, x: torch.einsum("bi,ij,jk->bk", x, m.a, m.b),
           **square("a", "b"))  # fmt: skip
add("two products", 2**0.5 * N, lambda m: m.a @ m.b + m.c @ m.d, **square("a", "b", "c", "d"))
add("four terms", 4 * N, lambda m: m.a + m.b + m.c + m.d, **square("a", "b", "c", "d"))
add("low rank", (16 * N) ** 0.5, lambda m: m.a @ m.b, a=(N, 16), b=(16, N))
add("a product of low rank added", MARKED, lambda m: m.w + m.a @ m.b,
    w=(N, N), a=(N, 16), b=(16, N))  # fmt: skip
add("products multiplied", (N * 16 * 16) ** 0.25, lambda m: (m.a @ m.b) * (m.c @ m.d),
    a=(N, 16), b=(16, N), c=(N, 16), d=(16, N))  # fmt: skip
add("products of full rank multiplied", N**0.75, lambda m: (m.a @ m.b) * (m.c @ m.d),
    **square("a", "b", "c", "d"))  # fmt: skip
add("products multiplied, and added", MARKED, lambda m: m.w + (m.a @ m.b) * (m.c @ m.d),
    w=(N, N), a=(N, 16), b=(16, N), c=(N, 16), d=(16, N))  # fmt: skip
add("blocks of blocks", N**0.5, lambda m: torch.kron(m.a, m.b), a=(N // 32, N // 32), b=(32, 32))
add("blocks of blocks, added", MARKED, lambda m: m.w + torch.kron(m.a, m.b),
    w=(N, N), a=(N // 32, N // 32), b=(32, 32))  # fmt: skip
add("a core between two", (N * 64 * 64) ** (1 / 3), lambda m: m.a @ m.c @ m.b,
    a=(N, 64), c=(64, 64), b=(64, N))  # fmt: skip
add("monarch", 64, lambda m: torch.block_diag(*m.a) @ torch.block_diag(*m.b)[m.p],
    a=(32, 64, 64), b=(32, 64, 64), p=lambda: torch.randperm(N))  # fmt: skip
add("an outer product", N**0.5, lambda m: torch.outer(m.a, m.b), a=(N,), b=(N,))
add("multiplied by another", N**0.5, lambda m: m.a * m.b, **square("a", "b"))


def with_norm(m: Net) -> Tensor:
    """DoRA: all parameters are kept, since the norm of their sum divides it."""
    w = m.w + m.b @ m.a
    return m.g * w / w.norm(dim=1, keepdim=True)


add("a sum of which the norm is learned", "kept", with_norm,
    w=(N, N), b=(N, 16), a=(16, N), g=full(1.0, N, 1))  # fmt: skip
add("rotated in blocks", N, lambda m: torch.block_diag(*map(cayley, m.q)) @ m.w,
    w=(N, N), q=full(0.0, 32, 64, 64))  # fmt: skip


def cayley(w: Tensor) -> Tensor:
    skew, one = w - w.T, torch.eye(len(w))
    return torch.linalg.solve(one + skew, one - skew)


def reflected(m: Net) -> Tensor:
    w = torch.eye(N)
    for i in range(8):
        v = m.v[:, i : i + 1]
        w = w - 2 * (w @ v) @ v.T / (v * v).sum()
    return w


add("eight reflections", "any", reflected, v=(N, 8))
for name, function in {
    "Cayley's map": cayley,
    "an exponential": lambda w: torch.matrix_exp(w - w.T),
    "an orthogonal factor": lambda w: torch.linalg.qr(w)[0],
    "an inverse": torch.linalg.inv,
    "a third power": lambda w: torch.matrix_power(w, 3),
}.items():
    add(name, MARKED, lambda m, function=function: function(m.w), w=(N, N))
add_called("orthogonal", "any", lambda m, x: m.layer(x),
           layer=lambda: parametrizations.orthogonal(nn.Linear(N, N), orthogonal_map="cayley"),
           )  # fmt: skip

# Fourier transforms, and bases.

add("a transform of rows", N / 2, lambda m: torch.fft.fft(m.w, norm="ortho").real, w=(N, N))
add("a transform of both axes", N / 2, lambda m: torch.fft.fft2(m.w, norm="ortho").real, w=(N, N))
add("of a spectrum", N, lambda m: torch.fft.ifft2(torch.view_as_complex(m.w), norm="ortho").real,
    w=(N, N, 2))  # fmt: skip
add("filtered", N, lambda m: torch.fft.irfft(torch.fft.rfft(m.w) * m.f, n=N),
    w=(N, N), f=lambda: torch.ones(N // 2 + 1))  # fmt: skip
add("a fixed basis on both sides", N, lambda m: m.f @ m.w @ m.f.T,
    w=(N, N), f=lambda: torch.linalg.qr(torch.randn(N, N))[0])  # fmt: skip
add("a sum of learned bases", (4 * N) ** 0.5, lambda m: torch.einsum("k,koi->oi", m.c, m.b),
    b=(4, N, N), c=(4,))  # fmt: skip
add("coefficients of fixed bases", 4 * N, lambda m: (m.c @ m.f.flatten(1)).view(N, N),
    c=(4,), f=lambda: torch.randn(4, N, N))  # fmt: skip
add("running sums", N * (N + 1) / 2, lambda m: m.w.cumsum(1), w=(N, N))

# One parameter, number by number or moved.

add("a mask", (N + 1) / 2, lambda m: m.w * m.f, w=(N, N), f=lambda: torch.ones(N, N).tril())
add("equalized", 1, lambda m: m.w * N**-0.5, w=(N, N))
add("a gate that is kept", N / 4, lambda m: m.w * m.g.sigmoid(), w=(N, N), g=full(0.0, N, N))
add("factors of rows and columns", N, lambda m: m.w * torch.outer(m.a, m.b),
    w=(N, N), a=full(1.0, N), b=full(1.0, N))  # fmt: skip
add("noise that is learned", MARKED, lambda m: m.w + m.s * m.e,
    w=(N, N), s=full(0.01, N, N), e=lambda: torch.randn(N, N))  # fmt: skip
add("symmetric", N, lambda m: m.w.triu() + m.w.triu(1).T, w=(N, N))
add("antisymmetric", 2 * (N - 1), lambda m: m.w - m.w.T, w=(N, N))
add("circulant", N, lambda m: m.w[(places()[:, None] - places()) % N], w=(N,))
add("one number for each distance", N, lambda m: m.w[places()[:, None] - places() + N - 1],
    w=(2 * N - 1,))  # fmt: skip
add("blocks on the diagonal", 64, lambda m: torch.block_diag(*m.w), w=(32, 64, 64))
add("zeros beside it", N / 2, lambda m: fn.pad(m.w, (0, N // 2)), w=(N, N // 2))
add("repeated", N, lambda m: m.w.repeat(32, 32), w=(N // 32, N // 32))
add("set among zeros", N / 2, lambda m: torch.zeros(N, N).masked_scatter(m.f, m.w),
    w=(N * N // 2,), f=lambda: torch.arange(N * N).view(N, N) % 2 == 0)  # fmt: skip
add("a norm by hand", "any", lambda m: m.g * m.w / m.w.norm(dim=1, keepdim=True),
    w=(N, N), g=full(1.0, N, 1))  # fmt: skip
add("rows of norm 1", "any", lambda m: m.w * torch.rsqrt(m.w.square().sum(1, keepdim=True) + 1e-8),
    w=(N, N))  # fmt: skip
add("standardized", MARKED,
    lambda m: (m.w - m.w.mean(1, keepdim=True)) / m.w.std(1, keepdim=True), w=(N, N))  # fmt: skip
add("signs", N * 2 / torch.pi, lambda m: m.w.sign() * m.w.abs().mean(), w=(N, N))


def three_values(m: Net) -> Tensor:
    size = m.w.abs().mean()
    return m.w + ((m.w / size).round().clamp(-1, 1) * size - m.w).detach()


def sinkhorn(w: Tensor, steps: int) -> Tensor:
    w = w.exp()
    for _ in range(steps):
        w = w / w.sum(1, keepdim=True)
        w = w / w.sum(0, keepdim=True)
    return w


add("three values", "any", three_values, w=(N, N))
for name, function in {
    "squared": torch.square,
    "tanh": torch.tanh,
    "softplus": fn.softplus,
    "shares": lambda w: w.softmax(1),
    "random shares": lambda w: fn.gumbel_softmax(w, dim=1),
    "running products": lambda w: w.cumprod(1),
    "doubly stochastic": lambda w: sinkhorn(w, 3),
    "doubly stochastic after twenty steps": lambda w: sinkhorn(w, 20),
}.items():
    add(name, MARKED, lambda m, function=function: function(m.w), w=(N, N))

# Met by the data before their sums are.

add_called("multiplied and summed", N, lambda m, x: (x[:, None] * m.w).sum(-1), w=(N, N))


def filtered(m: Net, x: Tensor) -> Tensor:
    channels = torch.fft.rfft(x.expand(N, N)[None])
    return torch.fft.irfft(channels * torch.fft.rfft(m.w), n=N)


add_called("one filter for each channel", N, filtered, w=(N, N))
add_called("generated", 16 * N, lambda m, x: fn.linear(x, m.layer(m.z).view(N, N)),
           layer=lambda: nn.Linear(16, N * N, bias=False),
           z=lambda: nn.Parameter(torch.randn(16)))  # fmt: skip


def measure(name: str) -> None:
    """Print the CPU seconds that a plan takes, its memory in weights, the fan, and the mark."""
    torch.set_num_threads(1)
    small = Net(lambda m, x: fn.linear(x, m.w + m.a @ m.b), dict.fromkeys("wab", (32, 32)))
    gi.plan(small, "lecun", inputs=torch.randn(2, 32))  # imports
    make, asked, _ = CASES[name]
    torch.manual_seed(0)
    net, x = Net(*make()), torch.randn(1 if "channel" in name else 2, N)
    largest = max(N * N, *(p.numel() for p in net.parameters()))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    plan = gi.plan(net, "lecun", inputs=x)
    seconds = time.process_time() - start
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    row = plan[asked] if asked in plan else plan[f"{asked}.weight"]
    print(
        seconds,
        kib * 256 / largest,
        row.fan_in or 0.0,
        row.guessed,
        isinstance(row.scheme, gi.Keep),
        sep="\t",
    )


if __name__ == "__main__":
    measure(sys.argv[1])
