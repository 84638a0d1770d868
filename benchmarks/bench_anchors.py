"""Collecting anchors on the lab models: our streaming collector against a plain research loop.

Ours caches keys and values, moves one pooled vector per step, and keeps two running sums. The research loop
(`research.py`) keeps every layer of every step of a batch, and the causal one recomputes the sequence per token.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from collecting import ways
from paired import race

from sri_sdk.strict_json import parse

PER_CLASS, BATCH = 16, 16
MEMORY = (16, 16, 3)
"""Prompts per class, batch size and rounds of the memory measurement."""
ROUNDS = {"causal": 8, "diffusion": 8}


@pytest.mark.parametrize("scheme", ["causal", "diffusion"])
def bench_anchors(benchmark, report, scheme):
    contenders = ways(scheme, per_class=PER_CLASS, batch_size=BATCH)
    if scheme == "diffusion":
        del contenders["alone"]  # the same work in other portions
    made = {name: way() for name, way in contenders.items()}
    for name, both in made.items():
        np.testing.assert_allclose(both, made["ours"], atol=1e-3, err_msg=name)

    seconds = race(benchmark, contenders, rounds=ROUNDS[scheme])
    note = f"{2 * PER_CLASS} prompts, batches of {BATCH}"
    report(f"{scheme}: research loop / ours, time", seconds["research"] / seconds["ours"], note=note)
    if "alone" in seconds:
        alone = seconds["alone"] / seconds["ours"]
        report(f"{scheme}: research loop one by one / ours, time", alone, note=f"ours in batches of {BATCH}")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's memory accounting")
@pytest.mark.parametrize("scheme", ["causal", "diffusion"])
def bench_peak_memory(benchmark, report, scheme):
    script = Path(__file__).with_name("peak_memory.py")
    command = [sys.executable, str(script), scheme, *map(str, MEMORY)]

    def measure() -> dict[str, list[int]]:
        return parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    peaks = {name: np.array(values) for name, values in benchmark.pedantic(measure, rounds=1).items()}
    mib = ", ".join(f"{name} {np.median(values) / 2**20:.3g} MiB" for name, values in peaks.items())
    note = f"{2 * MEMORY[0]} prompts, batches of {MEMORY[1]}: {mib}"
    report(f"{scheme}: research loop / ours, peak memory", peaks["research"] / peaks["ours"], note=note)
