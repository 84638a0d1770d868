"""Plugin of vLLM: a guard watches the requests of an engine. Does nothing unless `SRI_VLLM_CONFIG` names a file."""

from __future__ import annotations

import logging
import os

CONFIG = "SRI_VLLM_CONFIG"
"""Environment variable with the path of the settings; docs of the format are in the README."""

log = logging.getLogger("sri_sdk.vllm")


def register() -> None:
    """What vLLM calls in each of its processes; twice is fine.

    Raises:
        ConfigError: the settings are wrong, or this vLLM is one that the plugin does not know its way about in.
    """
    source = os.environ.get(CONFIG)
    if not source:
        log.info("%s is not set: no request of this engine is watched", CONFIG)
        return
    from sri_plugin_vllm.install import install
    from sri_sdk.engine.settings import read_engine_settings

    install(read_engine_settings(source))
