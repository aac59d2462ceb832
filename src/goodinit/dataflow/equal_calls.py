"""What is equal for equal layers: so that their calls run again once."""

from __future__ import annotations

from ctypes import string_at
from hashlib import blake2b
from typing import Any

from torch import Tensor

from goodinit.dataflow.constants import holds_one_number
from goodinit.dataflow.replay import Computed
from goodinit.dataflow.tape import Ref, Tape, replaced

# Parameters of more elements are drawn when the calls run again, unless they hold one number.
DIGESTED = 4096


def key_of(computed: Computed, tape: Tape) -> object:
    """Return what is equal for equal layers: calls, shapes, dtypes and constants."""
    order: dict[int, int] = {}

    def plain(item: Any) -> Any:
        if isinstance(item, Ref):
            return "tensor", order.setdefault(item.number, len(order))
        return item if isinstance(item, (int, float, str, bool)) else repr(item)

    calls = [
        (e.name, str(e.function), repr(replaced((e.args, dict(e.kwargs)), plain)),
         [(order.setdefault(n, len(order)), tape.shapes[n]) for n in e.outputs])
        for e in computed.entries
    ]  # fmt: skip
    sources = [
        (order.get(number), s.shape, s.dtype, s.param is None, s.live, _digest(s.value, s.param))
        for number, s in computed.sources.items()
    ]
    targets = [order.get(number) for number in computed.targets]
    return repr((calls, sources, targets))


def _digest(value: Tensor | None, param: int | None) -> str:
    if value is None or (
        param is not None and value.numel() > DIGESTED and not holds_one_number(value)
    ):
        return ""
    # Not through numpy, which torch itself can do without.
    plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    data = string_at(plain.data_ptr(), plain.numel() * plain.itemsize)
    return blake2b(data, digest_size=16).hexdigest()
