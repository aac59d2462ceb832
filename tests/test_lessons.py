"""The notebooks of docs/lessons as they are stored; `make battery` runs them."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

LESSONS = Path(__file__).resolve().parent.parent / "docs" / "lessons"
NOTEBOOKS = sorted(LESSONS.glob("*.ipynb"))
LARGEST = 500_000  # bytes: what a reader on a phone waits for


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    assert request.param.stat().st_size < LARGEST
    return json.loads(request.param.read_text())["cells"]


def of_kind(cells: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [cell for cell in cells if cell["cell_type"] == kind]


def test_outputs_are_those_of_one_run(cells: list[dict[str, Any]]) -> None:
    code = of_kind(cells, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_it_opens_on_colab_with_an_installation(cells: list[dict[str, Any]]) -> None:
    first = "".join(of_kind(cells, "code")[0]["source"])
    assert first.startswith("try:\n    import goodinit as gi\nexcept ImportError:")
    assert "    %pip install -q goodinit" in first


def test_code_is_short_and_of_python(cells: list[dict[str, Any]]) -> None:
    for cell in of_kind(cells, "code"):
        text = "".join(cell["source"])
        assert len(text.splitlines()) <= 60
        assert max(map(len, text.splitlines())) <= 100
        if not text.startswith("%%"):
            ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", text, flags=re.MULTILINE))


def test_links_lead_to_pages(cells: list[dict[str, Any]]) -> None:
    text = "".join("".join(cell["source"]) for cell in of_kind(cells, "markdown"))
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [target for target in targets if not target.startswith("http")]
    assert not [target for target in local if not (LESSONS / target).exists()]


def test_the_index_names_each_and_no_other() -> None:
    index = (LESSONS.parent / "lessons.md").read_text()
    assert re.findall(r"\(lessons/([\w-]+)\.ipynb\)", index) != []
    assert set(re.findall(r"\(lessons/([\w-]+)\.ipynb\)", index)) == {p.stem for p in NOTEBOOKS}
