"""Layouts that are still wrong and sure: delete each line that your change fixes."""

LATE: dict[str, tuple[str, tuple[str, ...]]] = {
    "I": (
        "attention is known by its softmax",
        ("linear_attention_as_a_recurrence",),
    ),
}
