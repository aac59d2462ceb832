"""Run the notebooks of docs/lessons and store what they show.

    python tools/lessons.py                 run all, write their outputs
    python tools/lessons.py cnn             run one
    python tools/lessons.py --check         run all, write nothing: do they still run?

Needs nbclient and ipykernel (`make battery` installs both into build/research). The notebooks are
kept as .ipynb because Colab opens nothing else and because the site shows the stored outputs. To
keep diffs readable, what changes without a reason (times, versions, execution metadata) is removed,
and cells have names that don't change.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

LESSONS = Path(__file__).resolve().parent.parent / "docs" / "lessons"
LIMIT = 600  # seconds for a cell: that a notebook takes less than a minute is the test's affair


def run(path: Path) -> tuple[nbformat.NotebookNode, float]:
    """Run a notebook in an empty folder; return it with its outputs, and its processor time."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=LIMIT, resources={"metadata": {"path": folder}})
        before = sum(os.times()[2:4])  # of children: the kernel is one
        client.execute()
    return notebook, sum(os.times()[2:4]) - before


def tidied(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Remove what two runs don't share; join what was printed piece by piece."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells, 1):
        cell.id, cell.metadata = f"{name}-{number:02}", {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def main() -> None:
    """Run notebooks; without --check write them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    for path in sorted(LESSONS.glob("*.ipynb")):
        if asked.names and path.stem not in asked.names:
            continue
        start = time.perf_counter()
        notebook, busy = run(path)
        seconds = time.perf_counter() - start
        print(f"{path.stem:20} {busy:5.1f} s of CPU, {seconds:5.1f} s", flush=True)
        if not asked.check:
            nbformat.write(tidied(notebook, path.stem), path)


if __name__ == "__main__":
    main()
