"""The command line: ``goodinit``, or ``python -m goodinit``.

Each verb has its own file. ``targets`` finds the model that TARGET names, ``building`` builds,
plans and draws it, ``weights`` reads and writes its file, and ``output`` prints. The command line
needs rich, safetensors and typer: ``pip install "goodinit[cli]"``.

Exit codes: 0 success; 1 a finding or a difference; 2 a wrong call.
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
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        print(f'goodinit needs {names}: pip install "goodinit[cli]"', file=sys.stderr)
        return 2
    # If a scheduler stops the process, a half-written file is removed, as it is after Ctrl-C.
    signal.signal(signal.SIGTERM, _exit_on_signal)
    # Imported here, so that the message above is printed instead of an ImportError.
    from goodinit.cli.app import run

    return run(sys.argv[1:])


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)
