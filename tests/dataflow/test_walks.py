"""What is read off a graph, whole: walks, norms by hand, zeros, and the tape of computed weights.

That it is right is held by the tests beside this one; here it is held whole, so that nothing of it
changes unseen. After a change on purpose, run this file, which writes walks.txt, and read the
difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tests.dataflow.test_calls import CASES, Net, X, graph_of
from tests.dataflow.test_calls import node_text as noted
from tests.dataflow.test_norms import NORMS, ROWS, SCALES, ms, rms
from tests.dataflow.test_norms import Net as Factors
from tests.whole_tables import VERSION, expected
from torch import Tensor
from torch.nn import functional as fn

from goodinit.dataflow import norms, traversal
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.learning import Step, steps_of
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.replay import ReplayError
from goodinit.dataflow.response import response_of
from goodinit.dataflow.tape import Entry, Source

FILE = Path(__file__).parent / "walks.txt"


def gated(m: Net, x: Tensor) -> Tensor:
    y = fn.layer_norm(x, (4,), m.p) @ m.v
    return x + (y.sigmoid() * y) @ m.v


def routed(m: Net, x: Tensor) -> Tensor:
    shares = (x @ m.v).softmax(-1)
    top, ids = shares.topk(2, -1)
    top = top / top.sum(-1, keepdim=True)
    made = torch.stack([x @ m.stack[n, :, :4] for n in range(3)], -2)
    return (
        made.gather(-2, ids[..., None].clamp(max=2).expand(-1, -1, -1, 4)) * top[..., None]
    ).sum(-2)


def highway(m: Net, x: Tensor) -> Tensor:
    for _ in range(2):
        gate = torch.sigmoid(x @ m.v)
        x = gate * x + (1 - gate) * (x @ m.v).tanh()
    return x


def latents(m: Net, x: Tensor) -> Tensor:
    q = m.w[None, :, :].expand(2, 6, 4)
    for _ in range(2):
        q = q + fn.scaled_dot_product_attention(q @ m.v, x @ m.v, x @ m.v) @ m.v
    return q[:, 0]


def heads_apart(m: Net, x: Tensor) -> Tensor:
    q, k, v = ((x @ m.v).unflatten(-1, (2, 2)).transpose(1, 2) for _ in range(3))
    scores = q @ k.mT * 2**-0.5
    mixed = scores.masked_fill(m.row[:1] > 0, -1e4).softmax(-1) @ v
    return mixed.transpose(1, 2).flatten(2) @ m.v


def noisy(m: Net, x: Tensor) -> Tensor:
    y = x @ m.v + 0.1 * torch.randn(2, 5, 4)
    return (y * (torch.rand(4) > 0.5).float() / 0.5 + m.p) @ m.v


def in_parts(m: Net, x: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    y = a @ m.v[:2] + b @ m.v[2:]
    return (y[:, :1].expand(2, 5, 4) * 3.0) @ m.v + y.repeat(1, 1, 2)[..., 2:6] @ m.v


def made_by_hand(m: Net, x: Tensor) -> Tensor:
    masked = m.v * m.mask + m.mask
    y = (x[..., None] * (m.v - m.v.mean(0))).sum(-2)
    z = torch.zeros(4, 4)
    z[:2] = m.w[:2] * 2
    return fn.linear(y, masked) + (x @ z) * m.p.exp()


def of_noise(m: Net, x: Tensor) -> Tensor:
    noise = torch.empty(4, 4).normal_().mul_(0.1)
    return x @ (m.v + noise) + (x * torch.empty_like(x).uniform_(0.9, 1.1) * m.p).sum(-1, True)


def spectral(m: Net, x: Tensor) -> Tensor:
    turned = torch.fft.rfft(x, dim=-1) * torch.view_as_complex(m.w[:3, :2].contiguous())
    return torch.fft.irfft(turned, n=4) @ m.v


def summed(m: Net, x: Tensor) -> Tensor:
    y = (x[..., None, :] * m.w).sum(-1)
    z = (x * m.p + x.flip(-1) * m.p).cumsum(-1)
    return torch.cat([y.relu(), z * 2, (x.unsqueeze(-2) * m.v * x[..., None]).mean(-1)], -1)


def writes_in_part(m: Net, x: Tensor) -> Tensor:
    y = (x @ m.v).clone()
    y[:, 0] = 0
    y[..., ::2].mul_(0)
    y[:, 1:3] += x[:, 1:3]
    y[:, 2] = x[:, 2] * 2
    y[:, 3:].zero_()
    y[:, :2].fill_(1.0)
    y[:, 4:] = m.row
    return y.add_(1.0)


def written_twice(m: Net, x: Tensor) -> Tensor:
    y = torch.zeros(2, 5, 8)
    y[..., :4] = x
    y[..., 4:] = x @ m.v
    z = torch.zeros(2, 9, 4)
    z[:, 1:6].add_(x)
    z[:, 2:7].sub_(x)
    w = x.new_zeros(2, 5, 4)
    w[:, :, 1::2].copy_(x[..., :2])
    w[0].copy_(x[0])
    return y[..., :4] + z[:, :5] + w


def filled(m: Net, x: Tensor) -> Tensor:
    y = torch.zeros_like(x).masked_fill_(m.row > 1, 2.0)
    y.index_fill_(2, m.ids[:2], 1.0)
    z = (x * 2).index_fill_(1, m.ids[:2], 0.0)
    z.masked_fill_(m.row > 2, 0.0)
    z[m.ids[:2]] = x[m.ids[:2]]
    u = torch.ones(2, 5, 4)
    u[:, :5] = x
    return y + z + u


def hypernetwork(m: Net, x: Tensor) -> Tensor:
    made = torch.cat([x[0, :1] @ m.stack[n, :, :4] for n in range(3)] + [x[0, :1] @ m.v])
    return fn.linear(x, made) + fn.linear(x, (x[0, :1] @ m.w.mT).repeat(4, 1)[:, :4])


def multihead(m: Net, x: Tensor) -> Tensor:
    y = x @ m.v
    weights = torch.cat([m.v, m.v, m.v]), m.long[:12]
    mixed, _ = fn.multi_head_attention_forward(
        y, y, y, 4, 2, *weights, None, None, False, 0.0, m.v, m.p, need_weights=False
    )
    return mixed + x


def lerps(m: Net, x: Tensor) -> Tensor:
    y = torch.lerp(x, x @ m.v, x.sigmoid()) + torch.lerp(x, x @ m.v, m.ids[0])
    z = torch.addcmul(x, x, m.row) + torch.addcmul(m.row, x, x) + torch.addcmul(m.row, m.row, x)
    return torch.add(y, m.ids[1:5], alpha=2) + z


def joined(m: Net, x: Tensor) -> Tensor:
    y = torch.cat([x, x @ m.v, m.row.expand(2, 1, 4), torch.zeros(2, 1, 4)], 1)
    z = torch.full((2, 5, 8), 0.5).scatter(2, m.ids[:4].expand(2, 5, 4), x)
    u = torch.ones(2, 5, 2).index_copy(2, m.ids[:2], x[..., :2])
    v = fn.pad(x, (-1, 3), value=2.0) + fn.pad(x, (0, 2), mode="replicate")[..., :6]
    return torch.cat([y[:, :5, :2], z[..., :2], u, v[..., :2], x.index_add(1, m.ids, x)], -1)


def mapped(m: Net, x: Tensor) -> Tensor:
    y = torch.vmap(lambda row: row * m.row * m.point + m.v @ row)(x[0])
    return torch.vmap(lambda row, w: row @ w * 2, (0, None))(y[None], m.v)


def integers(m: Net, x: Tensor) -> Tensor:
    places = m.ids[:5] * 2
    table = m.table[places % 9] + m.table[torch.zeros(5, dtype=torch.long)]
    chosen = (x @ m.v).argmax(-1)
    return (x + table) * m.table[chosen] + m.table[(x > 0).sum(-1)] + m.table[x.long()][..., 0, :]


def odd_functions(m: Net, x: Tensor) -> Tensor:
    y = torch.special.i0(x * m.p) + torch.trapezoid(x @ m.v, dim=1)[:, None]
    y = y + torch.cdist(x, x @ m.v).mean(-1, keepdim=True) + torch.cumulative_trapezoid(x).sum()
    y = y + torch.fft.fft(x).real @ torch.eye(4) + x @ torch.tensor([[0.5] * 4] * 4)
    return y + torch.linalg.solve(torch.eye(4) * 2, x.mT).mT + torch.searchsorted(m.row, x)


def of_states(m: Net, x: Tensor) -> Tensor:
    flat = [m.v.repeat(4, 1), m.v.repeat(4, 1), m.long[:16], m.long[:16]]
    first = torch.zeros(1, 2, 4)
    y, *_ = torch.lstm(x, (first, first), flat, True, 1, 0.0, False, False, True)
    z, *_ = torch.lstm(y, (x[None, :, 0], first), flat, True, 1, 0.0, False, False, True)
    return z + x @ m.v


def sizes_by_hand(m: Net, x: Tensor) -> Tensor:
    y = x * m.p / x.pow(2).sum(-1, keepdim=True).sqrt() * 2.0
    z = y / torch.einsum("btd,btd->bt", y, y)[..., None].sqrt() * m.p
    u = (z / (1 + z.abs().mean(-1, keepdim=True))) * m.p / (z.exp().sum(-1, keepdim=True) + 1e-6)
    v = u * (m.row + 1e-5).rsqrt() * m.p - u * torch.arange(4.0).add(1).rsqrt() * m.p
    return v / (v * v).mean(-1, keepdim=True).pow(0.5).clamp(min=1e-3) + 0.5 * m.p * v / v.std()


def experts_in_turn(m: Net, x: Tensor) -> Tensor:
    y = torch.einsum("bti,eio->ebto", x, m.stack).relu()
    z = torch.einsum("ebto,eoj->ebtj", y, m.stack.mT)
    u = torch.einsum("b...j,bij->b...i", z.transpose(0, 1), m.stack[:2].mT)
    v = torch.einsum("ij,jk,btk", m.v, m.v, x).sum() + torch.einsum("i,j,btj->bti", m.p, m.p, x)
    w = torch.einsum("bti,ir,rj,btj->bt", x, m.v, m.v, x)[..., None]
    return (u.sum(1)[..., :4] + v) * w + torch.einsum("bti,ij,jk,kl->btl", x, m.v, m.v, m.v)


def spectral_twice(m: Net, x: Tensor) -> Tensor:
    turned = torch.fft.rfft(torch.fft.rfft(x).conj().resolve_conj().imag * m.p[:3]) * m.p[0]
    kernel = torch.view_as_complex(m.w[:2, :2].contiguous())
    return torch.fft.irfft(turned * kernel, n=4) + torch.fft.irfft(turned.conj() * kernel, n=4)


def thin_parts(m: Net, x: Tensor) -> Tensor:
    y = torch.zeros(2, 1, 6)
    y[:, 0, :4] = x[:, 0]
    z = torch.zeros(2, 5, 6)
    z[:, :, :4].unsqueeze(0).copy_(x)
    u = torch.zeros(2, 5, 6)
    u[:, :1, :4] = x[:, :1]
    v = torch.zeros(1, 5, 6)
    v[0, :, 1:5] = x[0]
    return y + z + u + v


def broadcast(m: Net, x: Tensor) -> Tensor:
    return ((x @ m.v) * torch.ones(3, 1, 1, 1)).sum(0) @ m.v


def of_constants(m: Net, x: Tensor) -> Tensor:
    y = (x + m.twos) * m.twos + (x - m.halves * 2) / m.twos + torch.add(x, m.halves, alpha=3)
    return y + m.halves + torch.rsub(x, m.halves) + m.p + m.mask[:1] * x + (x + m.halves[:2].sum())


def noise_from_afar(m: Net, x: Tensor) -> Tensor:
    near, far = torch.randn(4), torch.rand(4)
    for _ in range(7):
        near, far = near.abs(), far.abs()
    return x * near + far.abs() + (m.v @ torch.randn(4)) + x @ torch.rand(4, 4)


def zero_first(m: Net, x: Tensor) -> Tensor:
    y = fn.linear(x, m.v, m.p) * m.row + torch.zeros(4)
    return fn.batch_norm(y.mT, None, None, m.p, m.p, training=True).mT * m.v.exp()[0] + m.p


WALKS: dict[str, tuple[Tensor, Callable[..., Any]]] = {f.__name__: (X, f) for f in (
    gated, routed, highway, latents, heads_apart, noisy, in_parts, made_by_hand, of_noise, spectral,
    summed, writes_in_part, written_twice, filled, zero_first, sizes_by_hand, noise_from_afar,
    hypernetwork, multihead, lerps, joined, mapped, integers, odd_functions, of_states,
    broadcast, of_constants, experts_in_turn, spectral_twice, thin_parts,
)}  # fmt: skip


def walk_text(graph: Graph, node: Node) -> Iterator[str]:
    """Yield what a node is said to be, and where the walks from it lead."""
    at = node.index
    said = {
        "passes": traversal.is_pass(node), "drawn": traversal.is_drawn(node),
        "noisy": traversal.is_noisy(graph, node), "squash": traversal.is_squash(graph, at),
        "shares": traversal.are_shares(graph, at), "slice": traversal.is_slice(graph, node),
        "gate": traversal.is_gate(graph, at), "normalized": norms.is_normalized(graph, at),
        "of mean square 1": norms.has_mean_square_of_one(graph, node),
    }  # fmt: skip
    yield from (name for name, holds in said.items() if holds)
    chains = {
        "from": [*traversal.passed_before(graph, at)][1:],
        "skips": [*traversal.skip_chain(graph, at)][1:],
        "made by": [n.index for n in traversal.back_to_contractions(graph, at)],
        "alone to": [n.index for n in traversal.only_consumers(graph, at)],
        "leads to": [n.index for n in traversal.walk_forward(graph, at, traversal.is_pass)],
    }
    yield from (f"{name} {','.join(map(str, chain))}" for name, chain in chains.items() if chain)
    if (number := traversal.number_after(graph, at)) != 1:
        yield f"times {number:.4g}"


def use_text(graph: Graph, use: Use) -> str:
    named = [f"p{use.param}", use.role]
    if use.role == "mul":
        named += ["norm"] * norms.is_weight_of_norm(graph, use)
        named += ["unit"] * norms.makes_unit_length(graph, use)
    if use.role == "contract":
        ratio = traversal.outputs_per_input(graph, [use.node, use.node], use.fan_out)
        named.append(f"{ratio:.4g} per input")
    named += [f"operand {use.operand} at {use.at}"] * (use.operand is not None or use.at > 0)
    return " ".join([*named, *([f"met {use.met}"] * (use.met is not None))])


def step_text(step: Step) -> str:
    marks = [name for name in ("constant", "moves", "learns") if getattr(step, name)]
    return " ".join(["step", *map(str, step.takes), "*", *step.factors, "+", *step.offsets, *marks])


def node_text(graph: Graph, node: Node, step: Step) -> list[str]:
    kept = [f"written {node.written:g}"] * bool(node.written) + ["overwrites"] * node.overwrites
    said = "; ".join([*kept, *walk_text(graph, node)])
    lines = [f"{node.index} {node.function}" + f": {said}" * bool(said)]
    lines += [f"  {step_text(step)}"] * node.live
    return [*lines, *(f"  {use_text(graph, use)}" for use in node.uses)]


def source_text(number: int, source: Source) -> str:
    what = f"p{source.param}" if source.param is not None else "live" if source.live else "constant"
    held = "" if source.value is None else f" = {source.value.abs().double().sum():.4g}"
    return f"  #{number} {what}{' kept' * source.kept} {tuple(source.shape)}{held}"


def entry_text(entry: Entry) -> str:
    marks = [name for name in ("writes", "live", "meets", "aside") if getattr(entry, name)]
    return " ".join([entry.name, str(entry.inputs), str(entry.outputs), *marks])


def tape_text(graph: Graph) -> Iterator[str]:
    tape = graph.recorder.tape
    yield from (source_text(*pair) for pair in tape.sources.items())
    yield from (f"  {n} {entry_text(entry)}" for n, entry in enumerate(tape.entries))
    if tape.entries:
        yield f"  signals {graph.recorder.signals}, taken {graph.recorder.taken}"
    met = sorted({u.met for node in graph.nodes for u in node.uses if u.met is not None})
    for first in met:
        try:
            found = response_of(tape, first)
        except ReplayError as error:
            yield f"  met {first}: {error}"
        else:
            names = " ".join(entry.name for entry in found.entries)
            yield f"  met {first}: {names} -> {found.targets} of {[*found.sources]}"


def size_by(calls: int, epsilon: float = 0.0) -> Callable[[Factors, Tensor], Tensor]:
    """A norm whose size takes so many calls more."""

    def run(m: Factors, x: Tensor) -> Tensor:
        size = x.pow(2)
        for n in range(calls):
            size = size.mean(-1, keepdim=True) if n == calls // 2 else size.clone()
        return x * (size + epsilon if epsilon else size).rsqrt() * m.w

    return run


def weight_before(products: int, turns: int = 0) -> Callable[[Factors, Tensor], Tensor]:
    """A weight that meets the size first, and the signal some products later."""

    def run(m: Factors, x: Tensor) -> Tensor:
        y = m.w * rms(x)
        for n in range(products):
            y = y * (2.0 + n)
        z = x
        for _ in range(turns):
            z = z.clone()
        return z * y

    return run


def factors_of(count: int) -> Callable[[Factors, Tensor], Tensor]:
    def run(m: Factors, x: Tensor) -> Tensor:
        y = x * rms(x)
        for _ in range(count):
            y = y * 2.0
        return y * m.w

    return run


LIMITS: dict[str, Callable[[Factors, Tensor], Tensor]] = {
    **{f"a size by {n} calls": size_by(n) for n in (1, 4, 5, 6, 7, 8, 9, 14, 16, 18)},
    **{f"a size and {epsilon:g}": size_by(1, epsilon) for epsilon in (0.1, 0.101, -0.1, -0.101)},
    **{f"a weight {n} products before": weight_before(n) for n in range(5)},
    **{f"a signal {n} calls before": weight_before(0, n) for n in (6, 7, 8, 9)},
    **{f"{n} factors": factors_of(n) for n in (9, 10, 18, 19, 20, 21, 22)},
    "of two sizes": lambda m, x: m.w * x * rms(x) / x.norm(dim=-1, keepdim=True),
    "of a larger size": lambda m, x: m.w * x / ms(x) ** 1.0,
    "of the cube of a root": lambda m, x: m.w * x * ms(x) ** -1.5,
    "of a fourth root": lambda m, x: m.w * x / (x**4).mean(-1, keepdim=True) ** 0.25,
    "of a square of squares": lambda m, x: m.w * x / (x.square() ** 2).mean(-1, True).sqrt(),
    "of a sum of both": lambda m, x: m.w * (x + m.g) * rms(x),
    "of what was added": lambda m, x: m.w * (x - x.relu()) * rms(x),
    "less its largest": lambda m, x: m.w * (x - x.amax(-1, keepdim=True)) * rms(x),
    "by running roots": lambda m, x: x * m.root.rsqrt() * m.w + x / m.var.log().sqrt() * m.g,
    "by a running mean": lambda m, x: x * m.mean.exp().reciprocal() * m.w,
    "of unit length, scaled": lambda m, x: x / (x * x).sum(-1, keepdim=True).sqrt() * 3 * m.w,
    "of unit length": lambda m, x: x / (x * x).sum(-1, keepdim=True).sqrt() * m.w,
    "less a mean or a number": lambda m, x: (
        m.w * (x - torch.maximum(x.mean(-1, True), m.root * 0)) * rms(x)
    ),
    "less a number or a mean": lambda m, x: (
        m.w * (x - torch.maximum(m.root * 0, x.mean(-1, True))) * rms(x)
    ),
    "by two sizes": lambda m, x: m.w * x / (ms(x) + x.abs().amax(-1, True)).sqrt(),
    "by two sizes, turned": lambda m, x: m.w * x / (x.abs().amax(-1, True) + ms(x)).sqrt(),
    "of a sum of two": lambda m, x: m.w * (x + x.relu()) * rms(x + x.relu()),
    "of a sum of two, of the first": lambda m, x: m.w * x * rms(x + x.relu()),
    "of a sum of two, of the second": lambda m, x: m.w * x.relu() * rms(x + x.relu()),
    "by a running sum": lambda m, x: x * (m.var + m.mean.sum()).rsqrt() * m.w,
    "by a running sum, turned": lambda m, x: x * (m.root.sum() + m.var).rsqrt() * m.w,
    "by vecdot": lambda m, x: x / torch.linalg.vecdot(x, x)[..., None].sqrt() * m.w,
    "two over a root": lambda m, x: x * (2 / ms(x).sqrt()) * m.w,
    "one over a length": lambda m, x: x * (1 / x.norm(dim=-1, keepdim=True)) * m.w,
}  # fmt: skip


def norm_text(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        said = [t for t in walk_text(graph, node) if "normalized" in t or "of mean square" in t]
        said += [use_text(graph, use) for use in node.uses if use.role == "mul"]
        if said:
            yield f"{node.index} {node.function}: {'; '.join(said)}"


def all_walks() -> str:
    lines: list[str] = []
    for name, function in {**NORMS, **SCALES, **LIMITS}.items():
        graph = graph_of(Factors(function), torch.ones(ROWS))
        said = list(norm_text(graph))
        lines += [f"=== {name}", *(said[-1:] if name in LIMITS else said)]
    for name, (x, function) in {**WALKS, **CASES}.items():
        graph = graph_of(Net(function), x)
        shapes = [f"p{n}" for n in range(99)]
        steps, outputs = steps_of(graph, shapes)
        lines += [f"=== {name} -> {sorted(outputs)}"]
        for node, step in zip(graph.nodes, steps, strict=True):
            if node.function not in ("source", "unseen"):
                lines += noted(node) if name in WALKS else []  # others are in calls.txt
                lines += node_text(graph, node, step)
        first = min((n.index for n in graph.nodes if n.live), default=0)
        last = max(outputs, default=0)
        on, looked = traversal.between(graph, first, [last])
        lines.append(f"on the way {sorted(on)} of {looked}")
        lines += tape_text(graph)
    return "\n".join([VERSION, *lines]) + "\n"


def test_each_graph_is_read_as_before() -> None:
    assert all_walks() == expected(FILE)


if __name__ == "__main__":
    FILE.write_text(all_walks(), encoding="utf-8")
