"""Plugin of vLLM: a guard watches the requests of an engine."""

from __future__ import annotations

CONFIG = "SRI_VLLM_CONFIG"
"""Environment variable with the path of the settings. Without it the plugin does nothing."""
