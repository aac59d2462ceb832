"""Numbered verdicts, each with its place, its cause and its remedy."""

from goodinit.findings.finding import SEVERITIES, Finding, Severity

__all__ = ["SEVERITIES", "Finding", "Severity"]
