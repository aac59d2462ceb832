"""The HTML page of ``--html``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from goodinit.cli.output import naming_file_errors, print_note
from goodinit.cli.weights import check_writable
from goodinit.report.optional import import_optional

__all__ = ["check_page_path", "write_page"]


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
