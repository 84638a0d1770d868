"""One side, one process: anchors from some prompts, with what they cost, and every state, token and signal.

    python -m benchmarks.real.reference_side WAY --model FOLDER --code FOLDER --round 0 --each 4 --into side.npz

WAY is `reference`, `alone` (ours, one prompt at a time) or `batch` (ours, eight at a time). Cost: CPU seconds of the
process, and how far its resident memory rose above what it was with the model loaded and warm. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.real import reference_prompts
from sri_sdk.files import save_arrays
from sri_sdk.records import Prompt

SYSTEM_PROMPT = "You are a helpful assistant"
"""The paper's, which the reference writes before every prompt."""
STEPS = 32
BATCHES = {"alone": 1, "batch": 8}
PROCESS = Path("/proc/self")

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Made:
    """One prompt's generation."""

    tokens: Sequence[int]
    """Up to 32, the end token included."""
    phi: Floats
    """[T, D] float32 pooled states."""
    refused: bool


class Side(Protocol):
    """What both implementations are asked for."""

    kept: dict[str, Made]
    """Prompt id -> its generation, once it was made."""

    def warm(self, prompt: Prompt) -> None:
        """Runs everything once, for two steps."""

    def anchors(self, prompts: Sequence[Prompt]) -> tuple[Floats, Floats]:
        """Both means, [T, D] float32: answered harmless, refused harmful."""

    def signals(self, prompts: Sequence[Prompt]) -> Floats:
        """[N, T] sigma of prompts against the anchors that were collected last."""

    def signals_of(self, states: Sequence[Floats], harmless: Sequence[Prompt], harmful: Sequence[Prompt]) -> Floats:
        """[N, T] sigma of states [T, D] against anchors of these generations, without running the model."""

    def encoded(self, prompt: Prompt) -> Sequence[int]:
        """The prompt's tokens."""


def measured(work: Callable[[], Any]) -> tuple[Any, float, int]:
    """What `work` returns, its CPU seconds, and the bytes by which resident memory rose meanwhile."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before must not serve this run unseen
    (PROCESS / "clear_refs").write_text("5")
    before, start = _status("VmRSS"), time.process_time()
    result = work()
    return result, time.process_time() - start, _status("VmHWM") - before


def _status(field: str) -> int:
    line = next(line for line in (PROCESS / "status").read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def run(side: Side, prompts: Sequence[Prompt], between: Sequence[Prompt]) -> dict[str, NDArray[Any]]:
    """Everything about these prompts, as arrays; rows are in the order of the prompts, those in between last."""
    side.warm(prompts[0])
    anchors, cpu, peak = measured(lambda: side.anchors(prompts))
    every = [*prompts, *between]
    sigma = side.signals(every)
    kept = [side.kept[prompt.id] for prompt in every]
    harmless = [p for p in prompts if p.label == "harmless" and not side.kept[p.id].refused]
    harmful = [p for p in prompts if p.label == "harmful" and side.kept[p.id].refused]
    alone = [
        side.signals_of([side.kept[one.id].phi, side.kept[other.id].phi], [one], [other])
        for one, other in zip(harmless, harmful, strict=False)
    ]
    return {
        "cost": np.array([cpu, peak]),
        "encoded": _padded([side.encoded(prompt) for prompt in every]),
        "tokens": _padded([made.tokens for made in kept]),
        "phi": np.stack([made.phi for made in kept]),
        "refused": np.array([side.kept[prompt.id].refused for prompt in prompts]),
        "anchors": np.stack(anchors),
        "sigma": sigma,
        "sigma_of_anchors": side.signals_of(anchors, harmless, harmful),
        "sigma_alone": np.concatenate(alone),
    }


def _padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """[N, L], with -1 behind shorter rows."""
    width = max(map(len, rows))
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], dtype=np.int64)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=["reference", *BATCHES])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--round", type=int, required=True)
    parser.add_argument("--each", type=int, required=True, help="prompts of a class")
    parser.add_argument("--into", type=Path, required=True)
    asked = parser.parse_args()
    model, code, into = asked.model.resolve(), asked.code.resolve(), asked.into.resolve()

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the reference writes into the current folder
        side: Side
        if asked.way == "reference":
            from benchmarks.real.reference_theirs import Theirs

            side = Theirs(code, model)
        else:
            from benchmarks.real.reference_ours import Ours

            side = Ours(model, BATCHES[asked.way])
        save_arrays(into, run(side, *reference_prompts.of_round(asked.round, asked.each)))
        os.chdir(into.parent)


if __name__ == "__main__":
    main()
