"""Reason codes of scoring; docs/errors-and-cures.md says what to do about each."""

from __future__ import annotations

ABOVE, NOT_FINITE, OUT_OF_RANGE = "score_above_threshold", "non_finite_signal", "signal_out_of_range"
INCOMPLETE, UNSCORABLE = "incomplete_signal", "score_not_finite"
REQUEST_MISSING = "request_missing"
"""A part reads the request, and the signal has no number for it."""
UNKNOWN_GROUP = "unknown_group"
"""The guard has thresholds by group, and the caller named none of them: the largest one counted."""
