"""How the cost of watching grows: with steps, requests at once, columns, width, blocks, tokens and threads.

    python benchmarks/scale_of_cost.py [--minutes 4.5] [--rounds 20] [--keep]

A masked model of random weights is watched with the final rule; one dimension grows at a time, and the others keep
their usual value. What is measured is processor time, which other work on the machine changes least: inside the tap, of
whole generations with verdicts, by the stopwatch of `bench_overhead`; with several threads, of the process with the
watch less that without, in turns. The model does as little as a model can (heads of 8 dimensions, perceptrons of 16),
so that minutes suffice; so caches stay warm, and between the layers of a large model each call costs more.

Memory is what a process needs at most with the watch, and without. Each stage has its share of the minutes and takes
its rounds until that is over, at least six. A run that was interrupted goes on behind its last whole stage; `--fresh`
begins anew. `--keep` writes scale_of_cost.json, scale_of_cost.md and scale_of_cost.svg.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from guards import CELLS, made_up_guard
from models import Subject
from paired import Spread
from peak_memory import rise
from scale_of_cost_page import page, picture
from sri_plugin_lab.hooks import LabDiffusionHook
from sri_plugin_lab.models import LabDiffusionLM
from stopwatch import Stopwatch
from transformers import LlamaConfig

import sri_sdk
from sri_sdk.capture.identity import fingerprint
from sri_sdk.files import write_text
from sri_sdk.grid import StepGrid
from sri_sdk.scoring.guard import Guard
from sri_sdk.strict_json import parse, write

HERE = Path(__file__).parent
KEPT = HERE / "scale_of_cost"
FEWEST = 6
"""Rounds: below, an interval is little more than their range."""
WARM = 1
"""Rounds that do not count."""


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
GENERATIONS = (50, 200, 400)
BIG = Size(steps=64, rows=32, columns=5, width=512)
"""What memory is measured at: large enough to stand out."""
SHARED = Size(steps=16, blocks=2)
"""What threads generate, all on one model."""
WORDS = 64
Costs = dict[int, list[float]]
"""Size -> milliseconds of each round; entry i of all of them comes from round i."""


def subject(size: Size, folder: Path) -> Subject:
    """A model of that size under a guard, which is written into `folder`."""
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=size.width, intermediate_size=16, num_hidden_layers=size.blocks,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=1024, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
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


def in_turns(costs: Mapping[int, Callable[[], float]], rounds: int, until: float) -> Costs:
    """What each size costs, all of them once per round in an order of its own, until the time is over."""
    found: Costs = {size: [] for size in costs}
    for number in range(-WARM, rounds):
        if number >= FEWEST and time.monotonic() > until:
            break
        for size in np.random.default_rng(number + WARM).permutation(list(costs)).tolist():
            spent = costs[size]()
            if number >= 0:
                found[size].append(spent)
    return found


def grown(name: str, values: tuple[int, ...], folder: Path) -> dict[int, Callable[[], float]]:
    """Value of one dimension -> what measures the cost there."""
    sizes = {value: replace(Size(), **{name: value}) for value in values}
    subjects = {value: subject(size, folder / f"{name}-{value}") for value, size in sizes.items()}
    return {value: lambda value=value: inside(subjects[value], sizes[value]) for value in values}


def in_threads(folder: Path) -> dict[int, Callable[[], float]]:
    """Threads on one model at once -> what measures the processor milliseconds that they need beyond their generations.

    Of few threads several generations in turn, so that all counts have about as much to measure.
    """
    it, most, random = subject(SHARED, folder / "threads"), max(THREADS), np.random.default_rng(0)

    def cost(count: int) -> float:
        calls = {"watched": lambda: watched(it, SHARED), "without": it.generate}
        times, took = min(4, most // count), dict.fromkeys(calls, 0.0)
        for _ in range(times):
            for way in random.permutation(list(calls)).tolist():
                took[way] += together(calls[way], count)
        return 1e3 * (took["watched"] - took["without"]) / times

    return {count: lambda count=count: cost(count) for count in THREADS}


def together(call: Callable[[], object], count: int) -> float:
    """Processor seconds of the process while so many threads call at once."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as err:
            failed.append(err)

    threads = [threading.Thread(target=work) for _ in range(count)]
    before = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.process_time() - before
    if failed:
        raise failed[0]
    return spent


def fit(costs: Costs) -> dict[str, Any]:
    """The medians, and the straight line through each round: base, slope, and by how much of its value it is off."""
    sizes, rounds = np.array([*costs], dtype=np.float64), np.array([*costs.values()]).T
    middle = np.median(rounds, axis=0)
    # In shares of the value: a line that misses a small one by half is no line.
    lines = np.array([np.polyfit(sizes, each, 1, w=1 / middle) for each in rounds])
    slope, base = np.polyfit(sizes, middle, 1, w=1 / middle)
    return {
        "n": len(rounds),
        "points": {str(size): asdict(Spread.of(np.array(each))) for size, each in costs.items()},
        "slope": asdict(Spread.of(lines[:, 0])),
        "base": asdict(Spread.of(lines[:, 1])),
        "off": float(np.max(np.abs(base + slope * sizes - middle) / middle)),
    }


def memory(folder: Path) -> dict[str, Any]:
    """Bytes: by how much the process rises with and without the watch, and where it is after many generations."""
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
    return {"with": with_watch, "without": without, "vectors": vectors, "resident": kept, "big": asdict(BIG)}


def _resident() -> int:
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def measure(rounds: int, minutes: float, state: Path) -> dict[str, Any]:
    """Every stage that `state` has not yet; it is written after each."""
    asked = {
        "rounds": rounds,
        "minutes": minutes,
        "growth": {**GROWTH, "threads": THREADS},
        "usual": asdict(Size()),
        "shared": asdict(SHARED),
    }
    asked = parse(write(asked))
    known = parse(state.read_text()) if state.exists() else {}
    found: dict[str, Any] = known if known.get("asked") == asked else {"asked": asked, "time": {}}
    stages = [*GROWTH, "threads"]
    for number, name in enumerate(stages, 1):
        if name in found["time"]:
            continue
        sys.stderr.write(f"{number} of {len(stages) + 1}: {name} ... ")
        sys.stderr.flush()
        began = time.monotonic()
        # Threads take twice as much as any other.
        until = began + 60 * minutes * (2 if name == "threads" else 1) / (len(stages) + 1)
        with tempfile.TemporaryDirectory() as place:
            costs = in_threads(Path(place)) if name == "threads" else grown(name, GROWTH[name], Path(place))
            found["time"][name] = fit(in_turns(costs, rounds, until))
        sys.stderr.write(f"{found['time'][name]['n']} rounds, {time.monotonic() - began:.0f} s\n")
        write_text(state, write(found))
    if "memory" not in found:
        sys.stderr.write(f"{len(stages) + 1} of {len(stages) + 1}: memory ...\n")
        alone = subprocess.run([sys.executable, __file__, "--memory"], check=True, capture_output=True)
        found["memory"] = parse(alone.stdout)
        write_text(state, write(found))
    return found


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=20, help="of each stage, at most")
    options.add_argument("--minutes", type=float, default=4.5, help="for all stages but memory, which takes one")
    options.add_argument("--state", type=Path, default=Path("out/scale_of_cost.json"), help="what a run goes on from")
    options.add_argument("--fresh", action="store_true", help="begin anew")
    options.add_argument("--keep", action="store_true", help="write the page beside this file")
    options.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    torch.set_num_threads(1)
    if given.memory:
        with tempfile.TemporaryDirectory() as place:
            sys.stdout.write(write(memory(Path(place))))
        return
    if given.fresh:
        given.state.unlink(missing_ok=True)
    given.state.parent.mkdir(parents=True, exist_ok=True)
    found = measure(given.rounds, given.minutes, given.state)
    print(page(found))
    if given.keep:
        write_text(KEPT.with_suffix(".json"), write(found, indent=1) + "\n")
        write_text(KEPT.with_suffix(".md"), page(found))
        KEPT.with_suffix(".svg").write_bytes(picture(found))


if __name__ == "__main__":
    main()
