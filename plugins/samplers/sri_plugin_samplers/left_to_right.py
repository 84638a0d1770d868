"""Stub."""

from sri_plugin_samplers.low_confidence import LowConfidenceSampler

SRI_PLUGIN_API = 1


class LeftToRightSampler(LowConfidenceSampler):
    """Stub."""
