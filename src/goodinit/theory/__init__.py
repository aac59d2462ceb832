"""What the theory of initialization says of an activation, and what it assumes, measured."""

from goodinit._common.public_names import listing as _listing
from goodinit.recipes.explained_call import explained as _explained
from goodinit.theory.independence import Independence, IndependenceRow
from goodinit.theory.independence import independence as _independence
from goodinit.theory.jacobian import jacobian_spectrum as _jacobian_spectrum
from goodinit.theory.mean_field import (
    chi,
    correlation_length,
    critical,
    depth_scale,
    fixed_correlation,
    fixed_point,
)

independence = _explained(_independence, "gi.theory")
jacobian_spectrum = _explained(_jacobian_spectrum, "gi.theory")

__all__ = [
    "Independence",
    "IndependenceRow",
    "chi",
    "correlation_length",
    "critical",
    "depth_scale",
    "fixed_correlation",
    "fixed_point",
    "independence",
    "jacobian_spectrum",
]
__dir__ = _listing(__all__)
