"""Every Python block of README.md, README.zh.md and docs/ runs.

The blocks of one page share a namespace, as a reader expects. A block of `>>>` lines is compared
with what it prints. A block fenced as `python no-run` is shown only. A page that says
`<!-- needs: timm -->` is skipped where timm isn't installed.
"""

import doctest
import importlib.util
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"^<!-- needs: (\w+) -->$", re.MULTILINE)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # examples write files
    text = page.read_text()
    for package in NEEDS.findall(text):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} isn't installed")
    names: dict[str, object] = {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        code = block[1]
        line = text.count("\n", 0, block.start(1))  # lines above the block
        if code.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
            doctest.DebugRunner(optionflags=OPTIONS).run(test, clear_globs=False)
            names |= test.globs  # the run works on a copy
        else:
            exec(compile("\n" * line + code, os.fspath(page), "exec"), names)
    capsys.readouterr()
