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
    """A function or scheme was called with arguments that are unknown or missing."""


class StreamError(GoodinitError, ValueError):
    """The parameters of a distribution are invalid: a NaN std, an empty interval."""


class SchemeError(GoodinitError, ValueError):
    """A scheme's number, name or target is invalid; ``field`` is the path to it."""

    def __init__(self, message: str, field: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.field = field


class FanError(SchemeError):
    """A scheme needs fan_in or fan_out, and the tensor has none."""


class RecipeError(GoodinitError, ValueError):
    """A recipe or rule is invalid."""


class UnknownRecipeError(RecipeError):
    """There is no recipe with that name; suggests the nearest names."""


class RecipeFileError(RecipeError):
    """A file or text is not a valid recipe; names the rule and key, or the line."""


class UnusedRuleError(RecipeError):
    """A rule of the user matches no parameter of the model."""


class UncoveredError(RecipeError):
    """A parameter is covered by no rule of the recipe."""


class ModelError(GoodinitError, ValueError):
    """A model can't be initialized in its present state."""


class LazyParameterError(ModelError):
    """A lazy module has unknown shapes: run the model once, then initialize it."""


class EmptyParameterError(ModelError):
    """A parameter has size 0, such as a ZeRO-3 shard: a write to it would be lost."""


class ExpandedParameterError(ModelError):
    """Elements of a parameter, or of two, share memory, so they can't have different values."""


class DtypeError(ModelError):
    """A parameter is not a real floating-point tensor."""


class ParametrizationError(ModelError):
    """A parametrization has no ``right_inverse``: a write to it would be lost."""


class MetaModelError(ModelError):
    """A parameter on the meta device has no memory."""


class UnresolvedError(ModelError):
    """A value was never computed and no rule computes it, such as RoPE's table on meta."""


class CheckpointError(GoodinitError, ValueError):
    """A checkpoint can't be read, or its values don't fit the model."""


class TraceError(GoodinitError, RuntimeError):
    """The model raised while it was traced."""


class SignalError(GoodinitError, RuntimeError):
    """A signal can't be measured: the model raised, or the loss is not a scalar."""


class ReportError(GoodinitError, RuntimeError):
    """A report can't be written: plotly isn't installed, or the file's ending is unknown."""


class UnknownRowError(GoodinitError, KeyError):
    """A result has no row with that name; suggests the nearest names. Also a KeyError."""

    def __str__(self) -> str:  # a KeyError prints the repr of its message
        return printable(str(self.args[0]))


class PlanError(GoodinitError, ValueError):
    """A plan was made for another model."""


class PlanFileError(PlanError):
    """A file or mapping is not a valid plan."""


class WriteError(GoodinitError, RuntimeError):
    """A write failed; ``written`` lists the parameters that were already written."""

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


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x' or 'y'?"``, or "" if no known name is near.

    >>> nearest("xaiver", ["xavier", "he"])
    " Did you mean 'xavier'?"
    """
    close = get_close_matches(name[:LONGEST].lower(), list(known), n=2, cutoff=LEAST_SIMILAR)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
