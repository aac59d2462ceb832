"""The notebooks of docs/lessons run, and none takes a minute."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.battery

ROOT = Path(__file__).parents[2]
RESEARCH = ROOT / "build" / "research"
NAMES = sorted(path.stem for path in (ROOT / "docs" / "lessons").glob("*.ipynb"))
LIMIT = 60  # seconds of one core


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_runs_within_a_minute(name: str) -> None:
    if importlib.util.find_spec("nbclient") is None and not (RESEARCH / "nbclient").is_dir():
        pytest.skip("nbclient isn't installed; `make battery` installs it")
    paths = [str(ROOT / "src"), str(RESEARCH), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "tools/lessons.py", "--check", name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    print(f"\n{done.stdout.strip()}")
    assert float(done.stdout.split()[1]) < LIMIT
