"""What the command line answers without torch: versions, help and wrong calls."""

import subprocess
import sys
from pathlib import Path

import pytest

# Prints the exit code, the lines of Python that ran, and whether torch was imported.
CODE = """
import sys
from tests.steps import steps

def answer():
    global code
    from goodinit.cli import main
    code = main()

lines = steps(answer)
print(code, lines, "torch" in sys.modules, file=sys.stderr)
"""
ROOT = Path(__file__).parents[2]
# Lines of Python, in 0.1 to 0.2 s on an idle machine: half a million, nearly all of them imports of
# typer and rich. `import torch` alone runs three million.
MOST = 1_000_000


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--version"], 0),
        (["plan", "--help"], 0),
        (["nope"], 2),
        (["plan", "demo:mlp", "--seed", "x"], 2),
    ],
)
def test_answers_at_once(argv: list[str], code: int) -> None:
    run = [sys.executable, "-c", CODE, *argv]
    done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT)
    found, lines, torch = done.stderr.splitlines()[-1].split()
    assert (found, torch) == (str(code), "False")
    assert int(lines) < MOST


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
