"""Signals made by hand."""

from typing import Any

from goodinit.findings import Finding
from goodinit.signal import Moments, Signal, SignalRow


def row(
    name: str,
    kind: str = "contract",
    function: str = "linear",
    second: float = 1.0,
    backward: float | None = 1.0,
    takes: tuple[int, ...] = (),
    **moments: Any,
) -> SignalRow:
    return SignalRow(
        f"{name}:{function}",
        name,
        kind,
        function,
        (8, 4),
        4,
        Moments(0.0, second, **moments),
        None if backward is None else Moments(0.0, backward),
        takes,
        (f"{name}.weight",) if kind == "contract" else (),
    )


def chain(*seconds: float, **more: Any) -> Signal:
    """A signal through layers named 0, 1, ..."""
    rows = [row(str(n), second=s, takes=(n - 1,), **more) for n, s in enumerate(seconds)]
    return Signal(rows, batch=8)


def finding(where: str, code: str = "GI102", severity: Any = "warning") -> Finding:
    return Finding(code, severity, where, "the signal vanishes", "gi.init_(model, 'he')")
