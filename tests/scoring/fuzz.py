"""Breaks bundles at random and loads what is left, in a process that may not grow or hang.

    python -m tests.scoring.fuzz [--count 100000] [--seed 0]     mutations; half of them with hashes that fit again
    python -m tests.scoring.fuzz --flips                         every changed byte of one bundle

Refused with a `BundleError` and accepted are both fine; anything else is a finding: another exception, a crash, a
mutant that takes more than two seconds of processor time or 200 MB. Mutant i of a seed is always the same.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "exporters/onnx/runtimes/vectors"
MEMORY = 3 * 2**30
"""Bytes of address space: an empty process with onnxruntime takes a third of it."""
SECONDS = 2
"""Of processor time, for one mutant."""
HANGS = 120
"""Seconds by the clock: other processes may take nearly all of it."""
MEGABYTES = 200
"""Memory that one mutant may add."""
BATCH = 2000
FLIPPED = "python-only"
"""The smallest bundle: of this one every byte is changed."""

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
VALUES = (
    None, True, -1, 0, 0.5, 2**31, 2**63, 10**30, -1e308, 1e308, "", "x", "B", "NaN", "../x", "x" * 5000, [], {}, [[]],
    [-1, -1], [2**40, 2**40], {"dtype": "float32", "shape": [0], "base64": ""},
    "x" * 2**20, [{}] * 10_000,
)  # fmt: skip


# -- mutations -------------------------------------------------------------------------------------------------


def mutant(bundle: dict[str, bytes], rng: random.Random) -> tuple[str, dict[str, bytes] | bytes]:
    """What was done, and the members or the zip that came of it."""
    from sri_sdk.bundle.stored_zip import pack

    kind = rng.choice(["zip", "member", "members", "hashed", "hashed", "hashed", "hashed", "manifest", "manifest"])
    if kind == "zip":
        return kind, broken(pack(bundle), rng)
    name = rng.choice(sorted(bundle))
    if kind == "member":
        return kind, {**bundle, name: broken(bundle[name], rng)}
    if kind == "members":
        other = rng.choice([*sorted(bundle), "extra.onnx", "../evil", ".hidden"])
        return kind, {**{n: c for n, c in bundle.items() if n != name}, other: bundle[name]}
    value = json.loads(bundle["manifest.json"])
    if kind == "manifest":
        for _ in range(rng.randint(1, 2)):
            change(value, rng)
        return kind, {**bundle, "manifest.json": with_digest(value)}
    graph = rng.choice(sorted(n for n in bundle if n.endswith(".onnx")))
    change_graph = rng.choice([broken, flipped])
    return kind, hashed({**bundle, graph: change_graph(bundle[graph], rng)}, value)


def hashed(members: dict[str, bytes], manifest: dict) -> dict[str, bytes]:
    """Members with a manifest whose hashes fit them, as somebody who means harm would write it."""
    from sri_sdk.files import sha256

    for name, entry in manifest["files"].items():
        entry |= {"sha256": sha256(members[name]), "size": len(members[name])}
    return {**members, "manifest.json": with_digest(manifest)}


def with_digest(manifest: dict, edit: Callable[[str], str] = str) -> bytes:
    """The bytes of a manifest, after `edit` changed its text."""
    from sri_sdk.bundle.manifest import NO_DIGEST
    from sri_sdk.files import sha256

    text = edit(json.dumps({**manifest, "digest": NO_DIGEST}, sort_keys=True, indent=1)) + "\n"
    return text.replace(f'"digest": "{NO_DIGEST}"', f'"digest": "{sha256(text.encode())}"', 1).encode()


def broken(data: bytes, rng: random.Random) -> bytes:
    """One to four changes at random places."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made) + 1)
        size = rng.choice([1, 1, 2, 4, 8, 64, 1000])
        match rng.randrange(29) // 4:
            case 0 if at < len(made):
                made[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(made):
                made[at] = rng.randrange(256)
            case 2:
                del made[at : at + size]
            case 3:
                made[at:at] = rng.randbytes(size)
            case 4:
                made[at:at] = made[at : at + size]
            case 5:
                number = rng.choice(NUMBERS)
                made[at : at + 1] = varint(number) if rng.random() < 0.7 else number.to_bytes(8, "little")
            case 6:
                del made[at:]
            case 7:
                made[at:at] = made[at : at + size] * rng.choice([100, 2000])
        if not made:
            break
    return bytes(made)


def flipped(data: bytes, rng: random.Random) -> bytes:
    """One bit: what is left is often still a graph, with another number in it."""
    made = bytearray(data)
    made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


def varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def change(value: object, rng: random.Random) -> None:
    """Replaces, removes or adds something at a random place of a JSON value."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(value[key], dict | list) and rng.random() < 0.8:
            value = value[key]
            continue
        match rng.randrange(4):
            case 0:
                del value[key]
            case 1 if isinstance(value, dict):
                value[rng.choice(["extra", "signal", "shape", "full"])] = deepcopy(value[key])
            case _:
                value[key] = deepcopy(rng.choice(VALUES))
        return


# -- the process that loads them -------------------------------------------------------------------------------


def work(seed: int, numbers: range, progress: Path) -> Counter[str]:
    """Loads mutants, and counts how each of them ended."""
    import resource
    import signal

    from sri_sdk.bundle.stored_zip import pack

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    bundles = sources()
    ends: Counter[str] = Counter()
    most_seconds = most_megabytes = 0.0
    for bundle in bundles:
        end_of(bundle)
    with progress.open("r+b", buffering=0) as stream:
        for number in numbers:
            stream.seek(0)
            stream.write(b"%12d" % number)
            signal.setitimer(signal.ITIMER_REAL, HANGS)  # Its default action ends the process, as that of the next.
            signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
            rng = random.Random(f"{seed}-{number}")
            bundle = rng.choice(bundles)
            kind, made = mutant(bundle, rng)
            same = made in (bundle, pack(bundle))
            before, start = memory_from_here(), time.process_time()
            end = end_of(made)
            seconds, megabytes = time.process_time() - start, megabytes_of("VmHWM") - before
            assert seconds < SECONDS and megabytes < MEGABYTES, f"{kind}: {seconds:.1f} s, {megabytes:.0f} MB, {end}"
            ends["unchanged" if same else f"{kind}: {end}"] += 1
            most_seconds, most_megabytes = max(seconds, most_seconds), max(megabytes, most_megabytes)
        stream.write(f" {most_seconds:.2f} s, {most_megabytes:.0f} MB".encode())
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.setitimer(signal.ITIMER_PROF, 0)
    return ends


def memory_from_here() -> float:
    """Makes the peak of memory begin again; megabytes taken now. Where that is not allowed, the old peak goes on."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return megabytes_of("VmHWM")
    return megabytes_of("VmRSS")


def megabytes_of(field: str) -> float:
    """VmRSS is the memory taken now, VmHWM its peak; 0 where the system does not say."""
    status = Path("/proc/self/status")
    found = re.search(rf"{field}:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1000 if found else 0.0


def end_of(made: dict[str, bytes] | bytes) -> str:
    """How loading and scoring ended."""
    import numpy as np

    from sri_sdk.bundle.bundle import Bundle
    from sri_sdk.bundle.stored_zip import unpack
    from sri_sdk.errors import BundleError
    from sri_sdk.records import Signals
    from sri_sdk.scoring.scorer import Scorer, load_graphs
    from sri_sdk.scoring.self_test import self_test

    path = Path("mutant")
    try:
        bundle = Bundle.of(path, unpack(made, "mutant") if isinstance(made, bytes) else made)
    except BundleError:
        return "refused by the reader"
    try:
        # No trial: this process has limits already.
        runs = load_graphs(replace(bundle, trusted=True), tuple(bundle.manifest.graphs))
    except BundleError as err:
        return "refused by onnxruntime" if "onnxruntime cannot load" in str(err) else "refused by the inspector"
    try:
        self_test(bundle, runs)
    except BundleError:
        return "refused by the self-test"
    values = np.full((3, bundle.manifest.signal.cells, len(bundle.manifest.ranges[0])), 0.9, np.float32)
    values[1, 0], values[2] = np.nan, 0
    signals, scorer = Signals(("a", "b", "c"), values, values, groups=("de", None, "x")), Scorer(bundle, runs)
    for rule in scorer.rules:
        verdicts = scorer.score(signals, rule=rule, unverified=True)
        assert verdicts[1].status != "clear", "NaN was called clear"
    return "accepted"


def sources() -> list[dict[str, bytes]]:
    """The members of the bundles that are broken. Without signatures: nobody checks them here."""
    from sri_sdk.bundle.bundle import Bundle

    found = [Bundle.read(path).members for path in sorted(SOURCES.glob("*/bundle"))]
    return [{name: content for name, content in members.items() if name != "manifest.sig"} for members in found]


# -- the process that watches ----------------------------------------------------------------------------------


def run(count: int, seed: int, first: int = 0) -> tuple[Counter[str], list[str]]:
    """How `count` mutants ended, and the findings."""
    ends: Counter[str] = Counter()
    findings = []
    todo = range(first, first + count)
    while todo:
        with tempfile.NamedTemporaryFile(prefix="fuzz-") as progress:
            Path(progress.name).write_bytes(b"%12d" % todo.start)
            batch = todo[:BATCH]
            command = [
                sys.executable, "-m", "tests.scoring.fuzz", "--seed", str(seed), "--first", str(batch.start),
                "--count", str(len(batch)), "--worker", progress.name,
            ]  # fmt: skip
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                ends.update(json.loads(done.stdout))
                print(f"{batch.stop}:{Path(progress.name).read_text()[12:]}", file=sys.stderr)
                todo = todo[len(batch) :]
                continue
            number = int(Path(progress.name).read_bytes()[:12])
            last = (done.stderr.strip().splitlines() or [""])[-1]
            findings.append(f"mutant {number} of seed {seed}: exit {done.returncode} {last}")
            todo = range(number + 1, todo.stop)
    return ends, findings


def flips(step: int = 1) -> Iterator[tuple[str, int, int]]:
    """Changed bytes of one bundle that were *not* refused: file, offset, what was flipped. Every `step`th is tried."""
    from sri_sdk.bundle.bundle import Bundle
    from sri_sdk.errors import BundleError

    members = Bundle.read(SOURCES / FLIPPED / "bundle").members
    members.pop("manifest.sig")
    count = 0
    for name, whole in members.items():
        for at in range(len(whole)):
            for flip in (1, 2, 4, 8, 16, 32, 64, 128, 255):
                count += 1
                if count % step:
                    continue
                changed = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
                try:
                    Bundle.of(Path("flipped"), {**members, name: changed})
                except BundleError:
                    continue
                yield name, at, flip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--worker", type=Path)
    parser.add_argument("--flips", action="store_true")
    options = parser.parse_args()
    if options.worker:
        numbers = range(options.first, options.first + options.count)
        print(json.dumps(work(options.seed, numbers, options.worker)))
        return
    if options.flips:
        accepted = list(flips())
        print(f"changed bytes that were not refused: {accepted or 'none'}")
        sys.exit(bool(accepted))
    ends, findings = run(options.count, options.seed, options.first)
    for end, number in sorted(ends.items()):
        print(f"{number:8d}  {end}")
    print(*findings or ["no findings"], sep="\n")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
