"""What the graph notes of each call, whole: its operands, its uses of parameters, its numbers.

That it is right is held by the tests beside this one; here it is held whole, so that nothing of it
changes unseen. After a change on purpose, run `python -m tests.dataflow.test_calls`, which writes
calls.txt, and read the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tests.whole_tables import VERSION, expected
from torch import Tensor, nn
from torch.nn import functional as fn

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Linear, Node, Origin, Use
from goodinit.trace import tensors_in, trace

FILE = Path(__file__).parent / "calls.txt"


class Net(nn.Module):
    """Parameters, constants and a function of them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        for name, shape in {
            "w": (6, 4), "v": (4, 4), "p": (4,), "stack": (3, 4, 6), "kernel": (4, 2, 3),
            "table": (9, 4), "long": (24,),
        }.items():  # fmt: skip
            setattr(self, name, nn.Parameter(torch.full(shape, 0.5)))
        for name, value in {
            "mask": torch.eye(4), "point": torch.tensor(0.5), "row": torch.arange(4.0),
            "ids": torch.arange(5), "twos": torch.full((4,), 2), "halves": torch.full((4,), 0.5),
        }.items():  # fmt: skip
            self.register_buffer(name, value)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


X, MAPS, IDS = torch.ones(2, 5, 4), torch.ones(2, 4, 9), torch.tensor([[1, 2, 0]])


def written(m: Net, x: Tensor) -> Tensor:
    y = torch.zeros(2, 5, 6)
    y[:, :, :4] = x
    y[:, 0] = m.w[:, 0]
    return y


def written_in_place(m: Net, x: Tensor) -> Tensor:
    y = (x @ m.v).clone()
    y[:, 1:3].mul_(2.0)
    return y.relu_()


def parts_of(m: Net, x: Tensor) -> Tensor:
    q, k, v = fn.linear(x, torch.cat([m.v, m.v, m.v])).chunk(3, -1)
    return (q @ k.mT / 2).softmax(-1) @ v


CASES: dict[str, tuple[Tensor, Callable[..., Any]]] = {
    "linear": (X, lambda m, x: fn.linear(x, m.v, m.p)),
    "linear of a part": (X, lambda m, x: fn.linear(x, m.w[2:5])),
    "linear of columns": (X, lambda m, x: fn.linear(x[..., :2], m.w[1::2, 2:])),
    "matmul on the left": (X, lambda m, x: m.v @ x.mT),
    "two parameters": (X, lambda m, x: x @ (m.w @ m.v).mT),
    "two parameters that multiply": (X, lambda m, x: x @ m.v @ m.v),
    "a matrix of a vector": (X, lambda m, x: x @ m.long.view(4, 6)),
    "a reshape that copies": (X, lambda m, x: x @ m.w.mT.reshape(2, 12).reshape(4, 6)),
    "a stack": (X, lambda m, x: torch.einsum("bti,eio->ebto", x, m.stack)),
    "one of a stack": (X, lambda m, x: x @ m.stack[1]),
    "a flat stack": (X, lambda m, x: x @ m.w.view(3, 2, 4).mT[1]),
    "einsum without an arrow": (X, lambda m, x: torch.einsum("bti,io", x, m.v)),
    "einsum of three": (X, lambda m, x: torch.einsum("bti,ij,btj->bt", x, m.v, x)),
    "einsum of a diagonal": (X, lambda m, x: torch.einsum("bti,i->bti", x, m.p)),
    "einsum of heads": (X, lambda m, x: torch.einsum("bti,eij,ejk->bek", x, m.stack, m.stack.mT)),
    "einsum of signals": (X, lambda m, x: torch.einsum("...qc,...kc->...qk", x, x)),
    "tensordot": (X, lambda m, x: torch.tensordot(x, m.stack, dims=([2], [1]))),
    "bilinear": (X, lambda m, x: fn.bilinear(x, x[..., :3], m.stack.permute(2, 1, 0), m.long[:6])),
    "baddbmm": (X, lambda m, x: torch.baddbmm(m.p, x, m.stack[:2, :, :4], alpha=0.5)),
    "addbmm": (X, lambda m, x: torch.addbmm(m.p, x, m.stack[:2, :, :4])),
    "inner": (X, lambda m, x: torch.inner(x, m.w)),
    "convolution": (MAPS, lambda m, x: fn.conv1d(x, m.kernel, m.p, stride=2, groups=2)),
    "convolution, transposed": (
        MAPS, lambda m, x: fn.conv_transpose1d(x, m.kernel, stride=2, groups=2),
    ),
    "attention": (X, lambda m, x: fn.scaled_dot_product_attention(x @ m.v, x, x @ m.v, scale=0.5)),
    "attention by hand": (X, parts_of),
    "a table": (IDS, lambda m, i: fn.embedding(i, m.table)),
    "a table by positions": (IDS, lambda m, i: m.table[torch.arange(3)] + fn.embedding(i, m.table)),
    "a table by a buffer": (IDS, lambda m, i: fn.embedding(m.ids[:3], m.table).expand(1, 3, 4)),
    "a bag": (IDS, lambda m, i: fn.embedding_bag(i, m.table)),
    "a table of rows": (IDS, lambda m, i: torch.index_select(m.table, 0, i[0])),
    "counting": (IDS, lambda m, i: m.table[(i > 0).long().cumsum(1)]),
    "rows of a product": (X, lambda m, x: (x @ m.v)[:, m.ids[:2]]),
    "a bias": (X, lambda m, x: x @ m.v + m.p),
    "half a bias": (X, lambda m, x: (x @ m.v)[..., :2] + m.p[2:]),
    "a bias less": (X, lambda m, x: m.p - x @ m.v),
    "alpha": (X, lambda m, x: torch.add(x, m.p, alpha=2)),
    "a scale and a number": (X, lambda m, x: (x * (1 + m.p)) / 8),
    "a scale of a product": (X, lambda m, x: x * m.p + x * 2),
    "numbers": (X, lambda m, x: ((x * 3 - 2) / 4 + 1) ** 2),
    "divided by nothing": (X, lambda m, x: x / 0.0 + x * m.point),
    "constants": (X, lambda m, x: x * m.mask[0] + x / m.row.add(1) + m.row),
    "masks": (X, lambda m, x: torch.where(m.row > 1, x, 0.0).masked_fill(m.row > 2, 0.0)),
    "masks that leave": (X, lambda m, x: torch.where(m.row > 0, torch.zeros(4), x)),
    "masks of infinity": (X, lambda m, x: x.masked_fill(m.row > 1, -torch.inf) * m.row),
    "addcmul": (X, lambda m, x: torch.addcmul(m.p, x, m.row, value=2)),
    "lerp": (X, lambda m, x: torch.lerp(x, x @ m.v, 0.25) + torch.lerp(x, m.row, m.point)),
    "lerp by tensors": (
        X, lambda m, x: torch.lerp(x, x @ m.v, m.row) + torch.lerp(x, x @ m.v, m.p.detach()),
    ),
    "rsub": (X, lambda m, x: torch.rsub(x, m.row, alpha=3) + (1 - x)),
    "sub with alpha": (X, lambda m, x: torch.sub(x, x @ m.v, alpha=0.5)),
    "sums of numbers": (X, lambda m, x: 2.0 + x + m.point),
    "sums of parameters": (X, lambda m, x: x @ (m.v + m.p) + x @ (m.v * 2 - m.mask)),
    "cat": (X, lambda m, x: torch.cat([x, torch.ones(2, 5, 1), torch.zeros(2, 5, 1)], -1)),
    "cat of a token": (X, lambda m, x: torch.cat([m.p.expand(2, 1, 4), x @ m.v], 1)),
    "cat of weights": (X, lambda m, x: x @ torch.cat([m.v, m.w]).mT),
    "stack": (X, lambda m, x: torch.stack([x, x @ m.v], 1)),
    "padding": (X, lambda m, x: fn.pad(fn.pad(x, (1, 1)), (0, 2), value=0.5)),
    "padding by reflection": (MAPS, lambda m, x: fn.pad(x, (1, 1), mode="reflect")),
    "writing": (X, written),
    "writing in place": (X, written_in_place),
    "scatter": (X, lambda m, x: torch.zeros(2, 5, 8).scatter(2, m.ids[:4].expand(2, 5, 4), x)),
    "scatter on ones": (X, lambda m, x: torch.ones(2, 5, 8).slice_scatter(x, 2, 0, 4)),
    "index_add": (X, lambda m, x: torch.zeros(2, 9, 4).index_add(1, m.ids, x)),
    "index_add to a signal": (X, lambda m, x: x.index_add(1, m.ids, x)),
    "views": (X, lambda m, x: (x @ m.v).unflatten(-1, (2, 2)).transpose(1, 2).flatten(2)[:, 1:]),
    "expanded": (X, lambda m, x: x * m.p[None, :2, None].expand(1, 2, 2).reshape(4)),
    "flips": (X, lambda m, x: (x @ m.v).flip(-1).roll(1, -1).repeat(1, 1, 2)),
    "triangles": (X, lambda m, x: (x @ m.v.tril()).tril() + x.cumsum(1)),
    "Fourier": (X, lambda m, x: torch.fft.rfft(x @ m.v, dim=1).real),
    "Fourier of a mask": (X, lambda m, x: torch.view_as_real(torch.fft.rfft(x)).abs()),
    "differences": (X, lambda m, x: torch.diff(x, dim=1)),
    "reductions": (X, lambda m, x: x.mean(1) + x.max(1).values + x.norm(dim=1)),
    "maximum of two": (X, lambda m, x: torch.max(x, x @ m.v) + torch.max(m.p, m.row)),
    "clamps": (X, lambda m, x: x.clamp(min=0) + x.clamp(0, 6) + x.clamp(-1) + x.clamp_min(0)),
    "relu by a maximum": (X, lambda m, x: torch.maximum(x, torch.zeros_like(x))),
    "activations": (
        X, lambda m, x: fn.leaky_relu(x, 0.2) + fn.gelu(x, approximate="tanh") + fn.softplus(x, 2),
    ),
    "more activations": (
        X, lambda m, x: fn.hardtanh(x, 0, 6) + fn.elu(x, alpha=2.0) + fn.threshold(x, 0.5, 1.0),
    ),
    "a slope": (MAPS, lambda m, x: fn.prelu(x, m.p)),
    "bends": (X, lambda m, x: (x * m.p.exp()).exp().log().sqrt().rsqrt().reciprocal()),
    "bent often": (X, lambda m, x: x * m.p.exp().log().exp().log().exp().log().exp().log()),
    "norms": (X, lambda m, x: fn.layer_norm(x, (4,), m.p, m.p) + fn.rms_norm(x, (4,), 1 + m.p)),
    "batch norm": (
        MAPS, lambda m, x: fn.batch_norm(x, torch.zeros(4), torch.ones(4), m.p, m.p),
    ),
    "group norm": (MAPS, lambda m, x: fn.group_norm(x, 2, m.p, m.p)),
    "a generated weight": (
        X, lambda m, x: fn.linear(x, (x[0, 0] @ m.stack[0]).repeat(4).view(6, 4)),
    ),
    "a matrix of features": (X, lambda m, x: (x[0, :4] @ m.v).mT @ (x[0, :4] @ m.v)),
    "a signal from a parameter": (IDS, lambda m, i: fn.linear(m.p[None], m.v) + m.table[i].sum()),
    "zeros of a shape": (X, lambda m, x: torch.zeros_like(x) + torch.ones_like(m.p)),
    "topk": (X, lambda m, x: torch.topk(x @ m.v, 2).values @ m.v[:2]),
    "detached": (X, lambda m, x: x + (x.sign() - x).detach()),
    "many parameters": (X, lambda m, x: x @ torch.cat([m.v[i : i + 1] for i in range(4)] * 3).mT),
}  # fmt: skip


def graph_of(net: nn.Module, x: Tensor) -> Graph:
    torch.manual_seed(0)  # what a model draws is noted, too
    tensors = [*net.parameters(), *net.buffers()]
    numbers = {id(t): n for n, t in enumerate(tensors)}
    inputs = (x,)
    entering = frozenset(id(t) for t in tensors_in(inputs))
    run, graph = trace(net, inputs, lambda: Graph(numbers, entering), {id(net): ""})
    assert run.how == "meta", run.reason
    return graph


def origin_text(origin: Origin) -> str:
    whose = f"p{origin.param}" if origin.param is not None else f"@{origin.node}"
    axes = ",".join("".join(map(str, over)) or "-" for over in origin.axes)
    box = ",".join(f"{start}:{stop}" for start, stop in origin.box)
    more = [f"+{origin.shift:g}"] * bool(origin.shift) + [*origin.bent]
    return " ".join(
        [f"{whose}[{box}]({axes})", *more, *([f"by {origin.made}"] * bool(origin.made))]
    )


def use_text(use: Use) -> str:
    axes = "/".join(
        "".join(map(str, part)) for part in (use.inputs, use.outputs, use.window, use.batch)
    )
    marks = {
        "counted": use.counted, f"groups {use.groups}": use.groups > 1, use.doubt: use.doubt,
        f"stride {use.stride}": use.stride > 1, "transposed": use.transposed,
        f"places {use.places}": use.places, "computed": use.operand is not None,
    }  # fmt: skip
    said = "".join(f"; {mark}" for mark, holds in marks.items() if holds)
    sizes = (use.fan_in, use.fan_out, use.groups, use.stride, use.factors)
    sums = f" {axes} {use.fan_in:g}>{use.fan_out:g}" if use.role == "contract" else ""
    sums = sums if use.role == "contract" or sizes == (1,) * 5 else f" {sizes}"
    return f"{use.role} {origin_text(use.origin)}{sums}{said}"


def node_text(node: Node) -> list[str]:
    shown = {
        "label": node.label, "number": node.number, "square": node.square, "tally": node.tally,
        "labels": node.labels, "stacked": node.stacked or None, "generates": node.generates,
    }  # fmt: skip
    marks = [f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
             for name, value in shown.items() if value not in (None, "", ())]  # fmt: skip
    if isinstance(node.linear, Linear):
        factors = ", ".join(f"{factor:.4g}" for factor in node.linear.factors)
        marks.append(f"linear ({factors}) + {node.linear.added:.4g} {node.linear.joins}")
    elif node.linear is not None:
        marks.append(f"unlisted {node.linear.name}")
    takes = ",".join(map(str, node.inputs))
    live = " live" * node.live
    head = f"{node.index} {node.function}({takes}) {node.role}{live} {node.shape}"
    own = [origin_text(o) for value in node.operands for o in value.origins]
    carried = [f"  of {text}" for text in dict.fromkeys(own)]
    return ["; ".join([head, *marks]), *carried, *(f"  {use_text(use)}" for use in node.uses)]


def all_calls() -> str:
    lines: list[str] = []
    for name, (x, function) in CASES.items():
        graph = graph_of(Net(function), x)
        called = (line for node in graph.nodes for line in node_text(node)
                  if node.function not in ("source", "unseen"))  # fmt: skip
        lines += [f"=== {name}", *called]
    return "\n".join([VERSION, *lines]) + "\n"


def test_each_call_is_noted_as_before() -> None:
    assert all_calls() == expected(FILE)


if __name__ == "__main__":
    FILE.write_text(all_calls(), encoding="utf-8")
