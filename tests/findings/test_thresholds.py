"""Each finding's threshold: just below it there is no finding, just above it there is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.anatomy.rows import Block
from goodinit.explanation.explain import explained
from goodinit.explanation.outliers import without_outliers
from goodinit.explanation.reading import Part
from goodinit.explanation.statistics import read_sample
from goodinit.findings import (
    biases,
    broken,
    casts,
    chance,
    clones,
    depth,
    likeness,
    logits,
    one_hot,
    scales,
    units,
)
from goodinit.schemes import Site
from goodinit.signal.measure import measured

LN_1E4, LN_1E6, LN_1E12 = math.log(1e4), math.log(1e6), math.log(1e12)

# (test, arguments without a finding, arguments with one)
EDGES: list[tuple[Callable[..., bool], tuple[Any, ...], tuple[Any, ...]]] = [
    (depth.has_depth, (3,), (4,)),
    # GI102, GI103: over 1e4, and over what chance explains: v / 2 + 4 sqrt(v).
    (depth.signal_is_lost_or_explodes, (4, 0.99 * LN_1E4, 0.1), (4, 1.01 * LN_1E4, 0.1)),
    (depth.signal_is_lost_or_explodes, (4, -0.99 * LN_1E4, 0.1), (4, -1.01 * LN_1E4, 0.1)),
    (depth.signal_is_lost_or_explodes, (9, 0.99 * 20, 16.0), (9, 1.01 * 24, 16.0)),
    (depth.signal_is_lost_or_explodes, (9, 0.99 * 24, 16.0), (9, 1.01 * 24, 16.0)),
    (depth.signal_is_lost_or_explodes, (3, 2 * LN_1E4, 0.1), (4, 2 * LN_1E4, 0.1)),
    (depth.is_drowned, (1.01e-3, 1.0), (0.99e-3, 1.0)),
    (depth.is_most_of_the_change, (-0.49, -1.0), (-0.51, -1.0)),
    (depth.variance_map_is_unstable, (9.9,), (10.1,)),  # GI135
    (depth.no_gain_helps, (2.9,), (3.1,)),
    # GI127
    (depth.gain_is_off, (4.9, "relu"), (5.1, "relu")),
    (depth.gain_is_off, (0.21, "relu"), (0.19, "relu")),
    (depth.gain_is_off, (1.24, "selu"), (1.26, "selu")),
    (depth.gain_is_off, (0.81, "selu"), (0.79, "selu")),
    # GI108
    (depth.gradient_is_lost_or_explodes, (4, 0.99 * LN_1E6, 0.0), (4, 1.01 * LN_1E6, 0.0)),
    (depth.gradient_is_lost_or_explodes, (4, LN_1E6 + 5.9, 1.69), (4, LN_1E6 + 6.1, 1.69)),
    (depth.gradient_explodes_in_time, (2.0, 0.99e7, 5.0), (2.0, 1.01e7, 5.0)),
    # GI104, GI105
    (likeness.became_alike, (0.9989,), (0.9991,)),
    (likeness.were_different, (0.9,), (0.899,)),
    (likeness.has_enough_numbers, (7,), (8,)),
    # GI106, GI107
    (units.units_are_dead, (0.5 + 0.24, 100, 32), (0.5 + 0.26, 100, 32)),
    (units.units_are_dead, (1.0, 100, 31), (1.0, 100, 32)),
    (units.values_are_saturated, (0.49,), (0.51,)),
    (units.values_are_saturated, (0.19, 4), (0.21, 4)),
    (units.values_are_saturated, (0.4, 3), (0.4, 4)),
    (units.inputs_are_large, (99.0,), (101.0,)),
    # GI142: ln 99 / ln 2 sqrt(2 ln n)
    (one_hot.attention_is_saturated, (0.49,), (0.51,)),
    (one_hot.scores_are_one_hot, (19.0, 64), (19.2, 64)),
    (one_hot.scores_are_one_hot, (7.7, 1), (7.9, 1)),
    (one_hot.scores_are_one_hot, (0.0, 64), (64.0, 64)),
    # GI143
    (logits.logits_are_cut, (0.09, 0.0), (0.11, 0.0)),
    (logits.logits_are_cut, (1.0, 0.0), (0.99, 0.0)),
    (logits.logits_are_cut, (0.5, -0.1), (0.5, 0.0)),
    (logits.logits_are_cut, (0.5, 0.1), (0.5, 0.0)),
    # GI110: 2 ln K + 1
    (logits.loss_is_far_above_a_guess, (2 * math.log(50) + 0.99, 50),
     (2 * math.log(50) + 1.01, 50)),
    (logits.loss_is_above_a_guess, (math.log(50) + 1.39, 50, 0.1), (math.log(50) + 1.41, 50, 0.1)),
    # GI112: logits of std 4, and a table of std .5
    (logits.head_is_too_large, (0.99, 16), (1.01, 16)),
    (logits.head_is_too_large, (0.49, 1024), (0.51, 1024)),
    (logits.outputs_are_too_wide, (15.9, 0.5, 1.0), (16.1, 0.5, 1.0)),
    (logits.outputs_are_too_wide, (31.9, 2.0, 1.0), (32.1, 2.0, 1.0)),
    (logits.outputs_are_too_wide, (99.0, 1.0, 0.49), (99.0, 1.0, 0.51)),
    # GI111
    (scales.norm_lies_around_zero, (1.0, 1.99), (1.0, 2.01)),
    (scales.norm_lies_around_zero, (-1.0, 1.99), (-1.0, 2.01)),
    (scales.norm_lies_around_zero, (0.0, 0.0), (0.0, 1e-6)),
    # GI124
    (clones.could_be_cloned, (15,), (16,)),
    (clones.is_drawn, (2,), (3,)),
    # GI123 of some units
    (clones.units_repeat, (1, 64), (2, 64)),
    (clones.units_repeat, (9, 1000), (10, 1000)),
    (clones.is_grown, (1.99, 10**6), (2.01, 10**6)),
    (clones.is_grown, (2.9, 8), (3.1, 8)),
    (clones.is_grown, (6.6, 1), (6.7, 1)),
    # GI132, GI128
    (biases.bias_dominates, (0.89, 1.0), (0.91, 1.0)),
    (biases.forgets_half, (0.51,), (0.49,)),
    # GI103 of one output, GI124 by gradients and of stacks, GI144, GI107 of probabilities
    (depth.output_is_enormous, (0.99e12, 0.5), (1.01e12, 0.5)),
    (depth.output_is_enormous, (2.99e12, 3.0), (3.01e12, 3.0)),
    (clones.gradients_are_the_same, (2.0, 2.0 + 2.1e-5), (2.0, 2.0 + 1.9e-5)),
    (clones.gradients_are_the_same, (0.0, 0.0), (1e-30, 1e-30)),
    (clones.gradients_are_the_same, (math.inf, math.inf), (1.0, 1.0)),
    (clones.gradients_are_the_same, (-1.0, -1.0), (0.5, 0.5)),
    (clones.is_stack, ((1, 3, 3),), ((2, 3, 3),)),
    (clones.is_stack, ((3, 3),), ((3, 3, 3, 3),)),
    (scales.norm_leaves_nothing, (0.99e-3, 0.0, 1.0, 1.0), (1.01e-3, 0.0, 1.0, 1.0)),
    (scales.norm_leaves_nothing, (1.0, 5.1e-6, 2.0, 3.0), (1.0, 4.9e-6, 2.0, 3.0)),
    (scales.norm_leaves_nothing, (1.0, -5.1e-6, 2.0, 3.0), (1.0, -4.9e-6, 2.0, 3.0)),
    (units.is_sure_both_ways, (0.09,), (0.11,)),
    (units.is_sure_both_ways, (0.91,), (0.89,)),
    # GI116, GI118, GI130, GI133, GI134
    (scales.write_was_changed, (7.9e-7, 1.0, 1e-7), (8.1e-7, 1.0, 1e-7)),
    (scales.write_was_changed, (7e-37, 0.0, 1e-7), (9e-37, 0.0, 1e-7)),
    (scales.grew_on_another_scale, (1.0, 2.9), (1.0, 3.1)),
    (scales.grew_on_another_scale, (1.0, 1 / 2.9), (1.0, 1 / 3.1)),
    (scales.grew_on_another_scale, (0.0, 1.0), (1e-9, 1.0)),
    (scales.grew_on_another_scale, (1.0, 0.0), (1.0, 1e-9)),
    (scales.write_was_lost, (1.24, 1.0), (1.26, 1.0)),
    (scales.write_was_lost, (1.0, 1.24), (1.0, 1.26)),
    (scales.write_was_lost, (0.02, 0.02), (0.02, 1.0)),
    (scales.fans_are_torchs_alone, (1.09, 1.0), (1.11, 1.0)),
    (scales.fans_are_torchs_alone, (0.02, 0.02), (0.02, 1.0)),
    (scales.fans_are_torchs_alone, (1.0, 0.0), (1.0, 0.5)),
    (scales.values_are_off_center, (0.24, 1.0, 10**6), (0.26, 1.0, 10**6)),
    (scales.values_are_off_center, (-0.59, 1.0, 100), (-0.61, 1.0, 100)),
    (scales.values_are_off_center, (5.9, 1.0, 1), (6.1, 1.0, 1)),
    (scales.values_are_off_center, (5.9, 1.0, 0), (6.1, 1.0, 0)),
    # GI121, GI131
    (broken.is_huge, (0.99e8,), (1.01e8,)),
    (broken.is_garbage, (1.0, 0.009, False), (1.0, 0.011, False)),
    (broken.is_garbage, (1.0, 0.5, True), (1.0, 0.5, False)),
    (broken.has_enough_values, (99,), (100,)),
    (broken.are_outliers, (0.011, 9.0, 1.0), (0.009, 9.0, 1.0)),
    (broken.are_outliers, (0.001, 2.9, 1.0), (0.001, 3.1, 1.0)),
    (broken.values_were_clamped, (10, 99, 1000, 900, 1000, 0.0, 1e-7),
     (11, 11, 1000, 980, 1000, 0.0, 1e-7)),
    (broken.values_were_clamped, (109, 109, 1002, 73, 1002, 0.0, 0.0),
     (109, 109, 1002, 75, 1002, 0.0, 0.0)),
    (broken.values_were_clamped, (99, 19, 20000, 20000, 20000, 0.0, 0.0),
     (21, 21, 20000, 20000, 20000, 0.0, 0.0)),
    (broken.values_were_clamped, (50, 50, 99, 99, 99, 0.0, 0.0), (50, 50, 100, 100, 100, 0.0, 0.0)),
    (broken.values_were_clamped, (50, 50, 200, 200, 200, 0.011, 0.0),
     (50, 50, 200, 200, 200, 0.009, 0.0)),
    (broken.values_were_clamped, (50, 50, 200, 200, 200, 0.0, 1.1e-3),
     (50, 50, 200, 200, 200, 0.0, 0.9e-3)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("test", "silent", "found"), EDGES, ids=[f"{n}-{e[0].__name__}" for n, e in enumerate(EDGES)]
)
def test_on_both_sides(
    test: Callable[..., bool], silent: tuple[Any, ...], found: tuple[Any, ...]
) -> None:
    assert test(*silent) is False
    assert test(*found) is True


LN_50 = math.log(50)

# (test, arguments at its threshold, the answer there)
AT: list[tuple[Callable[..., bool], tuple[Any, ...], bool]] = [
    (depth.signal_is_lost_or_explodes, (4, LN_1E4, 0.0), False),
    (depth.is_drowned, (1e-3, 1.0), False),
    (depth.is_most_of_the_change, (-0.5, -1.0), False),
    (depth.variance_map_is_unstable, (10.0,), False),
    (depth.no_gain_helps, (3.0,), False),
    (depth.gain_is_off, (5.0, "relu"), True),
    (depth.gain_is_off, (1 / 5.0, "relu"), True),
    (depth.gain_is_off, (1.25, "selu"), True),
    (depth.gradient_is_lost_or_explodes, (4, LN_1E6, 0.0), False),
    (depth.gradient_explodes_in_time, (2.0, 1e7, 5.0), False),
    (likeness.became_alike, (0.999,), False),
    (units.units_are_dead, (0.75, 100, 32), False),
    (units.values_are_saturated, (0.5,), False),
    (units.values_are_saturated, (0.2, 4), False),
    (logits.logits_are_cut, (0.1, 0.0), False),
    (logits.outputs_are_too_wide, (16.0, 1.0, 0.5), False),
    (clones.is_grown, (3.0, 8), False),
    (one_hot.attention_is_saturated, (0.5,), False),
    (units.inputs_are_large, (100.0,), False),
    (logits.loss_is_far_above_a_guess, (2.0 * LN_50 + 1.0, 50), False),
    (logits.loss_is_above_a_guess, (LN_50 + 1.0 + 4.0 * 0.25, 50, 0.25), False),
    (logits.head_is_too_large, (1.0, 16), False),
    (logits.head_is_too_large, (0.5, 1024), True),
    (scales.norm_lies_around_zero, (1.0, 2.0), False),
    (biases.bias_dominates, (0.9, 1.0), False),
    (biases.forgets_half, (0.5,), False),
    (depth.output_is_enormous, (1e12, 1.0), False),
    (scales.norm_leaves_nothing, (1e-3, 0.0, 1.0, 1.0), False),
    (scales.norm_leaves_nothing, (1.0, 1e-6, 1.0, 0.0), False),
    (units.is_sure_both_ways, (0.1,), False),
    (units.is_sure_both_ways, (0.9,), False),
    (scales.write_was_changed, (8 * 2.0**-23, 1.0, 2.0**-23), False),
    (scales.grew_on_another_scale, (1.0, 3.0), True),
    (scales.grew_on_another_scale, (3.0, 1.0), True),
    (scales.write_was_lost, (1.25, 1.0), True),
    (scales.fans_are_torchs_alone, (1.1, 1.0), True),
    (scales.values_are_off_center, (0.25, 1.0, 10**6), False),
    (scales.values_are_off_center, (0.6, 1.0, 100), False),
    (broken.is_huge, (1e8,), False),
    (broken.is_garbage, (1.0, 0.01, False), False),
    (broken.are_outliers, (0.01, 3.0, 1.0), True),
    (broken.values_were_clamped, (20, 20, 20000, 20000, 20000, 0.0, 0.0), False),
    (broken.values_were_clamped, (50, 50, 200, 200, 200, 0.01, 0.0), False),
    (broken.values_were_clamped, (50, 50, 200, 200, 200, 0.0, 1e-3), True),
]


@pytest.mark.parametrize(
    ("test", "at", "answer"), AT, ids=[f"{n}-{e[0].__name__}" for n, e in enumerate(AT)]
)
def test_at_the_threshold(test: Callable[..., bool], at: tuple[Any, ...], answer: bool) -> None:
    assert test(*at) is answer


def test_severities_at_their_thresholds() -> None:
    assert depth.signal_severity(LN_1E12) == depth.gradient_severity(LN_1E12) == "warning"
    assert depth.chain_severity(1e-3) is None
    assert depth.chain_severity(1e-6) == "info"
    assert broken.garbage_severity(1e8) == "warning"
    assert casts.what_a_cast_lost(0, 0.5) is None


def test_a_guess_is_among_two_classes_or_more() -> None:
    assert [logits.blind_guess(classes) for classes in (1, 2, 3)] == [
        math.log(2),
        math.log(2),
        math.log(3),
    ]


def test_logits_between_0_and_1_leave_a_loss() -> None:
    """Of the true class at 1 and all others at 0; a single logit has two classes."""
    for classes, others in ((1, 1), (2, 1), (3, 2)):
        logits_ = torch.tensor([1.0, *[0.0] * others], dtype=torch.float64)
        least = -logits_.log_softmax(0)[0].item()
        assert logits.least_loss(classes, 1.0) == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize(
    ("bias", "severity"), [(0.0, "info"), (-4.59, "info"), (-4.60, "warning"), (-1e4, "warning")]
)
def test_forget_gates(bias: float, severity: str) -> None:
    assert biases.kept_share(bias) == pytest.approx(torch.tensor(bias).double().sigmoid().item())
    assert biases.forget_severity(bias) == severity


@pytest.mark.parametrize(("drawn", "activation", "head", "severity"), [
    (True, None, False, "warning"), (False, "relu", False, "warning"), (True, "", False, "warning"),
    (False, None, False, "info"), (False, "", False, "info"), (True, "relu", True, "info"),
    (True, "sigmoid", False, "info"), (True, "softplus", False, "info"),
])  # fmt: skip
def test_biases_that_are_meant(
    drawn: bool, activation: str | None, head: bool, severity: str
) -> None:
    assert biases.bias_severity(drawn=drawn, activation=activation, head=head) == severity


def test_chance_is_hanin_and_nica_s() -> None:
    """log(second) has the variance 5 / width a layer over seeds, and half of it as a mean loss."""
    assert chance.layer_variance(50) == 0.1
    assert chance.drift_by_chance(0.0) == 0.0
    assert chance.drift_by_chance(4.0) == 2.0 + 4 * 2.0


@pytest.mark.parametrize(
    ("severity", "mild", "grave"),
    [
        (depth.signal_severity, (LN_1E12 - 0.1, "warning"), (LN_1E12 + 0.1, "error")),
        (depth.signal_severity, (-LN_1E12 + 0.1, "warning"), (-LN_1E12 - 0.1, "error")),
        (depth.gradient_severity, (LN_1E12 - 0.1, "warning"), (LN_1E12 + 0.1, "error")),
        (depth.chain_severity, (1.01e-3, None), (0.99e-3, "info")),
        (depth.chain_severity, (1.01e-6, "info"), (0.99e-6, "warning")),
        (broken.garbage_severity, (0.99e8, "warning"), (1.01e8, "error")),
    ],
)
def test_severities(severity: Callable[[float], str], mild: Any, grave: Any) -> None:
    for value, expected in (mild, grave):
        assert severity(value) == expected


def test_a_copy_of_a_module_has_two_equal_weights_or_more() -> None:
    pairs = [clones.Clone(f"online.{n}.weight", f"target.{n}.weight") for n in (0, 2)]
    assert clones.find_copies(pairs) == pairs
    assert clones.find_copies(pairs[:1]) == []
    # One of the two has a number: the layer of a stack, and a layer of another name.
    mixed = [clones.Clone(f"net.0.{n}.weight", f"net.last.{n}.weight") for n in "ab"]
    assert clones.find_copies(mixed) == []
    assert clones.find_copies([clones.Clone(*pair[::-1]) for pair in mixed]) == []
    # What differs is the module that holds the weights, or a second step, or the depth.
    for first, second in (("a.q.w", "a.k.w"), ("a.on.b.w", "a.off.c.w"), ("on.b.w", "off.a.b.w")):
        assert clones.find_copies([clones.Clone(first, second)] * 2) == []


@pytest.mark.parametrize(("far", "found"), [(7.8, False), (8.2, True)])
def test_outliers_lie_eight_standard_deviations_out(far: float, found: bool) -> None:
    """Of 100 normal numbers, whose ends are at 2.58 and leave a gap from 7.73 on."""
    even = torch.special.ndtri((torch.arange(100, dtype=torch.float64) + 0.5) / 100)
    values = torch.cat([even, torch.tensor([far], dtype=torch.float64)])
    part = Part(Block("", ((0, 101),)), Site((101,), None, None, None), values, read_sample(values))
    assert (without_outliers(part, 1e-5) is not None) is found


@pytest.mark.parametrize("middle", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("away", [-9.0, 9.0])
def test_outliers_are_far_from_the_middle_wherever_it_is(middle: float, away: float) -> None:
    """Around 1 with std .1, a value of .1 is as far out as one of 1.9, though it is nearer to 0."""
    even = torch.special.ndtri((torch.arange(100, dtype=torch.float64) + 0.5) / 100)
    values = middle + 0.1 * torch.cat([even, torch.tensor([away], dtype=torch.float64)])
    part = Part(Block("", ((0, 101),)), Site((101,), None, None, None), values, read_sample(values))
    core = without_outliers(part, 1e-5)
    assert core is not None
    assert core.size == 100


def test_a_number_that_is_none_has_no_severity() -> None:
    assert depth.chain_severity(math.nan) is None


# Through the verbs.


def codes(findings: Any) -> set[str]:
    return {finding.code for finding in findings}


@pytest.mark.parametrize(
    ("ratio", "found"), [(2.8, False), (3.2, True), (0.36, False), (0.31, True)]
)
def test_grown_rows(ratio: float, found: bool) -> None:
    old = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    kept = {"weight": old / old.std() * 0.02}
    plan = gi.plan(nn.Embedding(600, 16), {"weight": gi.Normal(0.02 * ratio)}, keep=kept)
    assert ("GI118" in codes(plan.findings)) is found


@pytest.mark.parametrize(("mean", "found"), [(0.23, False), (0.27, True), (-0.27, True)])
def test_values_off_center(mean: float, found: bool) -> None:
    net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4))
    gi.init_(
        net, {"0.weight": gi.Normal(0.05, mean=0.05 * mean), "2.weight": gi.HeNormal()}, seed=0
    )
    assert ("GI134" in codes(explained(net).findings)) is found


LAYERS, WIDTH = 10, 8
VARIANCE = 5 / WIDTH * LAYERS
BAR = VARIANCE / 2 + 4 * math.sqrt(VARIANCE)  # 13.1, above ln 1e4 = 9.2


@pytest.mark.parametrize(("change", "code"), [
    (0.95 * BAR, None), (1.05 * BAR, "GI103"), (-0.95 * BAR, None), (-1.05 * BAR, "GI102"),
])  # fmt: skip
def test_the_bar_of_chance_in_narrow_networks(change: float, code: str | None) -> None:
    """Multiples of the identity change the second moment by exactly what they say."""
    net = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))
    for layer in net:
        nn.init.eye_(layer.weight)
        # It counts from the first layer's output, and without the last layer's own factor.
        layer.weight.data *= math.exp(change / 2 / (LAYERS - 2))
    signs = torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(0)).sign()
    found = codes(measured(net, signs).findings) & {"GI102", "GI103"}
    assert found == ({code} if code else set())
