"""The command line: ``goodinit``, or ``python -m goodinit``.

One file a verb. ``targets`` finds the model that a word names, ``building`` builds, plans and
draws it, ``weights`` reads and writes its file, ``output`` is what the verbs print with. It needs
rich, safetensors and typer: ``pip install "goodinit[cli]"``.

Exit codes: 0 done; 1 a finding or a difference; 2 a wrong call.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
from typing import NoReturn

__all__ = ["main"]

NEEDED = ("rich", "safetensors", "typer")


def main() -> int:
    """Run the command line on ``sys.argv``; return its exit code."""
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        names = ", ".join(lacking)
        print(f'goodinit needs {names}: pip install "goodinit[cli]"', file=sys.stderr)
        return 2
    # A stop from outside (a scheduler's) removes half a file, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _stop)
    # Imported here, so that the message above comes before an ImportError.
    from goodinit.cli.app import run

    return run(sys.argv[1:])


def _stop(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)
