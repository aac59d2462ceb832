"""What takes long shows a line on stderr where that is a terminal, and nothing elsewhere."""

import io
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit._common import progress
from goodinit._common.progress import progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    shown = Terminal()
    # Not sys.stderr itself, which pytest replaces after the fixtures.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=shown))
    monkeypatch.setattr(progress, "DELAY", 0.01)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    return shown


def wait_for(terminal: Terminal, text: str) -> None:
    end = time.monotonic() + 20
    while text not in terminal.getvalue() and time.monotonic() < end:
        time.sleep(0.01)


def test_the_share_that_is_done(terminal: Terminal) -> None:
    with progress_line("drawing", 4) as step:
        step()
        step("a row")
        wait_for(terminal, "\rdrawing 50%  0 s")
    lines = terminal.getvalue().split("\r")
    assert "drawing 50%  0 s" in lines
    assert lines[-1] == ""  # the line is gone
    assert not lines[-2].strip()


def test_only_the_outer_task_is_shown_and_all_threads_end(terminal: Terminal) -> None:
    before = threading.active_count()
    with progress_line("comparing"), progress_line("measuring"):
        wait_for(terminal, "comparing")
    assert "comparing" in terminal.getvalue()
    assert "measuring" not in terminal.getvalue()
    with progress_line("again"):
        wait_for(terminal, "again")
    assert "again" in terminal.getvalue()
    assert threading.active_count() == before


def test_an_error_takes_the_line_away(terminal: Terminal) -> None:
    @progress_line("planning")
    def fail() -> None:
        wait_for(terminal, "planning")
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert terminal.getvalue().endswith(" \r")


def test_nothing_before_the_delay(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY", 60)
    with progress_line("drawing", 2) as step:
        step()
    assert terminal.getvalue() == ""


def test_nothing_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=pipe))
    monkeypatch.setattr(progress, "DELAY", 0)
    before = threading.active_count()
    with progress_line("drawing"):
        assert threading.active_count() == before
    assert pipe.getvalue() == ""


def test_each_function_that_may_take_long_shows_its_name(terminal: Terminal) -> None:
    class Slow(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            wait_for(terminal, self.awaited)
            return super().forward(x)

    x, net = torch.randn(4, 3), Slow(3, 3)
    calls = {
        "planning": lambda: gi.plan(net, "he", inputs=x),
        "measuring": lambda: gi.measure(net, x),
        "comparing": lambda: gi.compare(net, x, [None]),
        "explaining": lambda: gi.explain(net, x),
    }
    for name, call in calls.items():
        net.awaited = name
        call()
        assert f"\r{name}" in terminal.getvalue()
