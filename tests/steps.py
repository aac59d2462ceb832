"""What work costs, on any machine: lines of Python counted, or seconds beside a known piece."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FrameType

LINEAR = 4  # times as much for four times the size, at most: a + b n is below, n log n would be 5
KNOWN = 0.1  # seconds of the known piece of work on the machine where promises are judged


class TooManyStepsError(AssertionError):
    pass


def steps(act: Callable[[], object], most: float = float("inf")) -> int:
    """The lines that Python runs in ``act()``, each turn of a loop anew; over ``most`` it stops.

    What runs inside of C code, such as torch's or a search in a list, isn't seen.
    """
    lines = 0
    outer = sys.gettrace()  # of whoever records what a test calls

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., object]:
        nonlocal lines
        if event == "call" and outer is not None:
            outer(frame, event, argument)
        elif event == "line":
            lines += 1
            if lines > most:
                raise TooManyStepsError(f"more than {most:,.0f} lines")
        return trace

    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(outer)
    return lines


def known_work() -> float:
    """Seconds of this thread for the known piece of work: 16-bit numbers, sorted and joined."""
    start = time.thread_time()
    numbers, value = [], 1
    for _ in range(260_000):
        value = value * 75 % 65537
        numbers.append(value)
    ",".join(str(number) for number in sorted(numbers))
    return time.thread_time() - start


def within(took: float, seconds: float) -> bool:
    """Whether work that took so long would end within ``seconds`` where promises are judged."""
    return took < seconds or took * KNOWN < seconds * known_work()
