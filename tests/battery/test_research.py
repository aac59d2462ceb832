"""Models of research packages: what their authors meant stands, and adapters are neutral.

`make battery` installs the packages (``requirements.txt``) into build/research. Each package is
measured in a process of its own, by ``run.py`` and ``adapters.py``, whose words these tests use.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.battery

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESEARCH = ROOT / "build" / "research"
MOST_WITHOUT = 0.005  # overwritten without inputs, each of them marked
NEUTRAL = 1e-6  # share of the output: rounding. some adapters aren't neutral when made


def lines(*command: str) -> list[dict]:
    """What a script of this folder prints, in a process that sees the packages."""
    path = os.pathsep.join(map(str, (ROOT / "src", RESEARCH, ROOT)))
    run = subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


@cache
def measured() -> tuple[dict, ...]:
    assert RESEARCH.is_dir(), "make battery installs the packages"
    packages = lines("tests.battery.run")[0]["packages"]
    return tuple(row for name in packages for row in lines("tests.battery.run", name))


@cache
def adapters() -> tuple[dict, ...]:
    return tuple(lines("tests.battery.adapters"))


def ran(way: str) -> dict[str, dict]:
    """Name -> what was found, of the models that were initialized."""
    return {r["model"]: r[way] for r in measured() if "lost" in r.get(way, {})}


def test_every_model_runs():
    assert not {row["model"]: row["broken"] for row in measured() if "broken" in row}
    assert len(measured()) >= 225
    assert len({row["package"] for row in measured()}) >= 120


@pytest.mark.parametrize("way", ["with", "without"])
def test_no_error_blames_a_model_that_runs(way):
    assert not {r["model"]: r[way]["error"] for r in measured() if "error" in r.get(way, {})}


def test_with_inputs_nothing_that_was_meant_is_overwritten():
    assert not {name: sorted(row["lost"]) for name, row in ran("with").items() if row["lost"]}


def test_without_inputs_little_is_overwritten_and_each_is_marked():
    lost = {f"{model} {name}": told for model, row in ran("without").items()
            for name, told in row["lost"].items()}  # fmt: skip
    assert len(lost) <= MOST_WITHOUT * sum(row["special"] for row in measured()), sorted(lost)
    assert not [name for name, (_, _, _, guessed, *_) in lost.items() if not guessed]


@pytest.mark.parametrize("way", ["with", "without"])
def test_adapters_are_neutral(way):
    assert not [row for row in adapters() if "broken" in row]
    assert not [row for row in adapters() if isinstance(row.get(way), str)]  # an error's text
    neutral = [row for row in adapters() if row.get("start", 1) < NEUTRAL]
    assert len(neutral) > 80
    assert not {f"{r['base']} {r['adapter']}": r[way] for r in neutral
                if r[way] > NEUTRAL}  # fmt: skip


def test_table_of_packages(capsys):
    with capsys.disabled():
        print(f"\n{'package':30}models  special  lost with (sure)  lost without (sure)  errors")
        for package in {row["package"]: None for row in measured()}:
            rows = [row for row in measured() if row["package"] == package]
            cells = []
            for way in ("with", "without"):
                lost = [t for row in rows for t in row.get(way, {}).get("lost", {}).values()]
                cells.append(f"{len(lost)} ({sum(not told[3] for told in lost)})")
            errors = sum("error" in row.get(way, {}) for row in rows for way in ("with", "without"))
            print(f"{package:30}{len(rows):6}{sum(row.get('special', 0) for row in rows):9}"
                  f"{cells[0]:>18}{cells[1]:>21}{errors:8}")  # fmt: skip
        for row in adapters():
            print(", ".join(f"{key} {value}" for key, value in row.items()))
    assert measured()


def test_families_are_drawn_as_their_packages_draw_them():
    assert RESEARCH.is_dir(), "make battery installs the packages"
    rows = lines("tests.battery.research_families")
    assert len(rows) == 8
    assert {row["model"]: row["differences"] for row in rows if row["differences"]} == {}
