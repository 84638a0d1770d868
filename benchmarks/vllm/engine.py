"""A vLLM engine in this process, with the tap on, and requests that arrive at random."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SETTINGS = """version: 1
guard: {{path: {guard}}}
accept: [transformers, torch]
block_sums_mb: {block_sums_mb}
sinks: [{{name: jsonl, options: {{path: {folder}/verdicts.jsonl}}}}]
"""
BLOCK = 32
"""Tokens of a cache block: the least that the CPU attention takes."""


def start(model: Path, guard: Path, folder: Path, *, block_sums_mb: int = 64, **options: Any) -> Any:
    """The engine; `options` are vLLM's."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "sri.yaml"
    settings.write_text(SETTINGS.format(guard=guard, folder=folder, block_sums_mb=block_sums_mb), encoding="utf-8")
    os.environ.update(
        SRI_VLLM_CONFIG=str(settings), VLLM_CPU_KVCACHE_SPACE="1", VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1", HF_HUB_OFFLINE="1",
    )  # fmt: skip
    from vllm import LLM

    return LLM(
        str(model), dtype="float32", enforce_eager=True, block_size=BLOCK, disable_log_stats=True, seed=0, **options
    )  # fmt: skip


@dataclass
class Answered:
    """One request as the engine answered it."""

    request_id: str
    prompt: list[int]
    tokens: list[int]
    finish: str
    cached: int
    """Tokens of the prompt that the prefix cache spared."""
    preempted: int = 0
    aborted_at: int | None = None
    """Tokens it had when it was aborted."""


@dataclass
class Traffic:
    """Requests as they arrive, and what came of them."""

    answered: dict[str, Answered] = field(default_factory=dict)


def serve(
    llm: Any, prompts: Sequence[list[int]], *, seed: int, tokens: int, abort: float = 0.0, most: int = 64,
    name: str = "r", slow: bool = True,
) -> Traffic:  # fmt: skip
    """Runs all requests; between two passes some arrive: none, a few, or many at once.

    Args:
        llm: the engine.
        prompts: token ids.
        seed: draws arrivals and aborts.
        tokens: most of an answer.
        abort: share of requests that are aborted somewhere.
        most: requests that run at once.
        name: what ids begin with.
        slow: arrivals at random; False = all at once.
    """
    from vllm import SamplingParams

    chance, traffic, engine = random.Random(seed), Traffic(), llm.llm_engine
    scheduler = engine.engine_core.engine_core.scheduler
    waiting = list(enumerate(prompts))
    doomed = {f"{name}{i}": chance.randrange(1, tokens) for i, _ in waiting if chance.random() < abort}
    running = set[str]()
    load = 1
    while waiting or running:
        if chance.random() < 0.05 or not running:
            load = chance.choice([1, most, round(2 ** chance.uniform(0, 6)), round(2 ** chance.uniform(0, 6))])
        count = max(min(load, most) - len(running), 0) if slow else len(waiting)
        for i, ids in waiting[:count]:
            request = f"{name}{i}"
            engine.add_request(
                request, {"prompt_token_ids": ids}, SamplingParams(temperature=0, max_tokens=tokens)
            )  # fmt: skip
            traffic.answered[request] = Answered(request, ids, [], "", 0)
            running.add(request)
        del waiting[:count]
        for output in engine.step():
            found = traffic.answered[output.request_id]
            found.tokens = list(output.outputs[0].token_ids)
            found.cached = max(found.cached, output.num_cached_tokens or 0)
            if output.finished:
                found.finish = str(output.outputs[0].finish_reason)
                running.discard(output.request_id)
            elif len(found.tokens) >= doomed.get(output.request_id, tokens + 1):
                engine.abort_request([output.request_id])
                found.finish, found.aborted_at = "abort", len(found.tokens)
                running.discard(output.request_id)
        for request in scheduler.requests.values():
            external = request.request_id.rsplit("-", 1)[0]
            if external in traffic.answered:
                traffic.answered[external].preempted = request.num_preemptions
    return traffic


@dataclass
class Heard:
    """What the tap's desk concluded, by request."""

    verdicts: dict[str, Any] = field(default_factory=dict)
    signals: dict[str, Any] = field(default_factory=dict)
    """(logit, sigma), [T, C] each."""
    phi: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, found: Any) -> None:
        self.verdicts.update({verdict.request_id: verdict for verdict in found.verdicts})
        self.phi.update({trace.request_id: trace.phi for trace in found.traces})
        if found.signals is None:
            return
        ids = found.signals.ids
        for row, each in enumerate(ids):
            self.signals[each] = found.signals.logit[row], found.signals.sigma[row]
            self.missing[each] = (found.signals.missing or {}).get("request", (None,) * len(ids))[row]


def listening() -> tuple[Any, Heard]:
    """The tap of this process, and what it says from now on."""
    from sri_plugin_vllm.here import tap_here

    tap, heard = tap_here(), Heard()
    assert tap is not None
    tap.desk.told = heard
    return tap, heard


@dataclass
class Passes:
    """What the engine's passes held."""

    sizes: list[int] = field(default_factory=list)
    """Requests in each."""
    prompts: int = 0
    """Prompts, or pieces of one."""
    pieces: int = 0
    """Those that ended before their prompt did."""


def counting(tap: Any) -> Passes:
    """Counts what passes hold from now on."""
    found, begin = Passes(), tap.begin

    def counted(chunks: Any) -> None:
        found.sizes.append(len(chunks))
        for chunk in chunks:
            entry = tap._ledger._entries.get(chunk.request_id)
            if entry is not None and chunk.start < entry.prompt:
                found.prompts += 1
                found.pieces += chunk.start + chunk.count < entry.prompt
        begin(chunks)

    tap.begin = counted
    return found
