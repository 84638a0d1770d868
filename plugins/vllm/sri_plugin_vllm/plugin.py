"""What vLLM calls in each of its processes: its entry point `vllm.general_plugins`."""

from __future__ import annotations

import logging
import os

from sri_plugin_vllm import CONFIG

log = logging.getLogger("sri_sdk.vllm")


def register() -> None:
    """Puts the tap on, unless no settings are named; twice is fine.

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
