"""Tests in forks: each is reported once, as it ended, and a process that dies takes one with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = """
import os, signal
import pytest

@pytest.fixture(scope="module")
def once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("module")
    yield folder
    print("the end of the module")

@pytest.fixture
def fails_after():
    yield
    raise ValueError("after")

@pytest.mark.parametrize("number", range(40))
def test_passes(number, once, tmp_path):
    assert once.parent == tmp_path.parent

def test_fails():
    print("what it printed")
    assert 1 == 2

def test_is_skipped():
    pytest.skip("why")

@pytest.mark.xfail
def test_fails_as_expected():
    assert 1 == 2

def test_fails_afterwards(fails_after):
    pass

def test_dies():
    os.kill(os.getpid(), signal.SIGKILL)

def test_exits():
    os._exit(0)

def test_comes_last():
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pytest-xdist runs the tests")
def test_each_is_reported_once_and_as_it_ended(tmp_path: Path) -> None:
    (tmp_path / "test_all.py").write_text(TESTS)
    options = ["-p", "tests.forking", "--forks", "2", "-p", "no:cacheprovider", "-rA"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    line = r"^([A-Z]+) (?:\[1\] )?test_all.py(?:::|:\d+: )(\w+)"
    ended = re.findall(line, done.stdout, re.MULTILINE)
    assert Counter(ended) == {
        ("PASSED", "test_passes"): 40,
        ("FAILED", "test_fails"): 1,
        ("SKIPPED", "why"): 1,
        ("XFAIL", "test_fails_as_expected"): 1,
        ("PASSED", "test_fails_afterwards"): 1,
        ("ERROR", "test_fails_afterwards"): 1,
        ("FAILED", "test_dies"): 1,
        ("FAILED", "test_exits"): 1,
        ("PASSED", "test_comes_last"): 1,
    }
    assert "what it printed" in done.stdout
    assert "its process died with exit code -9" in done.stdout
