"""Plans of small models, whole: what each parameter gets and why, and what is found.

That it is right is held by the tests beside this one; here it is held whole, so that nothing of it
changes unseen. After a change on purpose, run this file, which writes whole_plans.txt, and read the
difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tests.mup.networks import NUMBERS, TOKENS, Gpt, Mlp
from tests.plans.whole_plan_models import (
    Net,
    attention,
    branches,
    gated_rnn,
    linears,
    mixed,
    normed,
    post_norm,
    raw,
    scaled,
    tied,
    two_layers,
    wide,
)
from tests.whole_tables import VERSION, expected
from torch import nn

import goodinit as gi
from goodinit.errors import GoodinitError
from goodinit.plans.rows import PlanRow, Rates
from goodinit.schemes.grown import DropUnits

FILE = Path(__file__).parent / "whole_plans.txt"
X, IDS = torch.ones(2, 5, 8), torch.tensor([[1, 2, 0]])
ALL = gi.Rule(gi.sel.all(), gi.Normal(0.1))


def counted(rows: int) -> gi.Plan:
    """Five numbers that nobody knows pick rows of a table: positions, if it has as many."""
    table = nn.Embedding(rows, 8)
    net = Net(lambda m, x: x + m.table(m.ids), table=table, ids=torch.arange(5))
    return gi.plan(net.to("meta"), "standard", inputs=X)


def mup(base: Any, rule: str = "mup", **more: Any) -> gi.Recipe:
    return gi.recipe(rule, base=base, **more)


def frozen(net: nn.Module, *names: str) -> nn.Module:
    for name in names:
        net.get_parameter(name).requires_grad_(False)
    return net


def ruled(*rules: gi.Rule) -> gi.Recipe:
    return gi.Recipe([ALL, *rules], "mine")


NORMAL, ONES = gi.Normal(0.5), gi.Ones()
PLANS: dict[str, Callable[[], gi.Plan]] = {
    # Rules, and what they leave.
    "standard": lambda: gi.plan(linears(8, 6, 3), "standard", inputs=X),
    "without inputs": lambda: gi.plan(linears(8, 6, 6, 3), "he"),
    "a rule that loses": lambda: gi.plan(linears(8, 6), ruled(gi.Rule("0.*", ONES), ALL)),
    "packed": lambda: gi.plan(
        attention(), ruled(gi.Rule(gi.sel.block("q"), gi.Zeros())), inputs=X
    ),
    "by depth": lambda: gi.plan(Mlp(8), "gpt2", inputs=NUMBERS),
    "unused": lambda: gi.plan(linears(8, 6), ruled(gi.Rule("1.weight", ONES))),
    "uncovered": lambda: gi.plan(linears(8, 6), gi.Recipe([gi.Rule("*.bias", ONES)])),
    "equal units": lambda: gi.plan(linears(8, 6), {"*.weight": gi.Normal(0.0, mean=0.5)}),
    "equal biases": lambda: gi.plan(linears(8, 6), {"*.weight": NORMAL, "*.bias": gi.Normal(0.0)}),
    "a fan of a bias": lambda: gi.plan(linears(8, 6), {"*": gi.HeNormal()}),
    "a range": lambda: gi.plan(linears(8, 6).half(), {"*": gi.Normal(1e5)}),
    "integers": lambda: gi.plan(Net(n=raw(3, value=2, dtype=torch.int64)), {"n": ONES}),
    "integers that are left": lambda: gi.plan(
        Net(n=raw(3, value=2, dtype=torch.int64), w=raw(4, 4)), "standard"
    ),
    "complex numbers": lambda: gi.plan(Net(z=raw(4, 4, dtype=torch.cfloat)), "standard"),
    "complex numbers that are drawn": lambda: gi.plan(
        Net(z=raw(4, 4, dtype=torch.cfloat)), {"z": gi.Normal(0.5)}
    ),
    "complex constants": lambda: gi.plan(
        Net(z=raw(4, 4, dtype=torch.cfloat)), {"z": gi.TruncatedNormal(0.5)}
    ),
    "nobody knows": lambda: gi.plan(Net(a=raw(4, 4), b=raw(3)), "standard"),
    "nothing": lambda: gi.plan(Net(e=raw(0, 4), l=nn.Linear(4, 4)), ruled()),
    "buffers": lambda: gi.plan(
        nn.Sequential(nn.BatchNorm1d(4), Net(kept=torch.ones(4))),
        ruled(gi.Rule("*kept", ONES, optional=True)),
    ),
    "buffers by a rule": lambda: gi.plan(
        nn.BatchNorm1d(4), ruled(gi.Rule(gi.sel.part("buffer"), gi.Zeros()))
    ),
    "a rule for a buffer alone": lambda: gi.plan(
        nn.BatchNorm1d(4), ruled(gi.Rule("running_mean", ONES))
    ),
    "torch's own": lambda: gi.plan(
        nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4), nn.MultiheadAttention(4, 2)), "torch_default"
    ),
    "no law of torch": lambda: gi.plan(Net(w=raw(4, 4)), "torch_default"),
    "weight norm": lambda: gi.plan(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), ruled(), inputs=torch.ones(2, 4)
    ),
    "weight norm of zeros": lambda: gi.plan(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), {"*": gi.Zeros()}
    ),
    "spectral norm": lambda: gi.plan(
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), ruled()
    ),
    "on meta": lambda: gi.plan(linears(8, 6).to("meta"), {"*.weight": NORMAL, "*": gi.Keep()}),
    "padding": lambda: gi.plan(nn.Embedding(9, 4, padding_idx=2), "standard"),
    "a product of two": lambda: gi.plan(
        Net(lambda m, x: x @ (m.u @ m.v), u=raw(8, 2), v=raw(2, 5)), "lecun", inputs=X
    ),
    "a parametrization with a parameter": lambda: gi.plan(
        scaled(), "standard", inputs=X
    ),
    "low-rank": lambda: gi.plan(
        Net(lambda m, x: m.l(x) + x @ m.a @ m.b, l=nn.Linear(8, 5), a=raw(8, 2),
            b=raw(2, 5, value=0.0)), "standard", inputs=X),
    "units that are dropped": lambda: gi.plan(
        linears(8, 8), {"*": NORMAL, "0.weight": DropUnits(0.5)}
    ),
    # Checkpoints.
    "keep": lambda: gi.plan(linears(8, 6, 3), "he", keep="0.*"),
    "keep nothing": lambda: gi.plan(linears(8, 6, 3), "he", keep="3.*"),
    "grown": lambda: gi.plan(
        linears(8, 6, 3), "he", keep={"0.weight": torch.ones(4, 8), "2.bias": torch.ones(3),
                                      "0.bias": 9 * torch.randn(4)}),
    "grown tables": lambda: gi.plan(
        nn.Embedding(9, 4, padding_idx=7), "standard", keep={"weight": torch.randn(5, 4) * 9}
    ),
    "rows like the old ones": lambda: gi.plan(
        nn.Embedding(9, 4), {"weight": gi.LikeRows()}, keep={"weight": torch.randn(5, 4)}
    ),
    "no old rows": lambda: gi.plan(nn.Embedding(9, 4), {"weight": gi.LikeRows()}),
    "fewer columns": lambda: gi.plan(
        nn.Embedding(9, 4), {"weight": gi.LikeRows()}, keep={"weight": torch.randn(9, 3)}
    ),
    "copies of rows": lambda: gi.plan(
        Net(lambda m, x: (x @ m.w).sum(0), w=raw(3, 8, 4)), {"w": gi.LikeRows()},
        inputs=X[:1, :3], keep={"w": torch.randn(8, 4)}),
    "copies": lambda: gi.plan(
        Net(lambda m, x: (x @ m.w).sum(0), w=raw(3, 8, 4)), {"w": DropUnits(0.5)},
        inputs=X[:1, :3], keep={"w": torch.randn(8, 4)}),
    "rows of parts": lambda: gi.plan(
        nn.LSTM(8, 8), {"*": gi.Zeros(), "weight_ih_l0": gi.LikeRows()},
        keep={"weight_ih_l0": torch.randn(32, 7)}),
    "counted": lambda: counted(5),
    "counted to the last row": lambda: counted(6),
    "not counted": lambda: counted(4),
    "shrunk": lambda: gi.plan(linears(8, 6), "he", keep={"0.weight": torch.ones(9, 8)}),
    "foreign keys": lambda: gi.plan(
        linears(8, 6), "he", keep={"0.weight": torch.ones(6, 8), "other": torch.ones(3)}
    ),
    "more foreign keys": lambda: gi.plan(
        linears(8, 6), "he",
        keep={"0.weight": torch.ones(6, 8), "fore": torch.ones(3), "0.biass": torch.ones(6)}),
    "keys with a prefix": lambda: gi.plan(
        linears(8, 6), "he", keep={"module.0.weight": torch.ones(6, 8)}
    ),
    "one key too much": lambda: gi.plan(
        linears(8, 6), "he", keep={"0.weight": torch.ones(6, 8), "0.weigth": torch.ones(3)}
    ),
    # Findings.
    "norms around 0": lambda: gi.plan(
        nn.Sequential(nn.LayerNorm(4), nn.BatchNorm1d(4)), ruled(gi.Rule("1.weight", ONES))
    ),
    "a tied table": lambda: gi.plan(tied(), {"*": gi.Normal(2.0)}, inputs=IDS),
    "a tied table of a factor": lambda: gi.plan(tied(by=0.1), {"*": gi.Normal(2.0)}, inputs=IDS),
    "a tied table that is narrow": lambda: gi.plan(tied(), {"*": gi.Normal(0.5)}, inputs=IDS),
    "a wide head": lambda: gi.plan(linears(8, 8, 3), {"*": gi.Normal(3.0)}, inputs=X),
    "a wide head that is divided": lambda: gi.plan(
        Net(lambda m, x: m.a(x.relu()) / 9, a=nn.Linear(8, 3)), {"*": gi.Normal(3.0)}, inputs=X
    ),
    "a large bias": lambda: gi.plan(
        linears(8, 8, 8, 3), {"*.weight": gi.LeCunNormal(), "*.bias": gi.Normal(3.1)}, inputs=X
    ),
    "a bias at the limit": lambda: gi.plan(
        linears(8, 8, 8, 3), {"*.weight": gi.LeCunNormal(), "*.bias": gi.Normal(2.99)}, inputs=X
    ),
    "a constant bias": lambda: gi.plan(
        linears(8, 8, 8), {"*.weight": gi.LeCunNormal(), "*.bias": gi.Constant(4.0)}, inputs=X
    ),
    "a bias before a norm": lambda: gi.plan(
        nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(5), nn.Linear(8, 8)),
        {"*.weight": gi.LeCunNormal(), "1.weight": ONES, "*.bias": gi.Normal(4.0)}, inputs=X),
    "a bias beside a weight of zeros": lambda: gi.plan(
        linears(8, 8, 8), {"*.weight": gi.Zeros(), "*.bias": gi.Normal(4.0)}, inputs=X
    ),
    "a bias in parts": lambda: gi.plan(
        attention(), {"*": gi.LeCunNormal(), "*bias": gi.Normal(9.0)}, inputs=X
    ),
    "saturated": lambda: gi.plan(
        linears(8, 8, 8, 3, function=nn.Tanh), {"*.weight": gi.Normal(4.0), "*.bias": gi.Zeros()},
        inputs=X),
    "a product of tables": lambda: gi.plan(
        Net(lambda m, i: (m.a(i) * m.b(i)).sum(-1), a=nn.Embedding(9, 64), b=nn.Embedding(9, 64)),
        {"*": gi.Normal(1.0)}, inputs=IDS),
    "one-hot attention": lambda: gi.plan(
        attention(64), {"*": gi.Normal(1.0)}, inputs=torch.ones(2, 9, 64)
    ),
    "attention of a kept key": lambda: gi.plan(
        attention(64), {"*": gi.Normal(1.0), "qkv.*": gi.Keep()}, inputs=torch.ones(2, 9, 64)
    ),
    "a deep stack": lambda: gi.plan(
        linears(*[8] * 31, function=nn.GELU), "he", inputs=X
    ),
    "a deep stack that is kept": lambda: gi.plan(
        linears(*[2] * 31, bias=False, function=nn.GELU), {"*": gi.Keep()}, inputs=X[..., :2]
    ),
    "a deep stack of shares": lambda: gi.plan(
        linears(*[8] * 6, function=nn.Sigmoid), "lecun", inputs=X
    ),
    "multiplied": lambda: gi.plan(
        Net(lambda m, x: m.c((9 * m.b((9 * m.a(x)).sin())).sin()), a=nn.Linear(8, 8),
            b=nn.Linear(8, 8), c=nn.Linear(8, 3)), "lecun", inputs=X),
    "narrow numbers": lambda: gi.plan(
        nn.Linear(8, 8, bias=False, dtype=torch.float8_e4m3fn, device="meta"),
        {"*": gi.Normal(1e-3)}),
    "a frozen layer": lambda: gi.plan(frozen(linears(8, 8, 3), "0.weight"), ruled()),
    "frozen layers that stay": lambda: gi.plan(
        frozen(linears(8, 8, 3), "0.weight", "0.bias"), "standard"
    ),
    "values that are meant": lambda: gi.plan(
        Net(lambda m, x: m.l(x * m.s + m.o), s=raw(8, value=0.1), o=raw(8, value=0.5),
            l=nn.Linear(8, 3)), "standard", inputs=X),
    "values that are lost": lambda: gi.plan(
        Net(lambda m, x: m.l(x * m.s), s=raw(8, value=0.1), l=nn.Linear(8, 3)).to("meta"),
        "standard", inputs=X),
    "one prior for two heads": lambda: gi.plan(
        Net(lambda m, x: (m.a(x), m.b(x)), a=nn.Linear(8, 3), b=nn.Linear(8, 2)),
        ruled(gi.Rule(gi.sel.head_bias(), gi.PriorBias(0.1))), inputs=X),
    "a number that was drawn in complex": lambda: gi.plan(
        Net(z=raw(3, dtype=torch.cfloat), y=raw(3, dtype=torch.cfloat)), "standard"),
    "a gate that is meant": lambda: gi.plan(gated_rnn(), "standard"),
    "all of it frozen": lambda: gi.plan(nn.Linear(8, 8).requires_grad_(False), "standard"),
    "a transformer of torch's": lambda: gi.plan(
        nn.Transformer(8, 2, 1, 1, 16, batch_first=True), "torch_default"),
    "convolutions of torch's": lambda: gi.plan(
        nn.Sequential(nn.Conv2d(4, 6, (3, 2), groups=2), nn.ConvTranspose1d(6, 4, 3, groups=2),
                      nn.Bilinear(3, 5, 2), nn.PReLU(2, 0.1), nn.GRUCell(3, 4), nn.RMSNorm(3),
                      nn.MultiheadAttention(8, 2, kdim=4, vdim=2, add_bias_kv=True)),
        "torch_default"),
    "experts that are dropped": lambda: gi.plan(
        Net(experts=nn.ModuleList(two_layers() for _ in range(2)), up=nn.Linear(8, 4)),
        gi.Recipe([ALL, gi.Rule("experts.*.up.weight", DropUnits(0.5, "outputs")),
                   gi.Rule("experts.*.down.weight", DropUnits(0.5, "inputs"))], "mine")),
    "experts that share a module": lambda: gi.plan(
        Net(a=two_layers(), b=two_layers()),
        gi.Recipe([ALL, gi.Rule("*.up.weight", DropUnits(0.5, "outputs")),
                   gi.Rule("a.down.weight", DropUnits(0.5, "inputs"))], "mine")),
    "mimetic": lambda: gi.plan(
        Net(blocks=nn.ModuleList(nn.MultiheadAttention(8, 2) for _ in range(2))),
        gi.recipe("mimetic", head_dim=4)),
    "another family": lambda: gi.plan(linears(8, 8, 3), "vit", inputs=X),
    "another family, by types": lambda: gi.plan(nn.LSTM(8, 8), "resnet"),
    "layers that begin late": lambda: gi.plan(
        Net(layers=nn.ModuleDict({"2": Mlp(8, 1), "3": Mlp(8, 1)})), "gpt2"
    ),
    # Transfer.
    "mup": lambda: gi.plan(Mlp(32), mup(lambda: Mlp(8)), inputs=NUMBERS),
    "mup of itself": lambda: gi.plan(Mlp(8, 1), mup(None), inputs=NUMBERS),
    "completep of itself": lambda: gi.plan(Mlp(8, 1), mup(None, "completep"), inputs=NUMBERS),
    "mup by a width": lambda: gi.plan(Mlp(32, 1), mup(16), inputs=NUMBERS),
    "mup without inputs": lambda: gi.plan(Mlp(32, 1), mup(lambda: Mlp(8, 1))),
    "completep": lambda: gi.plan(Mlp(16, 4), mup(lambda: Mlp(8, 2), "completep"), inputs=NUMBERS),
    "completep by a width": lambda: gi.plan(
        Mlp(16, 4), mup(8, "completep", layers=2), inputs=NUMBERS
    ),
    "completep without inputs": lambda: gi.plan(Mlp(16, 4), mup(lambda: Mlp(8, 2), "completep")),
    "completep of a table that is tied": lambda: gi.plan(
        Gpt(32, 2, 2, True), mup(lambda: Gpt(16, 1, 2, True), "completep"), inputs=TOKENS
    ),
    "completep after norms": lambda: gi.plan(
        wide(post_norm, 16, 2), mup(lambda: wide(post_norm, 8, 1), "completep"), inputs=X
    ),
    "completep before norms": lambda: gi.plan(
        wide(partial(post_norm, first=True), 16, 3),
        mup(lambda: wide(partial(post_norm, first=True), 8, 1), "completep"), inputs=X),
    "norms that end": lambda: gi.plan(
        wide(normed, 16, 4), mup(lambda: wide(normed, 8, 2), "completep"), inputs=X
    ),
    "nothing that ends": lambda: gi.plan(
        wide(partial(normed, end=False), 16, 4),
        mup(lambda: wide(partial(normed, end=False), 8, 2), "completep"), inputs=X),
    "layers that end and others": lambda: gi.plan(
        wide(branches, 16, 4), mup(lambda: wide(branches, 8, 2), "completep"), inputs=X
    ),
    "attention that is scaled": lambda: gi.plan(
        wide(attention, 32, 2, None, 32), mup(lambda: wide(attention, 8, 2, None, 8)), inputs=X
    ),
    "attention that is divided": lambda: gi.plan(
        wide(attention, 32, 2, 1 / 16, 32), mup(lambda: wide(attention, 8, 2, 1 / 4, 8)),
        inputs=X),
    "all that grows": lambda: gi.plan(mixed(32), mup(lambda: mixed(8)), inputs=IDS),
    "all that grows, by a width": lambda: gi.plan(mixed(32), mup(8), inputs=IDS),
    "all that grows, without a flow": lambda: gi.plan(mixed(32), mup(lambda: mixed(8))),
    "values of the base that stay": lambda: gi.plan(
        Mlp(32, 1), mup(lambda: Mlp(8, 1), law=ruled(gi.Rule("up*", gi.Keep()))), inputs=NUMBERS
    ),
    "constants": lambda: gi.plan(
        Mlp(32, 1), mup(lambda: Mlp(8, 1), law={"*": gi.Constant(0.5)}), inputs=NUMBERS
    ),
    "torch's own, grown": lambda: gi.plan(
        Mlp(32, 1), mup(lambda: Mlp(8, 1), law="torch_default"), inputs=NUMBERS
    ),
    "torch's own, by a width": lambda: gi.plan(
        Mlp(32, 1), mup(8, law="torch_default"), inputs=NUMBERS
    ),
    "another base": lambda: gi.plan(Mlp(32, 1), mup(lambda: Mlp(8, 2)), inputs=NUMBERS),
    "a base of fewer layers": lambda: gi.plan(Mlp(32, 2), mup(lambda: Mlp(8, 1)), inputs=NUMBERS),
    "a base that fails": lambda: gi.plan(
        linears(8, 4, 2), mup(lambda: linears(7, 2, 2)), inputs=X
    ),
    "a checkpoint's rows grow": lambda: gi.plan(
        Mlp(32, 1), mup(lambda: Mlp(8, 1)), inputs=NUMBERS, keep={"up.0.weight": torch.ones(9, 32)}
    ),
}  # fmt: skip


# Rules that match nothing, of a model with two layers and a norm: what was meant?
UNUSED: dict[str, Any] = {
    "a module": "0", "a module of modules": "2", "an attribute": "bias", "several": "weights",
    "a class": "Linear", "a class and an attribute": "Linear.bias", "no class of torch's": "Net",
    "two names": "0.weight|2.0.bias", "two names, of which one is none": "0.weight, 3.bias",
    "a regular expression": "2\\..*", "one that fits nothing": "3.*bias", "another name": "wieght",
    "a module with several": "2.rnn", "two aspects": gi.sel.ends_residual() & gi.sel.head_bias(),
    "a type": gi.sel.type(nn.Conv2d), "adapters": gi.sel.kind("adapter"),
    "heads": gi.sel.head_bias(), "ends": gi.sel.ends_residual(),
    "activations": gi.sel.followed_by("relu"),
    "a buffer's kind": gi.sel.kind("norm") & gi.sel.name("1.running*"),
}  # fmt: skip


def unused(where: Any, **more: Any) -> gi.Plan:
    inner = Net(lambda m, x: getattr(m, "0")(x), **{"0": nn.Linear(6, 3), "rnn": nn.LSTM(2, 2)})
    net = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), inner)
    return gi.plan(net, ruled(gi.Rule(where, ONES)), **more)


for title, place in UNUSED.items():
    PLANS[f"unused: {title}"] = partial(unused, place)
for title in ("adapters", "heads", "ends", "activations"):
    PLANS[f"unused, with inputs: {title}"] = partial(unused, UNUSED[title], inputs=torch.ones(3, 8))


def rates_text(rates: Rates | None) -> list[str]:
    if rates is None:
        return []
    found = (("adam", rates.adam), ("sgd", rates.sgd), ("eps", rates.eps))
    return [" ".join(f"{name} {n:.4g}" for name, n in found if n is not None)]


def row_text(row: PlanRow) -> str:
    """What a row is, where that isn't the usual; the rules by their schemes."""
    flags = ("guessed", "frozen", "buffer", "unresolved", "kept", "ends_residual")
    laws = [f"{part.name} {part.scheme!r}".strip() for part in row.parts()]
    rules = [rule.rpartition(" -> ")[2] for rule in row.rule.split("\n")]
    fans = row.fan_in and f"{row.fan_in:.4g}>{row.fan_out or 0:.4g}"
    more = {"tied": row.tied, "stored": row.stored, "zeros": row.zero_rows, "old": row.grown_from,
            "before": row.activation, "fans": fans, "lost": len(row.shadowed)}  # fmt: skip
    by = [f"by {', '.join(rules)}"] if rules not in (laws, [""]) else []
    said = [f"{row.kind} {row.part}", ", ".join(laws), *by, *filter(None, [row.why])]
    said += [*rates_text(row.rates), *(flag for flag in flags if getattr(row, flag))]
    return "; ".join([*said, *(f"{name} {value}" for name, value in more.items() if value)])


def plan_text(make: Callable[[], gi.Plan]) -> Iterator[str]:
    torch.manual_seed(0)
    try:
        plan = make()
    except GoodinitError as error:
        yield f"{type(error).__name__}: {error}"
        return
    alike: dict[str, str] = {}
    for row in plan:
        text = row_text(row)
        layer = f" [{row.layer} of {row.depth}]" if row.depth is not None else ""
        yield f"{row.name}{layer}: {f'as {alike[text]}' if text in alike else text}"
        alike.setdefault(text, row.name)
    yield from (f"{f.code} {f.severity} {f.where}: {f.cause} -> {f.remedy}" for f in plan.findings)


def all_plans() -> str:
    lines = [VERSION]
    for name, make in PLANS.items():
        lines += [f"=== {name}", *plan_text(make)]
    return "\n".join(lines) + "\n"


def test_each_plan_is_as_before() -> None:
    assert all_plans() == expected(FILE)


if __name__ == "__main__":
    FILE.write_text(all_plans(), encoding="utf-8")
