"""The tooltips of calls in the plots of a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from goodinit._common.text import number
from goodinit.report.curves import QUANTITIES, Value, curve
from goodinit.signal.rows import Signal, SignalRow

SMALL_ERROR = 0.3  # of log(second): up to here e^x and 1 + x agree within 5 %
LARGEST_LOG = 700.0  # e^709 overflows float64
WORDS = {
    "samples": "cosine of two samples",
    "positions": "cosine of two positions",
    "backward": "gradient's second moment",
}


def tooltips(rows: Sequence[SignalRow], signals: Sequence[Signal], recipe: str) -> list[str]:
    """Return a text for each row, in the few HTML tags that plotly knows."""
    keys = [row.key for row in rows]
    found = {name: curve(signals, quantity, keys) for name, quantity in QUANTITIES.items()}
    texts: list[str] = []
    for n, row in enumerate(rows):
        values = {name: each.middle[n] for name, each in found.items()}
        mine = found["forward"].rows[n]
        lines = [f"<b>{escaped(row.key)}</b>", f"{escaped(row.function)}, {shape_text(row)}"]
        if len(signals) == 1 and mine is not None:
            lines += _of_one_seed(mine)
        else:
            lines += _of_seeds(values["forward"], [seed[n] for seed in found["forward"].seeds])
        lines += [
            f"{words} {number(values[name])}"
            for name, words in WORDS.items()
            if values[name] is not None
        ]
        texts.append("<br>".join([escaped(recipe), *lines] if recipe else lines))
    return texts


def escaped(text: str) -> str:
    """Return text that plotly shows literally; of entities it decodes few but these.

    >>> escaped("<b> & 'c'")
    "&lt;b&gt; &amp; 'c'"
    """
    return escape(text, quote=False)


def shape_text(row: SignalRow) -> str:
    """Return a shape as text."""
    return "x".join(map(str, row.shape)) or "a number"


def error_text(row: SignalRow) -> str:
    """Return the standard error of a second moment: a percentage if small, else a factor.

    >>> from goodinit.signal import Moments
    >>> moments = Moments(mean=0.4, second=0.5, error=0.1)
    >>> error_text(SignalRow("0:relu", "0", "activation", "relu", (8, 4), 4, moments))
    '± 10%'
    """
    if not row.error:
        return ""
    if row.error < SMALL_ERROR:
        return f"± {row.error:.0%}" if row.error >= 0.01 else f"± {row.error:.1%}"
    return f"×÷ {math.exp(min(row.error, LARGEST_LOG)):.2g}"


def _of_one_seed(row: SignalRow) -> list[str]:
    lines = [
        f"mean {number(row.forward.mean)}",
        f"second moment {number(row.forward.second)} {error_text(row)}".rstrip(),
    ]
    if row.forward.bad:
        lines.append(f"{row.forward.bad} values are NaN or infinite")
    if row.forward.idle is not None:
        lines.append(f"{row.forward.idle:.0%} dead or saturated")
    return lines


def _of_seeds(value: Value, seeds: Sequence[Value]) -> list[str]:
    known = [seed for seed in seeds if seed is not None]
    if value is None or not known:
        return []
    return [
        f"second moment {number(value)}, the median of {len(known)} seeds",
        f"from {number(min(known))} to {number(max(known))}",
    ]
