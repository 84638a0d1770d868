"""Proves the promise: 200 redraws of detector, reference and calibration from 24,000 harmless generations. Opt-in.

    python -m tests.promise.prove [--redraws 200] [--out out/promise] [--results tests/promise/results.json]

Half an hour on one core; it continues where it stopped. Exit code 1 = a promise is broken, or a planted fault is not
found. `report.py` writes the tables of docs/guarantees.md from the results.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from sri_sdk.files import sha256
from sri_sdk.strict_json import parse
from tests.promise.cases import AGAIN, CASES, LEAKING, LEAKS, LEAKY, SEED, again, leak, redraw, splits
from tests.promise.judge import failures
from tests.promise.pool import SIZES, SPLITS, UNUSUAL, Pool, collect, kept_in
from tests.promise.report import markdown

RESULTS = Path(__file__).parent / "results.json"


def main(words: Sequence[str] | None = None) -> int:
    """Runs what is missing, judges everything; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redraws", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("out/promise"), help="what an interrupted run continues from")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        pool = collect(config=kept_in(options.out), progress=_progress())
        # Counts of another pool are no part of this run.
        kept = options.out / f"redraws-{sha256(pool.signals.logit.tobytes())[:16]}"
        kept.mkdir(exist_ok=True)
        results = {
            "pool": {"generations": len(pool.signals), "splits": list(SPLITS), "per_split": SIZES, "unusual": UNUSUAL},
            "redraws": options.redraws,
            "seed": SEED,
            "made_with": {name: version(name) for name in ("numpy", "onnxruntime", "scikit-learn", "scipy", "torch")}
            | {"python": platform.python_version()},
            "cases": {case.name: _case(case, pool, options.redraws, kept) for case in CASES},
            "leaks": list(_leaks(pool, options.redraws, kept)),
            "again": list(_again(pool, kept)),
            "splits": list(splits(pool)),
        }
    options.results.write_text(_text(results), encoding="utf-8")
    print(markdown(results))
    problems = failures(results)
    print(*problems, sep="\n")
    return 1 if problems else 0


def _case(case: Any, pool: Pool, redraws: int, out: Path) -> dict[str, Any]:
    """Counts of one guard: kind -> key -> one per redraw."""
    made = list(_kept(out / f"{case.name}.jsonl", redraws, case.name, lambda number: redraw(case, pool, number)))
    return {
        "folds": {group: asdict(sizes) for group, sizes in case.sizes.items()},
        "detectors": dict(case.detectors),
        **{
            kind: {name: [each[kind][name] for each in made] for name in made[0][kind]}
            for kind in ("alarms", "exact", "planted")
        },
    }  # fmt: skip


def _again(pool: Pool, out: Path) -> Iterator[int]:
    for each in _kept(out / "again.jsonl", AGAIN, "again", lambda number: {"alarms": again(pool, number)}):
        yield each["alarms"]


def _leaks(pool: Pool, redraws: int, out: Path) -> Iterator[dict[str, Any]]:
    for detector in LEAKING:
        for share in LEAKS:
            name = f"leak-{detector}-{share:g}"

            def once(number: int, detector: str = detector, share: float = share) -> dict[str, int]:
                alarms, leaked = leak(detector, pool, number, share)
                return {"alarms": alarms, "leaked": leaked}

            made = list(_kept(out / f"{name}.jsonl", redraws, name, once))
            yield {
                "detector": detector, "leaked": made[0]["leaked"], "train": LEAKY.train, "fresh": LEAKY.fresh,
                "calibration": LEAKY.calibration, "alarms": [each["alarms"] for each in made],
            }  # fmt: skip


def _kept(path: Path, count: int, name: str, make: Callable[[int], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What `make` gives for 0, 1, ... count - 1; what an earlier run left is taken as it is."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = {each["redraw"]: each for each in map(parse, lines)}
    start = time.monotonic()
    with path.open("a", encoding="utf-8") as file:
        for number in range(count):
            if number not in kept:
                kept[number] = {"redraw": number, **make(number)}
                file.write(json.dumps(kept[number]) + "\n")
                file.flush()
                if (number + 1) % 10 == 0:
                    seconds = time.monotonic() - start
                    print(f"{name}: {number + 1} of {count}, {seconds:.0f} s", file=sys.stderr, flush=True)
            yield kept[number]


def _progress() -> Callable[[str, int, int], None]:
    def say(stage: str, done: int, count: int) -> None:
        if done % 2_000 == 0:
            print(f"{stage}: {done} of {count}", file=sys.stderr, flush=True)

    return say


def _text(results: dict[str, Any]) -> str:
    """JSON with one line per list of counts."""
    text = json.dumps(results, indent=1)
    inside, out = False, []
    for line in text.splitlines():
        bare = line.strip()
        if inside:
            out[-1] += bare + (" " if bare.endswith(",") else "")
            inside = not bare.startswith("]")
        else:
            out.append(line)
            inside = bare.endswith("[") and '"leaks"' not in bare
    return "\n".join(line.rstrip() for line in out) + "\n"


if __name__ == "__main__":
    sys.exit(main())
