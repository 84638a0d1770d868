"""A model that is swapped under load: after how many canaries `sri monitor` says so.

OMP_NUM_THREADS=1 python -m benchmarks.soak.swap --runs 20
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import statistics
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sri_plugin_lab import models

from benchmarks.soak.monitors import fitted
from sri_sdk.config.load import load_config
from sri_sdk.files import write_text
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.metrics.rates import exact_rate
from sri_sdk.monitor.operate import Wishes, operate
from sri_sdk.monitor.reading import read_monitor
from sri_sdk.strict_json import parse, write

KEPT = Path("benchmarks/swap.json"), Path("benchmarks/swap.md")
SIBLING = "diffusion-2"
BEFORE = (5, 60)
"""Fewest and most harmless canaries that run before the swap: canaries come in the same order in every run."""
WAIT_S = 300.0
"""Seconds after which a swap that was not noticed counts as missed."""


@dataclass
class Swap:
    """One monitor whose model was swapped."""

    before: int = 0
    """Harmless canaries before the swap."""
    canaries: int | None = None
    """Harmless canaries from the swap until drift was found, those of a batch that was running included; None = it was
    not found."""
    early: bool = False
    """Whether drift was found before the swap."""
    requests: int | None = None
    """Requests of traffic that were answered in between."""


@dataclass
class Watching(logging.Handler):
    """Waits for what the monitor says of drift, and notes where it stood then."""

    book: Path
    lines: Path
    found: threading.Event = field(default_factory=threading.Event)
    scored: int = 0
    answered: int = 0

    def __post_init__(self) -> None:
        super().__init__(logging.ERROR)

    def __hash__(self) -> int:
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the thread that generates, before the next canary."""
        if "canaries no longer score" in record.getMessage() and not self.found.is_set():
            self.scored, self.answered = scored(self.book), traffic(self.lines)
            self.found.set()


def scored(book: Path) -> int:
    """Harmless canaries that have a score."""
    if not book.exists():
        return 0
    kept: dict[str, Any] = parse(book.read_bytes())
    return sum(bool(each["scores"]) for each in kept["canaries"])


def traffic(lines: Path) -> int:
    """Observations of traffic in the files of JSON lines so far; older ones lie beside the newest."""
    files = lines.parent.glob(f"{lines.stem}*{lines.suffix}")
    return sum(file.read_bytes().count(b'"kind": "traffic"') for file in files)


def settings(guard: Path, folder: Path) -> dict[str, Any]:
    """The file of a monitor at full speed, with canaries as often as they can be asked."""
    return {
        "version": 1, "name": "swap", "config": "configs/lab-diffusion.yaml", "guard": {"path": str(guard)},
        "mode": "observe", "policy": {"rule": "final", "flagged": "abort", "unmonitored": "report"},
        "requests": {"from": "dataset", "split": "test", "harmful": 0.05}, "batch_size": 4,
        "canaries": {"every_s": 1, "harmless": {"split": "test"}, "state": str(folder / "canaries.json")},
        "drift": {"rate": 0.01, "traffic": True}, "spool": {"path": str(folder / "spool.db")},
        "sinks": [{"name": "jsonl", "options": {"path": str(folder / "verdicts.jsonl")}}],
    }  # fmt: skip


def swap(guard: Path, folder: Path, deployment: Deployment, before: int) -> Swap:
    """Runs one monitor, loads the sibling's weights into its model meanwhile, and waits until it says so."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "monitor.yaml").write_text(write(settings(guard, folder), indent=1))
    deployment.loaded.model.load_state_dict(models.load("diffusion").state_dict())
    wishes, came = Wishes(), Swap()
    watching = Watching(folder / "canaries.json", folder / "verdicts.jsonl")
    logging.getLogger("sri_sdk.monitor").addHandler(watching)

    def meanwhile() -> None:
        try:
            while scored(watching.book) < before and not watching.found.wait(0.2):
                pass
            came.early = watching.found.is_set()
            if came.early:
                return
            came.before, answered = scored(watching.book), traffic(watching.lines)
            deployment.loaded.model.load_state_dict(models.load(SIBLING).state_dict())
            if watching.found.wait(WAIT_S):
                came.canaries, came.requests = watching.scored - came.before, watching.answered - answered
        finally:
            wishes.end.set()

    thread = threading.Thread(target=meanwhile)
    thread.start()
    try:
        operate(read_monitor(folder / "monitor.yaml"), lambda _: None, wishes, deployment=deployment)
    finally:
        wishes.end.set()
        watching.found.set()
        thread.join()
        logging.getLogger("sri_sdk.monitor").removeHandler(watching)
    return came


def page(runs: list[dict[str, Any]]) -> str:
    """The results as a page."""
    quiet = [each for each in runs if not each["early"]]
    found = [each for each in quiet if each["canaries"] is not None]
    counts = sorted(each["canaries"] for each in found)
    share = exact_rate("found", len(found), len(quiet))
    return f"""# A model swapped under load

`sri monitor` answers requests of a dataset as fast as it can, and asks a fresh harmless canary every second, with a stated false-drift rate of 1 %. After {BEFORE[0]} to {BEFORE[1]} canaries another thread loads the weights of `{SIBLING}`
into the live model: same classes, shapes and config. The guard is that of `configs/lab-diffusion.yaml`. Numbers: `swap.json`.

    OMP_NUM_THREADS=1 python -m benchmarks.soak.swap --runs {len(runs)} --keep

| runs | drift found before the swap | found after it | canaries until then: median, most | requests answered meanwhile: median, most |
|---|---|---|---|---|
| {len(runs)} | {len(runs) - len(quiet)} | {len(found)} of {len(quiet)} ({share.low:.0%} to {share.high:.0%}) | {statistics.median(counts):g}, {counts[-1]} | \
{statistics.median(each["requests"] for each in found):g}, {max(each["requests"] for each in found)} |

The log, the pulse, the dashboard and the metric `sri_monitor_drifted` say so from then on. [Drift](monitor_drift.md) has the law of it over 200 runs, dealt from scores.
"""  # noqa: E501


def main() -> None:
    """Runs it, keeps the results, and fails where a swap was not noticed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--folder", type=Path, default=Path("out/soak"), help="the guard stays there")
    options.add_argument("--keep", action="store_true", help=f"write {KEPT[0]} and {KEPT[1]}")
    given = options.parse_args()
    guard = fitted("diffusion", given.folder)
    deployment = Deployment.open(load_config(Path("configs/lab-diffusion.yaml")))
    runs, chance = list[dict[str, Any]](), random.Random(0)
    for number in range(1, given.runs + 1):
        runs.append(asdict(swap(guard, given.folder / f"swap-{os.getpid()}", deployment, chance.randint(*BEFORE))))
        sys.stderr.write(f"{number} of {given.runs}: {runs[-1]}\n")
    print(page(runs))
    if given.keep:
        write_text(KEPT[0], write({"runs": runs}, indent=1) + "\n")
        write_text(KEPT[1], page(runs))
    sys.exit(0 if all(each["canaries"] is not None or each["early"] for each in runs) else 1)


if __name__ == "__main__":
    main()
