"""The public names. ``goodinit/__init__.py`` passes them on when the first of them is used."""

from __future__ import annotations

from goodinit import adapters, errors, mup, recipes, schemes, testing, theory
from goodinit.applying import agree as _agree
from goodinit.applying import apply as _apply
from goodinit.applying import skeleton as _skeleton
from goodinit.errors import GoodinitError
from goodinit.explanation import Explanation, Identification
from goodinit.explanation import explain as _explain
from goodinit.explanation import identify as _identify
from goodinit.findings import Finding
from goodinit.forecasting import calibrated as _calibrated
from goodinit.forecasting import forecast as _forecast
from goodinit.mup import CoordinateCheck
from goodinit.mup import coordinate_check as _coordinate_check
from goodinit.plans.diff import Diff
from goodinit.plans.diff import diff as _diff
from goodinit.plans.keep import KeepLike
from goodinit.plans.plan import Plan
from goodinit.plans.plan import plan as _plan
from goodinit.plans.rows import PlanRow
from goodinit.plans.selection import select_weights as _select_weights
from goodinit.recipes import recipe as _recipe
from goodinit.recipes.by_name import RecipeLike
from goodinit.recipes.deferred import DropUpcycling, Neutral
from goodinit.recipes.explained_call import explained as _explained
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import (
    ICNR,
    AddNoise,
    Constant,
    DeltaOrthogonal,
    Dirac,
    Function,
    HeNormal,
    HeUniform,
    Identity,
    Keep,
    LeCunNormal,
    LeCunUniform,
    LikeRows,
    LogRange,
    LogUniform,
    Normal,
    Ones,
    Orthogonal,
    PieceMeans,
    PriorBias,
    Ramp,
    Scheme,
    Sparse,
    StepBias,
    TorchDefault,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    XavierNormal,
    XavierUniform,
    Zeros,
)

# Second names can be imported, but are not listed in __all__.
from goodinit.schemes import GlorotNormal as GlorotNormal
from goodinit.schemes import GlorotUniform as GlorotUniform
from goodinit.schemes import KaimingNormal as KaimingNormal
from goodinit.schemes import KaimingUniform as KaimingUniform
from goodinit.schemes import gain as _gain
from goodinit.signal import Calibration, CalibrationRow, Comparison, Signal, SignalRow
from goodinit.signal import calibrate_ as _calibrate_
from goodinit.signal import compare as _compare
from goodinit.signal import measure as _measure
from goodinit.streams import Part, Stream
from goodinit.trace import Inputs

# A wrong call is answered by one that works.
apply_ = _explained(_apply.apply_)
calibrate_ = _explained(_calibrate_)
calibrated = _explained(_calibrated)
compare = _explained(_compare)
coordinate_check = _explained(_coordinate_check)
diff = _explained(_diff)
explain = _explained(_explain)
forecast = _explained(_forecast)
gain = _explained(_gain)
identify = _explained(_identify)
init_ = _explained(_apply.init_)
load_ = _explained(_apply.load_)
measure = _explained(_measure)
plan = _explained(_plan)
recipe = _explained(_recipe)
select_weights = _explained(_select_weights)
same_everywhere = _explained(_agree.same_everywhere)
skeleton = _explained(_skeleton.skeleton)

# Without `nn`: `from goodinit import *` must not hide torch's.
__all__ = [
    "ICNR",
    "AddNoise",
    "Calibration",
    "CalibrationRow",
    "Comparison",
    "Constant",
    "CoordinateCheck",
    "DeltaOrthogonal",
    "Diff",
    "Dirac",
    "DropUpcycling",
    "Explanation",
    "Finding",
    "Function",
    "GoodinitError",
    "HeNormal",
    "HeUniform",
    "Identification",
    "Identity",
    "Inputs",
    "Keep",
    "KeepLike",
    "LeCunNormal",
    "LeCunUniform",
    "LikeRows",
    "LogRange",
    "LogUniform",
    "Neutral",
    "Normal",
    "Ones",
    "Orthogonal",
    "Part",
    "PieceMeans",
    "Plan",
    "PlanRow",
    "PriorBias",
    "Ramp",
    "Recipe",
    "RecipeLike",
    "Rule",
    "Scheme",
    "Signal",
    "SignalRow",
    "Sparse",
    "StepBias",
    "Stream",
    "TorchDefault",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "XavierNormal",
    "XavierUniform",
    "Zeros",
    "adapters",
    "apply_",
    "calibrate_",
    "calibrated",
    "compare",
    "coordinate_check",
    "diff",
    "errors",
    "explain",
    "forecast",
    "gain",
    "identify",
    "init_",
    "load_",
    "measure",
    "mup",
    "plan",
    "recipe",
    "recipes",
    "same_everywhere",
    "schemes",
    "sel",
    "select_weights",
    "skeleton",
    "testing",
    "theory",
]
