"""Output: results go to stdout, messages and progress to stderr, weights and pages to files."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from goodinit._common.result import Result
from goodinit._common.text import terminal_width
from goodinit.errors import GoodinitError, PlanFileError, printable
from goodinit.report.optional import import_optional

BROKEN_PIPE = 141  # 128 + SIGPIPE, the exit code that a shell reports for other programs
GOODINIT = str(Path(__file__).parent.parent)
HIDDEN_FRAMES = (
    f"{GOODINIT}{os.sep}",
    "<frozen importlib",
    f"{os.sep}importlib{os.sep}__init__.py",
    f"{os.sep}torch{os.sep}nn{os.sep}modules{os.sep}module.py",
    f"{os.sep}torch{os.sep}overrides.py",
)
"""Files whose frames do not help a user to find a mistake in their own model."""


class CommandError(GoodinitError):
    """A call that can't be carried out; ``details`` are printed above the message."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def print_result(text: str, style: str = "") -> None:
    """Print a result on stdout. If the reader has closed the pipe (``| head -1``), exit quietly.

    Raises:
        SystemExit: the pipe is closed.
    """
    if style:
        console = Console(highlight=False)
        with console.capture() as captured:
            _print(console, Text(printable(text), style))
        _write(captured.get())
    else:
        _write(f"{printable(text)}\n")


def end_with(result: Result[Any], *, full: bool, json: bool) -> None:
    """Print a result; the exit code is 1 if it isn't ``ok``."""
    if json:
        print_json(result.to_dict())
    else:
        print_result(result.to_text(full=full))
    if not result.ok:
        raise typer.Exit(1)


def print_rendered(rendered: Callable[[int], RenderableType]) -> None:
    """Print what rich lays out for a width, in color if stdout is a terminal."""
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


def print_json(data: object) -> None:
    """Print data as JSON, in ASCII."""
    print_result(json.dumps(data, indent=1, allow_nan=False))


def print_note(text: str, *, label: str = "note", style: str = "yellow") -> None:
    """Print a message on stderr: wrapped between words on a terminal, else on one line."""
    console = Console(stderr=True, highlight=False)
    _print(console, Text.assemble((f"{label}: ", style), printable(text)))


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=not console.is_terminal)


def wrap_for_terminal(text: str, start: str = "") -> str:
    """Return ``start`` and a text: wrapped on a terminal, else on one line, for grep."""
    width = terminal_width()
    if width is None:
        return start + text
    return textwrap.fill(
        text,
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start) + "  " * start.isspace(),
        break_long_words=False,
        break_on_hyphens=False,
    )


def byte_size(number: float) -> str:
    """Return a number of bytes with its unit.

    >>> byte_size(999), byte_size(473_300), byte_size(28e9)
    ('999 B', '473 kB', '28 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:  # which three digits would round to 1000
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


@contextmanager
def stdout_to_stderr() -> Generator[None]:
    """Send to stderr what other people's code prints: stdout holds only results."""
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def running_model() -> Generator[None]:
    """Send to stderr what a model prints while it runs.

    Raises:
        CommandError: the model calls ``sys.exit``, which would otherwise look like success.
    """
    with stdout_to_stderr():
        try:
            yield
        except SystemExit as error:
            raise CommandError(
                f"the model ended the program (SystemExit: {error.code}): it must return, or raise "
                "an error",
                user_traceback(error),
            ) from error


@contextmanager
def naming_file_errors(path: Path) -> Generator[None]:
    """Name the file that can't be written.

    Raises:
        CommandError: the file can't be written, for example because the disk is full.
    """
    try:
        yield
    except (OSError, PlanFileError) as error:
        cause = error.__cause__ if isinstance(error, PlanFileError) else error
        if not isinstance(cause, OSError):
            raise
        raise CommandError(f"{path}: {cause.strerror}; nothing was written") from error


def check_writable(path: Path, needed: int = 0, option: str = "-o") -> None:
    """Check that a file can be written, before drawing its weights takes hours.

    ``needed`` is its size in bytes, if known; ``option`` is the option that names it.

    Raises:
        CommandError: no such folder, no permission, no regular file, not enough space.
    """
    if path.is_dir():
        raise CommandError(f"{option} {path} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        fix = "name a file that can be replaced"
        raise CommandError(f"{option} {path} is not a regular file: {fix}")
    try:
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            free = shutil.disk_usage(path.resolve().parent).free
    except OSError as error:
        raise CommandError(f"{option} {path} can't be written: {error.strerror}") from error
    if free < needed:
        sizes = f"{byte_size(needed)}, and {byte_size(free)} are free there"
        raise CommandError(f"{option} {path} takes {sizes}")


def check_page_path(path: Path) -> None:
    """Check that the page can be written, before the model is built and run.

    Raises:
        CommandError: no such folder, no permission.
        ReportError: plotly isn't installed.
    """
    check_writable(path, option="--html")
    import_optional("plotly.io")


def write_page(path: Path, write: Callable[[], None]) -> None:
    """Write the page, and print its path on stderr."""
    with naming_file_errors(path):
        write()
    print_note(str(path), label="page")


def user_traceback(error: BaseException) -> str:
    """Return the traceback of an error in user code, without the frames of goodinit and torch."""
    trace = link = traceback.TracebackException.from_exception(error)
    while link is not None:
        frames = [f for f in link.stack if not any(part in f.filename for part in HIDDEN_FRAMES)]
        link.stack = traceback.StackSummary.from_list(frames)
        link = link.__cause__ or link.__context__
    return "".join(trace.format()).rstrip()
