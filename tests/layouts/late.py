"""Layouts that are still wrong and sure: delete each line that your change mends."""

LATE: dict[str, tuple[str, tuple[str, ...]]] = {
    "A": (
        "computed operands aren't found yet",
        (
            "blurred_kernel",
            "factor_after_the_product",
            "generated_for_each_sample",
            "generated_from_the_data",
            "mixture_of_kernels",
            "pruned",
        ),
    ),
    "B": (
        "sums of products are taken for scales",
        (
            "columns_one_by_one",
            "multiply_and_mean",
            "taps_one_by_one",
        ),
    ),
    "C": (
        "unknown functions aren't measured yet",
        (
            "batched_outer_products",
            "learned_exponents",
        ),
    ),
    "E": (
        "only the first slice counts",
        (
            "accumulated_by_addmm",
            "accumulated_in_a_loop",
            "accumulated_in_place",
            "chunks_of_the_input_dimension",
            "columns_on_parts_of_the_input",
            "even_and_odd_columns",
            "flat_experts_gathered_by_token",
            "shifts_of_an_image",
            "stacked_and_summed",
            "taps_of_a_convolution",
            "two_inputs_one_weight",
            "unequal_slices",
        ),
    ),
    "H": (
        "sums of some forms aren't seen",
        ("film_is_no_residual",),
    ),
    "I": (
        "attention is known by its softmax",
        (
            "causal_linear_attention",
            "linear_attention_as_a_recurrence",
            "talking_heads",
        ),
    ),
    "J": (
        "smooth nets die",
        ("gelu_by_its_formula",),
    ),
    "L": (
        "complex weights are kept in silence",
        (
            "complex_convolution",
            "complex_einsum",
            "complex_linear_layer",
            "complex_matrix",
            "diagonal_recurrence",
            "spectral_convolution",
            "two_layers_as_a_complex_one",
        ),
    ),
    "O": (
        "zeros and constants that are meant are drawn",
        ("identity_convolution",),
    ),
    "R": (
        "runs that aren't followed",
        (
            "sorted_and_back",
            "topk_of_features",
        ),
    ),
}
