"""``from goodinit.nn import init``: torch.nn.init, name for name, on goodinit's random streams."""

from goodinit.nn import init

__all__ = ["init"]
