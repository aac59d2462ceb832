"""Where random numbers come from: a function of (seed, name, element index).

``spec`` is the frozen definition, ``stream`` draws parameters and boxes of them with it, on the
CPU by the kernels of ``native`` where they are built, on a GPU by those of ``gpu``.
"""

from goodinit.streams.spec import VERSION, Key, Law, make_key
from goodinit.streams.stream import Box, Stream, fresh_seed, stream_of

__all__ = ["VERSION", "Box", "Key", "Law", "Stream", "fresh_seed", "make_key", "stream_of"]
