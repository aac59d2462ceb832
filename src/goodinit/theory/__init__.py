"""What the theory of initialization assumes or promises, measured on a model."""

from goodinit.theory.independence import Independence, IndependenceRow, independence
from goodinit.theory.jacobian import jacobian_spectrum

__all__ = ["Independence", "IndependenceRow", "independence", "jacobian_spectrum"]
