"""What the verbs print with: data on stdout; messages and progress on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.text import Text

from goodinit.errors import GoodinitError
from goodinit.findings import Finding
from goodinit.report.terminal import printable

__all__ = [
    "CommandError",
    "aside",
    "columns",
    "count",
    "emit",
    "emit_json",
    "emit_rendered",
    "grave",
    "note",
    "paragraph",
    "running",
    "saving",
    "size",
    "their_traceback",
    "working",
]

DELAY = 0.7  # seconds before a bar appears: what is quick shows none
BROKEN_PIPE = 141  # 128 + SIGPIPE, as a shell reports it of other programs
GOODINIT = str(Path(__file__).parent.parent)
QUIET = (
    f"{GOODINIT}{os.sep}",
    "<frozen importlib",
    f"{os.sep}importlib{os.sep}__init__.py",
    f"{os.sep}torch{os.sep}nn{os.sep}modules{os.sep}module.py",
    f"{os.sep}torch{os.sep}overrides.py",
)
"""Files whose frames say nothing of a user's own mistake."""


class CommandError(GoodinitError):
    """A call that can't be done as it stands; ``details`` is printed above the message."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def emit(text: str, style: str = "") -> None:
    """Print a result. A reader that has gone (``| head -1``) ends the program quietly.

    Raises:
        SystemExit: nobody reads any more.
    """
    if style:
        console = Console(highlight=False)
        with console.capture() as captured:
            _print(console, Text(printable(text), style))
        _write(captured.get())
    else:
        _write(f"{printable(text)}\n")


def emit_rendered(rendered: Callable[[int], RenderableType]) -> None:
    """Print what rich lays out for a width, in colours where stdout is a terminal."""
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(rendered(console.width))
    _write(captured.get())


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer would raise again when Python shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


def emit_json(data: object) -> None:
    """Print data as JSON, in ASCII."""
    emit(json.dumps(data, indent=1, allow_nan=False))


def note(text: str, *, label: str = "note", style: str = "yellow") -> None:
    """Print a message on stderr: one line if nobody looks at it, else wrapped between words."""
    console = Console(stderr=True, highlight=False)
    _print(console, Text.assemble((f"{label}: ", style), printable(text)))


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=not console.is_terminal)


def paragraph(text: str, start: str = "") -> str:
    """Return text behind ``start``: one line for a pipe, wrapped for a terminal."""
    if not sys.stdout.isatty():
        return start + text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        text,
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start) + "  " * start.isspace(),
        break_long_words=False,
        break_on_hyphens=False,
    )


def columns(rows: Sequence[Sequence[str]], start: str = "") -> str:
    """Return rows of text as aligned columns; the last one is as wide as it likes.

    >>> print(columns([("he", "normal"), ("xavier", "uniform")]))
    he      normal
    xavier  uniform
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join((start + line).rstrip() for line in lines)


def count(number: int, noun: str) -> str:
    """Return ``"1 tensor"``, ``"2,000 tensors"``.

    >>> count(1, "tensor"), count(2000, "tensor")
    ('1 tensor', '2,000 tensors')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def size(number: float) -> str:
    """Return a number of bytes for a person.

    >>> size(999), size(473_300), size(28e9)
    ('999 B', '473 kB', '28 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def grave(findings: Iterable[Finding]) -> bool:
    """Whether a finding is more than information: the exit code is 1 then."""
    return any(finding.severity != "info" for finding in findings)


@contextmanager
def aside() -> Generator[None]:
    """Send what other people's code prints to stderr: stdout holds results only."""
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def running() -> Generator[None]:
    """Send aside what a model prints that is run.

    Raises:
        CommandError: it ends the program, which would look as if all were well.
    """
    with aside():
        try:
            yield
        except SystemExit as error:
            raise CommandError(
                f"the model ended the program (SystemExit: {error.code}): it must return, or raise "
                "an error",
                their_traceback(error),
            ) from error


@contextmanager
def saving(path: Path) -> Generator[None]:
    """Say which file couldn't be written.

    Raises:
        CommandError: the disk is full, say.
    """
    try:
        yield
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; nothing was written") from error


@contextmanager
def working(label: str, total: int | None = None) -> Generator[Callable[..., None]]:
    """Show a bar, or a spinner without ``total``, if it takes long and somebody looks.

    Gives a function to call after each of the ``total`` steps.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda *_: None
        return
    bar = (BarColumn(), TaskProgressColumn()) if total else ()
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *bar,
        console=console,
        transient=True,
        redirect_stdout=False,  # `aside` does, and may end before the bar
        redirect_stderr=False,
    )
    task = progress.add_task(label, total=total)
    timer = threading.Timer(DELAY, progress.start)
    timer.start()
    try:
        yield lambda *_: progress.advance(task)
    finally:
        timer.cancel()
        timer.join()
        if progress.live.is_started:
            progress.stop()


def their_traceback(error: BaseException) -> str:
    """Return the traceback of somebody else's error, without the frames that are not theirs."""
    shown = link = traceback.TracebackException.from_exception(error)
    while link is not None:
        theirs = [f for f in link.stack if not any(part in f.filename for part in QUIET)]
        link.stack = traceback.StackSummary.from_list(theirs)
        link = link.__cause__ or link.__context__
    return "".join(shown.format()).rstrip()
