"""The whole of `make real`: model, prompts, fit, evaluation, speed, sets, tables. What is done is not done again.

    python -m benchmarks.real.run [--quick] [--workers 2]

Every line of every stage stands in out/real/run.log too, and the minutes of each stage in out/real/minutes.json. No
line holds a prompt or a response.

Each process has one thread: two of them make more of two cores than one with two threads, since a generation is many
small products between which threads wait for each other. The fit and the evaluation run side by side, and when the fit
is done a second process joins the evaluation. They share its batches, so the numbers are those of one process.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from sri_sdk.config.load import load_evaluation
from sri_sdk.files import write_text
from sri_sdk.strict_json import parse, write

FIT, EVALUATION = Path("configs/smollm2-135m.yaml"), Path("configs/eval-smollm2-135m.yaml")
SHARED = Path("out/real")
"""Folder of model and prompts, which both sizes use."""
THREADS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
STAMP = re.compile(r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}  ")
"""What `sri` puts before its lines; each line here has the time already."""
QUICK: Mapping[str, int] = {
    "anchors harmful": 200, "anchors harmless": 40, "train": 40, "reference": 40, "calibration": 210, "harmless": 60,
    "harmful": 24, "map": 60, "in a wrapper": 2, "around": 10, "attack": 3, "set": 8,
}  # fmt: skip
"""Group -> most prompts of it in the quick profile. By the arithmetic of the config that is 15 minutes of one core, of
which 5, for maps and anchors, are one process's. Anchors stay many, since few harmful prompts are refused, and
calibration as large as two parts and alpha 1 % need."""


def smaller(data: Mapping[str, Any], most: Mapping[str, int], out: Path) -> dict[str, Any]:
    """The config of an evaluation, as JSON types, with fewer prompts: a look at every table within minutes."""
    made = parse(write(dict(data)))
    folds = made["folds"]
    for label in ("harmless", "harmful"):
        folds["anchors"][label] = min(folds["anchors"][label], most[f"anchors {label}"])
        folds["test"][label] = min(folds["test"][label], most[label])
    for fold in ("train", "reference", "calibration"):
        folds[fold]["harmless"] = min(folds[fold]["harmless"], most[fold])
    for each in made["maps"].values():
        for label in ("harmless", "harmful"):
            each[label] = min(each[label], most["map"])
        for kind, limit in (("attacks", "in a wrapper"), ("unusual", "map"), ("around", "around")):
            each[kind] = {name: min(count, most[limit]) for name, count in each[kind].items()}
    for entry in made["attacks"].values():
        entry["count"] = min(entry["count"], most["attack"])
    made["twins"] = {name: min(count, most["attack"]) for name, count in made["twins"].items()}
    for entry in made["harmless_sets"].values():
        entry["count"] = min(entry["count"], most["set"])
    return {**made, "title": f"{made['title']}, a quick look", "out": str(out)}


@dataclass
class Minutes:
    """Wall-clock and processor minutes of each stage, over all runs that it took."""

    file: Path
    found: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.file.is_file():
            self.found = parse(self.file.read_bytes())

    def add(self, stage: str, wall: float, processor: float) -> None:
        """Adds seconds to a stage."""
        kept = self.found.setdefault(stage, {"wall": 0.0, "processor": 0.0})
        kept["wall"] = round(kept["wall"] + wall / 60, 2)
        kept["processor"] = round(kept["processor"] + processor / 60, 2)
        write_text(self.file, write(self.found, indent=1) + "\n")


class Log:
    """Says each line here and in a file, with the time and the stage."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file, self._turn = file, threading.Lock()

    def say(self, stage: str, line: str) -> None:
        """One line."""
        text = f"{datetime.now():%H:%M:%S} {stage:<12} {line}"
        with self._turn, self._file.open("a", encoding="utf-8") as stream:
            print(text, flush=True)
            stream.write(text + "\n")


class Child:
    """One process of a stage, whose lines go to the log."""

    def __init__(self, stage: str, command: Sequence[str], log: Log) -> None:
        self.stage, self._log, self._start = stage, log, time.monotonic()
        log.say(stage, "begins")
        self._process = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **THREADS}, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self.code: int | None = None
        self.processor = 0.0

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._log.say(self.stage, STAMP.sub("", line.rstrip()))

    def poll(self) -> bool:
        """Whether it has ended; then its exit code and seconds are known."""
        if self.code is None:
            # Not Popen.poll(): only wait4 says what this one process used.
            pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self.code = self._process.returncode = os.waitstatus_to_exitcode(status)
                self.processor = used.ru_utime + used.ru_stime
                self._reader.join(timeout=10)
                self._log.say(self.stage, f"ends after {self.wall / 60:.1f} min, {self.processor / 60:.1f} of one core")
        return self.code is not None

    @property
    def wall(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._start

    def stop(self) -> None:
        """Ends it; what it finished is kept."""
        if not self.poll():
            # Not an interrupt, which processes in the background of a shell ignore. Its files stay whole or absent.
            self._process.terminate()
            while not self.poll():
                time.sleep(0.1)


class Failed(Exception):
    """A stage ended with an error, which its last lines say."""


def together(first: Sequence[Child], log: Log, minutes: Minutes, then: Callable[[Child], Child | None]) -> None:
    """Waits for processes that run side by side.

    Args:
        first: that run already.
        log: of all.
        minutes: where their seconds are added.
        then: called as each one ends; what it starts is waited for as well.

    Raises:
        Failed: one of them did; the others were stopped.
    """
    running, walls = list(first), dict[str, float]()
    try:
        while running:
            time.sleep(0.2)
            for child in [each for each in running if each.poll()]:
                running.remove(child)
                # Two processes of one stage take the time of the longer one.
                more = max(0.0, child.wall - walls.get(child.stage, 0.0))
                walls[child.stage] = walls.get(child.stage, 0.0) + more
                minutes.add(child.stage, more, child.processor)
                if child.code:
                    raise Failed(f"{child.stage} ended with exit code {child.code}; its last lines say why")
                if (more_work := then(child)) is not None:
                    running.append(more_work)
    finally:
        for child in running:
            child.stop()
            minutes.add(child.stage, child.wall, child.processor)


def run(*, quick: bool, workers: int) -> None:
    """All stages.

    Raises:
        Failed: a stage did.
    """
    out = Path("out/real-quick") if quick else SHARED
    log, minutes = Log(out / "run.log"), Minutes(out / "minutes.json")

    def alone(stage: str, *command: str) -> None:
        together([Child(stage, command, log)], log, minutes, lambda _: None)

    config = EVALUATION
    alone("model", "-m", "benchmarks.real.model", str(SHARED / "model"))
    alone("prompts", "-m", "benchmarks.real.prompts", str(SHARED / "prompts"))
    if quick:
        config = out / "eval.yaml"
        data = load_evaluation(EVALUATION).model_dump(mode="json")
        # JSON is YAML, too.
        write_text(config, write(smaller(data, QUICK, out / "eval"), indent=1) + "\n")

    def evaluation() -> Child:
        return Child("evaluation", ["-m", "sri_sdk.cli", "eval", str(config)], log)

    def fit() -> Child:
        return Child("fit", ["-m", "sri_sdk.cli", "fit", str(FIT)], log)

    if workers == 1:
        for start in [evaluation] if quick else [fit, evaluation]:
            together([start()], log, minutes, lambda _: None)
    else:
        first = (
            [evaluation() for _ in range(workers)] if quick else [fit(), *(evaluation() for _ in range(workers - 1))]
        )
        together(first, log, minutes, lambda ended: evaluation() if ended.stage == "fit" else None)
    results = str(read_out(config) / "results.json")
    if quick:
        alone("tables", "-m", "benchmarks.real.tables", results, "--minutes", str(minutes.file), "--to", str(out))
        return
    if not (out / "speed.json").is_file():
        alone("speed", "-m", "benchmarks.real.speed", "--batch", "1", "8", "--json", str(out / "speed.json"))
    alone("by-set", "-m", "benchmarks.real.by_set", str(out / "by-set.json"))
    kept = ("--minutes", str(minutes.file), "--speed", str(out / "speed.json"), "--by-set", str(out / "by-set.json"))
    alone("tables", "-m", "benchmarks.real.tables", results, *kept)


def read_out(config: Path) -> Path:
    """Where an evaluation writes."""
    return Path(load_evaluation(config).out)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.real.run", description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="fewer prompts and no fit; into out/real-quick")
    options.add_argument(
        "--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes of one thread each"
    )
    given = options.parse_args(arguments)
    try:
        run(quick=given.quick, workers=given.workers)
    except Failed as err:
        print(f"error: {err}. What was finished is kept: the same command continues.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept, and the same command continues.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
