"""Puts the plugin's own steps around a few methods of vLLM: those that schedule, and those that run a pass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

from sri_sdk.engine.settings import EngineSettings
from sri_sdk.errors import ConfigError

TESTED = "0.32"
"""Release of vLLM that the plugin was run on."""

SCHEDULER = "vllm.v1.core.sched.scheduler", "Scheduler"
BLOCK_POOL = "vllm.v1.core.block_pool", "BlockPool"
RUNNERS = {
    ("vllm.v1.worker.gpu_model_runner", "GPUModelRunner"): "_model_forward",
    ("vllm.v1.worker.gpu.model_runner", "GPUModelRunner"): "prepare_inputs",
}
"""Model runners -> the method that is called in each pass once the batch has its order."""

_DONE = "_sri_wrapped"


def install(settings: EngineSettings) -> None:
    """Wraps vLLM's methods in this process; a second time changes nothing.

    Raises:
        ConfigError: a method is not where it was in the release that the plugin was run on.
    """
    from sri_plugin_vllm import diffusion, notes, runner

    diffusion.gate_admission(settings)
    scheduler, pool = _class(*SCHEDULER), _class(*BLOCK_POOL)
    _wrap(scheduler, "schedule", notes.schedule)
    _wrap(scheduler, "_free_request", notes.free_request)
    _wrap(pool, "_remove_cached_block_hashes", notes.remove_cached_block_hashes)
    _wrap(pool, "reset_prefix_cache", notes.reset_prefix_cache)
    found = 0
    for (module, name), ordered in RUNNERS.items():
        try:
            kind = _class(module, name)
        except ConfigError:
            # The newer runner needs packages that a CPU build may lack.
            continue
        found += 1
        _wrap(kind, "__init__", functools.partial(runner.check_options, settings))
        _wrap(kind, "initialize_kv_cache", functools.partial(runner.initialize_kv_cache, settings))
        _wrap(kind, "execute_model", runner.execute_model)
        _wrap(kind, ordered, runner.ORDERED[ordered])
        _wrap(kind, "shutdown", runner.shutdown)
    if not found:
        raise ConfigError(_elsewhere("a model runner", ", ".join(module for module, _ in RUNNERS)))


def _class(module: str, name: str) -> type[Any]:
    try:
        found: type[Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as err:
        raise ConfigError(_elsewhere(name, module)) from err
    return found


def _wrap(kind: type[Any], name: str, around: Callable[..., Any]) -> None:
    """Replaces a method by `around(original, self, ...)`."""
    original = kind.__dict__.get(name)
    if original is None:
        raise ConfigError(_elsewhere(f"{kind.__name__}.{name}", kind.__module__))
    if getattr(original, _DONE, False):
        return

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return around(original, self, *args, **kwargs)

    setattr(method, _DONE, True)
    setattr(kind, name, method)


def _elsewhere(what: str, where: str) -> str:
    from vllm import __version__

    return (
        f"vLLM {__version__}: {what} was looked for in {where} and is not there; the plugin was run on {TESTED}. "
        "Use that release, or unset SRI_VLLM_CONFIG to run without a guard."
    )
