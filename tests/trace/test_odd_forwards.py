"""Forwards of many habits: each model runs, so each is planned, and no error blames it."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as fn
from torch.utils.checkpoint import checkpoint

import goodinit as gi
from goodinit.errors import TraceError
from goodinit.trace.run import OURS

# Scripting is deprecated, nested and sparse tensors are prototypes.
pytestmark = pytest.mark.filterwarnings("ignore")

META, REAL = "meta", "real"
ROWS, STEPS = (4, 8), (2, 8, 8)


class Net(nn.Module):
    """Two layers, a matrix, a vector, and a function of these and the input."""

    def __init__(self, function: Callable[[Any, Tensor], Any], **parts: Any) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.w, self.v = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(8))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("running", torch.zeros(8))
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


# Devices and dtypes.


def half_and_back(m: Net, x: Tensor) -> Tensor:
    m.a.double()
    y = m.a(x.double()).float()
    m.a.float()
    return y


def generator_of_a_device(m: Net, x: Tensor) -> Tensor:
    generator = torch.Generator(device=x.device).manual_seed(1)
    return m.a(x + torch.randn(x.shape, generator=generator, device=x.device))


def autocast(m: Net, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return m.b(fn.gelu(m.a(x)))


DEVICES: dict[str, Callable[[Net, Tensor], Any]] = {
    "module.to(device)": lambda m, x: m.a.to(x.device)(x),
    "self.to(device)": lambda m, x: m.to(x.device).a(x),
    "module.to(dtype)": lambda m, x: m.a.to(x.dtype)(x),
    "module.to(device, dtype)": lambda m, x: m.a.to(x.device, x.dtype)(x),
    "module.float()": lambda m, x: m.a.float()(x),
    "module.cpu()": lambda m, x: m.a.cpu()(x),
    "module.double() and back": half_and_back,
    "x.type(w.type())": lambda m, x: m.a(x.type(m.w.type())),
    "x.type(dtype)": lambda m, x: m.a(x.type(torch.float32)),
    "x.type(name)": lambda m, x: m.a(x.type("torch.FloatTensor")),
    "x.type(class)": lambda m, x: m.a(x.type(torch.FloatTensor)),
    "x.type() == name": lambda m, x: m.a(x) if x.type() == "torch.FloatTensor" else 1 / 0,
    "x.cuda() if x.is_cuda": lambda m, x: m.a(x.cuda() if x.is_cuda else x),
    "w.to(device, dtype)": lambda m, x: fn.linear(x, m.w.to(x.device, x.dtype)),
    "w.to(x)": lambda m, x: fn.linear(x, m.w.to(x)),
    "w.to(device=, dtype=)": lambda m, x: fn.linear(
        x, m.w.to(device=x.device, dtype=x.dtype, non_blocking=True)
    ),
    "x.to(device, None, False, True)": lambda m, x: m.a(x.to(x.device, None, False, True).mul_(2)),
    "device=str(device)": lambda m, x: m.a(x + torch.zeros(8, device=str(x.device))),
    "half": lambda m, x: fn.linear(x.half(), m.w.half()).float(),
    "autocast": autocast,
    "a generator on a device": generator_of_a_device,
    "channels last": lambda m, x: m.a(x[None, None].to(memory_format=torch.channels_last)),
    "data_ptr": lambda m, x: m.a(x) if x.data_ptr() != m.w.data_ptr() else x,
}  # fmt: skip


# Values that are asked for.


def until_it_settles(m: Net, x: Tensor) -> Tensor:
    h, steps = x, 0
    while steps < 9 and (h - m.a(h)).abs().max() > 1e-3:
        h, steps = torch.tanh(m.a(h)), steps + 1
    return m.b(h)


def asserted(m: Net, x: Tensor) -> Tensor:
    y = m.a(x)
    assert torch.isfinite(y).all()
    return m.b(y)


VALUES: dict[str, Callable[[Net, Tensor], Any]] = {
    "numpy": lambda m, x: m.a(x) * float(x.detach().numpy().mean()),
    "numpy of a parameter": lambda m, x: m.a(x) * float(m.w.detach().numpy().mean()),
    "item": lambda m, x: m.a(x) if x.sum().item() < 1e9 else x,
    "tolist": lambda m, x: m.a(x) * len(m.a(x).tolist()),
    "float": lambda m, x: m.a(x) * float(m.v[0]),
    "a slice as long as a value": lambda m, x: m.a(x)[: max(1, int(m.a(x).abs().max()))],
    "any": lambda m, x: m.a(x) if (m.a(x) > 0).any() else m.b(x),
    "a loop until it settles": until_it_settles,
    "assert": asserted,
    "unique": lambda m, x: m.b(m.a(x) * torch.unique((x * 3).round()).numel()),
    "tensor of numbers": lambda m, x: m.a(x) + torch.tensor([float(p.sum()) for p in m.w]),
    # Some packages switch the check off for the whole process.
    "distributions": lambda m, x: m.b(
        torch.distributions.Normal(m.a(x), m.v.exp(), validate_args=True).rsample()
    ),
    "bincount": lambda m, x: m.a(x) * torch.bincount(m.a(x).argmax(-1), minlength=8),
}


# Modules made, copied, compiled, scripted inside.


def made_and_kept(m: Net, x: Tensor) -> Tensor:
    m.late = nn.Linear(8, 8)
    return m.late(m.a(x))


def frozen_inside(m: Net, x: Tensor) -> Tensor:
    for p in m.a.parameters():
        p.requires_grad_(False)
    return m.a(x)


def in_threads(m: Net, x: Tensor) -> Tensor:
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(lambda layer: layer(x), (m.a, m.b)))  # pyright: ignore[reportReturnType]


def raising_inside(m: Net, x: Tensor) -> Tensor:
    try:
        return m.a(x[:, :3])
    except RuntimeError:
        return m.b(x)


def statistics(m: Net, x: Tensor) -> Tensor:
    m.count += 1
    m.running.mul_(0.9).add_(x.mean(0) * 0.1)
    return m.a(x - m.running)


def of_data(m: Net, x: Tensor) -> Tensor:
    m.a.weight.data = m.a.weight.data * 1.0
    m.a.weight.data.clamp_(-1, 1)
    return m.a(x)


def its_gradient(m: Net, x: Tensor) -> Tensor:
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        energy = m.b(torch.tanh(m.a(y))).sum()
        return torch.autograd.grad(energy, y, create_graph=True)[0]


def gate(x: Tensor, offset: Tensor) -> Tensor:
    return x * torch.sigmoid(x + offset)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, *grads):
        return 2 * ctx.saved_tensors[0] * grads[0]


MODULES: dict[str, Callable[[Net, Tensor], Any]] = {
    "a module made": lambda m, x: nn.Linear(8, 8)(m.a(x)),
    "a module made and kept": made_and_kept,
    "an activation made": lambda m, x: nn.Softmax(dim=-1)(nn.GELU()(m.a(x))),
    "a parameter made": lambda m, x: m.a(x) * nn.Parameter(torch.ones(8)),
    "a deep copy": lambda m, x: copy.deepcopy(m.a)(x) + m.a(x),
    "state_dict": lambda m, x: fn.linear(x, m.a.state_dict()["weight"]),
    "parameters()": lambda m, x: sum(fn.linear(x, p) for p in m.parameters() if p.dim() > 1),
    "frozen inside": frozen_inside,
    "isinstance": lambda m, x: fn.linear(x, m.w) if isinstance(m.w, nn.Parameter) else 1 / 0,
    "is_grad_enabled": lambda m, x: m.a(x) if torch.is_grad_enabled() else m.b(x),
    "training": lambda m, x: m.a(x) if m.training else m.b(x),
    "threads": in_threads,
    "an error that is caught": raising_inside,
    "running statistics": statistics,
    "data": of_data,
    "a scripted function": lambda m, x: torch.jit.script(gate)(m.a(x), m.v),
    "an autograd function": lambda m, x: m.b(Square.apply(m.a(x))),
    "checkpoint": lambda m, x: m.b(checkpoint(m.a, x, use_reentrant=False)),
    "checkpoint, reentrant": lambda m, x: m.b(checkpoint(m.a, x, use_reentrant=True)),
    "vmap": lambda m, x: torch.vmap(lambda row: m.w @ row)(x),
    "functional_call": lambda m, x: torch.func.functional_call(m.a, {"weight": m.w}, (x,)),
    "func.grad": lambda m, x: torch.func.grad(lambda y: m.b(torch.tanh(m.a(y))).sum())(x),
    "aten": lambda m, x: torch.ops.aten.addmm(m.v, x, torch.ops.aten.t(m.w)),
    "a dict": lambda m, x: {"y": m.a(x), "z": [m.b(x)]},
    "nothing": lambda m, x: None if m.a(x) is not None else x,
    "repr": lambda m, x: m.b(m.a(x) + 0 * len(f"{m.a(x)}")),
    "linalg": lambda m, x: x @ torch.linalg.qr(m.w)[0] @ torch.linalg.inv(m.w),
    "fft": lambda m, x: torch.fft.irfft(torch.fft.rfft(m.a(x)) * m.v[:5], n=8),
    "sparse": lambda m, x: torch.sparse.mm(torch.eye(4).to_sparse(), m.a(x)),
}


# Scans and slices.


def interleaved(even: Tensor, odd: Tensor) -> Tensor:
    out = even.new_empty(even.shape[0], even.shape[1] + odd.shape[1], *even.shape[2:])
    out[:, ::2], out[:, 1::2] = even, odd
    return out


def scan(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The associative scan of h = a * h + b: the last recursions have results of size 0."""
    n = a.shape[1]
    if n < 2:
        return a, b
    odd = scan(a[:, :-1:2] * a[:, 1::2], a[:, 1::2] * b[:, :-1:2] + b[:, 1::2])
    before = [part[:, :-1] if n % 2 == 0 else part for part in odd]
    even = before[0] * a[:, 2::2], a[:, 2::2] * before[1] + b[:, 2::2]
    heads = a[:, :1], b[:, :1]
    joined = [torch.cat(pair, 1) for pair in zip(heads, even, strict=True)]
    return interleaved(joined[0], odd[0]), interleaved(joined[1], odd[1])  # fmt: skip


def scanned(m: Net, x: Tensor) -> Tensor:
    return m.b(scan(torch.sigmoid(m.a(x)), m.a(x))[1])


def scanned_by_parameter(m: Net, x: Tensor) -> Tensor:
    return m.b(scan((-m.v.exp()).exp().expand_as(x), m.a(x))[1])


def scanned_in_place(m: Net, x: Tensor) -> Tensor:
    decay, state = torch.sigmoid(m.a(x)).mT.clone(), m.b(x).mT.clone()
    a, h = decay, state
    for _ in range(3):
        a, h = a.view(*a.shape[:2], -1, 2), h.view(*h.shape[:2], -1, 2)
        h[..., 1].add_(a[..., 1] * h[..., 0])
        a[..., 1].mul_(a[..., 0])
        a, h = a[..., 1], h[..., 1]
    return m.a(state.mT)


def shifted_and_added(m: Net, x: Tensor) -> Tensor:
    h = m.a(x)
    for step in (1, 2, 4):
        h = h + fn.pad(h[:, :-step], (0, 0, step, 0))
    return m.b(h)


def written_in_slices(m: Net, x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :3] = m.a(x[:, :3])
    y[:, 3:] += m.b(x[:, 3:])
    y[..., 0].mul_(2)
    return m.a(y)


def masked_copy(m: Net, x: Tensor) -> Tensor:
    w = m.w.clone()
    w[0] = 0
    w[:, ::2] *= 2
    return fn.linear(x, w)


SCANS: dict[str, Callable[[Net, Tensor], Any]] = {
    "a scan by a parameter": scanned_by_parameter,
    "a scan in place": scanned_in_place,
    "shifted and added": shifted_and_added,
    "flip": lambda m, x: m.b(torch.flip(m.a(torch.flip(x, (1,))), (1,)) + m.a(x)),
    "every second step": lambda m, x: torch.stack((m.a(x[:, ::2]), m.b(x[:, 1::2])), 2),
    "every second weight": lambda m, x: fn.linear(x[..., ::2], m.w[::2, 1::2]),
    "cumulative": lambda m, x: m.b(m.a(x).cumsum(1) + m.a(x).logcumsumexp(1) + m.a(x).cummax(1)[0]),
    "nothing in front": lambda m, x: m.b(torch.cat((m.a(x[:, :0]), m.a(x)), 1)),
    "a slice of size 0": lambda m, x: fn.linear(x, m.w) + fn.linear(x[..., :0], m.w[:, :0]),
    "written in slices": written_in_slices,
    "a copy with zeros": masked_copy,
    "rows of x": lambda m, x: sum(m.a(row) for row in x),
    "rows of a weight": lambda m, x: torch.stack([(x * row).sum(-1) for row in m.w], -1),
    "as_strided": lambda m, x: fn.linear(x, m.w.as_strided((8, 8), (1, 8))),
}  # fmt: skip


def planned(model: nn.Module, x: Tensor) -> gi.Plan:
    """A plan; the model runs before and after it, and is left as it was."""
    model(x)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    flags = [p.requires_grad for p in model.parameters()]
    plan = gi.plan(model, inputs=x)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], t) for name, t in after.items())
    assert [p.requires_grad for p in model.parameters()] == flags
    model(x)
    return plan


@pytest.mark.parametrize("function", DEVICES.values(), ids=DEVICES)
def test_devices_and_dtypes(function):
    torch.manual_seed(0)
    assert planned(Net(function), torch.randn(ROWS)).how == META


@pytest.mark.parametrize("function", VALUES.values(), ids=VALUES)
def test_values_that_are_asked_for(function):
    torch.manual_seed(0)
    assert planned(Net(function), torch.randn(ROWS)).how == REAL


@pytest.mark.parametrize("function", MODULES.values(), ids=MODULES)
def test_modules_and_functions_of_all_kinds(function):
    torch.manual_seed(0)
    assert planned(Net(function), torch.randn(ROWS)).how == META


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 13])
def test_associative_scans(steps):
    torch.manual_seed(0)
    assert planned(Net(scanned), torch.randn(2, steps, 8)).how == META


@pytest.mark.parametrize("function", SCANS.values(), ids=SCANS)
def test_scans_and_slices(function):
    torch.manual_seed(0)
    assert planned(Net(function), torch.randn(STEPS)).how == META


COMPILED: dict[str, Callable[[], nn.Module]] = {
    "jit.script": lambda: torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU())),
    "jit.trace": lambda: torch.jit.trace(nn.Linear(8, 8), torch.zeros(ROWS)),
    "compile": lambda: torch.compile(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), backend="eager"),
    "fx": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(8, 8), nn.ReLU())),
    "GRU of a packed sequence": lambda: nn.GRU(8, 8),
}


def of_lengths(m: Net, x: Tensor) -> Tensor:
    lengths = torch.tensor([2, 1])
    return m.c(nn.utils.rnn.pack_padded_sequence(x.view(2, 2, 8), lengths))[1]


OLD_COMPILER = pytest.mark.skipif(
    not hasattr(torch.compiler, "set_stance"), reason="torch before 2.6 can't run them eagerly"
)
MARKS = {"compile": OLD_COMPILER}


@pytest.mark.parametrize("name", [pytest.param(n, marks=MARKS.get(n, ())) for n in COMPILED])
def test_modules_that_are_not_python(name):
    torch.manual_seed(0)
    function = of_lengths if "packed" in name else lambda m, x: m.c(x)
    plan = planned(Net(function, c=COMPILED[name]()), torch.randn(ROWS))
    assert plan.how == (REAL if "packed" in name else META)  # packing asks for the lengths


@pytest.mark.parametrize(
    "move", [lambda m, x: m.to(x.device), lambda m, x: m.cpu(), lambda m, x: m.to(x)]
)
def test_a_module_that_is_moved_keeps_its_parameters(move):
    plan = planned(Net(lambda m, x: x @ move(m, x).w), torch.randn(ROWS))
    assert (plan["w"].kind, plan["w"].guessed, plan["w"].fan_in) == ("linear", False, 8)


def test_a_run_that_cannot_be_followed_gives_a_plan_by_types():
    def nested(m: Net, x: Tensor) -> Tensor:
        return m.a(torch.nested.nested_tensor([x[:2], x[2:]])).to_padded_tensor(0.0)

    plan = planned(Net(nested), torch.randn(ROWS))
    assert plan.how == "module types"
    found = {finding.code: finding for finding in plan.findings}
    assert found["GI113"].cause.startswith(f"{OURS}RuntimeError: ")
    assert found["GI113"].severity == "warning"


@pytest.mark.parametrize(
    ("module", "name"),
    [("goodinit.dataflow.graph", "uses_of"), ("goodinit.anatomy.read", "facets_from")],
)
def test_a_bug_of_goodinit_is_no_error_of_the_model(module, name, monkeypatch):
    def fails(*_: object) -> None:
        raise IndexError("out of range")

    monkeypatch.setattr(sys.modules[module], name, fails)
    plan = gi.plan(nn.Linear(8, 8), inputs=torch.randn(ROWS))
    assert (plan.how, plan["weight"].kind) == ("module types", "linear")
    assert f"{OURS}IndexError: out of range" in str(plan.findings)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_error_of_the_model_is_its_own(device):
    with torch.device(device):
        net = Net(lambda m, x: m.a(x[:, :3]))
    with pytest.raises(
        TraceError, match="the model raised on these inputs: RuntimeError"
    ) as caught:
        gi.plan(net, inputs=torch.randn(ROWS))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_what_no_mode_sees_has_no_values_of_its_own():
    """TorchScript asks torch's meta kernels, written in Python, where the result belongs."""
    combined = torch.jit.script(_combined)
    made: list[Tensor] = []

    def function(net: Net, x: Tensor) -> Tensor:
        made.append(combined(net.a(x), net.b(x)))
        return made[0]

    assert gi.plan(Net(function), inputs=torch.randn(ROWS)).how == META
    assert made[0].is_meta


def _combined(a: Tensor, b: Tensor) -> Tensor:
    return torch.addcmul(a, a, b)
