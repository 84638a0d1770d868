"""What the checks of a detector work with: planted signals, a fitted detector, its graphs, words for what differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sri_sdk import registry
from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.calibrate.conformal import PARITY, ULPS
from sri_sdk.detector import Detector
from sri_sdk.errors import ConformanceError, MissingExtra, PluginError, ScoringError
from sri_sdk.files import save_arrays
from sri_sdk.graph.builder import Graph
from sri_sdk.scoring.runtime import RunGraph, load
from sri_sdk.testing.planted import CELLS, DIP, LAYERS, planted_signals

TRAIN, TEST = 128, 48
"""Planted generations a detector learns from, and harmless and attacking ones each that it scores."""
PATIENCE_S = 120
"""Seconds a fresh process may take: importing a large library on a busy machine is slow, and not wrong."""

_CHILD = """
import importlib, sys
from sri_sdk.strict_json import parse
module, path, folder = sys.argv[1:]
found = importlib.import_module(module)
for part in path.split("."):
    found = getattr(found, part)
import numpy as np
with open(folder + "/config.json", "rb") as stream:
    detector = found(found.Config.model_validate(parse(stream.read())))
with np.load(folder + "/state.npz", allow_pickle=False) as state:
    detector.restore(dict(state))
np.save(folder + "/score.npy", detector.score(np.load(folder + "/signals.npy")), allow_pickle=False)
"""

Floats = NDArray[np.float32]


class DetectorCase:
    """One detector under check. Signals are made afresh for every use, since a detector may spoil them."""

    def __init__(self, make: Callable[[], Detector]) -> None:
        """`make` gives a fresh detector that is not fitted."""
        self.make = make

    # -- material --------------------------------------------------------------------------------------------

    @cached_property
    def name(self) -> str:
        """The class, as messages call it."""
        return type(self.make()).__name__

    @cached_property
    def fitted(self) -> Detector:
        """Fitted once, for every check that only reads it."""
        return self.fit(self.make())

    @cached_property
    def labelled(self) -> bool:
        """Whether fit() needs attacks and labels too: tried without first."""
        try:
            self.make().fit(self.values(TRAIN, 1))
        except Exception as plain:
            try:
                self.make().fit(*self.training(labelled=True))
            except Exception as err:
                raise ConformanceError(
                    f"{self.name}.fit(): refuses {TRAIN} harmless signals ({plain}) and {2 * TRAIN} labelled ones "
                    f"({type(err).__name__}: {err}). It must take one of them."
                ) from err
            return True
        return False

    @cached_property
    def signal(self) -> RunGraph:
        """The graph of finished generations, in onnxruntime."""
        return self.run(lambda: signal_graph(self.fitted, CELLS, LAYERS))

    @cached_property
    def room(self) -> float:
        """How far two runtimes, or two batches, may differ: a share of the spread of harmless scores."""
        scores = self.fitted.score(self.values(TRAIN, 4)).astype(np.float64)
        return PARITY * float(np.quantile(scores, 0.99) - np.median(scores))

    def values(self, count: int, seed: int, dip: float = 0.0) -> Floats:
        """[count, T, C] in the detector's domain."""
        return planted_signals(count, seed, dip=dip).domain(self.make().domain)

    def both(self) -> Floats:
        """[2 * TEST, T, C]: harmless, then attacks."""
        return np.concatenate([self.values(TEST, 2), self.values(TEST, 3, DIP)])

    def training(self, *, labelled: bool, seed: int = 1) -> tuple[Floats, NDArray[np.int64] | None]:
        """What fit() takes: [N, T, C] signals in the detector's domain; a labelled detector gets as many attacks.

        The labels are [N] int64, 0 = harmless, 1 = attack; None = unlabelled.
        """
        harmless = self.values(TRAIN, seed)
        if not labelled:
            return harmless, None
        return np.concatenate([harmless, self.values(TRAIN, seed + 100, DIP)]), np.repeat(np.array([0, 1]), TRAIN)

    def fit(self, detector: Detector, seed: int = 1) -> Detector:
        """The detector, fitted on planted signals."""
        detector.fit(*self.training(labelled=self.labelled, seed=seed))
        return detector

    def run(self, draw: Callable[[], Graph]) -> RunGraph:
        """A drawing, compiled by the exporter `onnx` and ready to run."""
        try:
            content = registry.build("exporters", "onnx", {}).compile(draw())
            return load(content, f"{self.name}.export()", tier=self.fitted.tier)
        except (MissingExtra, PluginError):
            raise  # Says what to install: nothing is wrong with the detector.
        except Exception as err:
            self.fail(f"export(): drawing, compiling or loading it failed with {type(err).__name__}: {err}", err)

    def ask(self, run: RunGraph, values: Floats, length: int | None = None) -> Floats:
        """[N, T, C] -> [N] scores of a graph, in one batch; with a length, of the graph of running generations."""
        inputs: dict[str, Any] = {"signals": values}
        if length is not None:
            inputs["length"] = np.full(len(values), length, dtype=np.int64)
        try:
            score, valid = run(["score", "valid"], inputs)
        except Exception as err:  # onnxruntime raises a dozen unrelated types.
            self.fail(f"export(): the graph fails on {list(values.shape)}: {str(err).splitlines()[0][:160]}", err)
        if np.shape(score) != (len(values),) or not valid.all():
            self.fail(
                f"export(): {len(values)} signals give scores {list(score.shape)}, {int(valid.sum())} of them valid"
            )
        scores: Floats = score
        return scores

    def one_by_one(self, run: RunGraph, values: Floats, length: int | None = None) -> Floats:
        """[N, T, C] -> [N] scores as `ask` gives them, one row per call: what production does."""
        return np.concatenate([self.ask(run, values[i : i + 1], length) for i in range(len(values))])

    # -- a fresh process -------------------------------------------------------------------------------------

    @cached_property
    def unreachable(self) -> str | None:
        """Why a fresh process cannot import the class; None = it can."""
        found = type(self.make())
        if found.__module__ == "__main__" or "<locals>" in found.__qualname__:
            return f"{found.__qualname__} is defined in {found.__module__}, where no other process can import it"
        code = "import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)"
        if _python(code, found.__module__).returncode:
            return f"no other process can import {found.__module__}"
        return None

    def restored_scores(self) -> Floats:
        """[N] float32 scores of `both` by the saved and restored state.

        In a fresh process, where the class can be imported there.
        """
        found = type(self.fitted)
        with tempfile.TemporaryDirectory(prefix="sri-check-") as folder:
            state = Path(folder) / "state.npz"
            save_arrays(state, dict(self.fitted.state()))
            if self.unreachable:
                detector = self.make()
                with np.load(state, allow_pickle=False) as arrays:
                    detector.restore(dict(arrays))
                return detector.score(self.both())
            (Path(folder) / "config.json").write_text(json.dumps(self.fitted.config.model_dump(mode="json")), "utf-8")
            np.save(Path(folder) / "signals.npy", self.both(), allow_pickle=False)
            done = _python(_CHILD, found.__module__, found.__qualname__, folder)
            if done.returncode:
                raise ScoringError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
            scores: Floats = np.load(Path(folder) / "score.npy", allow_pickle=False)
            return scores

    # -- words -----------------------------------------------------------------------------------------------

    def fail(self, problem: str, cause: Exception | None = None) -> NoReturn:
        """Raises ConformanceError with the subject in front."""
        raise ConformanceError(f"{self.name}.{problem}.") from cause

    def close(self, subject: str, found: Floats, expected: Floats) -> None:
        """Fails where [N] scores differ by more than rounding."""
        gap = np.abs(found.astype(np.float64) - expected)
        far = PARITY * np.abs(expected.astype(np.float64) - float(np.median(expected)))
        allowed = np.maximum(np.maximum(self.room, far), ULPS * np.spacing(np.abs(expected)))
        if not (gap <= allowed).all():  # Written so that NaN is wrong.
            row = int(np.argmax(gap - allowed))
            self.fail(
                f"{subject} moves by up to {gap.max():.2g}: row {row} of {len(gap)} is {found[row]:g}, "
                f"expected {expected[row]:g} within {allowed[row]:.2g}"
            )

    def identical(self, subject: str, found: Floats, expected: Floats) -> None:
        """Fails where [N] scores differ in a single bit."""
        if found.shape != expected.shape or found.tobytes() != expected.tobytes():
            differing = int((found != expected).sum()) if found.shape == expected.shape else len(expected)
            worst = np.abs(found.astype(np.float64) - expected).max() if found.shape == expected.shape else np.nan
            self.fail(f"{subject} scores {differing} of {len(expected)} signals differently, by up to {worst:.2g}")

    def unmoved(self, doing: str, found: Floats, before: Floats) -> None:
        """Fails where an input [N, T, C] was changed."""
        if found.tobytes() != before.tobytes():
            cells, worst = int((found != before).sum()), float(np.abs(found - before).max())
            self.fail(f"{doing} changes its input: {cells} of {before.size} cells, by up to {worst:.2g}. Copy it first")

    def refuses(self, doing: str, call: Callable[[], Any]) -> None:
        """Fails unless the call raises ScoringError."""
        try:
            answer = call()
        except ScoringError:
            return
        except Exception as err:
            self.fail(f"{doing} raises {type(err).__name__} ({err}), must raise ScoringError with a cure", err)
        found = (
            f"returns {np.asarray(answer).flat[0]:g}" if isinstance(answer, np.ndarray) and answer.size else "passes"
        )
        self.fail(f"{doing} {found}, must raise ScoringError")


def _python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh process that finds the same modules by name."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
