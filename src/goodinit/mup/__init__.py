"""muP beside its laws: learning rates as parameter groups, and the check by coordinates."""

from goodinit._common.public_names import listing as _listing
from goodinit.mup.coordinate_check import coordinate_check
from goodinit.mup.coordinates import Coordinate, CoordinateCheck
from goodinit.mup.param_groups import param_groups as _param_groups
from goodinit.recipes.explained_call import explained as _explained

param_groups = _explained(_param_groups, "gi.mup")

__all__ = ["Coordinate", "CoordinateCheck", "coordinate_check", "param_groups"]
__dir__ = _listing(__all__)
