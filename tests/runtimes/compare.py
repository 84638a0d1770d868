"""Compares every reader of bundles with Python's, on many signals for guards of both formats. Opt-in: minutes.

    python -m tests.runtimes.compare --count 10000 --seed 0 [--only c,go] [--json FILE] [--folder FOLDER]

Exit code 1 = a reader's verdict differs where rounding cannot explain it, or a reader judged what cannot be read. What
cannot be built here is listed as absent; named in --only, it is an error. `--folder` keeps builds, bundles and signals;
builds that are there are not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sri_sdk.records import Rule, Signals
from sri_sdk.scoring.scorer import Scorer
from tests.runtimes.differences import Differences, Expected
from tests.runtimes.made_up import many_signals, portable_detectors, write_guard
from tests.runtimes.made_up_parts import many_part_signals
from tests.runtimes.part_differences import ExpectedParts
from tests.runtimes.programs import Absent
from tests.runtimes.readers import READERS, Reader
from tests.vectors.parts import PARTS_GUARDS, write_parts

COLUMNS = {
    "verdicts": "rows", "score, of its spread": "in_spreads", "of the tolerance": "in_tolerances",
    "of the room": "in_rooms", "status, in band": "in_band", "outside": "flipped", "reasons": "reasons",
    "first alarm": "steps", "p-value": "p_values", "other": "others", "believed": "believed",
}  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Runs the comparison; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="signals per guard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help=f"readers, of {', '.join(READERS)}")
    parser.add_argument("--json", type=Path, help="also write the numbers, per guard and rule, to this file")
    parser.add_argument("--folder", type=Path, help="where builds, bundles and signals go; default: nowhere for long")
    options = parser.parse_args(words)
    only = [name for name in options.only.split(",") if name]
    if unknown := set(only) - READERS.keys():
        parser.error(f"no reader {', '.join(sorted(unknown))}; allowed: {', '.join(READERS)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        readers, absent = _ready(only or list(READERS), folder)
        found, kinds = _compare(readers, options.count, options.seed, folder)
    total = {name: sum(parts.values(), Differences()) for name, parts in found.items()}
    _print(readers, total, absent, kinds, options.count, options.seed)
    if options.json:
        parts = {name: {part: asdict(one) for part, one in parts.items()} for name, parts in found.items()}
        facts = {"count": options.count, "seed": options.seed, "absent": absent, "rows": kinds}
        options.json.write_text(
            json.dumps({**facts, "versions": {r.name: r.versions for r in readers}, "readers": parts}, indent=1) + "\n"
        )
    return 1 if any(one.wrong for one in total.values()) or (only and absent) else 0


def _ready(names: Sequence[str], folder: Path) -> tuple[list[Reader], dict[str, str]]:
    """Those that can be had, and why the others cannot."""
    readers, absent = [], {}
    for name in names:
        try:
            readers.append(READERS[name](folder))
        except Absent as err:
            absent[name] = str(err)
    return readers, absent


@dataclass(frozen=True)
class Case:
    """One guard, and signals for it."""

    name: str
    scorer: Scorer
    signals: Signals
    expect: Callable[[Scorer, Signals, Rule], Expected | ExpectedParts]


def _cases(count: int, seed: int, folder: Path) -> Iterator[Case]:
    for number, (name, make) in enumerate(portable_detectors().items()):
        bundle, guard = write_guard(name, make, seed + number, folder / f"{name}-bundle")
        scorer = Scorer.open(bundle.path)
        yield Case(name, scorer, many_signals(scorer, guard, count, seed + number), Expected.of)
    for number, (name, parts) in enumerate(PARTS_GUARDS.items()):
        target = folder / f"{name}-bundle"
        shutil.rmtree(target, ignore_errors=True)
        scorer = Scorer.open(write_parts(name, parts, 5000 + 100 * seed + 20 * number, target).path)
        yield Case(name, scorer, many_part_signals(scorer, parts, count, 1000 + seed + number), ExpectedParts.of)


def _compare(
    readers: Sequence[Reader], count: int, seed: int, folder: Path
) -> tuple[dict[str, dict[str, Differences]], dict[str, dict[str, int]]]:
    """Reader -> guard and rule -> differences; guard and rule -> kinds of rows."""
    found: dict[str, dict[str, Differences]] = {reader.name: {} for reader in readers}
    kinds = {}
    for case in _cases(count, seed, folder):
        path = folder / f"{case.name}.jsonl"
        _write_lines(path, case.signals, case.scorer.manifest.signal.domain)
        for rule in case.scorer.rules:
            expected = case.expect(case.scorer, case.signals, rule)
            kinds[f"{case.name} {rule}"] = expected.kinds()
            for reader in readers:
                one = expected.differences(reader.verdicts(case.scorer.bundle.path, path, rule))
                found[reader.name][f"{case.name} {rule}"] = one
                print(f"{case.name} {rule} {reader.name}: {one.wrong or 'nothing'} wrong", file=sys.stderr, flush=True)
    return found, kinds


def _write_lines(path: Path, signals: Signals, domain: Any) -> None:
    assert signals.lengths is not None
    head = {"sri_signals": 1, "fingerprint": signals.fingerprint}
    with path.open("w", encoding="utf-8") as out:
        out.write(json.dumps(head if signals.columns is None else {**head, "columns": signals.columns}) + "\n")
        rows = zip(signals.ids, signals.domain(domain).astype(float).tolist(), signals.lengths.tolist(), strict=True)
        for row, (name, values, length) in enumerate(rows):
            more = {} if signals.groups is None else {"group": signals.groups[row]}
            out.write(json.dumps({"id": name, domain: values, "length": length, **more}) + "\n")


def _print(
    readers: Sequence[Reader], total: dict[str, Differences], absent: dict[str, str],
    kinds: dict[str, dict[str, int]], count: int, seed: int,
) -> None:  # fmt: skip
    rows: Counter[str] = sum(map(Counter, kinds.values()), Counter())
    each = (
        f"{len(portable_detectors())} detectors, both rules, and of {len(PARTS_GUARDS)} guards of format 2, every rule"
    )
    print(f"{count} signals for each of {each}, seed {seed}")
    print(", ".join(f"{number} {kind}" for kind, number in sorted(rows.items())) + "\n")
    print("| reader | ran on | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for reader in readers:
        numbers = (getattr(total[reader.name], name) for name in COLUMNS.values())
        cells = (f"{value:.2g}" if isinstance(value, float) else str(value) for value in numbers)
        print(f"| {reader.name} | {reader.versions} | " + " | ".join(cells) + " |")
    for name, why in absent.items():
        print(f"\nabsent: {name}: {why}")


if __name__ == "__main__":
    sys.exit(main())
