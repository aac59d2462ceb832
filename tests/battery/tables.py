"""Run the tables of ``docs/measure.md`` and ``docs/findings.md`` for as long as there is time.

    python -m tests.battery.tables build/tables.jsonl --minutes 60

appends a line for each task, in random order, and goes on where it stopped; without ``--minutes``
it runs all. Then it prints the counts of everything in the file.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tests.battery import test_remedies as remedies
from tests.battery.ill import ILL
from tests.signal import healthy
from tests.signal.test_rates import TRUE, warned

import goodinit as gi

TABLES = ("healthy", "newcomers", "remedies")
Line = dict[str, Any]


def alarms(task: healthy.Task) -> Line:
    """Measure a healthy model; each warning is an alarm."""
    found = [
        (label, sorted(warned(gi.measure(model, inputs, backward=_differentiable(task.name)))))
        for label, model, inputs in healthy.runs(task)
    ]
    known = TRUE.get(f"{task.name}, {task.recipe or 'as built'}", set())
    return {
        "model": task.name,
        "measurements": len(found),
        "true": [f"{code} of {label}" for label, codes in found for code in codes if code in known],
        "false": [
            f"{code} of {label}" for label, codes in found for code in codes if code not in known
        ],
    }


def _differentiable(name: str) -> bool:
    return name not in healthy.FORWARD_ONLY


def lines(model: str, recipe: str) -> Line:
    """Paste each line of code that an ill model's remedies have."""
    found = list(remedies.tried(model, recipe))
    return {"model": model, "found": [(f.label, f.code, f.is_code, f.fixed) for f in found]}


def all_tasks(tables: Iterable[str]) -> Iterator[tuple[str, str, Callable[[], Line]]]:
    """Yield each task's table, its name, and what runs it."""
    for table, tasks in (("healthy", healthy.tasks), ("newcomers", healthy.newcomers)):
        for task in tasks() if table in tables else ():
            name = f"{task.name}, {task.recipe or 'as built'}, seed {task.seed}"
            yield table, name, partial(alarms, task)
    for model in ILL if "remedies" in tables else ():
        for recipe in remedies.RECIPES:
            yield "remedies", f"{model}, {recipe}", partial(lines, model, recipe)


def run(file: Path, tables: Iterable[str], minutes: float) -> None:
    """Run what the file hasn't, in random order, until the processor's time is over."""
    done = {(line["table"], line["task"]) for line in read(file)}
    left = [task for task in all_tasks(tables) if task[:2] not in done]
    random.Random(0).shuffle(left)
    for table, name, work in left:
        if time.process_time() > minutes * 60:
            return
        start = time.process_time()
        torch.manual_seed(0)  # of dropout
        line = {"table": table, "task": name, **work(), "seconds": time.process_time() - start}
        with file.open("a") as out:
            out.write(json.dumps(line) + "\n")


def read(file: Path) -> list[Line]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def report(found: Iterable[Line]) -> Iterator[str]:
    """Yield the counts of all lines of a file."""
    by_table: dict[str, list[Line]] = {}
    for line in found:
        by_table.setdefault(line["table"], []).append(line)
    for table, of in by_table.items():
        models = len({line["model"] for line in of})
        title = (
            f"{table}: {len(of)} tasks of {models} models, {sum(o['seconds'] for o in of):.0f} s"
        )
        if table == "remedies":
            yield title
            yield from _report_of_remedies([tuple(one) for line in of for one in line["found"]])
            continue
        true, false = ([a for line in of for a in line[kind]] for kind in ("true", "false"))
        yield (
            f"{title}: {sum(line['measurements'] for line in of)} measurements, "
            f"{len(true)} true alarms, {len(false)} false"
        )
        yield from (f"  {alarm}" for alarm in [*true, *false])


def _report_of_remedies(found: list[tuple[str, str, bool, bool]]) -> Iterator[str]:
    for verb in remedies.VERBS:
        own = [one for one in found if one[0].startswith(verb)]
        code = [one for one in own if one[2]]
        fixed = sum(one[3] for one in code)
        yield f"  {verb}: {len(own)} findings, {len(code)} lines, {fixed} of them fix theirs"
        codes, by_code = Counter(one[1] for one in own), Counter(one[1] for one in code)
        yield "    " + ", ".join(
            f"{name} {by_code[name]} of {n}" for name, n in sorted(codes.items())
        )
    yield from (f"  NOT FIXED: {one}" for one in found if one[2] and not one[3])


def main() -> None:
    import tests.outside_pytest  # noqa: F401 (declares what torchvision asks for)

    warnings.simplefilter("ignore")  # the libraries' own
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run(given.file, given.tables, given.minutes)
    print("\n".join(report(read(given.file))))


if __name__ == "__main__":
    main()
