"""goodinit shards: what a rank holds and draws."""

import json
import math

import pytest


def shards(call, *argv: str) -> list[dict]:
    return json.loads(call("shards", *argv, "--json").out)["rows"]


def test_the_ranks_hold_everything_once(call):
    rows = [shards(call, "demo:gpt", "--mesh", "tp=2", "--rank", rank) for rank in "01"]
    held: dict[str, int] = {}
    for row in (row for rank in rows for row in rank):
        held[row["name"]] = held.get(row["name"], 0) + row["held"]
        assert math.prod(row["local"]) == row["held"] == row["drawn"]
    for row in rows[0]:
        copied = row["name"].endswith(("norm1.weight", "norm1.bias", "out.bias", "embed.weight"))
        if copied or ".qkv." in row["name"]:
            assert held[row["name"]] == row["size"] * (2 if copied else 1), row["name"]


def test_what_an_axis_cuts_and_what_a_matrix_costs(call):
    argv = ["demo:mlp", "-r", "orthogonal", "--mesh", "rep=2,dp=2", "--cut", "dp:*.weight=1"]
    rows = {row["name"]: row for row in shards(call, *argv)}
    weight = rows["0.weight"]
    assert weight["local"] == [weight["shape"][0], weight["shape"][1] // 2]
    assert weight["drawn"] == weight["size"] == 2 * weight["held"]
    assert rows["0.bias"]["local"] == rows["0.bias"]["shape"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--mesh", "dp"], "as in dp=128,tp=8"),
        (["--mesh", "dp=2,dp=2"], "each axis once"),
        (["--mesh", "dp=2,pp=2"], "what pp cuts isn't known"),
        (["--mesh", "dp=2", "--rank", "2"], "isn't among the 2"),
        (["--mesh", "dp=2", "--cut", "tp:*=0"], "an axis of the mesh"),
        (["--mesh", "dp=2", "--cut", "dp:*.wait=0"], "matches no parameter"),
        (["--mesh", "dp=2", "--cut", "dp:*.bias=1"], "has no such axis"),
    ],
)
def test_errors(call, argv, words):
    done = call("shards", "demo:mlp", *argv)
    assert done.code == 2
    assert words in done.err
