"""The tap in the worker: module hooks on the model, and the batch as the runner has put it together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sri_plugin_vllm.attach import attach
from sri_plugin_vllm.blind import refuse_blindness
from sri_plugin_vllm.diffusion import canvases_of, reasons_of
from sri_plugin_vllm.here import HERE
from sri_plugin_vllm.ids import external_id
from sri_plugin_vllm.notes import NOTE, note_of
from sri_sdk.engine.ledger import Chunk
from sri_sdk.engine.settings import EngineSettings
from sri_sdk.engine.tap import EngineTap

log = logging.getLogger("sri_sdk.vllm")

Original = Callable[..., Any]

OTHER_CODE = "other_code"
WARM_UP = ("_warmup_", "_v2_mixed_warmup")
"""What the newer runner's own requests begin with."""


def check_options(settings: EngineSettings, original: Original, runner: Any, *args: Any, **kwargs: Any) -> Any:
    """A runner is made: what its options hide is refused before weights are loaded.

    Raises:
        ConfigError: the engine's options keep the tap from seeing.
    """
    config = kwargs.get("vllm_config", args[0] if args else None)
    if config is not None:
        refuse_blindness(settings, config)
    return original(runner, *args, **kwargs)


def initialize_kv_cache(settings: EngineSettings, original: Original, runner: Any, *args: Any, **kwargs: Any) -> Any:
    """The model is loaded, and the engine knows the size of its cache blocks: the tap goes on.

    Raises:
        ModelMismatch: the guard is another model's.
    """
    result = original(runner, *args, **kwargs)
    if HERE.tap is None:
        HERE.tap = attach(settings, runner)
    return result


def execute_model(original: Original, runner: Any, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
    """One pass of the engine, or a dummy one, which is not watched."""
    tap = HERE.tap
    if tap is None or kwargs.get("dummy_run") or _warms_up(scheduler_output):
        return original(runner, scheduler_output, *args, **kwargs)
    try:
        _take_note(tap, scheduler_output)
    except Exception as err:
        # The type only: what is raised may hold a prompt.
        log.warning("what the scheduler said was not taken: %s", type(err).__name__)
        tap.missed(_scheduled(scheduler_output))
    HERE.scheduled = scheduler_output if _scheduled(scheduler_output) else None
    try:
        return original(runner, scheduler_output, *args, **kwargs)
    finally:
        if HERE.scheduled is not None:
            # The runner never came by: it ran this pass by another way, or none at all.
            tap.missed(_scheduled(scheduler_output))
        HERE.scheduled = None
        tap.end()


def model_forward(original: Original, runner: Any, *args: Any, **kwargs: Any) -> Any:
    """The older runner is about to call the model: the batch has its order."""
    if HERE.scheduled is not None:
        _begin(runner.input_batch.req_ids)
    return original(runner, *args, **kwargs)


def prepare_inputs(original: Original, runner: Any, *args: Any, **kwargs: Any) -> Any:
    """The newer runner has put the batch together."""
    batch = original(runner, *args, **kwargs)
    if HERE.scheduled is not None:
        _begin(batch.req_ids, batch)
    return batch


def shutdown(original: Original, runner: Any, *args: Any, **kwargs: Any) -> Any:
    """The worker ends: requests that still run are interrupted."""
    tap, HERE.tap = HERE.tap, None
    if tap is not None:
        tap.desk.close()
    return original(runner, *args, **kwargs)


ORDERED: Mapping[str, Callable[..., Any]] = {"_model_forward": model_forward, "prepare_inputs": prepare_inputs}


def _begin(order: Sequence[str], batch: Any = None) -> None:
    """Tells the tap what the pass holds, or that it does not know. It is told once, whatever the runner does.

    `batch` is the newer runner's, which alone runs models that work on canvases.
    """
    tap, sent, HERE.scheduled = HERE.tap, HERE.scheduled, None
    if tap is None:
        return
    try:
        _announce(tap, sent, order, canvases_of(batch) if tap.canvas else frozenset())
    except Exception as err:
        log.warning("a pass was not announced, and its requests are unmonitored: %s", type(err).__name__)
        tap.missed(_scheduled(sent))


def _warms_up(sent: Any) -> bool:
    """Whether the newer runner tries itself out: requests of its own, which no scheduler sent."""
    keys = {*sent.num_scheduled_tokens, *sent.finished_req_ids}
    return not hasattr(sent, NOTE) and bool(keys) and all(key.startswith(WARM_UP) for key in keys)


def _scheduled(sent: Any) -> tuple[str, ...]:
    """The requests that have a token in this pass."""
    return tuple(sent.num_scheduled_tokens) if sent.total_num_scheduled_tokens else ()


def _announce(tap: EngineTap, sent: Any, order: Sequence[str], canvases: frozenset[str]) -> None:
    computed = {new.req_id: new.num_computed_tokens for new in sent.scheduled_new_reqs}
    cached = sent.scheduled_cached_reqs
    computed.update(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
    counts = sent.num_scheduled_tokens
    if left := set(counts) - set(order):
        tap.missed(left)
    tap.begin([Chunk(each, computed[each], counts[each], each in canvases) for each in order])


def _take_note(tap: EngineTap, output: Any) -> None:
    """Ends, evictions and new requests, in this order: an id may come again."""
    note = note_of(output)
    ends = note.get("ends", {})
    for key in {*ends, *output.finished_req_ids}:
        # A scheduler of somebody else's may tell nothing but that it is over.
        end = ends.get(key, {"tokens": None, "ended": False, "interrupted": True})
        tap.ended(key, **end)
    if note.get("cleared"):
        tap.cleared()
    tap.evicted(note.get("evicted", ()))
    hashes = note.get("hashes", {})
    for new in output.scheduled_new_reqs:
        # The newer runner is sent a request again as new when it goes on after a preemption.
        if tap.runs(new.req_id):
            continue
        tap.admit(
            new.req_id, external_id(new.req_id, randomised=_randomised()), new.prompt_token_ids, new.prompt_len,
            hashes=hashes.get(new.req_id, ()), reasons=_reasons(new, canvas=tap.canvas),
        )  # fmt: skip


def _reasons(new: Any, *, canvas: bool) -> tuple[str, ...]:
    """Why a request cannot be judged, as far as its arguments show."""
    # Weights of its own, which the guard was not fitted with.
    adapter = (OTHER_CODE,) if new.lora_request is not None else ()
    return (*adapter, *(reasons_of(new.sampling_params) if canvas else ()))


def _randomised() -> bool:
    from vllm import envs

    return not envs.VLLM_DISABLE_REQUEST_ID_RANDOMIZATION
