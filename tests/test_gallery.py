"""docs/gallery.md is of today's recipes, and its images and numbers are there."""

import csv
import re
from pathlib import Path

import goodinit as gi
from goodinit.recipes.by_name import FAMILIES

DOCS = Path(__file__).resolve().parents[1] / "docs"
IMAGES = DOCS / "img" / "gallery"
PAGE = (DOCS / "gallery.md").read_text()
DRAWN = re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)
LARGEST = 1_500_000  # bytes of all images together


def test_each_family_has_a_plot_or_is_named() -> None:
    without = re.findall(r"`(\w+)`", PAGE.partition("Without a plot:")[2].partition("\n")[0])
    assert set(DRAWN) | set(without) | {"lora"} == set(FAMILIES)
    assert set(FAMILIES) <= set(gi.recipes.names())


def test_images_are_there_and_small() -> None:
    assert {path.stem for path in IMAGES.glob("*.svg")} == set(DRAWN)
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < LARGEST
    for path in IMAGES.glob("*.svg"):
        assert "forward" in path.read_text()


def test_each_recipe_has_its_numbers_beside_torchs() -> None:
    with (IMAGES / "numbers.csv").open() as file:
        pairs = {(row["recipe"], row["drawn_by"]) for row in csv.DictReader(file)}
    assert pairs == {(name, by) for name in DRAWN for by in (name, "torch_default")}
