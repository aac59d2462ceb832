"""Signals and comparisons in a notebook: HTML that needs no script and no style sheet."""

from __future__ import annotations

from goodinit._common.plain_words import plain_words
from goodinit._common.text import (
    escaped,
    filled_columns,
    findings_html,
    folded_html,
    html_table,
    verdict_html,
)
from goodinit.report.curves import all_signals, shown_rows
from goodinit.report.placed_findings import notes, verdict
from goodinit.report.signal_text import CALLS, SUMMARY_WORDS, call_cells, chosen_calls
from goodinit.signal.compare import Comparison, summary


def signal_html(comparison: Comparison) -> str:
    """Return the verdict, the calls that matter, findings and, folded away, all calls."""
    rows, chosen = shown_rows(comparison), chosen_calls(comparison)
    words = plain_words("", "second moment", "cosine", "gradient")
    parts = [verdict_html(verdict(comparison), comparison.ok)]
    if chosen:
        parts.append(html_table(*filled_columns(CALLS, call_cells(chosen))))
    parts += [findings_html(signal.findings) for signal in all_signals(comparison)]
    parts += [_paragraph(text) for text in (*notes(comparison), *words)]
    if len(chosen) < len(rows):
        parts.append(
            folded_html(
                f"All {len(rows)} calls", html_table(*filled_columns(CALLS, call_cells(rows)))
            )
        )
    return "".join(parts)


def comparison_html(comparison: Comparison) -> str:
    """Return the verdict, a line for each recipe and, folded away, the findings."""
    head, *lines = summary(comparison)
    words = [SUMMARY_WORDS, *plain_words("", "second moment")]
    parts = [
        verdict_html(verdict(comparison), comparison.ok),
        html_table(*filled_columns(head, lines)),
    ]
    parts += [_paragraph(text) for text in (*notes(comparison), *words)]
    if comparison.findings:
        listed = "".join(_paragraph(str(finding)) for finding in comparison.findings)
        parts.append(folded_html(f"{len(comparison.findings)} findings", listed))
    return "".join(parts)


def _paragraph(text: str) -> str:
    return f"<p>{escaped(text)}</p>"
