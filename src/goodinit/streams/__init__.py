"""Random numbers as a function of (seed, name, element index).

``spec`` is the frozen definition. ``stream`` draws parameters and boxes of them, with the kernels
of ``native`` on the CPU if they are compiled, and with those of ``gpu`` on a GPU.
"""

from goodinit.streams.part import Box, Part
from goodinit.streams.spec import VERSION, Key, Law, make_key
from goodinit.streams.stream import Stream, fresh_seed, stream_of

__all__ = ["VERSION", "Box", "Key", "Law", "Part", "Stream", "fresh_seed", "make_key", "stream_of"]
