"""Scoring without torch: a bundle, signals, verdicts."""
