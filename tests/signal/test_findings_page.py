"""docs/findings.md has a section for each code, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from goodinit.findings import codes as findings

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def test_each_code_has_its_section() -> None:
    assert findings.__doc__ is not None
    codes = re.findall(r"^(GI\d{3})\b", findings.__doc__, re.MULTILINE)
    sections = re.findall(r"^## (GI\d+)$", PAGE.read_text(), re.MULTILINE)
    assert sections == codes
    assert len(set(codes)) == len(codes)


def test_each_code_in_the_source_is_listed() -> None:
    assert findings.__doc__ is not None
    source = Path(findings.__file__).parents[1]
    used = {
        code
        for path in source.rglob("*.py")
        for code in re.findall(r'"(GI\d{3})"', path.read_text())
    }
    assert used <= set(re.findall(r"GI\d{3}", findings.__doc__))
