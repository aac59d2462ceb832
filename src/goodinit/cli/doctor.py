"""``goodinit doctor``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from goodinit._common.progress import progress_line
from goodinit.cli import options
from goodinit.cli.output import print_json, print_result


def doctor(json: options.AsJson = False) -> None:
    """Check the installation and the random numbers.

        goodinit doctor
        goodinit doctor --json

    The exit code is 1 if a check fails.
    """
    from goodinit.cli.installation import check_installation

    with progress_line("drawing golden values"):
        lines = check_installation()
    ok = all(line.ok is not False for line in lines)
    if json:
        print_json({"ok": ok, "lines": [asdict(line) for line in lines]})
    else:
        marks = {None: "", True: "ok", False: "FAILED"}
        first = max(len(marks[line.ok]) for line in lines)
        second = max(len(line.what) for line in lines)
        for line in lines:
            print_result(f"{marks[line.ok]:<{first}}  {line.what:<{second}}  {line.found}".rstrip())
        print_result("all checks passed" if ok else "a check failed", "green" if ok else "bold red")
    raise typer.Exit(int(not ok))
