"""What the theory of initialization says of an activation, and what it assumes, measured."""

from goodinit.theory.independence import Independence, IndependenceRow, independence
from goodinit.theory.jacobian import jacobian_spectrum
from goodinit.theory.mean_field import (
    chi,
    correlation_length,
    critical,
    depth_scale,
    fixed_correlation,
    fixed_point,
)

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
