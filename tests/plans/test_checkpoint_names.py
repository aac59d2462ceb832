"""What is said of a checkpoint whose names are nearly the model's: name by name, exactly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from goodinit.anatomy.rows import Facets, Row
from goodinit.errors import RecipeError
from goodinit.plans.checkpoint import Checkpoint
from goodinit.plans.checkpoint_names import (
    extra_prefixes,
    inner_checkpoints,
    lacking_prefixes,
    misnamed,
)
from goodinit.plans.keep import KeptRows, find_kept_rows

SHAPES = {"a": (2,), "b.w": (3,), "b.v": None}


MANY = {"a": (2,), "b.w": (3,), "b.v": (9,), "f": (1,), "g": (1,)}


def values(**shapes: int) -> dict[str, torch.Tensor]:
    return {name.replace("_", "."): torch.ones(size) for name, size in shapes.items()}


@pytest.mark.parametrize(
    ("left", "missing", "extra", "lacking"),
    [
        (values(x_a=2), SHAPES, {}, {}),  # one of three is a coincidence
        (values(x_a=2), {"a": (2,), "c": (2,)}, {"x.": 1}, {}),
        (values(x_a=2), {"a": (2,), "c": (2,), "d": (2,)}, {}, {}),
        (values(x_a=3), {"a": (2,)}, {}, {}),
        (values(x_a=2), {}, {}, {}),
        (values(x_a=2, x_b_w=3), SHAPES, {"x.": 2}, {}),
        (values(x_a=2, x_b_w=3, x_c=1, x_d=1), SHAPES, {"x.": 2}, {}),  # half of the names
        (values(x_a=2, x_b_w=3, x_c=1, x_d=1, x_e=1), SHAPES, {"x.": 2}, {}),  # or of the lacking
        (
            values(x_a=2, x_b_w=3, x_c=1, x_d=1, x_e=1),
            {**SHAPES, "f": (1,), "g": (1,)},
            {},
            {},
        ),
        (  # half of the names, of far more that are lacking; and less than half
            values(x_a=2, x_b_w=3, x_c=1, x_d=1),
            {**SHAPES, "f": (1,), "g": (1,)},
            {"x.": 2},
            {},
        ),
        (values(w=3, v=9, u=1, t=1), MANY, {}, {"b.": 2}),
        (values(w=3, v=9, u=1, t=1, s=1), MANY, {}, {}),
        (values(b_x_w=3, b_x_v=9), SHAPES, {".x.": 2}, {}),
        (values(w=3, v=9), SHAPES, {}, {"b.": 2}),
        (values(w=3), {"b.w": (3,), "b.c.w": (3,)}, {}, {"b.": 1}),
        (values(w=3), {"b.w": (3,), "c.w": (3,)}, {}, {"b.": 1, "c.": 1}),
        (values(x_y_a=2, x_y_b_w=3), SHAPES, {"x.y.": 2}, {}),
        (values(x_a=2, x_b_w=3, x_y_c=4), {"a": (2,), "b.w": (3,), "c": (4,)}, {"x.": 2}, {}),
        ({3: torch.ones(2), "x.a": torch.ones(2)}, {"a": (2,)}, {"x.": 1}, {}),
        ({"x.a": 7}, {"a": None}, {"x.": 1}, {}),
        ({"x.a": 7}, {"a": (2,)}, {}, {}),
        (values(p_q_r_s_t_u_a=2), {"a": (2,)}, {"p.q.r.s.t.u.": 1}, {}),
        (values(o_p_q_r_s_t_u_a=2), {"a": (2,)}, {}, {}),  # seven parts are no prefix
    ],
)
def test_what_is_before_or_within_the_names(left, missing, extra, lacking) -> None:
    assert extra_prefixes(left, missing) == extra
    assert lacking_prefixes(left, missing) == lacking


@pytest.mark.parametrize(
    ("held", "found"),
    [
        ({"a": 1}, {}),
        ({"m": {"a": 1}}, {"['m']": ""}),
        ({"m": {"x.a": torch.ones(2), "x.b.w": torch.ones(3)}}, {"['m']": "x."}),
        ({"m": {"n": {"a": 1}}, "o": {"b.w": 1}}, {"['o']": "", "['m']['n']": ""}),
        ({"m": {"n": {"o": {"a": 1}}}}, {}),
        ({"m": {"z": {}}, "n": 3}, {}),
    ],
)
def test_dicts_inside(held, found: dict[str, str]) -> None:
    assert inner_checkpoints(held, SHAPES) == found


X = values(x_a=2, x_b_w=3)
FITS = "2 keys of the {} would fit: "


@pytest.mark.parametrize(
    ("loads", "held", "cause", "fix"),
    [
        (True, X, "as a prefix, strip 'x.'", "gi.load_(..., strip_prefix='x.')"),
        (False, X, "as a prefix, strip 'x.'",
         "pass {k.removeprefix('x.'): v for k, v in state.items()}"),
        (True, values(b_x_w=3, b_x_v=1), "within the names, strip '.x.'",
         "pass {k.replace('.x.', '.'): v for k, v in state.items()}"),
        (True, values(w=3, v=3), "as a prefix, add 'b.'",
         "pass {'b.' + k: v for k, v in state.items()}"),
    ],
)  # fmt: skip
def test_the_fix_of_a_prefix(loads: bool, held, cause: str, fix: str) -> None:
    """An error where nothing fits, a finding where something does."""
    name = "checkpoint" if loads else "state dict in keep"
    cause = FITS.format(name) + cause
    some = Checkpoint({**held, "ours": 1}, loads)
    assert misnamed(some, held, SHAPES) == (cause, fix)
    with pytest.raises(RecipeError) as error:
        misnamed(Checkpoint(held, loads), held, SHAPES)
    assert str(error.value) == f"no key of the {name} fits this model. {cause}: {fix}"


def test_a_part_within_the_models_names_is_added_by_hand() -> None:
    missing = {"b.x.w": (3,), "b.x.v": (1,)}
    held = values(b_w=3, b_v=1)
    fix = "rename them as model.state_dict() has them, with '.x.'"
    assert misnamed(Checkpoint({**held, "ours": 1}, True), held, missing)[1] == fix


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({"m": {"a": 1}}, "holds this model's values in a dict inside: pass checkpoint['m']"),
        (
            {"m": {"x.a": torch.ones(2), "x.b.w": torch.ones(3)}, "n": {"a": 1}, "o": {"a": 1}},
            "in a dict inside: pass checkpoint['n'], or the one in ['m'] or ['o']",
        ),
        (
            {"m": {"x.a": torch.ones(2), "x.b.w": torch.ones(3)}},
            "in a dict inside: pass checkpoint['m'], with strip_prefix='x.'",
        ),
        ({"zzz": 1}, "has no parameter of this model; its first key is 'zzz'. Check the prefix"),
    ],
)
def test_what_does_not_fit_at_all(held: dict[str, object], says: str) -> None:
    with pytest.raises(RecipeError) as error:
        misnamed(Checkpoint(held, True), held, SHAPES)
    assert says in str(error.value)
    assert misnamed(Checkpoint({**held, "a": 1}, True), held, SHAPES) == ("", "")


def row(name: str, *shape: int, **more: object) -> Row:
    return Row(name, shape, torch.float32, nn.Linear, Facets(), **more)


@pytest.mark.parametrize(
    ("rows", "held", "found"),
    [
        ([row("w", 4), row("b", 4)], values(w=4, x_b=4), True),
        ([row("w", 4), row("b", 4, buffer=True)], values(w=4, x_b=4), False),
        ([row("w", 4), row("b", 4)], values(w=4, b=4, x_b=4), False),
        ([row("w", 4), row("b", 4, tied=("c",))], values(w=4, c=4, x_b=4), False),
        ([row("w", 4), row("b", 4, stored=("b.o",))], values(w=4, x_b_o=9), True),
        ([row("w", 4), row("b", 4, stored=("b.o", "b.p"))], values(w=4, b_o=1, b_p=4), False),
    ],
)
def test_parameters_alone_can_be_misnamed(rows: list[Row], held, found: bool) -> None:
    kept = find_kept_rows(held, tuple(rows), "")
    assert bool(kept.misnamed[0]) is found


def test_names_of_a_part_of_a_model() -> None:
    kept = find_kept_rows(values(net_w=4, b=4), (row("net.w", 4), row("net.b", 4)), "net")
    assert kept == KeptRows(frozenset(("net.w", "net.b")), source="the state dict in keep")
    kept = find_kept_rows(values(net_w=4, x_b=4), (row("net.w", 4), row("net.b", 4)), "net")
    assert (kept.names, kept.extra) == ({"net.w"}, ("x.b",))
    assert kept.misnamed[0].endswith("as a prefix, strip 'x.'")
