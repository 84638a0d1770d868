"""Beside the reference implementation of the signal: cost of anchors, and how far states, anchors and signals differ.

    python -m benchmarks.real.reference --code FOLDER --model out/real/model [--rounds 5] [--each 8]
    python -m benchmarks.real.reference --kept      # only compare what the last run left in out/real/reference

FOLDER is a copy of the reference at the commit in `reference_code.py`; it is run, and nothing of it is in this
repository. In each round the three ways take turns, in an order drawn anew, on the same prompts, each in a process of
its own. CPU seconds are compared, so a busy machine disturbs little. Numbers go into reference.json, and the tables of
reference.md are written anew from them.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real import reference_code, reference_compare, reference_tables
from sri_sdk import strict_json
from sri_sdk.config.folds import FEWEST_COUNTED
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.files import write_text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NUMBERS, PAGE = HERE / "reference.json", HERE / "reference.md"


def race(code: Path, model: Path, work: Path, *, rounds: int, each: int) -> None:
    """Runs every way once per round and leaves one file of each in `work`."""
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    load = [_load()]
    random = np.random.default_rng(0)
    for number in range(rounds):
        for way in map(str, random.permutation(list(reference_compare.WAYS))):
            into = work / f"{number}-{way}.npz"
            _side(way, code=code, model=model, number=number, each=each, into=into)
            with np.load(into) as made:
                seconds, peak = made["cost"]
            print(f"round {number + 1} of {rounds}, {way}: {seconds:.1f} CPU s, {peak / 2**20:.0f} MiB", flush=True)
    facts = _circumstances(model) | {"rounds": rounds, "each": each, "load": [*load, _load()]}
    write_text(work / "facts.json", strict_json.write(facts, indent=1))


def _side(way: str, *, code: Path, model: Path, number: int, each: int, into: Path) -> None:
    """One process.

    Raises:
        SriError: it failed; its last words are in the message.
    """
    command = [
        sys.executable, "-m", "benchmarks.real.reference_side", way, "--code", str(code), "--model", str(model),
        "--round", str(number), "--each", str(each), "--into", str(into),
    ]  # fmt: skip
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    around = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=around, capture_output=True, text=True)
    if done.returncode:
        raise SriError(f"round {number}, {way}: the process ended with {done.returncode}.\n{done.stderr[-2000:]}")


def _circumstances(model: Path) -> dict[str, Any]:
    config = strict_json.parse((model / "config.json").read_bytes())
    return {
        "reference": {"repository": reference_code.REPOSITORY, "commit": reference_code.COMMIT},
        "model": {key: config[key] for key in ("architectures", "num_hidden_layers", "hidden_size")},
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")}
        | {"python": platform.python_version()},
        "cores": os.cpu_count(),
    }


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def compare(work: Path) -> dict[str, Any]:
    """The numbers of the run in `work`.

    Raises:
        ConfigError: there is none, or it did not end.
    """
    if not (work / "facts.json").is_file():
        raise ConfigError(f"{work}: no whole run there. Run without --kept: --code FOLDER --model FOLDER")
    facts = strict_json.parse((work / "facts.json").read_bytes())
    rounds = []
    for number in range(facts["rounds"]):
        made = {}
        for way in reference_compare.WAYS:
            with np.load(work / f"{number}-{way}.npz") as stored:
                made[way] = dict(stored)
        rounds.append(made)
    found: dict[str, Any] = {**facts, **reference_compare.numbers(rounds)}
    return found


def write(found: dict[str, Any]) -> None:
    """Numbers and tables."""
    write_text(NUMBERS, strict_json.write(found, indent=1) + "\n")
    page = PAGE.read_text(encoding="utf-8")
    write_text(PAGE, reference_tables.with_tables(page, found))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code", type=Path, help="the reference implementation, see above")
    parser.add_argument("--model", type=Path, default=Path("out/real/model"), help="made by `make real-model`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--each", type=int, default=8, help="prompts of a class in a round, up to 24")
    parser.add_argument("--work", type=Path, default=Path("out/real/reference"), help="what a run leaves")
    parser.add_argument("--kept", action="store_true", help="only compare what the last run left")
    asked = parser.parse_args(arguments)
    try:
        if not asked.kept:
            check(asked.code, asked.model, asked.rounds, asked.each)
            code, model, work = (path.resolve() for path in (asked.code, asked.model, asked.work))
            race(code, model, work, rounds=asked.rounds, each=asked.each)
        write(compare(asked.work))
    except SriError as err:
        sys.exit(f"Error: {err}")
    print(f"{NUMBERS} and the tables of {PAGE.name} are written")


def check(code: Path | None, model: Path, rounds: int, each: int) -> None:
    """Refuses what cannot be run, before anything is.

    Raises:
        ConfigError: another folder of code, no model, or sizes that make no anchors.
    """
    if code is None:
        raise ConfigError(f"--code is missing: a folder with {reference_code.REPOSITORY}, see --help")
    reference_code.check(code)
    if not (model / "config.json").is_file():
        raise ConfigError(f"--model {model}: no model there (no config.json). Make it: make real-model")
    if rounds < 1 or not FEWEST_COUNTED <= each <= 24:
        raise ConfigError(
            f"--rounds {rounds} --each {each}: at least 1 round, and {FEWEST_COUNTED} to 24 prompts of a class"
        )
    if not Path("/proc/self/clear_refs").exists():
        raise ConfigError("peak memory is read from Linux's /proc/self/clear_refs, and there is none here; use Linux")


if __name__ == "__main__":
    main()
