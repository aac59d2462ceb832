"""What the theory of initialization assumes or promises, measured on a model."""

from goodinit.theory.independence import Independence, independence
from goodinit.theory.jacobian import jacobian

__all__ = ["Independence", "independence", "jacobian"]
