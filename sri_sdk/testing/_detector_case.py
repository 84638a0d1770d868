"""What the checks of a detector work with: planted signals, a fitted detector, its graphs, words for what differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
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
from sri_sdk.testing._detector_range import Ranged, reshaped, whole_range
from sri_sdk.testing.planted import CELLS, DIP, LAYERS, planted_signals

TRAIN, TEST = 128, 48
"""Planted generations a detector learns from, and harmless and attacking ones each that it scores."""
FEW = 32
"""Signals of a quick fit."""
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

    def __init__(self, make: Callable[[], Detector], cells: int = CELLS, layers: int = LAYERS) -> None:
        """`make` gives a fresh detector that is not fitted; its signals are [N, cells, layers]."""
        self.make, self.cells, self.layers = make, cells, layers

    # -- material --------------------------------------------------------------------------------------------

    @cached_property
    def name(self) -> str:
        """The class, as messages call it."""
        return type(self.make()).__name__

    @cached_property
    def fitted(self) -> Detector:
        """Fitted once, for every check that only reads it."""
        return self._tried[0]

    @cached_property
    def labelled(self) -> bool:
        """Whether fit() needs attacks and labels too."""
        return self._tried[1]

    @cached_property
    def _tried(self) -> tuple[Detector, bool]:
        """A fitted detector, and whether that took labels: tried without first."""
        detector, signals = self.make(), self.training(labelled=False)
        try:
            detector.fit(*signals)
        except Exception as plain:
            detector, signals = self.make(), self.training(labelled=True)
            try:
                detector.fit(*signals)
            except Exception as err:
                raise ConformanceError(
                    f"{self.name}.fit(): refuses {self.count} harmless signals ({plain}) and {2 * self.count} labelled "
                    f"ones ({type(err).__name__}: {err}). It must take one of them."
                ) from err
            return detector, True
        return detector, False

    @cached_property
    def count(self) -> int:
        """Harmless signals to fit on; a detector may say that it needs more than usual."""
        fewest: Any = self.make().fewest
        return max(TRAIN, fewest) if type(fewest) is int else TRAIN

    @cached_property
    def signal(self) -> RunGraph:
        """The graph of finished generations, in onnxruntime."""
        return self.run(lambda: signal_graph(self.fitted, self.cells, self.layers))

    @cached_property
    def usual(self) -> tuple[float, float]:
        """Median and 99 % quantile of harmless scores."""
        scores = self.score(self.values(TRAIN, 4)).astype(np.float64)
        return float(np.median(scores)), float(np.quantile(scores, 0.99))

    @cached_property
    def wide(self) -> Ranged:
        """[N, T, C] harmless signals, attacks, and signals over the whole range of the domain; only read them."""
        both, odd = self.both(), whole_range(self.make().domain)
        values = np.concatenate([both, reshaped(odd.values, self.cells, self.layers)])
        values.flags.writeable = False
        return Ranged(values, [*["harmless cells"] * TEST, *["an attack"] * TEST, *odd.kinds])

    def values(self, count: int, seed: int, dip: float = 0.0, at: float = 0.5) -> Floats:
        """[count, T, C] in the detector's domain; see `planted_signals`."""
        signals = planted_signals(count, seed, dip=dip, at=at)
        return reshaped(signals.domain(self.make().domain), self.cells, self.layers)

    def both(self) -> Floats:
        """[2 * TEST, T, C]: harmless, then attacks."""
        return np.concatenate([self.values(TEST, 2), self.values(TEST, 3, DIP)])

    def training(self, *, labelled: bool, seed: int = 1) -> tuple[Floats, NDArray[np.int64] | None]:
        """What fit() takes: [N, T, C] signals in the detector's domain; a labelled detector gets as many attacks.

        The labels are [N] int64, 0 = harmless, 1 = attack; None = unlabelled.
        """
        harmless, count = self.values(self.count, seed), self.count
        if not labelled:
            return harmless, None
        return np.concatenate([harmless, self.values(count, seed + 100, DIP)]), np.repeat(np.array([0, 1]), count)

    def few(self, count: int | None = None, seed: int = 1) -> tuple[Floats, NDArray[np.int64] | None]:
        """`count` signals [N, T, C] to fit on, and their labels [N], of both kinds where there are any.

        None = some: such a fit is quick, where nobody asks how well it was learnt.
        """
        signals, labels = self.training(labelled=self.labelled, seed=seed)
        chosen = np.arange(self.count - TRAIN + FEW if count is None else count)
        if labels is not None:
            chosen = chosen // 2 + self.count * (chosen % 2)
        return signals[chosen], None if labels is None else labels[chosen]

    def score(self, values: Floats) -> Floats:
        """[N] float32: scores of [N, T, C] signals by the fitted detector, of which it gets and keeps a copy."""
        return self.fitted.score(values.copy()).copy()

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
        usual = (self.cells, self.layers) == (CELLS, LAYERS)
        subject = f"{self.name}." if usual else f"{self.name}, fitted on [N, {self.cells}, {self.layers}]: "
        raise ConformanceError(f"{subject}{problem}.") from cause

    def is_scores(self, scores: Any, values: Floats) -> None:
        """Fails unless these are the [N] float32 scores of [N, T, C] signals."""
        count = len(values)
        found = f"{getattr(scores, 'dtype', type(scores).__name__)} {list(np.shape(scores))}"
        if not isinstance(scores, np.ndarray) or scores.dtype != np.float32 or scores.shape != (count,):
            self.fail(f"score() of {count} signals: {found}, must be float32 [{count}]")
        if not np.isfinite(scores).all():
            self.fail(f"score() of {count} signals: {int((~np.isfinite(scores)).sum())} scores are not finite")

    def close(self, subject: str, found: Floats, expected: Floats, kinds: Sequence[str]) -> None:
        """Fails where [N] scores differ by more than rounding; `kinds` says what is special about each signal."""
        middle, high = self.usual
        with np.errstate(invalid="ignore"):  # Infinite scores: `every-signal-can-be-scored` names them.
            gap = np.abs(found.astype(np.float64) - expected)
            far = PARITY * np.maximum(np.abs(expected.astype(np.float64) - middle), high - middle)
            allowed = np.maximum(far, ULPS * np.spacing(np.abs(expected)))
            wrong = ~(gap <= allowed) & np.isfinite(expected)  # Written so that NaN is wrong.
        if wrong.any():
            row = int(np.argmax(np.where(wrong, np.nan_to_num(gap / allowed, nan=np.inf), 0)))
            self.fail(
                f"{subject} moves by up to {gap[wrong].max():.2g}: {int(wrong.sum())} of {len(gap)} signals, most for "
                f"row {row}, with {kinds[row]}: {found[row]:g}, expected {expected[row]:g} within {allowed[row]:.2g}"
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
