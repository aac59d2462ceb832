"""What the command line answers without torch: versions, help and wrong calls."""

import subprocess
import sys

import pytest

# Prints the exit code, the seconds of processor time, and whether torch was imported.
CODE = """
import sys, time
from goodinit.cli import main
code = main()
print(code, time.process_time(), "torch" in sys.modules, file=sys.stderr)
"""
# Seconds of processor time: 0.1 to 0.2 on a machine that is idle, three times that on a busy one.
# `import torch` alone takes 1 to 3.
LONGEST = 0.6


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        ([], 2),
        (["plan", "--help"], 0),
        (["nope"], 2),
        (["verify", "w"], 2),
        (["plan", "demo:mlp", "--seed", "x"], 2),
    ],
)
def test_answers_at_once(argv: list[str], code: int) -> None:
    run = [sys.executable, "-c", CODE, *argv]
    least = LONGEST
    for _ in range(3):  # noise only adds, and the first process may write bytecode
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        found, seconds, torch = done.stderr.splitlines()[-1].split()
        assert (found, torch) == (str(code), "False")
        least = min(least, float(seconds))
        if least < LONGEST:
            break
    assert least < LONGEST


VERBS = ["plan", "init", "verify", "diff", "recipes", "explain", "check", "forecast", "compare"]


def test_no_verb_s_help_imports_torch() -> None:
    code = (
        "import sys\n"
        "from goodinit.cli.app import run\n"
        f"codes = [run([verb, '--help']) for verb in {VERBS}]\n"
        "print(sum(codes), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False False"
