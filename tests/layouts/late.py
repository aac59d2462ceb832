"""Layouts that are still wrong and sure: delete each line that your change fixes."""

LATE: dict[str, tuple[str, tuple[str, ...]]] = {}
