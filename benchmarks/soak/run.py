"""The soak: monitors of both embedded models at full speed, side by side, and a page of what came of it.

OMP_NUM_THREADS=1 python -m benchmarks.soak.run --minutes 30
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.soak.books import agree, in_lines, in_store
from benchmarks.soak.monitors import MODELS, Running, fitted, start
from benchmarks.soak.sizes import Size, growth, look
from sri_sdk.files import write_text
from sri_sdk.strict_json import write

EVERY_S = 5.0
KEPT = Path("benchmarks/soak.json"), Path("benchmarks/soak.md")


def soak(models: list[str], minutes: float, folder: Path) -> dict[str, Any]:
    """Runs them, and says what came of it."""
    guards = {model: fitted(model, folder) for model in models}
    runs = folder / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    running = [start(model, guards[model], runs / model) for model in models]
    sizes: dict[str, list[Size]] = {model: [] for model in models}
    try:
        for each in running:
            _wait_started(each)
        began = time.monotonic()
        while (now := time.monotonic() - began) < 60 * minutes:
            for each in running:
                sizes[each.model].append(look(each.process.pid, now))
            time.sleep(EVERY_S)
    finally:
        for each in running:
            each.process.send_signal(signal.SIGTERM)
        for each in running:
            each.process.wait(300)
    return {each.model: _found(each, sizes[each.model], minutes) for each in running}


def _wait_started(running: Running) -> None:
    while "audit:" not in (said := (running.folder / "log.txt").read_text()):
        if running.process.poll() is not None:
            raise SystemExit(f"{running.model}: the monitor has ended:\n{said}")
        time.sleep(0.5)


def _found(running: Running, sizes: list[Size], minutes: float) -> dict[str, Any]:
    counts = running.says()
    statuses, shadows, twice = in_store(running.store)
    lines = in_lines(running.lines)
    grew = growth(sizes)
    folder = running.folder
    return {
        "minutes": minutes, "counts": counts, "stored": dict(statuses), "shadows": shadows, "twice": twice,
        "lines": dict(lines), "growth": asdict(grew), "flat": grew.flat, "even": agree(counts, statuses, lines),
        "exit": running.process.returncode,
        "bytes": {each.name: each.stat().st_size for each in sorted(folder.iterdir()) if each.is_file()},
        "sizes": [_as_row(each) for each in sizes[:: len(sizes) // 60 + 1]],
    }  # fmt: skip


def _as_row(size: Size) -> list[int]:
    return [round(size.seconds), size.resident, size.handles, size.threads]


def page(found: dict[str, Any]) -> str:
    """The results as a page."""
    rows = []
    for model, each in found["models"].items():
        counts, grew = each["counts"], each["growth"]
        statuses = ", ".join(f"{counts[name]:,} {name}" for name in ("clear", "flagged", "unmonitored", "not_sampled"))
        rows.append(
            f"| {model} | {each['minutes']:g} | {counts['generated']:,} | {statuses} | {counts['canaries']:,} | "
            f"{'yes' if each['even'] and not each['twice'] else 'NO'} | "
            f"{grew['resident_before'] / 2**20:.0f} → {grew['resident_after'] / 2**20:.0f} | "
            f"{grew['handles_before']} → {grew['handles_after']} | {'yes' if each['flat'] else 'NO'} |"
        )
    return f"""# A soak of the monitor

`sri monitor` on the embedded models at full speed, one process each, side by side: requests of a dataset as fast as they are generated, 90 % of them sampled, canaries every 20 s, drift of canaries and
traffic, a shadow guard, texts and trajectories kept, sinks `sql` (SQLite) and `jsonl`. {found["machine"]}. Numbers: `soak.json`.

    make soak            # MINUTES=30

| model | minutes | generated | of these | canaries | accounted for | memory, MiB | handles | flat |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

*Accounted for*: clear + flagged + unmonitored + not_sampled = generated, as the monitor counts, as the store has them and as the JSON lines have them; no id is there twice; no sink gave up or still owes any. *Memory* (resident)
and *handles*: medians of the quarter after the warm-up (the first quarter of the time) and of the last one. *Flat*: memory grew by at most 5 %, and handles by at most 2.
"""  # noqa: E501


def main() -> None:
    """Runs it, keeps the results, and fails where something is uneven or grows."""
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=30.0)
    options.add_argument("--model", action="append", choices=MODELS, help="default: all")
    options.add_argument(
        "--folder", type=Path, default=Path("out/soak"), help="guards stay there; the rest is made anew"
    )
    options.add_argument("--keep", action="store_true", help=f"write {KEPT[0]} and {KEPT[1]}")
    given = options.parse_args()
    models = soak(given.model or list(MODELS), given.minutes, given.folder)
    cores = os.cpu_count()
    found = {"machine": f"{cores} cores, Python {platform.python_version()}, {platform.system()}", "models": models}
    print(page(found))
    if given.keep:
        write_text(KEPT[0], write(found, indent=1) + "\n")
        write_text(KEPT[1], page(found))
    good = all(each["even"] and each["flat"] and not each["twice"] and not each["exit"] for each in models.values())
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
