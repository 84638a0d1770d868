"""The promises of an exporter, as checks: the name of a method is the name of its check, its docstring the promise."""

from __future__ import annotations

import builtins
import errno
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.bundle import MANIFEST
from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.bundle.guard_parts import GuardParts
from sri_sdk.exporter import Exporter
from sri_sdk.fitting.build import calibrate_guard
from sri_sdk.graph.builder import Graph, Value
from sri_sdk.scoring.runtime import load, score_rows
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.testing._promises import Promises, listed
from sri_sdk.testing.check import Check, exits_are_failures
from sri_sdk.testing.planted import CELLS, DIP, LAYERS, NotChecked, PlantedDetector, planted_anchors, planted_signals

ALPHA = 0.05
FOLD = 64
MOST_FAILURES = 40
"""Files of one artefact after which the check stops breaking the next one."""

Floats = NDArray[np.float32]


@exits_are_failures()
def exporter_checks(make: Callable[[], Exporter], known: Mapping[str, str] | None = None) -> list[Check]:
    """Every promise of an exporter.

    Args:
        make: gives an exporter; a class whose options all have defaults will do.
        known: strict known failures: name of a check -> why it fails.

    Raises:
        ConformanceError: `known` names no check.
    """
    case = _Checks(make)
    promises = [
        case.compiles_a_drawing, case.same_bytes_twice, case.export_is_whole_or_absent,
        case.replaces_an_older_artefact, case.scores_as_the_detector,
    ]  # fmt: skip
    return listed(promises, known)


class _Checks(Promises[Exporter]):
    # -- checks ----------------------------------------------------------------------------------------------

    def compiles_a_drawing(self) -> None:
        """compile() turns a drawing into an ONNX model that onnxruntime loads and that computes what was drawn.
        Thresholds are set on it."""  # fmt: skip
        detector = PlantedDetector().fit(planted_signals(FOLD, 1).sigma)
        content = self.fresh().compile(signal_graph(detector, CELLS, LAYERS))
        if not isinstance(content, bytes):
            self.fail(f"compile(): {type(content).__name__}, must be the bytes of an ONNX model")
        values = _both()
        try:
            scores, valid = score_rows(load(content, "compile()"), values)
        except Exception as err:
            self.fail(f"compile(): {len(content)} bytes that onnxruntime cannot run ({err})", err)
        expected = detector.score(values)
        gap = np.abs(scores.astype(np.float64) - expected)
        if not (gap <= 1e-5 * np.abs(expected) + 1e-6).all() or not valid.all():
            row = int(np.argmax(gap))
            self.fail(f"compile(): row {row} of {len(gap)} scores {scores[row]:g}, drawn was {expected[row]:g}")

    def same_bytes_twice(self) -> None:
        """The same drawing and the same parts give the same bytes. Otherwise a digest names a day, and not a guard."""
        drawing = signal_graph(self.parts.detector, CELLS, LAYERS)
        if self.fresh().compile(drawing) != self.fresh().compile(drawing):
            self.fail("compile(): the same drawing gives other bytes the second time")
        with _folder() as folder:
            first, second = (_contents(self.export(self.parts, folder / name / "guard")) for name in ("1", "2"))
        self.equal("the same parts, exported a second time,", second, first)

    def export_is_whole_or_absent(self) -> None:
        """An export that fails half-way, as on a full disk, raises, leaves nothing at its target and no litter beside
        it; an older artefact stays as it was. A part of a guard must never be read as a guard."""  # fmt: skip
        broken = replace(self.parts, detector=_Undrawable().restore(self.parts.detector.state()))
        with _folder() as folder:
            self.left_alone(broken, folder / "undrawable" / "guard", "drawing failed", nth=None)
            for nth in range(MOST_FAILURES):
                if not self.left_alone(self.parts, folder / f"new{nth}" / "guard", f"file {nth} failed", nth=nth):
                    break
            for nth in range(MOST_FAILURES):
                target = folder / f"old{nth}" / "guard"
                older = _contents(self.export(self.other, target))
                if not self.left_alone(self.parts, target, f"file {nth} failed", nth=nth, older=older):
                    break

    def replaces_an_older_artefact(self) -> None:
        """export() onto an older artefact leaves exactly the new one, and returns where it is. A file of the old guard
        in the folder of the new one is read with it."""  # fmt: skip
        with _folder() as folder:
            fresh = _contents(self.export(self.parts, folder / "fresh" / "guard"))
            target = folder / "used" / "guard"
            self.export(self.other, target)
            made = self.export(self.parts, target)
            self.equal("exported onto an older artefact, the new one", _contents(made), fresh)
            self.no_litter("after a second export", target)

    def scores_as_the_detector(self) -> None:
        """A bundle that `Scorer.open` reads gives the detector's own scores. An artefact in another format is not read,
        and the check says so."""  # fmt: skip
        with _folder() as folder:
            made = self.export(self.parts, folder / "guard")
            if not (made / MANIFEST).is_file():
                problem = f"scores not compared: {made.name} holds no {MANIFEST}, so it is no bundle."
                warnings.warn(problem, NotChecked, stacklevel=2)
                return
            try:
                scores, _ = Scorer.open(made).score_final(_both())
            except Exception as err:
                self.fail(f"export(): Scorer.open refuses what it wrote ({err})", err)
        expected = self.parts.detector.score(_both())
        gap = np.abs(scores.astype(np.float64) - expected) / self.parts.final.allowed(expected)
        if not (gap <= 1).all():
            row = int(np.argmax(gap))
            self.fail(
                f"export(): the bundle scores row {row} of {len(gap)} {scores[row]:g}, the detector "
                f"{expected[row]:g}; that is {gap[row]:.3g} times the tolerance"
            )

    # -- material and words ----------------------------------------------------------------------------------

    def subject(self, case: Exporter) -> Exporter:
        return case

    @cached_property
    def parts(self) -> GuardParts:
        """A calibrated guard."""
        return self._calibrated(seed=1)

    @cached_property
    def other(self) -> GuardParts:
        """Another one, to stand where the first is exported."""
        return self._calibrated(seed=21)

    def _calibrated(self, seed: int) -> GuardParts:
        detector = PlantedDetector().fit(planted_signals(FOLD, seed).sigma)
        folds = planted_signals(FOLD, seed + 1), planted_signals(FOLD, seed + 2)
        return calibrate_guard(
            detector, "planted", *folds, anchors=planted_anchors(), exporter=self.fresh(), alpha=ALPHA
        )

    def export(self, parts: GuardParts, target: Path) -> Path:
        """Exports, and checks what comes back."""
        target.parent.mkdir(parents=True, exist_ok=True)
        made = self.fresh().export(parts, target)
        if made != target or not target.exists():
            there = "something" if target.exists() else "nothing"
            self.fail(
                f"export(): returns {made}, with {there} at the target {target}; must write and return the target"
            )
        return made

    def left_alone(
        self, parts: GuardParts, target: Path, when: str, *, nth: int | None, older: Mapping[str, bytes] | None = None
    ) -> bool:
        """Exports with the nth file that is written failing; False if there are no so many. `older` must survive."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with _full_disk(target.parent, nth) as failed:
            try:
                self.fresh().export(parts, target)
            except Exception:
                raised = True
            else:
                raised = False
        if nth is not None and not failed:
            return False
        if not raised:
            self.fail(f"export(): {when}, and it returned as if nothing had; let the error through")
        found = _contents(target)
        if older is None and target.exists():
            self.fail(f"export(): {when}, and {len(found)} files stay at the target; write beside it, then rename")
        if older is not None:
            self.equal(f"{when}; the older artefact", found, older)
        self.no_litter(f"after {when}", target)
        return True

    def equal(self, what: str, found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> None:
        """Fails where two artefacts differ, naming the first file that does."""
        differing = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
        if differing:
            sizes = [f"{len(x[differing[0]])} bytes" if differing[0] in x else "absent" for x in (found, expected)]
            self.fail(
                f"export(): {what} differs in {len(differing)} of {len({*found, *expected})} files, first "
                f"{differing[0]!r} ({sizes[0]}, expected {sizes[1]})"
            )

    def no_litter(self, when: str, target: Path) -> None:
        """Fails where anything but the target is left in its folder."""
        litter = sorted(path.name for path in target.parent.iterdir() if path != target)
        if litter:
            self.fail(f"export(): {when}, {len(litter)} stray files beside the target, first {litter[0]!r}")


class _Undrawable(PlantedDetector):
    """Scores, and cannot be drawn."""

    def export(self, graph: Graph, signals: Value) -> Value:
        raise OSError(errno.EIO, "planted failure while drawing")


def _both() -> Floats:
    """[2 * FOLD, T, C]: harmless, then attacks."""
    return np.concatenate([planted_signals(FOLD, 5).sigma, planted_signals(FOLD, 6, dip=DIP).sigma])


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sri-check-") as folder:
        yield Path(folder)


def _contents(path: Path) -> dict[str, bytes]:
    """Bytes by relative name, of a file or a folder; empty where there is none."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return {str(each.relative_to(path)): each.read_bytes() for each in files}


@contextmanager
def _full_disk(folder: Path, nth: int | None) -> Iterator[list[str]]:
    """The nth file opened for writing under `folder` is created and then has no room, as on a full disk; yields the
    names of those. Every other file of the process is written as usual."""  # fmt: skip
    failed: list[str] = []
    written = 0
    usual, folder = io.open, folder.resolve()

    def opening(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        nonlocal written
        stream = usual(file, mode, *args, **kwargs)
        if not isinstance(file, int) and set(mode) & set("wax+") and folder in Path(file).resolve().parents:
            written += 1
            if written - 1 == nth:
                stream.close()
                failed.append(str(file))
                raise OSError(errno.ENOSPC, "No space left on device (planted by the check)", str(file))
        return stream

    with mock.patch.object(io, "open", opening), mock.patch.object(builtins, "open", opening):
        yield failed
