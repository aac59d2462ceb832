"""Numbered verdicts, each with its place, its cause and its remedy."""

from goodinit.findings.finding import Finding, Severity

__all__ = ["Finding", "Severity"]
