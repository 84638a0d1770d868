"""The same requests with the tap and without it, in turns: what it costs an engine."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.vllm.engine import listening, serve, start
from benchmarks.vllm.silent import put_back, taken_off


def run(
    model: Path, guard: Path, folder: Path, prompts: list[list[int]], *, tokens: int, batch: int, rounds: int
) -> dict[str, Any]:
    """Ratios of pairs, as JSON types.

    Args:
        model: folder of the checkpoint.
        guard: its guard.
        folder: for what is written.
        prompts: of a round, token ids.
        tokens: most of an answer.
        batch: requests that run at once.
        rounds: pairs; which of the two comes first changes from pair to pair.
    """
    llm = start(model, guard, folder, max_model_len=256, max_num_seqs=batch, enable_prefix_caching=False)
    tap, _ = listening()
    return measure(llm, tap, prompts, tokens=tokens, batch=batch, rounds=rounds)


def measure(llm: Any, tap: Any, prompts: list[list[int]], *, tokens: int, batch: int, rounds: int) -> dict[str, Any]:
    """`run` on an engine that is there."""
    from sri_plugin_vllm.here import HERE

    pairs: list[dict[bool, dict[str, float]]] = []
    one(llm, prompts, tokens, "warm")
    for number in range(rounds):
        pair = {}
        for with_tap in (True, False) if number % 2 else (False, True):
            hooks = [] if with_tap else taken_off(llm)
            HERE.tap = tap if with_tap else None
            pair[with_tap] = one(llm, prompts, tokens, f"{number}{with_tap}")
            HERE.tap = tap
            put_back(hooks)
        pairs.append(pair)
    return {
        "requests": len(prompts), "batch": batch, "rounds": rounds,
        "tokens": int(pairs[0][True]["tokens"]),
        "tokens_per_second_without": statistics.median(p[False]["tokens"] / p[False]["wall"] for p in pairs),
        "wall": ratio(pairs, "wall"), "cpu": ratio(pairs, "cpu"),
    }  # fmt: skip


def one(llm: Any, prompts: list[list[int]], tokens: int, name: str) -> dict[str, float]:
    """One round, with everything that the tap still owes."""
    from sri_plugin_vllm.here import HERE

    wall, cpu = time.perf_counter(), time.process_time()
    traffic = serve(llm, prompts, seed=0, tokens=tokens, name=name, slow=False)
    if HERE.tap is not None:
        assert HERE.tap.desk.flush(60)
    return {
        "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu,
        "tokens": float(sum(len(each.tokens) for each in traffic.answered.values())),
    }  # fmt: skip


def ratio(pairs: list[dict[bool, dict[str, float]]], what: str) -> dict[str, float]:
    """Median of with / without, and its 95 % interval by resampling pairs."""
    found = np.array([pair[True][what] / pair[False][what] for pair in pairs])
    draws = np.random.default_rng(0).choice(found, (2000, len(found)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return {"median": float(np.median(found)), "low": float(low), "high": float(high)}
