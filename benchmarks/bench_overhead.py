"""What watching costs: the user's own generate call with and without the tap, one request, verdict included.

Two measures. *Paired*: whole generations with, without, interleaved; it misses nothing, and at a per-mille effect it
mostly shows the noise of the machine. *Inside the tap*: every part of the tap timed while a generation runs, in
milliseconds and as a share of the rest of that very run; it is sharp, and misses what module hooks cost torch itself.

Aim: 0.1 % of the generation time at 110M parameters.
"""

import time
from collections import Counter

import numpy as np
import pytest
import torch
from models import NAMES, STEPS, Subject, subject
from paired import race
from stopwatch import ONCE, Stopwatch

import sri_sdk

ROUNDS = {"lab diffusion": 25, "lab causal": 40, "110M diffusion": 20, "110M causal": 20}
PROFILED = 20
RULES = ("final", "online")


def watched(it: Subject, rule: str) -> tuple[torch.Tensor, sri_sdk.Verdict]:
    """One generation under the guard."""
    with sri_sdk.watch(it.model, it.guard, request_ids=["r"], rule=rule) as run:
        tokens = run.returned(it.generate())
    return tokens, run.verdicts[0]


def inside(it: Subject, rule: str, rounds: int) -> tuple[np.ndarray, np.ndarray, Counter]:
    """[rounds] time inside the tap in ms, and in % of the rest of the run; and the mean ms of each part."""
    spent, shares, parts = [], [], Counter()
    for _ in range(rounds):
        clock = Stopwatch()
        with clock.on(it.hook):
            start = time.perf_counter()
            watching = sri_sdk.watch(it.model, it.guard, request_ids=["r"], rule=rule)
            with clock.part("enter and leave"):
                run = watching.__enter__()
            run.returned(it.generate())
            with clock.part("enter and leave"):
                watching.__exit__(None, None, None)
            total = time.perf_counter() - start
        tap = sum(clock.seconds.values())
        spent.append(1e3 * tap)
        shares.append(100 * tap / (total - tap))
        parts.update({part: 1e3 * seconds / rounds for part, seconds in clock.seconds.items()})
    return np.array(spent), np.array(shares), parts


def bare(it: Subject, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """As `inside`, of the floor: one module hook on the last norm that takes one mean."""
    spent, shares, seconds = [], [], 0.0

    def mean(_module: torch.nn.Module, _args: object, states: torch.Tensor) -> None:
        nonlocal seconds
        start = time.perf_counter()
        states.mean(1)
        seconds += time.perf_counter() - start

    hook = it.hook.final_norm().register_forward_hook(mean)
    try:
        for _ in range(rounds):
            seconds = 0.0
            start = time.perf_counter()
            it.generate()
            total = time.perf_counter() - start
            spent.append(1e3 * seconds)
            shares.append(100 * seconds / (total - seconds))
    finally:
        hook.remove()
    return np.array(spent), np.array(shares)


@pytest.mark.parametrize("name", NAMES)
def bench_overhead(benchmark, report, tmp_path, name):
    it = subject(name, tmp_path)
    plain = it.generate()
    for rule in RULES:
        tokens, verdict = watched(it, rule)
        assert torch.equal(tokens, plain)
        assert verdict.status != "unmonitored", verdict.reasons
        assert verdict.steps_seen == verdict.steps_expected == STEPS

    contenders = {
        "final": lambda: watched(it, "final"),
        "without": it.generate,
        "online": lambda: watched(it, "online"),
    }
    seconds = race(benchmark, contenders, rounds=ROUNDS[name])
    spent, shares = bare(it, PROFILED)
    report(f"{name}, floor: a hook that takes one mean", shares, "%")
    report(f"{name}, floor: time", spent, "ms", f"per step {np.median(spent) / STEPS:.2g} ms")
    for rule in RULES:
        spent, shares, parts = inside(it, rule, PROFILED)
        once = sum(parts[part] for part in ONCE)
        each = (parts.total() - once) / STEPS
        where = ", ".join(f"{part} {ms / parts.total():.0%}" for part, ms in parts.most_common(4))
        report(f"{name}, {rule} rule: paired", 100 * (seconds[rule] / seconds["without"] - 1), "%")
        report(f"{name}, {rule} rule: inside the tap", shares, "%", where)
        report(f"{name}, {rule} rule: inside the tap, time", spent, "ms", f"once {once:.2g} ms, per step {each:.2g} ms")
        benchmark.extra_info[f"{rule}: milliseconds per part"] = dict(parts.most_common())
    benchmark.extra_info["seconds without"] = float(np.median(seconds["without"]))
