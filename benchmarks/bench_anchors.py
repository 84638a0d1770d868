"""Collecting anchors on the lab models: our streaming collector against a plain research loop.

Ours caches keys and values, moves one pooled vector per step, and keeps two running sums. The research loop
(`research.py`) keeps every layer of every step of a batch, and the causal one recomputes the sequence per token.

Processor time, each contender in a process of its own: in one process they share a heap, and what one of them frees or
keeps decides how many pages the other must take from the system.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collecting import ways

from sri_sdk.strict_json import parse

PER_CLASS, BATCH = 16, 16
MEMORY = (16, 16, 3)
"""Prompts per class, batch size and rounds of the memory measurement."""
PROMPTS = (100, 400, 1600)
"""Prompts of the measurement that says whether memory grows with them."""
ROUNDS = {"causal": 20, "diffusion": 10}


class Worker:
    """One contender, in its own process."""

    def __init__(self, scheme: str, way: str) -> None:
        script = Path(__file__).with_name("anchors_worker.py")
        command = [sys.executable, str(script), scheme, way, str(PER_CLASS), str(BATCH)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def run(self) -> Any:
        """Processor seconds of one run, in all and within the model's forward."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return parse(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


@pytest.mark.parametrize("scheme", ["causal", "diffusion"])
def bench_anchors(benchmark, report, scheme):
    contenders = ways(scheme, per_class=PER_CLASS, batch_size=BATCH)
    names = [name for name in contenders if name != "alone" or scheme == "causal"]  # else the same, in other portions
    made = {name: contenders[name]() for name in names if name != "untapped"}
    for name, both in made.items():
        np.testing.assert_allclose(both, made["ours"], atol=1e-3, err_msg=name)
    workers = {name: Worker(scheme, name) for name in names}
    random, rows = np.random.default_rng(0), []

    def turns() -> None:
        for name in names:
            workers[name].run()
        for _ in range(ROUNDS[scheme]):
            rows.append({name: workers[name].run() for name in random.permutation(names)})

    try:
        benchmark.pedantic(turns, rounds=1)
    finally:
        for worker in workers.values():
            worker.close()
    seconds, forward = (
        {name: np.array([row[name][what] for row in rows]) for name in names} for what in ("seconds", "forward")
    )
    note = f"{2 * PER_CLASS} prompts, batches of {BATCH}"
    report(f"{scheme}: research loop / ours, time", seconds["research"] / seconds["ours"], note=note)
    report(
        f"{scheme}: research loop / the model's passes of ours alone", seconds["research"] / forward["untapped"],
        note="what a tap, a sampler and a judge that cost nothing would reach",
    )  # fmt: skip
    share = 100 * forward["ours"] / seconds["ours"]
    report(f"{scheme}: ours, within the model's forward", share, "%", "module hooks of the tap included")
    if "alone" in seconds:
        alone = seconds["alone"] / seconds["ours"]
        report(f"{scheme}: research loop one by one / ours, time", alone, note=f"ours in batches of {BATCH}")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's memory accounting")
@pytest.mark.parametrize("scheme", ["causal", "diffusion"])
def bench_peak_memory(benchmark, report, scheme):
    peaks = {}

    def measure() -> None:
        peaks.update(_peaks(scheme, *MEMORY, "ours", "research"))

    benchmark.pedantic(measure, rounds=1)
    mib = ", ".join(f"{name} {np.median(values) / 2**20:.3g} MiB" for name, values in peaks.items())
    note = f"{2 * MEMORY[0]} prompts, batches of {MEMORY[1]}: {mib}"
    report(f"{scheme}: research loop / ours, peak memory", peaks["research"] / peaks["ours"], note=note)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's memory accounting")
def bench_memory_of_many_prompts(benchmark, report):
    peaks: dict[int, np.ndarray] = {}

    def measure() -> None:
        for count in PROMPTS:
            # A process each: what is there already must not serve the next.
            peaks[count] = _peaks("causal", count // 2, MEMORY[1], 1, "ours")["ours"]

    benchmark.pedantic(measure, rounds=1)
    for count in PROMPTS:
        report(f"causal: peak memory of {count} prompts / of {PROMPTS[0]}", peaks[count] / peaks[PROMPTS[0]],
               note=f"{peaks[count][0] / 2**20:.3g} MiB")  # fmt: skip


def _peaks(scheme: str, per_class: int, batch_size: int, rounds: int, *names: str) -> dict[str, np.ndarray]:
    """Way -> [rounds] bytes, see `peak_memory.py`."""
    script = Path(__file__).with_name("peak_memory.py")
    command = [sys.executable, str(script), scheme, *map(str, (per_class, batch_size, rounds)), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name: np.array(values) for name, values in parse(done.stdout).items()}
