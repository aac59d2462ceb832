"""``from goodinit.nn import init``: torch.nn.init, name for name, on goodinit's random streams.

``init`` is the public face; ``values``, ``variance`` and ``matrices`` hold the functions,
``gains`` and ``fans`` torch's numbers, ``fill`` the checks and the writing.
"""

from goodinit.nn import init

__all__ = ["init"]
