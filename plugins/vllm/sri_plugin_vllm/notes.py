"""What the scheduler knows and a worker is not told: hashes of cache blocks, evictions, and how a request ended.

It travels with what the scheduler sends to workers anyway, as an attribute of plain types.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from sri_plugin_vllm.here import tap_here

log = logging.getLogger("sri_sdk.vllm")

NOTE = "sri_note"
"""Attribute of a scheduler's output."""
_ENDS, _EVICTED, _CLEARED = "_sri_ends", "_sri_evicted", "_sri_cleared"

Original = Callable[..., Any]

STOPPED, LENGTH = "FINISHED_STOPPED", "FINISHED_LENGTH_CAPPED"
RAN_OUT = (LENGTH, "FINISHED_REPETITION")
"""Ends that the engine makes where the model would have gone on."""


def end_of(status: str, tokens: int) -> dict[str, Any]:
    """How a request ended: arguments of `EngineTap.ended`.

    Args:
        status: name of vLLM's `RequestStatus`.
        tokens: it generated.
    """
    stopped = status == STOPPED
    return {"tokens": tokens, "ended": stopped, "interrupted": not stopped and status not in RAN_OUT}


def free_request(original: Original, scheduler: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
    """Notes the end of a request."""
    try:
        end = end_of(request.status.name, request.num_output_tokens)
        scheduler.__dict__.setdefault(_ENDS, {})[request.request_id] = end
        _tell_this_process(request.request_id, end)
    except Exception as err:
        log.warning("the end of a request was not noted: %s", type(err).__name__)
    return original(scheduler, request, *args, **kwargs)


def remove_cached_block_hashes(original: Original, pool: Any, block: Any) -> Any:
    """Notes blocks that leave the prefix cache."""
    removed = original(pool, block)
    gone = pool.__dict__.setdefault(_EVICTED, [])
    # Several blocks may have one hash; the last one takes its sums along. The end of a key is its cache group.
    gone.extend(key[:-4] for key in removed if pool.cached_block_hash_to_block.get_one_block(key) is None)
    return removed


def reset_prefix_cache(original: Original, pool: Any) -> Any:
    """Notes that the prefix cache was emptied."""
    done = original(pool)
    if done:
        pool.__dict__[_CLEARED] = True
    return done


def schedule(original: Original, scheduler: Any, *args: Any, **kwargs: Any) -> Any:
    """Puts the note on what workers are sent."""
    output = original(scheduler, *args, **kwargs)
    try:
        setattr(output, NOTE, _note(scheduler, output))
    except Exception as err:
        log.warning("workers are not told about blocks and ends: %s", type(err).__name__)
    return output


def _note(scheduler: Any, output: Any) -> dict[str, Any]:
    pool = scheduler.kv_cache_manager.block_pool
    size = pool.hash_block_size
    hashes = {}
    for new in output.scheduled_new_reqs:
        request = scheduler.requests[new.req_id]
        full = request.num_prompt_tokens // size
        hashes[new.req_id] = [bytes(each) for each in request.block_hashes[:full]]
    return {
        "ends": scheduler.__dict__.pop(_ENDS, {}),
        "evicted": pool.__dict__.pop(_EVICTED, []),
        "cleared": pool.__dict__.pop(_CLEARED, False),
        "hashes": hashes,
    }


def note_of(output: Any) -> Mapping[str, Any]:
    """The note on a scheduler's output; empty = there is none."""
    found: Mapping[str, Any] = getattr(output, NOTE, None) or {}
    return found


def _tell_this_process(key: str, end: Mapping[str, Any]) -> None:
    """Where worker and scheduler share a process, nothing may be scheduled after the last request."""
    tap = tap_here()
    if tap is not None:
        tap.ended(key, **end)
