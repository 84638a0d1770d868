"""What watching costs in each family's own shape: 100 million random parameters, one request, verdict included.

The two measures of `bench_overhead`, final rule: *paired* generations with and without, and the time *inside the tap*
as a share of the rest of that very run. Aim: 0.1 %. One family: `make bench ARGS="-k 'families and llada2'"`.
"""

import numpy as np
import pytest
import torch
from bench_overhead import bare, inside, watched
from families import FAMILIES, family
from paired import race
from stopwatch import ONCE

ROUNDS, PROFILED = 6, 20


@pytest.mark.parametrize("name", FAMILIES)
def bench_families(benchmark, report, tmp_path, name):
    it = family(name, tmp_path)
    millions = sum(weight.numel() for weight in it.model.parameters()) / 1e6
    plain = it.generate()
    tokens, verdict = watched(it, "final")
    assert torch.equal(tokens, plain)
    assert verdict.status != "unmonitored", verdict.reasons

    contenders = {"final": lambda: watched(it, "final"), "without": it.generate}
    seconds = race(benchmark, contenders, rounds=ROUNDS)
    _, shares, parts = inside(it, "final", PROFILED)
    once = sum(parts[part] for part in ONCE)
    each = (parts.total() - once) / verdict.steps_seen
    size = f"{millions:.0f}M, {verdict.steps_seen} steps"
    report(f"{name}: paired", 100 * (seconds["final"] / seconds["without"] - 1), "%", size)
    floor, least = bare(it, 3)
    report(
        f"{name}, floor: a hook that takes one mean",
        least,
        "%",
        f"per step {np.median(floor) / verdict.steps_seen:.2g} ms",
    )
    report(f"{name}: inside the tap", shares, "%", f"once {once:.2g} ms, per step {each:.2g} ms")
    benchmark.extra_info["milliseconds per part"] = dict(parts.most_common())
