"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LARGEST_SEED = 2**64 - 1


def check_seed(seed: int | None) -> int | None:
    """Return the seed if it is in the range of the streams."""
    if seed is None or 0 <= seed <= LARGEST_SEED:
        return seed
    raise typer.BadParameter(f"{seed} is not in the range 0 to {LARGEST_SEED}")


TargetText = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="demo:NAME, hf:TYPE, config.json, timm:NAME, torchvision:NAME, package.module:factory",
        show_default=False,
    ),
]
RECIPE = typer.Option(
    "--recipe", "-r", metavar="R", help="name, name:option=value,... or file.toml"
)
Recipe = Annotated[str, RECIPE]
RecipeOrNone = Annotated[str | None, RECIPE]
Args = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="KEY=VALUE", help="argument of the factory; can be repeated"),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="SPEC", help="inputs: 8x3x32x32, int:2x16:50000, ids=int:2x16"),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", callback=check_seed, help="a non-negative integer")
]
OwnSeed = Annotated[
    int | None,
    typer.Option(
        "--seed", metavar="N", callback=check_seed, help="seed to use instead of the file's"
    ),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="FILE", help="the file to write", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs")]
Full = Annotated[bool, typer.Option("--full", help="every row, rule and note")]
AsHtml = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="also write a page with plots")
]
Weights = Annotated[
    Path | None, typer.Option("--weights", "-w", metavar="FILE", help="a safetensors file")
]
