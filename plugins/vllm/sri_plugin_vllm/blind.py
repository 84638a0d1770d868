"""Options of an engine that keep the tap from seeing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sri_sdk.engine.settings import EngineSettings
from sri_sdk.errors import ConfigError

ROWS = "no worker then sees all rows of all layers"


def blinding(config: Any) -> Iterator[str]:
    """What is in the way of watching, one sentence per option with the cure; `config` is vLLM's."""
    if not config.model_config.enforce_eager:
        yield (
            "enforce_eager: False; compiled code and CUDA graphs call no module hooks. "
            "Start with --enforce-eager (LLM(enforce_eager=True))"
        )
    if config.speculative_config is not None:
        yield "speculative_config: drafts put tokens into a pass that may be taken back. Leave --speculative-config out"
    if quantised := getattr(config.model_config, "quantization", None):
        yield (
            f"quantization: {quantised}; its weights cannot be compared with those the guard was fitted on. Serve the "
            "checkpoint unquantised, without --quantization"
        )
    kept, own = getattr(config.cache_config, "cache_dtype", "auto"), getattr(config.model_config, "dtype", None)
    if kept not in ("auto", str(own).removeprefix("torch.")):
        yield (
            f"kv_cache_dtype: {kept}; keys and values are rounded, so states are not those the guard was fitted on. "
            "Set --kv-cache-dtype auto"
        )
    parallel = config.parallel_config
    for name, option, why in (
        ("tensor_parallel_size", "--tensor-parallel-size", "no worker then has weights that can be compared"),
        ("pipeline_parallel_size", "--pipeline-parallel-size", ROWS),
        ("decode_context_parallel_size", "--decode-context-parallel-size", ROWS),
        ("prefill_context_parallel_size", "--prefill-context-parallel-size", ROWS),
    ):
        size = getattr(parallel, name, 1)
        if size and size > 1:
            yield f"{name}: {size}; {why}. Set {option} 1"
    if getattr(parallel, "use_ubatching", False):
        yield "enable_dbo: a pass runs in two halves. Leave --enable-dbo out"
    if getattr(config.cache_config, "kv_sharing_fast_prefill", False):
        yield "kv_sharing_fast_prefill: layers leave out rows of the prompt. Leave --kv-sharing-fast-prefill out"
    if config.model_config.runner_type != "generate":
        yield f"runner: {config.model_config.runner_type}; nothing is generated. Use --runner generate"


def refuse_blindness(settings: EngineSettings, config: Any) -> None:
    """Keeps an engine from starting whose options hide its states, unless the settings say `if_blind: unmonitored`.

    Raises:
        ConfigError: they do; all of them are named.
    """
    blind = list(blinding(config))
    if blind and settings.if_blind == "refuse":
        raise ConfigError(
            "vLLM: the guard could not see what this engine generates: " + "; ".join(blind) + ". Or write `if_blind: "
            "unmonitored`, and every request is unmonitored.", blind,
        )  # fmt: skip
