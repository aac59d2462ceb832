"""Layouts of every kind: right, or marked as uncertain, but never wrong and sure of it."""

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
import torch

from . import (
    attention,
    broadcast,
    buffers,
    complex_weights,
    computed,
    contracted,
    decided,
    deliberate,
    factors,
    forms,
    made_signals,
    meant,
    measured,
    meetings,
    met_again,
    multiples,
    norms,
    once_sure,
    ordinary,
    projections,
    python,
    recent,
    recurrent,
    researchers,
    researchers_flow,
    residual,
    slices,
    smooth,
    streams,
    taken,
    taken_further,
    unknown,
)
from .layout import LAYOUTS, Verdict
from .readings import FOUND, digest, noted, written

FILES = (
    *(
        attention,
        broadcast,
        buffers,
        complex_weights,
        computed,
        contracted,
        decided,
        deliberate,
        made_signals,
        meant,
        measured,
        meetings,
        met_again,
        multiples,
        norms,
        once_sure,
        python,
    ),
    *(factors, forms, ordinary, projections, recent, recurrent, researchers, researchers_flow),
    *(residual, slices, smooth, streams, taken, taken_further, unknown),
)
FEWEST = {
    **dict.fromkeys("ABCDEF", 12),
    **dict.fromkeys("GHIJKLOPR", 8),
    "Q": 4,
    "plain": 60,
}
MOST_MARKED = 0.1
READINGS = written()

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tensors are small: two threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def verdict(name: str) -> Verdict:
    with noted(name):
        return LAYOUTS[name].verdict()


# Many seeds of a product of weights, 1 to 15 s each; the other products of kind D are quick.
SLOW = (
    *("D.canonical_decomposition", "A.tensor_train", "A.low_rank_of_three", "A.blurred_kernel"),
    *("D.bases_of_relations", "D.value_and_output_merged", "D.relu_after_three_factors"),
    *("D.kernel_of_a_fixed_basis", "D.coefficients_of_a_spectrum", "D.tensor_ring"),
    *("D.bank_mixed_by_learned_shares", "D.two_factors_by_einsum", "D.factorized_kernel"),
    *("D.scan_of_a_state_space", "B.columns_one_by_one", "B.interpolated_kernel"),
    "E.flat_experts_by_bmm",
    # Siblings of others.
    *("A.copied_into_a_view_of_zeros", "A.added_to_a_narrow_part", "A.rows_added_in_place"),
    *("A.a_part_set_to_zero", "A.product_copied_into_zeros", "A.both_ends_of_an_edge"),
    *("A.a_node_less_the_largest_of_its_neighbors", "A.the_best_two_experts"),
    *(
        "A.rows_weighted_by_shares",
        "A.dropped_by_a_comparison",
        "A.shifted_and_scaled_by_one_layer",
    ),
    *("B.factorization_machine_of_embedded_fields", "B.factors_summed_in_groups"),
    *("B.cosines_and_sines_of_each_number", "D.triangular_factors_with_an_identity"),
    *("B.causal_convolution_by_fft", "D.generated_in_chunks", "D.tensor_train_on_the_input"),
    *("I.pairs_of_heads_multiplied_and_summed", "I.values_of_the_best_scores"),
    *("B.repeat_interleaved", "E.toeplitz_mixing_of_positions"),
    *("B.repeated_over_inputs", "B.kronecker_product", "E.block_circulant"),
    # Plain stacks, all of 20 layers in tests/recipes/test_stack_gain.py as well; a gelu by its
    # formula stays.
    *("J.gelu_20", "J.silu_20", "J.leaky_relu_50", "J.mish_by_its_formula", "J.sigmoid_20"),
    *("J.elu_20", "J.hardswish_20", "J.tanh_20", "J.mish_20", "J.sine_20", "J.softplus_20"),
    *("J.silu_by_its_formula", "J.hardswish_by_its_formula", "J.gelu_by_its_approximation"),
    "J.silu_50",
    *(
        "O.logarithms_in_a_layers_bias",
        "O.memories_of_many_lengths",
        "G.raw_bias_of_a_packed_product",
    ),
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.battery] * (name in SLOW)) for name in LAYOUTS],
)
def test_no_layout_is_wrong_and_sure(name):
    """Ordinary ones are right, and sure."""
    with noted(name):
        found = replace(LAYOUTS[name], mark_is_enough=True).verdict()
    assert found.answer != "wrong", found.why
    if LAYOUTS[name].kind == "plain":
        assert (found.answer, found.sure) == ("right", True), found.why
    if name in READINGS:
        how = f"{name} is read in another way than before:\n{FOUND[name]}"
        assert digest(name) == READINGS[name], how


@pytest.mark.battery
def test_few_are_marked():
    """Of those that can be decided; all are judged once more, since workers share no verdicts."""
    marked = [n for n, one in LAYOUTS.items()
              if not one.undecidable and verdict(n).answer == "marked"]  # fmt: skip
    assert len(marked) <= MOST_MARKED * len(LAYOUTS), marked


def test_each_kind_has_its_layouts():
    found = Counter(layout.kind for layout in LAYOUTS.values())
    assert all(found[kind] >= fewest for kind, fewest in FEWEST.items()), found
    assert found.keys() == FEWEST.keys()
    assert {layout.make.__module__ for layout in LAYOUTS.values()} == {f.__name__ for f in FILES}


@pytest.mark.battery
def test_table_of_layouts(capsys):
    count = Counter((LAYOUTS[n].kind, verdict(n).answer, verdict(n).sure) for n in LAYOUTS)
    cells = {
        "right and sure": ("right", True),
        "right, marked": ("right", False),
        "wrong, marked": ("marked", False),
        "wrong and sure": ("wrong", True),
    }
    with capsys.disabled():
        print("\n" + f"{'kind':7}" + "".join(f"{text:>16}" for text in cells))
        for kind in (*FEWEST, None):
            numbers = (
                sum(n for (k, *found), n in count.items()
                    if k == (kind or k) and tuple(found) == cell)
                for cell in cells.values()
            )  # fmt: skip
            print(f"{kind or 'all':7}" + "".join(f"{n:>16}" for n in numbers))
        for name in LAYOUTS:
            if verdict(name).answer != "right":
                print(f"{verdict(name).answer:7} {name}: {verdict(name).why[:140]}")
    assert not {n for n in LAYOUTS if verdict(n).answer == "wrong"}
