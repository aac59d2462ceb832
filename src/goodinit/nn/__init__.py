"""``from goodinit.nn import init``: torch.nn.init, name for name, on goodinit's random streams."""

from goodinit._common.public_names import listing as _listing
from goodinit.nn import init

__all__ = ["init"]
__dir__ = _listing(__all__)
