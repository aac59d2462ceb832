"""The compiled library: found, opened and checked at the first fill."""

from __future__ import annotations

import ctypes
import hashlib
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import torch

from goodinit.streams.native.build import NAME
from goodinit.streams.spec import Law, cdf_word, float32_bounds

__all__ = ["AXIS", "REQUEST", "TYPES", "Library", "load", "open_library", "pack_law"]

INTERFACE = 2
"""The number that fill.cpp's goodinit_interface returns; a library with another one is old."""

TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.float64: 3}
KINDS = {"normal": 0, "uniform": 1, "truncated": 2}
BOUNDED = 3  # truncated, but the cut keeps every word: only the bounds apply
SIZES = (4, 2, 2, 8)  # bytes of each type

# GOLDEN is the SHA-256 of 300 values of each law in each type, from spec.py. If a compiler fuses
# products and sums, 37 to 55 % of the values change.
GOLDEN_LAWS = (
    Law.normal(0.5, 0.02),
    Law.uniform(-0.1, 0.3),
    Law.truncated(0.0, 1e-6, -2.0, 1.5),
    Law.truncated(1.0, 1.0, -9.0, 9.0),
)
COUNT = 300
GOLDEN = "97380e2ac7f94b4f4889cdd6d60f05d3d097aedd077b88855ac374da6adf47e5"

REQUEST = struct.Struct("=Qq16s28sIIii4x3q")
"""fill.cpp's Request for one axis, which follows it; others are appended as AXIS."""

AXIS = struct.Struct("=3q")

Fill = Callable[[bytes], int]


@dataclass(frozen=True, slots=True)
class Library:
    """The library as loaded, or why it is not used.

    Attributes:
        fill: the C function ``goodinit_fill``; None if the torch code is used.
        found: the instruction set in use, or why there is none.
        refused: whether there is a library that can't be used.
    """

    fill: Fill | None
    found: str
    refused: bool = False


@cache
def load() -> Library:
    """Return the package's library; warn once if there is one that can't be used."""
    path = Path(__file__).with_name(NAME)
    if not path.exists():
        return Library(None, "plain torch code: install a C++ compiler and reinstall goodinit")
    library = open_library(path)
    if library.refused:
        warnings.warn(
            f"goodinit's native kernels aren't used, the slower torch code is: {library.found}",
            RuntimeWarning,
            stacklevel=2,
        )
    return library


def open_library(path: Path) -> Library:
    """Open a library and draw golden values with it."""
    again = "reinstall goodinit"
    try:
        handle = ctypes.CDLL(str(path))
        interface = handle.goodinit_interface()
        instructions, fill = handle.goodinit_instructions, handle.goodinit_fill
    except (OSError, AttributeError) as error:
        return Library(None, f"{path.name} can't be loaded ({error}): {again}", refused=True)
    if interface != INTERFACE:
        return Library(None, f"{path.name} is of another version: {again}", refused=True)
    instructions.restype = ctypes.c_char_p
    fill.argtypes = [ctypes.c_char_p]
    if golden_digest(fill) != GOLDEN:
        what = "draws other bits, as if built with other compiler flags"
        return Library(None, f"{path.name} {what}: {again}", refused=True)
    return Library(fill, instructions(0).decode())


def golden_digest(fill: Fill) -> str:
    """Return the SHA-256 of the values that identify a correct library."""
    found = hashlib.sha256()
    key = struct.pack("=4I", 1, 2, 3, 4)
    for law in GOLDEN_LAWS:
        for kind, size in enumerate(SIZES):
            values = ctypes.create_string_buffer(COUNT * size)
            address, coded = ctypes.addressof(values), pack_law(law)
            fill(REQUEST.pack(address, 1, key, coded, kind, 0, 1, 1, COUNT, 1, 1))
            found.update(values.raw)
    return found.hexdigest()


@lru_cache(maxsize=1024)
def pack_law(law: Law) -> bytes:
    """Return the bytes of streams.h's Law."""
    kind, lo, width = KINDS[law.kind], 0, 0
    if law.kind == "truncated":
        lo = cdf_word(law.low)
        width = cdf_word(law.high) - lo
        if width == 1 << 32:
            kind, width = BOUNDED, 0
    numbers = (law.scale, law.loc, *float32_bounds(law))
    return struct.pack("=I4f2I", kind, *numbers, lo, width)
