"""What is said of a call when the mouse is on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from goodinit._common.text import number
from goodinit.report.curves import QUANTITIES, Value, curve
from goodinit.signal.rows import Signal, SignalRow

__all__ = ["error_of", "hovers", "literal", "shape_of"]

WORDS = {
    "samples": "cosine of two samples",
    "positions": "cosine of two positions",
    "backward": "gradient's second moment",
}


def hovers(rows: Sequence[SignalRow], signals: Sequence[Signal], recipe: str) -> list[str]:
    """Return lines for each row, in the few tags that plotly knows."""
    keys = [row.key for row in rows]
    found = {name: curve(signals, quantity, keys) for name, quantity in QUANTITIES.items()}
    texts: list[str] = []
    for n, row in enumerate(rows):
        values = {name: each.middle[n] for name, each in found.items()}
        mine = found["forward"].rows[n]
        lines = [f"<b>{literal(row.key)}</b>", f"{literal(row.function)}, {shape_of(row)}"]
        if len(signals) == 1 and mine is not None:
            lines += _alone(mine)
        else:
            lines += _among(values["forward"], [seed[n] for seed in found["forward"].seeds])
        lines += [
            f"{words} {number(values[name])}"
            for name, words in WORDS.items()
            if values[name] is not None
        ]
        texts.append("<br>".join([literal(recipe), *lines] if recipe else lines))
    return texts


def literal(text: str) -> str:
    """Return text that plotly shows as it is: it reads tags, and few entities but these.

    >>> literal("<b> & 'c'")
    "&lt;b&gt; &amp; 'c'"
    """
    return escape(text, quote=False)


def shape_of(row: SignalRow) -> str:
    """Return a shape in a word."""
    return "x".join(map(str, row.shape)) or "a number"


def error_of(row: SignalRow) -> str:
    """Return the standard error of a second moment: a share if small, else a factor.

    >>> from goodinit.signal import Moments
    >>> moments = Moments(mean=0.4, second=0.5, error=0.1)
    >>> error_of(SignalRow("0:relu", "0", "activation", "relu", (8, 4), 4, moments))
    '± 10%'
    """
    if not row.error:
        return ""
    if row.error < 0.3:
        return f"± {row.error:.0%}" if row.error >= 0.01 else f"± {row.error:.1%}"
    return f"×÷ {math.exp(min(row.error, 700.0)):.2g}"


def _alone(row: SignalRow) -> list[str]:
    lines = [
        f"mean {number(row.forward.mean)}",
        f"second moment {number(row.forward.second)} {error_of(row)}".rstrip(),
    ]
    if row.forward.bad:
        lines.append(f"{row.forward.bad} values are NaN or infinite")
    if row.forward.idle is not None:
        lines.append(f"{row.forward.idle:.0%} dead or saturated")
    return lines


def _among(value: Value, seeds: Sequence[Value]) -> list[str]:
    known = [seed for seed in seeds if seed is not None]
    if value is None or not known:
        return []
    return [
        f"second moment {number(value)}, the median of {len(known)} seeds",
        f"from {number(min(known))} to {number(max(known))}",
    ]
