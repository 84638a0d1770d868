"""How the cost of watching grows: with steps, requests at once, columns, width, blocks, tokens and threads.

    python benchmarks/scale_of_cost.py [--rounds 20] [--keep]

A masked model of random weights is watched with the final rule; one dimension grows at a time, and the others keep
their usual value. What is measured is the processor time inside the tap, of whole generations with verdicts, by the
stopwatch of `bench_overhead`; with several threads, the processor time of the process with the watch less that without,
in turns. Memory is what a process needs at most with the watch, and without. `--keep` writes scale_of_cost.json and
scale_of_cost.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from guards import CELLS, made_up_guard
from models import Subject
from paired import Spread
from peak_memory import rise
from sri_plugin_lab.hooks import LabDiffusionHook
from sri_plugin_lab.models import LabDiffusionLM
from stopwatch import Stopwatch
from transformers import LlamaConfig

import sri_sdk
from sri_sdk.capture.identity import fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.scoring.guard import Guard
from sri_sdk.strict_json import parse, write

HERE = Path(__file__).parent
KEPT = HERE / "scale_of_cost.json", HERE / "scale_of_cost.md"
LINEAR = 0.15
"""Of a value: what a straight line may be off by."""


@dataclass(frozen=True)
class Size:
    """One generation."""

    steps: int = 32
    rows: int = 1
    columns: int = 1
    width: int = 128
    blocks: int = 4
    tokens: int = 64


GROWTH: dict[str, tuple[int, ...]] = {
    "steps": (8, 16, 32, 64), "rows": (1, 8, 64), "columns": (1, 2, 3, 5), "width": (64, 256, 1024),
    "blocks": (4, 8, 16), "tokens": (32, 64, 128, 256),
}  # fmt: skip
THREADS = (1, 8, 64)
GENERATIONS = (50, 200, 800)
BIG = Size(steps=64, rows=64, columns=5, width=512)
"""What memory is measured at: large enough to stand out."""
WORDS = 512


def subject(size: Size, folder: Path) -> Subject:
    """A model of that size under a guard, which is written into `folder`."""
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=size.width, intermediate_size=size.width, num_hidden_layers=size.blocks,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=1024, pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    config.mask_token_id = 3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LabDiffusionLM(config).eval()
        ids = torch.randint(10, WORDS, (size.rows, 32))
    hook = LabDiffusionHook(model)
    printed = fingerprint(
        hook, pooling="response", layers=(*range(size.columns - 1), "final"), grid=StepGrid(CELLS, "step", size.steps),
        sampler={"name": "made-up"},
    )  # fmt: skip
    made_up_guard(printed, folder)
    return Subject(
        model, hook, Guard.load(folder), lambda: model.generate(ids, max_new_tokens=size.tokens, steps=size.steps)
    )


def watched(it: Subject, size: Size) -> sri_sdk.Run:
    """One generation under the guard."""
    with sri_sdk.watch(it.model, it.guard, request_ids=[str(row) for row in range(size.rows)]) as run:
        run.returned(it.generate())
    assert all(verdict.status != "unmonitored" for verdict in run.verdicts), run.verdicts[0].reasons
    return run


def inside(it: Subject, size: Size) -> float:
    """Milliseconds of processor time inside the tap, of one generation."""
    clock = Stopwatch(time.thread_time)
    with clock.on(it.hook):
        watching = sri_sdk.watch(it.model, it.guard, request_ids=[str(row) for row in range(size.rows)])
        with clock.part("enter and leave"):
            run = watching.__enter__()
        run.returned(it.generate())
        with clock.part("enter and leave"):
            watching.__exit__(None, None, None)
    return 1e3 * sum(clock.seconds.values())


def grown(name: str, values: tuple[int, ...], rounds: int, folder: Path) -> dict[int, Spread]:
    """The cost along one dimension; all sizes take turns."""
    sizes = {value: replace(Size(), **{name: value}) for value in values}
    subjects = {value: subject(size, folder / f"{name}-{value}") for value, size in sizes.items()}
    spent: dict[int, list[float]] = {value: [] for value in values}
    for number in range(rounds + 2):
        for value in np.random.default_rng(number).permutation(values).tolist():
            found = inside(subjects[value], sizes[value])
            if number >= 2:
                spent[value].append(found)
    return {value: Spread.of(np.array(each)) for value, each in spent.items()}


def in_threads(rounds: int, folder: Path) -> dict[int, Spread]:
    """Processor milliseconds that a request costs beyond its generation, with so many threads on one model at once."""
    size = Size()
    it = subject(size, folder / "threads")
    found: dict[int, list[float]] = {count: [] for count in THREADS}
    for number in range(rounds + 1):
        for count in np.random.default_rng(number).permutation(THREADS).tolist():
            both = {"watched": lambda: watched(it, size), "without": it.generate}
            took = {way: together(both[way], count) for way in np.random.default_rng(number).permutation(list(both))}
            if number:
                found[count].append(1e3 * (took["watched"] - took["without"]) / count)
    return {count: Spread.of(np.array(each)) for count, each in found.items()}


def together(call: Callable[[], object], count: int) -> float:
    """Processor seconds of the process while so many threads call at once."""
    threads = [threading.Thread(target=call) for _ in range(count)]
    before = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.process_time() - before


def line(points: dict[int, Spread]) -> dict[str, float]:
    """The straight line through the medians, and by how much of its value it is off at worst."""
    sizes, costs = np.array([*points]), np.array([each.median for each in points.values()])
    slope, base = np.polyfit(sizes, costs, 1, w=1 / costs)
    off = np.max(np.abs(base + slope * sizes - costs) / costs)
    return {"base": float(base), "slope": float(slope), "off": float(off)}


def memory(folder: Path) -> dict[str, Any]:
    """MiB that the process rises by with and without the watch, and after many generations; here, so call it alone."""
    it, small = subject(BIG, folder / "big"), Size(steps=8, blocks=2)
    with_watch = rise(lambda: watched(it, BIG))
    without = rise(it.generate)
    vectors = 4 * BIG.steps * BIG.rows * BIG.columns * BIG.width
    its = subject(small, folder / "small")
    kept, done = {}, 0
    for count in GENERATIONS:
        while done < count:
            watched(its, small)
            done += 1
        kept[str(count)] = _resident()
    return {"with": with_watch, "without": without, "vectors": vectors, "resident": kept}


def _resident() -> int:
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def page(found: dict[str, Any]) -> str:
    """The results as a page."""
    rows = []
    for name, each in found["time"].items():
        cost = ", ".join(
            f"{size}: {spread['median']:.3g} ({spread['low']:.3g} to {spread['high']:.3g})"
            for size, spread in each["points"].items()
        )
        fit = each["line"]
        told = f"{fit['base']:.2g} + {fit['slope']:.2g} x" if fit["off"] <= LINEAR else "no straight line"
        rows.append(f"| {name} | {cost} | {told} | {fit['off']:.0%} |")
    big, mib = found["memory"], 2**20
    resident = ", ".join(f"{count}: {value / mib:.0f}" for count, value in big["resident"].items())
    usual = Size()
    return f"""# How the cost of watching grows

A masked model of random weights under a guard with the final rule. Usual size: {usual.steps} steps, {usual.rows} request, {usual.columns} column, width {usual.width}, {usual.blocks} blocks, {usual.tokens} tokens.
One dimension grows at a time. Milliseconds of processor time inside the tap per generation, verdicts included; with threads, per request, what the process needed beyond the same generations without a watch. Medians
(95 % bootstrap interval), n = {found["rounds"]} rounds in which all sizes take turns. Numbers: `scale_of_cost.json`.

    python benchmarks/scale_of_cost.py --keep

| what grows | milliseconds | a straight line through them | off by at most |
|---|---|---|---|
{chr(10).join(rows)}

A line that is off by more than {LINEAR:.0%} of some value is not given.

Memory at {BIG.steps} steps, {BIG.rows} requests, {BIG.columns} columns of width {BIG.width}: the process rose by {big["with"] / mib:.0f} MiB with the watch and {big["without"] / mib:.0f} MiB without; the vectors themselves take {big["vectors"] / mib:.0f} MiB.
Resident memory in MiB after so many watched generations of one process: {resident}.
"""  # noqa: E501


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--keep", action="store_true")
    options.add_argument("--memory", action="store_true", help="only that, as JSON: it has a process of its own")
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if given.memory:
            sys.stdout.write(write(memory(folder)))
            return
        times: dict[str, Any] = {}
        for name, values in GROWTH.items():
            sys.stderr.write(f"{name} ...\n")
            times[name] = _kept(grown(name, values, given.rounds, folder))
        sys.stderr.write("threads ...\n")
        times["threads"] = _kept(in_threads(given.rounds, folder))
    alone = subprocess.run([sys.executable, __file__, "--memory"], check=True, capture_output=True)
    found = {"rounds": given.rounds, "time": times, "memory": parse(alone.stdout)}
    print(page(found))
    if given.keep:
        KEPT[0].write_text(write(found, indent=1) + "\n")
        KEPT[1].write_text(page(found))


def _kept(points: dict[int, Spread]) -> dict[str, Any]:
    return {
        "points": {
            str(size): {"median": each.median, "low": each.low, "high": each.high} for size, each in points.items()
        },
        "line": line(points),
    }


if __name__ == "__main__":
    main()
