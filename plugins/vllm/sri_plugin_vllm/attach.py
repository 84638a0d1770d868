"""Builds the tap of a worker: the guard, the copy of its model, module hooks, and where verdicts go."""

from __future__ import annotations

import logging
from typing import Any

import torch

import sri_sdk
from sri_plugin_vllm.blind import blinding
from sri_plugin_vllm.diffusion import tap_sampler
from sri_plugin_vllm.weights import compare, renamed
from sri_sdk.engine.desk import Desk
from sri_sdk.engine.guarded import Guarded, guard_checkpoint
from sri_sdk.engine.settings import EngineSettings, sinks_of
from sri_sdk.engine.tap import EngineTap
from sri_sdk.errors import ConfigError

log = logging.getLogger("sri_sdk.vllm")


def attach(settings: EngineSettings, runner: Any) -> EngineTap | None:
    """The tap on a runner's model; None = another worker of the same model watches.

    Raises:
        ModelMismatch: the guard is another model's.
    """
    from vllm.distributed.parallel_state import get_tp_group

    config = runner.vllm_config
    if get_tp_group().rank_in_group:
        return None
    blind = list(blinding(config))
    # What nobody sees needs no comparison, and could not be compared where it is split or quantised.
    guarded = _guarded(settings, config.model_config, None if blind else runner.get_model())
    client = None if settings.store is None else sri_sdk.VerdictClient(settings.store)
    desk = Desk(guarded.settings, sinks_of(settings), client=client, canvas=guarded.hook.scheme == "canvas")
    tap = EngineTap(
        guarded, desk, block_size=config.cache_config.hash_block_size or config.cache_config.block_size,
        block_sums_bytes=settings.block_sums_mb * 2**20,
    )  # fmt: skip
    if blind:
        log.warning("no request of this engine is monitored: %s", "; ".join(blind))
    else:
        if tap.canvas:
            printed = guarded.settings.fingerprint
            tap_sampler(runner, {} if printed is None else printed.hard["sampler"])
        _listen(tap, guarded, runner.get_model())
    return tap


def _guarded(settings: EngineSettings, model: Any, live: torch.nn.Module | None) -> Guarded:
    """The guard on the copy of a checkpoint, whose weights are then those of `live`; None = nothing is compared."""
    trust = settings.guard.trust
    guard = sri_sdk.Guard.load(settings.guard.path, public_key=trust.public_key, digest=trust.digest)
    guarded = guard_checkpoint(
        model.model, guard, dtype=model.dtype, rule=settings.rule, hook=settings.hook, accept=settings.accept,
        system_prompt=settings.system_prompt, revision=model.revision, trust_remote_code=model.trust_remote_code,
        canvases=True,
    )  # fmt: skip
    if live is not None:
        same, whole = compare(live, guarded.hook.model)
        log.info("%d of the engine's %d weights are those of the checkpoint; the rest is padding", same, whole)
    guarded.let_go_of_the_model()
    return guarded


def _listen(tap: EngineTap, guarded: Guarded, model: torch.nn.Module) -> None:
    """Puts the module hooks on."""
    for layer in tap.layers:
        path = guarded.placed.norm if layer == "final" else guarded.placed.blocks[int(layer)]
        module, block = module_of(model, renamed(model, path)), layer != "final"

        def fired(_: Any, __: Any, output: Any, layer: str | int = layer, block: bool = block) -> None:
            tap.state(layer, states_of(output, block=block))

        module.register_forward_hook(fired)


def module_of(model: torch.nn.Module, path: str) -> torch.nn.Module:
    """The engine's module at a path.

    Raises:
        ConfigError: there is none.
    """
    try:
        return model.get_submodule(path)
    except AttributeError:
        raise ConfigError(
            f"vLLM's {type(model).__name__} has no module {path}, where transformers' model has it, so its states "
            "cannot be found. Models whose modules vLLM keeps elsewhere are not supported."
        ) from None


def states_of(output: Any, *, block: bool) -> torch.Tensor:
    """[N, D] states of a module's output.

    vLLM's blocks pass on what they add and the residual stream apart, and the next norm joins them.
    """
    if isinstance(output, torch.Tensor):
        return output
    first, second = output[0], output[1] if len(output) > 1 else None
    if block and isinstance(second, torch.Tensor):
        summed: torch.Tensor = first + second
        return summed
    states: torch.Tensor = first
    return states
