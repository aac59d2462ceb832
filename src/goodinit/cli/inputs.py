"""Inputs as text: ``8x3x32x32``, ``int:2x16:50000``, ``attention_mask=bool:2x16``.

    [NAME=][KIND:]SIZExSIZE...[:LIMIT]

KIND is ``float`` (standard normal; the default), ``int`` (from 0 to LIMIT - 1; LIMIT defaults to
10) or ``bool`` (all true). Inputs without names are positional, those with names keyword arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from goodinit.cli.output import CommandError
from goodinit.trace import Inputs

SPEC = re.compile(
    r"(?:(?P<name>[A-Za-z_][A-Za-z_0-9]*)=)?(?:(?P<kind>float|int|bool):)?"
    r"(?P<shape>[0-9]{1,9}(?:x[0-9]{1,9})*)(?::(?P<limit>[0-9]{1,18}))?"
)
LIMIT = 10  # small enough for most embeddings
MAX_ELEMENTS = 2**28  # a gigabyte of float32; far more than a few samples need


def parse_inputs(specs: Sequence[str]) -> Inputs:
    """Return the tensors that ``--input`` describes; equal texts give equal tensors.

    Raises:
        CommandError: a text in another form; some inputs with a name and some without.

    Example:
        >>> {name: x.shape for name, x in parse_inputs(["ids=int:2x16", "image=1x3x8x8"]).items()}
        {'ids': torch.Size([2, 16]), 'image': torch.Size([1, 3, 8, 8])}
    """
    generator = torch.Generator().manual_seed(0)
    parsed = [_parse_input(spec, generator) for spec in specs]
    by_name = {name: tensor for name, tensor in parsed if name}
    if not by_name:
        return tuple(tensor for _, tensor in parsed)
    if len(by_name) < len(parsed):
        raise CommandError("--input: give every input its own name, or none of them")
    return by_name


def _parse_input(spec: str, generator: torch.Generator) -> tuple[str, Tensor]:
    match = SPEC.fullmatch(spec)
    if match is None:
        raise CommandError(
            f"--input {spec!r} isn't of the form [NAME=][KIND:]SHAPE[:LIMIT], KIND one of float, "
            f"int, bool: 8x3x32x32, int:2x16:50000, input_ids=int:2x16"
        )
    kind = match["kind"] or "float"
    shape = tuple(map(int, match["shape"].split("x")))
    if math.prod(shape) > MAX_ELEMENTS:
        raise CommandError(f"--input {spec!r} has {math.prod(shape):,} values: pass fewer samples")
    limit = int(match["limit"] or LIMIT)
    if match["limit"] and (kind != "int" or not limit):
        raise CommandError(f"--input {spec!r}: only int takes a limit, of at least 1")
    if kind == "float":
        return match["name"] or "", torch.randn(shape, generator=generator)
    if kind == "int":
        return match["name"] or "", torch.randint(limit, shape, generator=generator)
    return match["name"] or "", torch.ones(shape, dtype=torch.bool)
