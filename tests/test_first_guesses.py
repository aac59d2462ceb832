"""What newcomers write at first: it works, or the error has the line that does.

The line is what follows "Write": it is run, as printed, in the place of the guess.
"""

from __future__ import annotations

import functools
import json
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import goodinit as gi
from goodinit.errors import GoodinitError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc(x).relu())


class Wide(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)


X, Y = torch.randn(16, 8, generator=torch.manual_seed(0)), torch.arange(16) % 3


def names() -> dict[str, Any]:
    """What the guesses and the printed lines may refer to."""
    return {
        "gi": gi,
        "nn": nn,
        "torch": torch,
        "functools": functools,
        "Net": Net,
        "model": Net(),
        "x": X,
        "y": Y,
        "batch": [X, Y],
        "inputs": X,
        "json": json,
        "plan": gi.plan(Net(), "he"),
        "loader": DataLoader(TensorDataset(X, Y), 4),
        "layers": [nn.Linear(8, 8), nn.ReLU()],
        "recipe": gi.recipe("he"),
        "rules": [("fc.weight", gi.Zeros())],
        "rule": gi.Rule("fc.weight", gi.Zeros()),
        "other": gi.plan(Net(), "xavier"),
        "state_dict": Net().state_dict(),
        "Wide": Wide,
        "lazy": nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2)),
    }


WORKS = [
    "gi.init_(model, 'he:mode=fan_out', seed=0)",
    "gi.init_(model, 'he:mode=fan_out,distribution=uniform', seed=0)",
    "gi.init_(model, gi.XavierUniform())",
    "gi.init_(model, 'kaiming_normal')",
    "gi.init_(model, {nn.Linear: gi.XavierUniform(), '*.bias': gi.Constant(0.01)})",
    "gi.init_(model.fc.weight, gi.Normal(0.02))",
    "model.apply(gi.recipe('he').each)",
    "gi.init_(lazy, 'he', inputs=x)",
    "gi.compare(model, x, gi.HeNormal(), seeds=1)",
    "gi.compare(model, x, [None, 'he'], seeds=1)",
    "gi.init_(model, 'he', only='head.*')",
    "gi.measure(model, x, lambda out: nn.functional.cross_entropy(out, y))",
    "gi.load_(model, {k: v.numpy() for k, v in Net().state_dict().items()})",
    "gi.init_(model, 'He')",
    "gi.init_(model, 'glorot_uniform')",
    "gi.init_(model, 'pytorch')",
    "gi.init_(model.fc.bias, 'he')",
    "gi.init_(model.fc.weight.data, 'he')",
    "model.apply(gi.init_)",
    "gi.measure(model, {'x': x})",
    "gi.measure(model, x)['fc'].forward.second",
    "gi.compare(model, x, {'mine': 'he', 'theirs': 'xavier'}, seeds=1)",
    "gi.gain('swish')",
    "gi.gain(nn.ReLU())",
    "gi.recipe('kaiming', mode='fan_out')",
    "gi.testing.assert_healthy(model, x)",
    "gi.gain('leaky_relu', 0.2)",
    "gi.gain('LeakyReLU', 0.2)",
    "gi.gain('GELU')",
    "gi.init_(nn.Parameter(torch.empty(3, 4)), 'he')",
    "gi.init_(model, 'he', seed=torch.tensor(3))",
    "gi.init_(model, 'msra')",
    "gi.compare(model, x, {'he', 'xavier'}, seeds=1)",
    "gi.forecast(model, x, plan)",
]
# The guess, and where its answer goes: "" for a call, else code around it.
ANSWERED = [
    ("gi.measure(x, model)", ""),
    ("gi.plan('he', model)", ""),
    ("gi.explain(x, model)", ""),
    ("gi.apply_(plan, model)", ""),
    ("gi.compare(x, model, ['he'])", ""),
    ("gi.init_('he', model)", ""),
    ("gi.forecast(x, model, plan)", ""),
    ("gi.testing.assert_healthy(x, model)", ""),
    ("gi.calibrate_(x, model)", ""),
    ("gi.load_(state_dict, model)", None),
    ("gi.compare(model, x, ['he'], seed=0)", ""),
    ("gi.compare(model, x, ['he'], n_seeds=2)", ""),
    ("gi.compare(model, x[:, :3], ['he'])", "gi.compare(model, inputs, ['he'], seeds=1)"),
    ("gi.compare(model, [x, y], ['he'])", "gi.compare(model, inputs, ['he'], seeds=1)"),
    ("gi.compare(model, loader, ['he'])", "gi.compare(model, inputs, ['he'], seeds=1)"),
    ("gi.compare(model, x.numpy(), ['he'])", "gi.compare(model, inputs, ['he'], seeds=1)"),
    ("gi.compare(model, x.double(), ['he'])", "gi.compare(model, inputs, ['he'], seeds=1)"),
    ("gi.compare(model, (16, 8), ['he'])", "gi.compare(model, inputs, ['he'], seeds=1)"),
    ("gi.init_(model, {lambda name, p: 'fc' in name: gi.Zeros()})", None),
    ("gi.init_(model, 'he', dtype=torch.float16)", ""),
    ("gi.measure(model, inputs=x, targets=y)", ""),
    ("gi.Normal(0, 0.02)", ""),
    ("gi.TruncatedNormal(0, 0.02, -2, 2)", ""),
    ("gi.Uniform(0.1)", ""),
    ("gi.Constant()", ""),
    ("gi.HeNormal('fan_out')", ""),
    ("gi.XavierUniform(gain='relu')", ""),
    ("gi.Orthogonal(gain=nn.functional.relu)", None),
    ("gi.init_(model, gi.XavierUniform)", ""),
    ("gi.init_(model, nn.init.xavier_uniform_)", ""),
    ("gi.init_(model, functools.partial(nn.init.normal_, std=0.05))", ""),
    ("gi.init_(model, 0.02)", ""),
    ("gi.init_(model, 'xavier_uniform_')", ""),
    ("gi.init_(model, 'orthogonal_')", ""),
    ("gi.init_(model, 'trunc_normal_')", ""),
    ("gi.init_(model, rules)", ""),
    ("gi.init_(model, {'fc': gi.XavierUniform()})", "gi.init_(model, {})"),
    ("gi.init_(model, {'fc.*': gi.XavierUniform()})", "gi.init_(model, {})"),
    ("gi.init_(model, {'fc.weight': gi.XavierUniform})", "gi.init_(model, {})"),
    ("gi.init_(model, {'*.bias': 0})", "gi.init_(model, {})"),
    ("gi.init_(model, {nn.Linear: 'he'})", "gi.init_(model, {})"),
    ("gi.init_(model, {nn.Linear: nn.init.xavier_uniform_})", "gi.init_(model, {})"),
    ("gi.init_(model, {'weight': gi.XavierUniform()})", "gi.init_(model, {})"),
    ("gi.init_(model, {'bias': gi.Zeros()})", "gi.init_(model, {})"),
    ("gi.init_(model, {'weights': gi.HeNormal()})", "gi.init_(model, {})"),
    ("gi.init_(model, {'Linear': gi.HeNormal()})", "gi.init_(model, {})"),
    ("gi.init_(model, scheme=gi.HeNormal())", ""),
    ("gi.init_(model=model, recipe='he')", ""),
    ("model.apply(gi.HeNormal())", ""),
    ("gi.Recipe({'head.*': gi.Zeros()})", ""),
    ("gi.load_(model, Net())", None),
    ("gi.init_(model, 'he', mode='fan_out')", ""),
    ("gi.init_(model, 'he', generator=torch.Generator())", ""),
    ("gi.init_(model, 'he', 0)", ""),
    ("gi.init_(model, 'he', x)", ""),
    ("gi.plan(model, 'he', distribution='uniform')", ""),
    ("gi.plan(model, 'he', input=x)", ""),
    ("gi.measure(model)", ""),
    ("gi.recipe('he').override({'head.*': gi.Zeros()})", ""),
    ("gi.recipe('he').override('head.weight', gi.Zeros())", ""),
    ("model.apply(gi.recipe('he'))", ""),
    ("gi.measure(model, [x, y])", "gi.measure(model, inputs)"),
    ("gi.measure(model, (x, y))", "gi.measure(model, inputs)"),
    ("gi.plan(model, 'he', inputs=[x, y])", "gi.plan(model, 'he', inputs=inputs)"),
    ("gi.measure(model, x.numpy())", "gi.measure(model, inputs)"),
    ("gi.measure(model, loader)", "gi.measure(model, inputs)"),
    ("gi.measure(model, x.shape)", "gi.measure(model, inputs)"),
    ("gi.measure(model, x.double())", "gi.measure(model, inputs)"),
    ("gi.measure(model, x[:, :3])", "gi.measure(model, inputs)"),
    ("gi.measure(nn.Embedding(10, 4), x)", "gi.measure(nn.Embedding(10, 4), inputs)"),
    ("gi.measure(nn.Conv2d(3, 4, 3), torch.ones(2, 8, 8, 3))", None),
    ("gi.init_(model, x.numpy())", ""),
    ("gi.explain(model, [x, y])", "gi.explain(model, inputs)"),
    ("gi.measure(model, x.long())", "gi.measure(model, inputs)"),
    ("gi.measure(model, [*x])", None),
    ("gi.measure(model, iter(loader))", None),
    ("gi.measure(model, loader.dataset)", None),
    ("gi.measure(model, x, y)", "gi.measure(model, x, loss)"),
    ("gi.measure(model, x, nn.CrossEntropyLoss())", "gi.measure(model, x, loss)"),
    ("gi.init_(model, 'kaiming_uniform', nonlinearity='relu')", ""),
    ("gi.init_(model, 'he', exclude='head.*')", ""),
    ("gi.init_(model, 'he', skip=['head.*'])", ""),
    ("gi.init_(model, 'he', include='head.*')", ""),
    ("gi.init_(model, 'he', std=0.02)", ""),
    ("gi.init_(model, 'he', device='cpu')", ""),
    ("gi.init_(model, 'he', random_state=0)", ""),
    ("gi.init_(model, {'.*weight': gi.HeNormal()})", "gi.init_(model, {})"),
    ("gi.init_(model, gi.Normal)", ""),
    ("gi.init_(model, gi.Normal())", ""),
    ("gi.init_(model, gi.Uniform(a=-0.1, b=0.1))", None),
    ("gi.plan(model, 'he', input_size=(16, 8))", ""),
    ("gi.measure(model, input_shape=(16, 8))", ""),
    ("gi.measure(model, x, criterion=nn.CrossEntropyLoss())", ""),
    ("gi.measure(model, x, target=y)", ""),
    ("gi.measure(model, x, loss=nn.CrossEntropyLoss)", "gi.measure(model, x, loss)"),
    ("gi.measure(model, x, loss='cross_entropy')", "gi.measure(model, x, loss)"),
    ("gi.measure(model, inputs={'input': x})", None),
    ("gi.measure(model, x.tolist())", None),
    ("gi.compare(model, x)", ""),
    ("gi.compare(model, x, 'he', 'xavier')", ""),
    ("gi.compare(model, x, recipes=['he'], seed=1)", ""),
    ("gi.forecast(model, x, 'he')", ""),
    ("gi.forecast(model, x, recipe='he')", ""),
    ("gi.Recipe('he')", ""),
    ("gi.Recipe([('*.weight', gi.HeNormal())])", ""),
    ("gi.gain(nn.ReLU)", ""),
    ("gi.sel.type('Linear')", ""),
    ("model.apply(gi.recipe('he').each())", ""),
    ("gi.measure(model, x)[0]", None),
    ("gi.skeleton(Net)", None),
    ("gi.skeleton(Wide, 8)", None),
    ("gi.skeleton(Wide, width=8)", None),
    ("gi.skeleton('resnet50')", None),
    ("gi.gain()", ""),
    ("gi.gain('relu', 'fan_in')", ""),
    ("gi.recipe()", ""),
    ("gi.recipe('he', 'fan_out')", ""),
    ("gi.recipe('he', gain=2)", ""),
    ("gi.recipe(gi.HeNormal())", ""),
    ("gi.recipe({'*.bias': gi.Zeros()})", None),
    ("gi.init_(model, plan)", ""),
    ("gi.init_(model, None)", ""),
    ("gi.init_(model, ['he'])", ""),
    ("gi.init_(model, ['he', 'xavier'])", ""),
    ("gi.init_(model, 42)", ""),
    ("gi.init_(model, rule)", ""),
    ("gi.init_(model, x)", ""),
    ("gi.init_(model, state_dict)", ""),
    ("gi.init_(model, {})", ""),
    ("gi.init_(model, 'he', keep=model.head)", "gi.init_(model, 'he', {})"),
    ("gi.init_(model, 'he', keep=[model.head.weight])", "gi.init_(model, 'he', {})"),
    ("gi.init_(model, 'he', only=nn.Linear)", "gi.init_(model, 'he', {})"),
    ("gi.init_(model, 'he', key=0)", ""),
    ("gi.init_(model, 'he', rng=torch.Generator())", ""),
    ("gi.init_(model, kernel_initializer='he_normal', bias_initializer='zeros')", ""),
    ("gi.init_(model, init_type='normal', init_gain=0.02)", ""),
    ("gi.init_(model, 'truncated_normal', std=0.02)", ""),
    ("gi.init_(model, {nn.Linear: (gi.HeNormal(), gi.Zeros())})", "gi.init_(model, {})"),
    ("gi.init_(model, {'fc': {'weight': gi.HeNormal()}})", "gi.init_(model, {})"),
    ("gi.init_(model, {(nn.Linear, nn.Conv2d): gi.HeNormal()})", ""),
    ("gi.init_(model, {('fc.weight', 'head.weight'): gi.Zeros()})", ""),
    ("gi.init_(model, {'fc.weight,head.weight': gi.Zeros()})", "gi.init_(model, {})"),
    ("gi.init_(model, {'Linear.weight': gi.HeNormal()})", "gi.init_(model, {})"),
    ("gi.init_(model, {nn.Conv2d: gi.HeNormal()})", "gi.init_(model, {})"),
    ("gi.init_(model, {'fc.weight': None})", "gi.init_(model, {})"),
    ("gi.init_(model, {gi.sel.all: gi.Zeros()})", ""),
    ("gi.Rule(gi.HeNormal(), '*.weight')", ""),
    ("gi.Rule('*.weight')", ""),
    ("gi.Recipe(gi.HeNormal())", ""),
    ("gi.recipe('he').override([rule])", None),
    ("gi.sel.part('query')", ""),
    ("gi.sel.kind(nn.Linear)", ""),
    ("gi.sel.name(['fc.*', 'head.*'])", ""),
    ("gi.sel.followed_by(nn.ReLU())", ""),
    ("gi.sel.type([nn.Linear, nn.Conv2d])", ""),
    ("gi.sel('*.weight')", ""),
    ("gi.Normal('he')", ""),
    ("gi.Normal(-0.02)", ""),
    ("gi.Normal(torch.tensor(0.02))", ""),
    ("gi.Normal(0.02, seed=0)", ""),
    ("gi.Uniform((-0.1, 0.1))", ""),
    ("gi.VarianceScaling(2.0, 'fan_in', 'truncated_normal')", ""),
    ("gi.XavierUniform(fan_in=8)", ""),
    ("gi.HeNormal(nonlinearity=nn.ReLU())", ""),
    ("gi.Sparse()", ""),
    ("gi.Function('he')", ""),
    ("gi.diff('he', 'xavier')", ""),
    ("gi.diff(plan)", ""),
    ("gi.measure(model, x, recipe='he')", ""),
    ("gi.measure(model, x, plan=plan)", ""),
    ("gi.calibrated(model, x, plan)", ""),
    ("gi.testing.assert_healthy(model)", ""),
    ("gi.theory.independence(model, x)", ""),
    ("gi.adapters.timm(model)", ""),
    ("plan.save()", None),
]
# What modules and results don't have: the line is what does it.
ATTRIBUTES = [
    "gi.init(model, 'he')",
    "gi.initialize(model)",
    "gi.apply(model, 'he')",
    "gi.load(model, 'x.pt')",
    "gi.calibrate(model, x)",
    "gi.lsuv_(model, x)",
    "gi.check(model, x)",
    "gi.manual_seed(0)",
    "gi.init_(model, gi.he)",
    "plan.apply(model)",
    "plan.summary()",
    "plan.show()",
    "plan.to_csv('plan.csv')",
    "plan.to_json()",
    "plan.std",
    "plan.fc",
    "plan.keys()",
    "plan.diff(other)",
    "gi.xavier_uniform_(model.fc.weight)",
    "gi.RandomNormal(0.02)",
    "gi.LecunNormal()",
    "gi.calculate_gain('relu')",
    "gi.list_recipes()",
    "gi.set_seed(0)",
    "gi.recipes.get('he')",
    "gi.Normal(0.02).sample((3, 4))",
    "gi.sel.weight()",
    "recipe.apply(model)",
]
# What can't be one line says what is meant.
TOLD = [
    ("gi.load_(model, {'state_dict': state_dict})", r"pass checkpoint\['state_dict'\]"),
    ("gi.init_(Net, 'he')", r"call it\. Pass Net\(\)"),
    ("gi.init_(layers, 'he')", r"Pass torch.nn.ModuleList\(layers\)"),
    ("gi.init_(model.parameters(), 'he')", "Pass the module that has these parameters"),
    ("gi.init_(model, 'he', keep='fc')", r"Did you mean 'fc\.\*'"),
    ("gi.init_(model, 'he', seed=torch.Generator())", r"seed=generator.initial_seed\(\)"),
    ("gi.plan(lazy, 'he')", r"model\(inputs\)"),
    ("gi.measure(lazy, x)", r"gi.init_\(model, inputs=inputs\)"),
    ("gi.explain(model, 'he')", "inputs is a str: pass a tensor"),
    (
        "gi.init_(model, gi.Normal(std=0, mean=0.02))",
        r"gi.Constant\(0.02\) says that this is",
    ),
    ("gi.init_('he', model)", "Pass the model first"),
    ("gi.compare(3, x, 'he')", "compare takes a torch.nn.Module"),
    ("gi.compare(model, ['he', 'xavier'], x)", r"Write gi.compare\(model, inputs, recipes\)"),
    ("gi.measure(x, model)", "Pass the model first"),
    ("gi.apply_(model, 'he')", "gi.init_ takes a recipe"),
    ("gi.init_(list(model.parameters()), 'he')", "Pass the module that has these parameters"),
    ("gi.init_(model, {model.fc: gi.HeNormal()})", "name it by its path in the model"),
    ("gi.init_(model, {model.fc.weight: gi.HeNormal()})", "name it by its path in the model"),
    ("gi.init_(model, 'he(mode=fan_out)')", "Did you mean 'he:mode=fan_out'"),
    ("gi.init_(model, 'resnet51')", "Did you mean 'resnet50'"),
    ("gi.measure(model.forward, x)", "got its forward. Pass the model itself"),
    ("gi.measure(model, {'x': x, 'y': y})", r"Write inputs = \{'x': inputs\['x'\]\}"),
    ("gi.plan(model, 'he')['fc']", r"Did you mean 'fc\.weight' or 'fc\.bias'"),
    ("gi.explain(model.state_dict())", "Pass the module that has these parameters"),
    ("torch.func.vmap(lambda row: gi.measure(model, row[None]).ok)(x)", "call it outside of them"),
]


@pytest.mark.parametrize("guess", WORKS)
def test_first_guesses_that_work(guess: str) -> None:
    eval(guess, names())


@pytest.mark.parametrize(("guess", "place"), ANSWERED)
def test_first_guesses_whose_answer_works(guess: str, place: str | None) -> None:
    known = names()
    with pytest.raises(GoodinitError) as error:
        eval(guess, known)
    line = str(error.value).partition(" Write ")[2]
    assert line, str(error.value)
    if place is None:  # what it names, or writes, isn't in reach here
        compile(line, "line", "exec")
        return
    if place == "":
        eval(line, known)
    elif "{}" in place:
        eval(place.replace("{}", line), known)
    else:
        exec(line, known)
        eval(place, known)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.table = nn.Linear(8, 4), nn.Linear(6, 4), nn.Embedding(16, 4)

    def forward(self, a: Tensor, b: Tensor, words: Tensor) -> Tensor:
        return self.left(a) + self.right(b) + self.table(words)


FITTING = {"a": X, "b": X[:, :6], "words": torch.arange(16)}


@pytest.mark.parametrize(
    "wrong",
    [{"b": X[:, :5]}, {"a": X[:, :3]}, {"b": X[:, :6].double()}, {"words": None}, {"b": None}],
)
@pytest.mark.parametrize("as_tuple", [True, False])
def test_the_one_of_several_inputs_that_does_not_fit(
    wrong: dict[str, Tensor | None], as_tuple: bool
) -> None:
    given = {name: one for name, one in {**FITTING, **wrong}.items() if one is not None}
    if as_tuple and None in wrong.values() and "words" not in wrong:
        pytest.skip("what is missing from the middle of a tuple isn't seen")
    for run in (gi.measure, lambda model, x: gi.compare(model, x, ["he"], seeds=1)):
        inputs = tuple(given.values()) if as_tuple else dict(given)
        with pytest.raises(GoodinitError) as error:
            run(Pair(), inputs)
        assert "leave inputs out" not in str(error.value)
        fixed = {"torch": torch, "inputs": inputs, **FITTING}
        exec(str(error.value).partition(" Write ")[2], fixed)
        run(Pair(), fixed["inputs"])


@pytest.mark.parametrize("guess", ATTRIBUTES)
def test_attributes_that_are_elsewhere(guess: str) -> None:
    known = names()
    with pytest.raises(AttributeError) as error:
        eval(guess, known)
    line = str(error.value).partition(" Write ")[2]
    assert line, str(error.value)
    eval(line, known)


@pytest.mark.parametrize(("guess", "says"), TOLD)
def test_first_guesses_that_are_told(guess: str, says: str) -> None:
    with pytest.raises(GoodinitError, match=says):
        eval(guess, names())


def test_a_quantized_model_is_no_empty_plan() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer torch: that these are to go
        from torch.ao.nn.quantized.dynamic import Linear

        packed = nn.Sequential(Linear(8, 3))
    with pytest.raises(GoodinitError, match="initialize the float model, and quantize it"):
        gi.plan(packed, "he")
    for check in (gi.explain, lambda model: gi.measure(model, X)):
        with pytest.raises(GoodinitError, match="is quantized"):
            check(packed)
    mixed = gi.plan(nn.Sequential(packed, nn.Linear(3, 3)), "he")
    assert [(f.code, f.where) for f in mixed.findings if f.severity != "info"] == [
        ("GI117", "Linear")
    ]
    assert len(gi.plan(nn.ReLU(), "he")) == 0


def test_a_hundred_guesses() -> None:
    assert len(WORKS) + len(ANSWERED) + len(ATTRIBUTES) + len(TOLD) >= 100


@pytest.mark.parametrize(
    "call",
    [
        "gi.init_(model, torch.ones(64, 64))",
        "gi.init_(model, [torch.ones(64, 64)])",
        "gi.init_(model, {'fc.weight': [torch.ones(64, 64)]})",
        "gi.init_(model, 'he', seed=torch.ones(64, 64))",
        "gi.init_(model, 'he', keep=torch.ones(64, 64))",
        "gi.init_(model, torch.optim.SGD(model.parameters()))",
        "gi.compare(model, x, [torch.ones(64, 64)])",
        "gi.forecast(model, x, torch.ones(64, 64))",
        "gi.load_(model, torch.ones(64, 64))",
        "gi.recipe(torch.ones(64, 64))",
        "gi.gain(torch.ones(64, 64))",
        "gi.Normal(torch.ones(64, 64))",
    ],
)
def test_no_error_shows_the_numbers_of_a_tensor(call: str) -> None:
    with pytest.raises(GoodinitError) as error:
        eval(call, names())
    assert len(str(error.value).splitlines()) == 1
    assert "1." not in str(error.value)
