"""The compiled library: found, opened and checked at the first fill."""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import torch

from goodinit.errors import StreamError, nearest
from goodinit.streams.native.build import NAME
from goodinit.streams.spec import Law, cdf_word, float32_bounds

__all__ = [
    "AXIS",
    "REQUEST",
    "TYPES",
    "Library",
    "load",
    "note_plain_drawing",
    "open_library",
    "pack_law",
]

INTERFACE = 4
"""The number that fill.cpp's goodinit_interface returns; a library with another one is old."""

CHOICES = {"plain": None, "portable": 1, "avx2": 2, "avx512": 3, "neon": 4}
"""Values of GOODINIT_KERNELS, with the numbers of the library's instruction sets."""

TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.float64: 3}
KINDS = {"normal": 0, "uniform": 1, "truncated": 2}
BOUNDED = 3  # truncated, but the cut keeps every word: only the bounds apply
SYMMETRIC = 4  # uniform around 0, no constant: there is no loc to add
SIZES = (4, 2, 2, 8)  # bytes of each type

# GOLDEN is the SHA-256 of 300 values of each law in each type, from spec.py. If a compiler fuses
# the scale and the shift, or doesn't fuse a step of the normal law, half of the values change.
GOLDEN_LAWS = (
    Law.normal(0.5, 0.02),
    Law.uniform(-0.1, 0.3),
    Law.uniform(-0.1, 0.1),
    Law.truncated(0.0, 1e-6, -2.0, 1.5),
    Law.truncated(1.0, 1.0, -9.0, 9.0),
)
COUNT = 300
GOLDEN = "861caa03e9e5827d7afb8fe0f39ab484afa9d87b8b80affb7add7713afcc1683"

REQUEST = struct.Struct("=Qq16s28sIIii4x3q")
"""fill.cpp's Request for one axis, which follows it; others are appended as AXIS."""

AXIS = struct.Struct("=3q")

NOTICED = 1.0
"""Seconds of drawing by torch code, in one process, after which a warning says how to save them."""

_drawn = {"seconds": 0.0}

Fill = Callable[[bytes], int]


@dataclass(frozen=True, slots=True)
class Library:
    """The library as loaded, or why it is not used.

    Attributes:
        fill: the C function ``goodinit_fill``; None if the torch code is used.
        found: the instruction set in use, or why there is none.
        refused: whether there is a library that can't be used.
        instructions: number of the instruction set to use; 0 is the best of this machine.
    """

    fill: Fill | None
    found: str
    refused: bool = False
    instructions: int = 0


@cache
def load() -> Library:
    """Return the package's library; warn once if there is one that can't be used.

    Raises:
        StreamError: GOODINIT_KERNELS asks for kernels that aren't known, or aren't here.
    """
    wanted = os.environ.get("GOODINIT_KERNELS", "")
    if wanted and wanted not in CHOICES:
        raise StreamError(
            f"GOODINIT_KERNELS={wanted!r}: choose one of {', '.join(CHOICES)}."
            f"{nearest(wanted, tuple(CHOICES))}"
        )
    if wanted == "plain":
        return Library(None, "plain torch code: GOODINIT_KERNELS=plain")
    path = Path(__file__).with_name(NAME)
    if path.exists():
        library = open_library(path, CHOICES.get(wanted) or 0)
    else:
        fix = "install a wheel of your platform, or a C++ compiler and then goodinit again"
        library = Library(None, f"plain torch code: {fix}")
    if wanted and library.fill is None:
        raise StreamError(f"GOODINIT_KERNELS={wanted!r}: {library.found}; or unset the variable")
    if library.refused:
        warnings.warn(
            f"goodinit's native kernels aren't used, the slower torch code is: {library.found}",
            RuntimeWarning,
            stacklevel=2,
        )
    return library


def note_plain_drawing(seconds: float) -> None:
    """Warn once when torch code has drawn for long because there is no library.

    Args:
        seconds: how long it has drawn just now.
    """
    library = load()
    if library.fill is not None or library.refused or os.environ.get("GOODINIT_KERNELS"):
        return
    before = _drawn["seconds"]
    _drawn["seconds"] += seconds
    if before <= NOTICED < _drawn["seconds"]:
        warnings.warn(
            f"goodinit has drawn for {_drawn['seconds']:.1f} s without its compiled kernels, which "
            f"are more than 10 times as fast: {library.found}. GOODINIT_KERNELS=plain hides this",
            RuntimeWarning,
            stacklevel=2,
        )


def open_library(path: Path, instructions: int = 0) -> Library:
    """Open a library and draw golden values with it.

    Args:
        path: of the library.
        instructions: number of the instruction set to use; 0 is the best of this machine.
    """
    again = "reinstall goodinit"
    try:
        handle = ctypes.CDLL(str(path))
        interface = handle.goodinit_interface()
        name_of, fill = handle.goodinit_instructions, handle.goodinit_fill
    except (OSError, AttributeError) as error:
        return Library(None, f"{path.name} can't be loaded ({error}): {again}", refused=True)
    if interface != INTERFACE:
        return Library(None, f"{path.name} is of another version: {again}", refused=True)
    name_of.restype = ctypes.c_char_p
    fill.argtypes = [ctypes.c_char_p]
    if name_of(instructions) is None:
        best = name_of(0).decode()
        return Library(None, f"this machine, or the library, has only up to {best}")
    if _golden_digest(fill, instructions) != GOLDEN:
        what = "draws other bits, as if built with other compiler flags"
        return Library(None, f"{path.name} {what}: {again}", refused=True)
    return Library(fill, name_of(instructions).decode(), instructions=instructions)


def _golden_digest(fill: Fill, instructions: int = 0) -> str:
    """Return the SHA-256 of the values that identify a correct library."""
    found = hashlib.sha256()
    key = struct.pack("=4I", 1, 2, 3, 4)
    for law in GOLDEN_LAWS:
        for kind, size in enumerate(SIZES):
            values = ctypes.create_string_buffer(COUNT * size)
            address, coded = ctypes.addressof(values), pack_law(law)
            fill(REQUEST.pack(address, 1, key, coded, kind, instructions, 1, 1, COUNT, 1, 1))
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
    elif law.kind == "uniform" and law.loc == 0 < law.scale:
        kind = SYMMETRIC
    numbers = (law.scale, law.loc, *float32_bounds(law))
    return struct.pack("=I4f2I", kind, *numbers, lo, width)
