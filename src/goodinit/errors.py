"""The exceptions, as a tree.

    GoodinitError
    ├── StreamError             numbers that no random stream can be drawn with
    ├── SchemeError             a scheme whose numbers, name or target make no sense
    │   └── FanError            a scheme that needs fans, on a tensor that has none
    ├── RecipeError             a recipe or rule that can't be what its author meant
    │   ├── UnknownRecipeError  no recipe of that name
    │   ├── RecipeFileError     a file or a text that holds no valid recipe
    │   ├── UnusedRuleError     a rule that matches nothing
    │   └── UncoveredError      a parameter that no rule covers
    ├── ModelError              a model that can't be written as it stands
    │   ├── LazyParameterError  a lazy module whose shapes aren't known yet
    │   ├── EmptyParameterError a parameter of size 0 (a ZeRO-3 shard, say)
    │   ├── ExpandedParameterError  several elements of a parameter share memory
    │   ├── DtypeError          a parameter that isn't a real floating tensor
    │   ├── ParametrizationError    a parametrization that can't be written through
    │   ├── MetaModelError      no memory to write to
    │   └── UnresolvedError     a value that nobody here can rebuild
    ├── CheckpointError         a checkpoint that can't be read, or doesn't fit
    ├── TraceError              the model raised while it was being traced
    ├── SignalError             a signal that can't be measured: the model raised, say
    ├── ReportError             a report that can't be written: a library is missing, say
    ├── UnknownRowError         a name that a result has no row for; also a KeyError
    ├── PlanError               a plan that isn't this model's
    │   └── PlanFileError       a file that holds no valid plan
    └── WriteError              a write failed half-way; says what had been written

Each message has three parts: where (the parameter), what was wrong, and what to do.
Everything but ``WriteError`` is raised before the first value is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
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


class GoodinitError(Exception):
    """The root: ``except GoodinitError`` catches whatever goodinit refuses."""


class StreamError(GoodinitError, ValueError):
    """Numbers that no random stream can be drawn with: a NaN std, an empty interval."""


class SchemeError(GoodinitError, ValueError):
    """A scheme whose numbers, name or target make no sense; ``field`` leads to what is wrong."""

    def __init__(self, message: str, field: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.field = field


class FanError(SchemeError):
    """A scheme that needs fan_in or fan_out, on a tensor that has none."""


class RecipeError(GoodinitError, ValueError):
    """A recipe or rule that can't be what its author meant."""


class UnknownRecipeError(RecipeError):
    """No recipe of that name; the nearest names are suggested."""


class RecipeFileError(RecipeError):
    """A file or a text that holds no valid recipe; names the rule and key, or the line."""


class UnusedRuleError(RecipeError):
    """A rule of the user's that matches no parameter of the model."""


class UncoveredError(RecipeError):
    """A parameter that no rule of the recipe covers."""


class ModelError(GoodinitError, ValueError):
    """A model that can't be written as it stands."""


class LazyParameterError(ModelError):
    """A lazy module: run the model once on an input, then initialise it."""


class EmptyParameterError(ModelError):
    """A parameter of size 0, such as a ZeRO-3 shard: a write to it would be lost."""


class ExpandedParameterError(ModelError):
    """Several elements of a parameter share memory: they can't be drawn apart."""


class DtypeError(ModelError):
    """A parameter whose dtype has no floating value law."""


class ParametrizationError(ModelError):
    """A parametrization that has no ``right_inverse``: a write to it would be lost."""


class MetaModelError(ModelError):
    """A parameter on the meta device has no memory to write to."""


class UnresolvedError(ModelError):
    """A value that was never computed and that no rule can rebuild (RoPE's table on meta)."""


class CheckpointError(GoodinitError, ValueError):
    """A checkpoint that can't be read, or whose values don't fit the model."""


class TraceError(GoodinitError, RuntimeError):
    """The model raised while it was being traced."""


class SignalError(GoodinitError, RuntimeError):
    """A signal that can't be measured: the model raised, the loss is no scalar, ..."""


class ReportError(GoodinitError, RuntimeError):
    """A report that can't be written: plotly isn't installed, an ending that no format has."""


class UnknownRowError(GoodinitError, KeyError):
    """A name that a result has no row for; the nearest names are suggested."""

    def __str__(self) -> str:  # a KeyError prints the repr of its message
        return str(self.args[0])


class PlanError(GoodinitError, ValueError):
    """A plan that isn't this model's."""


class PlanFileError(PlanError):
    """A file or a mapping that holds no valid plan."""


class WriteError(GoodinitError, RuntimeError):
    """A write failed half-way; ``written`` names the parameters that had been written."""

    def __init__(self, message: str, written: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.written = written


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x' or 'y'?"``, or nothing where no known name is near.

    >>> nearest("xaiver", ["xavier", "he"])
    " Did you mean 'xavier'?"
    """
    close = get_close_matches(name[:80].lower(), list(known), n=2, cutoff=0.5)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
