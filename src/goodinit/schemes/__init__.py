"""Schemes: how one tensor's values are drawn, as frozen dataclasses.

``Scheme`` defines what each can do. Recipes decide which to use where.
"""

from __future__ import annotations

from goodinit._common.public_names import listing as _listing
from goodinit.schemes.fans import Layout, Site
from goodinit.schemes.gains import derivative_second_moment, gain, second_moment, slope
from goodinit.schemes.grown import LikeRows, PieceMeans
from goodinit.schemes.matrices import DeltaOrthogonal, Dirac, Identity, Orthogonal, Sparse
from goodinit.schemes.priors import PriorBias
from goodinit.schemes.quadrature import truncated_moments
from goodinit.schemes.ramps import Ramp
from goodinit.schemes.reader import from_dict
from goodinit.schemes.scheme import Draw, Scaled, Scheme
from goodinit.schemes.state_space import LogRange, LogUniform, StepBias
from goodinit.schemes.sub_pixels import ICNR
from goodinit.schemes.values import (
    AddNoise,
    Constant,
    Drawn,
    Function,
    Keep,
    Normal,
    Ones,
    TorchDefault,
    TruncatedNormal,
    Uniform,
    Zeros,
)
from goodinit.schemes.variance import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    KaimingNormal,
    KaimingUniform,
    LeCunNormal,
    LeCunUniform,
    VarianceScaling,
    XavierNormal,
    XavierUniform,
)

__all__ = [
    "ICNR", "AddNoise", "Constant", "DeltaOrthogonal", "Dirac", "Draw", "Drawn", "Function",
    "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity", "KaimingNormal",
    "KaimingUniform", "Keep", "Layout", "LeCunNormal", "LeCunUniform", "LikeRows", "LogRange",
    "LogUniform", "Normal", "Ones", "Orthogonal", "PieceMeans", "PriorBias", "Ramp", "Scaled",
    "Scheme", "Site", "Sparse", "StepBias", "TorchDefault", "TruncatedNormal", "Uniform",
    "VarianceScaling", "XavierNormal", "XavierUniform", "Zeros", "derivative_second_moment",
    "from_dict", "gain", "second_moment", "slope", "truncated_moments",
]  # fmt: skip
__dir__ = _listing(__all__)
