"""The page that ``--html`` asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from goodinit.cli.output import note, saving
from goodinit.cli.weights import check_place
from goodinit.report.libraries import needed

__all__ = ["check_page", "saved"]


def check_page(path: Path) -> None:
    """Refuse what can't be written before the model is built and run.

    Raises:
        CommandError: no such folder, no permission.
        ReportError: plotly isn't installed.
    """
    check_place(path, option="--html")
    needed("plotly.io")


def saved(path: Path, write: Callable[[], None]) -> None:
    """Write the page, and say on stderr where it is."""
    with saving(path):
        write()
    note(str(path), label="page")
