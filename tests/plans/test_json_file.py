"""Plans to files and back, and files that hold none."""

import copy
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import goodinit as gi
from goodinit.errors import PlanFileError, SchemeError
from goodinit.plans.json_file import _covers, dump

NET = nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.BatchNorm1d(6), nn.LSTM(6, 5))
PLAN = gi.plan(NET, "lstm", prefix="p")
DATA = PLAN.to_dict()


def test_saved_and_loaded_is_equal(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    applied = gi.init_(copy.deepcopy(NET), "lstm", prefix="p", seed=3)
    applied.save(path)
    loaded = gi.Plan.load(path)
    assert loaded == applied
    assert loaded.seed == 3
    assert loaded.digest == PLAN.digest  # the seed isn't planned
    assert not gi.diff(loaded, PLAN)
    assert str(loaded) == str(applied)


def test_the_digest_is_of_what_is_planned() -> None:
    assert gi.plan(NET, "lstm", prefix="p").digest == PLAN.digest
    assert gi.plan(NET, "he", prefix="p").digest != PLAN.digest


def test_code_cannot_be_saved() -> None:
    plan = gi.plan(nn.Linear(2, 2), {"bias": gi.Function(lambda site: NET[1].running_mean[:1])})
    assert "Function" in str(plan)
    with pytest.raises(SchemeError, match="code"):
        plan.to_dict()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    line = re.escape(f"Write plan.save('{tmp_path / 'plan.json'}')")
    with pytest.raises(PlanFileError, match=f"can't be written: it is a folder. {line}"):
        PLAN.save(tmp_path)


def edited(path: str, value: object) -> object:
    """The plan's data with one place in it changed; None takes it away."""
    data = json.loads(json.dumps(DATA))
    *way, last = path.split("/")
    at = data
    for step in way:
        at = at[int(step) if step.isdigit() else step]
    key = int(last) if last.isdigit() else last
    if value is DELETED:
        del at[key]
    else:
        at[key] = value
    return data


DELETED = object()


def test_a_fan_may_be_a_fraction() -> None:
    """A weight that is multiplied by a small number has one."""
    assert gi.Plan.from_dict(edited("rows/0/fan_in", 0.25))["p.0.weight"].fan_in == 0.25


def edited_text(old: str, new: str) -> bytes:
    """The text of a plan with one of its places changed."""
    rules = {"weight": gi.Normal(1.0), "bias": gi.Zeros()}
    text = json.dumps(gi.plan(nn.Conv1d(4, 6, 3, groups=2), rules).to_dict())
    assert text.count(old) == 1
    return text.replace(old, new).encode()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("goodinit_plan", 2, "^goodinit_plan: .*version 1"),
        ("goodinit_plan", True, "version"),
        ("rows", {}, "^rows: a list"),
        ("rows/0/name", 3, r"^rows\[0\].name: a text"),
        ("rows/0/name", DELETED, r"^rows\[0\].name: it is missing"),
        ("rows/0/extra", 3, r"^rows\[0\]: unknown"),
        ("rows/0/shape/1", -1, r"^rows\[0\].shape\[1\]: a whole number"),
        ("rows/0/shape/1", 10**400, r"^rows\[0\].shape\[1\]: .*huge"),
        ("rows/0/shape/1", True, "whole number"),
        ("rows/0/fan_in", "9", r"fan_in: a finite number"),
        ("rows/0/fan_in", float("nan"), r"fan_in"),
        ("rows/0/fan_in", None, r"^rows\[0\].scheme: .*fan_in"),
        ("rows/0/dtype", "float33", "a dtype"),
        ("rows/0/dtype", "__class__", "a dtype"),
        ("rows/0/dtype", "onnx", "a dtype"),
        ("rows/0/shape", [1] * 65, r"^rows\[0\].shape: .*64 axes"),
        ("rows/0/name", "x" * 1001, r"^rows\[0\].name: .*1000 characters"),
        ("rows/0/kind", "convolution", "kind: linear or conv"),
        ("rows/0/layout/outputs/0", 7, "layout: not each axis once"),
        ("rows/0/layout/groups", 0, "groups"),
        ("rows/0/scheme", None, "scheme"),
        ("rows/0/scheme/scheme", "Scaled", "scheme"),
        ("rows/0/zero_rows", [99], "zero_rows"),
        ("rows/0/zero_rows", [DATA["rows"][0]["shape"][0]], "zero_rows"),  # they count from 0
        ("rows/0/guessed", 1, "true or false"),
        ("rows/1/name", "p.0.weight", "twice"),
        ("rows/7/blocks/0/box", [[0, 5]], r"^rows\[7\].blocks\[0\].box"),
        ("rows/7/blocks/0/box", [[0, 0], [0, 6]], "doesn't lie in"),
        ("rows/7/blocks/0/box/0", [0, 1, 2], "start, stop"),
        ("rows/7/blocks/0/box/0", [0, 4], "cover"),
        ("rows/7/blocks/0/box/0", [5, 10], "cover"),  # as large, on another block
        ("rows/7/blocks/0/box/0", [0, -1], r"box\[0\]\[1\]: a whole number"),
        ("rows/7/blocks/0/scheme", {"scheme": "Normal", "std": -1}, "std"),
        ("rows/7/blocks/0/scheme", {"scheme": "TorchDefault"}, "TorchDefault"),
        ("rows/7/scheme", {"scheme": "Zeros"}, "each has its own"),
        ("findings", [3], r"^findings\[0\]: an object"),
        ("seed", -1, "seed"),
    ],
)  # fmt: skip
def test_refused_with_its_place(path: str, value: object, says: str) -> None:
    with pytest.raises(PlanFileError, match=says):
        gi.Plan.from_dict(edited(path, value))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not valid JSON: .*line 1 column 1"),
        (b"\xff\xfe", "not UTF-8 text: line 1"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "plan: the key 'a' is there twice"),
        (b'{"a": {"b": 1},\n"b": "b",\n"c": 3,\n"b": 1}', "plan: the key 'b' is there twice"),
        (b"\n'", "not valid JSON: .*line 2 column 1"),
        (b'"\n\xff', "not UTF-8 text: line 2"),
        (b"\n\xff", "not UTF-8 text: line 2"),
        (b"3", "plan: an object is expected, not 3"),
        (b'{"goodinit_plan": ' + b"9" * 10_000 + b"}", "goodinit_plan: .*version 1"),
        (b'{"goodinit_plan": 1e999}', "goodinit_plan: .*version 1"),
        (b'{"goodinit_plan": NaN}', "goodinit_plan: .*version 1"),
        (b"[]", "plan: an object is expected, not a list"),
        (json.dumps(DATA).encode()[:-20], "not valid JSON: "),
        (edited_text('"fan_in": 6', '"fan_in": NaN'), r"rows\[0\].fan_in: a finite .*not nan"),
        (edited_text('"fan_in": 6', '"fan_in": 1e999'), r"rows\[0\].fan_in: a finite .*not inf"),
        (
            edited_text('"fan_in": 6', '"fan_in": ' + "9" * 401),
            r"rows\[0\].fan_in: a finite .*not inf",
        ),
        (
            edited_text('"fan_in": 6', '"fan_in": ' + "9" * 400),
            r"rows\[0\].fan_in: a finite .*a huge number",
        ),
        (
            edited_text('"groups": 2', '"groups": 1, "groups": 2'),
            r"rows\[0\].layout: the key 'groups' is ",
        ),
        (edited_text('"std": 1.0', '"std": NaN'), r"rows\[0\].scheme: .*finite"),
        (
            edited_text('"std": 1.0', '"std": 1, "std": 2'),
            r"rows\[0\].scheme: the key 'std' is there twice",
        ),
    ],
)
def test_bad_files_are_named(raw: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(raw)
    with pytest.raises(PlanFileError, match=f"bad.json: {says}"):
        gi.Plan.load(path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def places(data: object) -> list[tuple[object, object]]:
    """Every (container, key) in nested data."""
    if isinstance(data, dict):
        return [(data, key) for key in data] + [p for v in data.values() for p in places(v)]
    if isinstance(data, list):
        return [(data, i) for i in range(len(data))] + [p for v in data for p in places(v)]
    return []


@given(st.data(), ANYTHING)
def test_whatever_is_put_anywhere_is_read_or_refused(data: st.DataObject, value: object) -> None:
    plan = json.loads(json.dumps(DATA))
    found = places(plan)
    container, key = found[data.draw(st.integers(0, len(found) - 1))]
    container[key] = value
    try:
        read = gi.Plan.from_dict(plan)
    except PlanFileError:
        return
    assert gi.Plan.from_dict(read.to_dict()) == read
    str(read)


@given(ANYTHING)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(PlanFileError):
        gi.Plan.from_dict(value)


LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rows/0/name", "x" * 1000),
        ("rows/1/tied", ["y" * 1000]),
        ("rows/1/shape", [1] * 64),
        ("rows/1/grown_from", [LARGEST]),
        ("rows/1/zero_rows", [5]),
        ("rows/1/layer", 0),
        ("rows/1/fan_in", 0),
        ("rows/1/fan_in", float(2**62)),
        ("rows/1/rates", {"adam": 0, "sgd": None, "eps": 2}),
        ("seed", LARGEST),
        ("seed", 0),
    ],
)
def test_the_largest_and_the_smallest_are_read(path: str, value: object) -> None:
    data = edited(path, value)
    read = json.loads(json.dumps(gi.Plan.from_dict(data).to_dict()))
    at = read
    for step in path.split("/"):
        at = at[int(step) if step.isdigit() else step]
    assert at == value


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("rows/0/tied", ["x" * 1001], r"^rows\[0\].name: .*1000 characters"),
        ("seed", LARGEST + 1, "seed: .*from 0 is expected, not a huge number"),
        ("seed", -LARGEST - 1, "not a huge number"),
        ("seed", -LARGEST, f"not -{LARGEST}"),
        ("rows/1/rates", {"adam": 1, "sgd": None}, r"^rows\[1\].rates.eps: it is missing"),
        ("rows/0/fan_in", float(2**63), "fan_in: a finite number"),
        ("rows/0/fan_in", -0.5, "fan_in: a number from 0"),
        ("rows/0/layout/inputs", [0], "not each axis once of 3: "),
        ("rows/0/rule", 3.5, "rule: a text is expected, not 3.5"),
        ("rows/0/rule", None, "rule: a text is expected, not null"),
        ("rows/0/rule", [], "rule: a text is expected, not a list"),
    ],
)
def test_one_more_than_the_largest_is_refused(path: str, value: object, says: str) -> None:
    with pytest.raises(PlanFileError, match=says):
        gi.Plan.from_dict(edited(path, value))


@pytest.mark.parametrize(("axes", "covered"), [(8, True), (9, False)])
def test_blocks_are_cut_along_eight_axes_at_most(axes: int, covered: bool) -> None:
    """A block at the start of each, and the rest of it, axis by axis."""
    shape = (2,) * axes
    boxes = [tuple([(0, 1)] * n + [(1, 2)] + [(0, 2)] * (axes - n - 1)) for n in range(axes)]
    boxes.append(((0, 1),) * axes)
    assert _covers(tuple(boxes), shape) is covered
    assert not _covers(tuple(boxes[1:]), shape)
    assert not _covers((*boxes, boxes[0]), shape)


@pytest.mark.parametrize("canonical", [True, False])
def test_json_has_no_nan(canonical: bool) -> None:
    """The canonical form has no spaces and sorted keys; the other one the order of the fields."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump({"fan_in": float("nan")}, canonical=canonical)
    text = dump({"b": [1, 2.5], "a": "é"}, canonical=canonical)
    assert (text == '{"a":"\\u00e9","b":[1,2.5]}') is canonical
    assert (text.startswith('{\n "b": [\n  1,\n')) is not canonical
