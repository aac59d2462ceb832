"""What newcomers type at first: the line that follows "Write" is a call that works."""

from __future__ import annotations

import shlex

import pytest

from goodinit.cli.corrected_argv import corrected_argv

# The call, and what is to be written instead. The names are those of the first words of the docs.
MEANT = {
    "measure demo:mlp": "check demo:mlp",
    "show demo:mlp": "plan demo:mlp",
    "list": "recipes",
    "help": "--help",
    "version": "--version",
    "plan demo:mlp he": "plan demo:mlp --recipe he",
    "check demo:mlp he": "check demo:mlp --recipe he",
    "identify demo:mlp he": "identify demo:mlp --recipe he",
    "compare demo:mlp he xavier": "compare demo:mlp --recipes he,xavier",
    "compare demo:mlp": "compare demo:mlp --recipes he,xavier",
    "compare demo:mlp --recipe he,xavier": "compare demo:mlp --recipes he,xavier",
    "compare demo:mlp --recipe=he": "compare demo:mlp --recipes he",
    "forecast demo:mlp": "forecast demo:mlp --recipe standard",
    "init demo:mlp": "init demo:mlp --out weights.safetensors",
    "init demo:mlp he": "init demo:mlp --recipe he --out weights.safetensors",
    "initialize demo:mlp -o w.safetensors": "init demo:mlp -o w.safetensors",
    "init demo:mlp --output w.safetensors": "init demo:mlp --out w.safetensors",
    "plan --model demo:mlp": "plan demo:mlp",
    "plan demo:lstm --inputs int:2x8": "plan demo:lstm --input int:2x8",
    "check --model demo:mlp --recipe he --full": "check demo:mlp --recipe he --full",
}


@pytest.mark.parametrize("typed", MEANT)
def test_the_line_that_is_meant(typed: str) -> None:
    assert corrected_argv(shlex.split(typed)) == shlex.split(MEANT[typed])


@pytest.mark.parametrize("typed", ["help", "plan demo:mlp he", "init demo:mlp he", "list"])
def test_the_line_is_printed_and_works(call, typed, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*shlex.split(typed))
    assert done.code == 2
    line = done.err.splitlines()[-1]
    assert line == f"Write: goodinit {MEANT[typed]}"
    assert call(*shlex.split(line)[2:]).code == 0


def test_right_calls_are_left_alone() -> None:
    assert corrected_argv(["check", "demo:mlp", "--recipe", "he"]) is None
    assert corrected_argv(["diff", "he", "xavier", "--target", "demo:mlp"]) is None
    assert corrected_argv([]) is None


def test_a_name_that_torch_would_load(call) -> None:
    done = call("init", "demo:mlp", "-o", "weights.pt")
    assert (done.code, done.err.endswith("Write -o weights.safetensors\n")) == (2, True)
