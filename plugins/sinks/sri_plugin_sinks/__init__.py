"""Sinks: where verdicts go."""
