"""The CPU kernels in C++: the same bits as spec.py, many times faster.

``build`` compiles them, ``library`` loads and checks them, ``fill`` passes them a tensor. Without a
compiler there are none, and the torch code draws the same values.
"""

from goodinit.streams.native.fill import fill_box, may_fill_whole, write_whole
from goodinit.streams.native.library import load, note_plain_drawing

__all__ = ["fill_box", "load", "may_fill_whole", "note_plain_drawing", "write_whole"]
