"""The exceptions, as a tree.

    GoodinitError
    ├── CallError               a call has arguments that are unknown or missing; also a TypeError
    ├── StreamError             the parameters of a distribution are invalid: a NaN std
    ├── SchemeError             a scheme's number, name or target is invalid
    │   └── FanError            a scheme needs fans, and the tensor has none
    ├── RecipeError             a recipe or rule is invalid
    │   ├── UnknownRecipeError  there is no recipe with that name
    │   ├── RecipeFileError     a file or text is not a valid recipe
    │   ├── UnusedRuleError     a rule matches nothing
    │   └── UncoveredError      a parameter is covered by no rule
    ├── ModelError              a model can't be initialized in its present state
    │   ├── LazyParameterError  a lazy module has unknown shapes
    │   ├── EmptyParameterError a parameter has size 0, such as a ZeRO-3 shard
    │   ├── ExpandedParameterError  elements of one parameter, or of two, share memory
    │   ├── DtypeError          a parameter is not a real floating-point tensor
    │   ├── ParametrizationError    a parametrization has no right_inverse
    │   ├── MetaModelError      a parameter on meta has no memory
    │   └── UnresolvedError     a value was never computed, and no rule computes it
    ├── CheckpointError         a checkpoint can't be read, or doesn't fit the model
    ├── TraceError              the model raised while it was traced
    ├── SignalError             a signal can't be measured, for example because the model raised
    ├── ReportError             a report can't be written, for example without plotly
    ├── UnknownRowError         a result has no row with that name; also a KeyError
    ├── PlanError               a plan was made for another model
    │   └── PlanFileError       a file is not a valid plan
    └── WriteError              a write failed; lists what was already written

Each message names the parameter, what was wrong and how to fix it. Every error except
``WriteError`` is raised before the first value is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CallError",
    "CheckpointError",
    "DtypeError",
    "EmptyParameterError",
    "ExpandedParameterError",
    "FanError",
    "GoodinitError",
    "LazyParameterError",
    "MetaModelError",
    "ModelError",
    "ParametrizationError",
    "PlanError",
    "PlanFileError",
    "RecipeError",
    "RecipeFileError",
    "ReportError",
    "SchemeError",
    "SignalError",
    "StreamError",
    "TraceError",
    "UncoveredError",
    "UnknownRecipeError",
    "UnknownRowError",
    "UnresolvedError",
    "UnusedRuleError",
    "WriteError",
]


def __dir__() -> list[str]:
    """List the exceptions only, not what this file imports to define them."""
    return sorted(__all__)


LONGEST = 80  # characters compared for a suggestion: the comparison takes quadratic time
LEAST_SIMILAR = 0.5  # difflib's ratio; its default of 0.6 misses two typos in a short name


class GoodinitError(Exception):
    """The base class of all goodinit exceptions.

    >>> import goodinit as gi
    >>> try:
    ...     gi.recipe("xaiver")
    ... except gi.GoodinitError as error:
    ...     print(type(error).__name__)
    UnknownRecipeError
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class CallError(GoodinitError, TypeError):
    """A function or scheme was called with arguments that are unknown or missing.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.init_(nn.Linear(3, 3), "he", generator=None)
    Traceback (most recent call last):
    goodinit.errors.CallError: init_: unknown argument 'generator'. Write
    gi.init_(model, 'he', seed=0)
    """


class StreamError(GoodinitError, ValueError):
    """The parameters of a distribution are invalid: a NaN std, an empty interval.

    >>> import goodinit as gi
    >>> gi.Stream(b"no key")
    Traceback (most recent call last):
    goodinit.errors.StreamError: the seed is b'no key', not an int: pass int(seed)
    """


class SchemeError(GoodinitError, ValueError):
    """A scheme's number, name or target is invalid; ``field`` is the path to it.

    >>> import goodinit as gi
    >>> gi.Normal(-1)
    Traceback (most recent call last):
    goodinit.errors.SchemeError: Normal(std=-1): std must be at least 0. Write gi.Normal(std=1)
    """

    def __init__(self, message: str, field: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.field = field


class FanError(SchemeError):
    """A scheme needs fan_in or fan_out, and the tensor has none.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.init_(nn.Linear(3, 3), {"bias": gi.HeNormal()})
    Traceback (most recent call last):
    goodinit.errors.FanError: bias: HeNormal() needs fan_in, which a tensor of shape (3,) ...
    It is a bias. Write {'weight': gi.HeNormal(), 'bias': gi.Zeros()}
    """


class RecipeError(GoodinitError, ValueError):
    """A recipe or rule is invalid.

    >>> import goodinit as gi
    >>> gi.recipe("he", mod="fan_out")
    Traceback (most recent call last):
    goodinit.errors.RecipeError: recipe('he', mod=...): its options are distribution, nonlinearity,
    mode. Did you mean 'mode'?
    """


class UnknownRecipeError(RecipeError):
    """There is no recipe with that name; suggests the nearest names.

    >>> import goodinit as gi
    >>> gi.recipe("xaiver")
    Traceback (most recent call last):
    goodinit.errors.UnknownRecipeError: no recipe is called 'xaiver'. Did you mean 'xavier'...
    """


class RecipeFileError(RecipeError):
    """A file or text is not a valid recipe; names the rule and key, or the line.

    >>> import goodinit as gi
    >>> gi.Recipe.from_toml("rule = 1")
    Traceback (most recent call last):
    goodinit.errors.RecipeFileError: not a recipe: a recipe's file starts with goodinit_recipe = 1
    """


class UnusedRuleError(RecipeError):
    """A rule of the user matches no parameter of the model.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.init_(nn.Linear(3, 3), {"*.bais": gi.Zeros()})
    Traceback (most recent call last):
    goodinit.errors.UnusedRuleError: the rule name('*.bais') -> Zeros() matches nothing: ...
    """


class UncoveredError(RecipeError):
    """A parameter is covered by no rule of the recipe.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> weights = gi.Recipe([gi.Rule("weight", gi.Zeros())])
    >>> gi.init_(nn.Linear(3, 3), weights)
    Traceback (most recent call last):
    goodinit.errors.UncoveredError: no rule of the recipe covers bias, a linear bias of Linear with
    shape (3,): add a rule for it, ...
    """


class ModelError(GoodinitError, ValueError):
    """A model can't be initialized in its present state.

    >>> import goodinit as gi
    >>> gi.plan("net", "he")
    Traceback (most recent call last):
    goodinit.errors.ModelError: plan takes a torch.nn.Module, got 'net'. Pass the model first
    """


class LazyParameterError(ModelError):
    """A lazy module has unknown shapes: run the model once, then initialize it.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.init_(nn.LazyLinear(3), "he")
    Traceback (most recent call last):
    goodinit.errors.LazyParameterError: weight of LazyLinear has no shape yet: run the model
    once, model(inputs), then initialize it; ...
    """


class EmptyParameterError(ModelError):
    """A parameter has size 0, such as a ZeRO-3 shard: a write to it would be lost.

    >>> import torch
    >>> import goodinit as gi
    >>> gi.init_(torch.empty(0), gi.Normal(1.0))
    Traceback (most recent call last):
    goodinit.errors.EmptyParameterError: tensor has size 0, shape (0,): a write to it would be
    lost. ...
    """


class ExpandedParameterError(ModelError):
    """Elements of a parameter, or of two, share memory, so they can't have different values.

    >>> import torch
    >>> import goodinit as gi
    >>> gi.init_(torch.zeros(1).expand(3), gi.Normal(1.0))
    Traceback (most recent call last):
    goodinit.errors.ExpandedParameterError: tensor has elements that share memory, shape (3,)
    and strides (0,): make it contiguous first, ...
    """


class DtypeError(ModelError):
    """A parameter is not a real floating-point tensor.

    >>> import torch
    >>> import goodinit as gi
    >>> gi.init_(torch.zeros(2, dtype=torch.int32), gi.Normal(1.0))
    Traceback (most recent call last):
    goodinit.errors.DtypeError: tensor is torch.int32, which has no law to draw from: ...
    """


class ParametrizationError(ModelError):
    """A parametrization has no ``right_inverse``: a write to it would be lost.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> class Half(nn.Module):
    ...     def forward(self, weight):
    ...         return weight / 2
    >>> layer = nn.Linear(3, 3)
    >>> _ = nn.utils.parametrize.register_parametrization(layer, "weight", Half())
    >>> gi.init_(layer, "he")
    Traceback (most recent call last):
    goodinit.errors.ParametrizationError: weight goes through Half, which has no right_inverse to
    write through: give it one, initialize before parametrizing, or name it in keep=
    """


class MetaModelError(ModelError):
    """A parameter on the meta device has no memory.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.init_(nn.Linear(3, 3, device="meta"), "he")
    Traceback (most recent call last):
    goodinit.errors.MetaModelError: weight is on meta, where there is no memory to write to:
    pass materialize='cpu' (or another device)
    """


class UnresolvedError(ModelError):
    """A value was never computed and no rule computes it, such as RoPE's table on meta.

    >>> import torch
    >>> from torch import nn
    >>> import goodinit as gi
    >>> model = nn.Linear(3, 3, device="meta")
    >>> model.register_buffer("table", torch.arange(3.0, device="meta"))
    >>> gi.init_(model, "he", materialize="cpu")
    Traceback (most recent call last):
    goodinit.errors.UnresolvedError: table: these tensors are on meta and the plan keeps their
    current values, which do not exist: build the model inside `with gi.skeleton():`, ...
    """


class CheckpointError(GoodinitError, ValueError):
    """A checkpoint can't be read, or its values don't fit the model.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.load_(nn.Linear(3, 3), "missing.pt", "he")
    Traceback (most recent call last):
    goodinit.errors.CheckpointError: missing.pt can't be read: No such file or directory.
    Check the path
    """


class TraceError(GoodinitError, RuntimeError):
    """The model raised while it was traced.

    >>> import torch
    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.plan(nn.Linear(3, 3), "he", inputs=torch.zeros(2, 99))
    Traceback (most recent call last):
    goodinit.errors.TraceError: the model raised on these inputs: ... Check that model(inputs) runs,
    or leave inputs out: then goodinit uses module types and shapes. inputs have 99 numbers each,
    and the layer takes 3. Write inputs = torch.randn(2, 3)
    """


class SignalError(GoodinitError, RuntimeError):
    """A signal can't be measured: the model raised, or the loss is not a scalar.

    >>> import torch
    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.measure(nn.Linear(3, 3), torch.randn(8, 3), loss=lambda y: y)
    Traceback (most recent call last):
    goodinit.errors.SignalError: loss must return a scalar, but returned (8, 3): take its mean
    """


class ReportError(GoodinitError, RuntimeError):
    """A report can't be written: plotly isn't installed, or the file's ending is unknown.

    >>> import torch
    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.measure(nn.Linear(3, 3), torch.randn(8, 3)).to_image("net.jpg")
    Traceback (most recent call last):
    goodinit.errors.ReportError: net.jpg: an image ends in .png, .svg, .pdf; for a page, to_html
    """


class UnknownRowError(GoodinitError, KeyError):
    """A result has no row with that name; suggests the nearest names. Also a KeyError.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.plan(nn.Linear(3, 3), "he")["wieght"]
    Traceback (most recent call last):
    goodinit.errors.UnknownRowError: there is no row 'wieght'. Did you mean 'weight'?
    This Plan has 2 rows
    """

    def __str__(self) -> str:  # a KeyError prints the repr of its message
        return printable(str(self.args[0]))


class PlanError(GoodinitError, ValueError):
    """A plan was made for another model.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> gi.apply_(nn.Linear(4, 4), gi.plan(nn.Linear(3, 3), "he"), seed=0)
    Traceback (most recent call last):
    goodinit.errors.PlanError: this plan isn't this model's: weight: shape (3, 3) in the plan,
    (4, 4) in the model; ... Plan this model
    """


class PlanFileError(PlanError):
    """A file or mapping is not a valid plan.

    >>> import goodinit as gi
    >>> gi.Plan.from_dict({})
    Traceback (most recent call last):
    goodinit.errors.PlanFileError: goodinit_plan: it is missing. Save the plan again with plan.save
    """


class WriteError(GoodinitError, RuntimeError):
    """A write failed; ``written`` lists the parameters that were already written.

    >>> from torch import nn
    >>> import goodinit as gi
    >>> class Refuses(nn.Module):
    ...     full = False
    ...     def forward(self, weight):
    ...         return weight
    ...     def right_inverse(self, weight):
    ...         if self.full:
    ...             raise ValueError("no room")
    ...         return weight
    >>> net, refuses = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), Refuses()
    >>> _ = nn.utils.parametrize.register_parametrization(net[1], "weight", refuses)
    >>> refuses.full = True
    >>> try:
    ...     gi.init_(net, "he", seed=0)
    ... except gi.errors.WriteError as error:
    ...     print(error.written)
    ('0.weight', '0.bias')
    """

    def __init__(self, message: str, written: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.written = written


def printable(text: str) -> str:
    r"""Return text with control and direction characters escaped.

    Names may come from files that nobody checked, and a terminal obeys such characters.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def nearest(name: object, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x' or 'y'?"``, or "" for what isn't a text, or near no known name.

    >>> nearest("xaiver", ["xavier", "he"])
    " Did you mean 'xavier'?"
    """
    if not isinstance(name, str):
        return ""
    close = get_close_matches(name[:LONGEST].lower(), list(known), n=2, cutoff=LEAST_SIMILAR)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
