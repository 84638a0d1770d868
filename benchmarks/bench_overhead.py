"""What watching costs: the user's own generate call with and without the tap, one request, verdict included.

Two measures. *Paired*: whole generations with, without, interleaved; it misses nothing, and at a per-mille effect it
mostly shows the noise of the machine. *Inside the tap*: every part of the tap timed while a generation runs, as a
share of the rest of that very run; it is sharp, and misses what the module hooks cost torch itself.

Aim: 0.1 % of the generation time at 110M parameters.
"""

import time
from collections import Counter

import numpy as np
import pytest
import torch
from models import NAMES, Subject, subject
from paired import race
from stopwatch import Stopwatch

import sri_sdk

ROUNDS = {"lab diffusion": 25, "lab causal": 40, "110M diffusion": 3, "110M causal": 8}
PROFILED = {"lab diffusion": 10, "lab causal": 15, "110M diffusion": 2, "110M causal": 5}
RULES = ("final", "online")


def watched(it: Subject, rule: str) -> tuple[torch.Tensor, sri_sdk.Verdict]:
    """One generation under the guard."""
    with sri_sdk.watch(it.model, it.guard, request_ids=["r"], rule=rule) as run:
        tokens = it.generate()
    return tokens, run.verdicts[0]


def shares(it: Subject, rule: str, rounds: int) -> tuple[np.ndarray, Counter]:
    """[rounds] time inside the tap in % of the rest of the run; and the mean microseconds of each part."""
    values, parts = [], Counter()
    for _ in range(rounds):
        clock = Stopwatch()
        with clock.on(it.hook):
            start = time.perf_counter()
            watching = sri_sdk.watch(it.model, it.guard, request_ids=["r"], rule=rule)
            with clock.part("enter and leave"):
                watching.__enter__()
            it.generate()
            with clock.part("enter and leave"):
                watching.__exit__(None, None, None)
            total = time.perf_counter() - start
        inside = sum(clock.seconds.values())
        values.append(100 * inside / (total - inside))
        parts.update({part: 1e6 * seconds / rounds for part, seconds in clock.seconds.items()})
    return np.array(values), parts


@pytest.mark.parametrize("name", NAMES)
def bench_overhead(benchmark, report, tmp_path, name):
    it = subject(name, tmp_path)
    plain = it.generate()
    for rule in RULES:
        tokens, verdict = watched(it, rule)
        assert torch.equal(tokens, plain)
        assert verdict.status != "unmonitored", verdict.reasons

    contenders = {
        "final": lambda: watched(it, "final"),
        "without": it.generate,
        "online": lambda: watched(it, "online"),
    }
    seconds = race(benchmark, contenders, rounds=ROUNDS[name])
    for rule in RULES:
        values, parts = shares(it, rule, PROFILED[name])
        report(f"{name}, {rule} rule: paired", 100 * (seconds[rule] / seconds["without"] - 1), "%")
        where = ", ".join(f"{part} {spent / parts.total():.0%}" for part, spent in parts.most_common(4))
        report(f"{name}, {rule} rule: inside the tap", values, "%", f"{parts.total() / 1e3:.2g} ms: {where}")
        benchmark.extra_info[f"{rule}: microseconds per part"] = dict(parts.most_common())
