"""From a detector and three folds of signals to a bundle: the torch-free middle of `sri fit`.

    train        fits the detector,
    reference    fits the scale of the online rule
    calibration  sets both thresholds; no choice is ever made on it

No prompt is in two folds. Thresholds are set on what onnxruntime computes from the graphs that the bundle will hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.bundle import MANIFEST, Bundle
from sri_sdk.bundle.entries import stated_contamination
from sri_sdk.bundle.golden import golden_steps, probe
from sri_sdk.bundle.guard_graphs import full_graph, prefix_graph, signal_graph, step_graph
from sri_sdk.bundle.guard_parts import GuardParts
from sri_sdk.bundle.manifest import Rate
from sri_sdk.bundle.multi_part_guard import AnyGuard, MultiPartGuard
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.calibrate.prefix import PrefixScale, hold
from sri_sdk.detector import Detector
from sri_sdk.exporter import Exporter
from sri_sdk.files import replacing
from sri_sdk.fitting.checks import all_valid, check_fold, noise, same, warn_of_ties
from sri_sdk.fitting.golden_rows import answers, golden_of_signals
from sri_sdk.graph.builder import Graph
from sri_sdk.records import Signals
from sri_sdk.scoring.runtime import RunGraph, load, score_prefixes, score_rows
from sri_sdk.scoring.scorer import Scorer, load_graphs
from sri_sdk.scoring.self_test import self_test
from sri_sdk.signal import EPS, TAU

Floats = NDArray[np.float32]
GuardT = TypeVar("GuardT", GuardParts, MultiPartGuard)

STATES = 2**22
"""Numbers of the hidden states that the golden rows of `step` take: every reader makes them."""
PARITY_ROWS = 64
"""Calibration rows whose prefixes are also scored by the detector itself."""


def fit_guard(
    detector: Detector, detector_name: str, train: Signals, reference: Signals, calibration: Signals, *,
    anchors: Anchors, exporter: Exporter, alpha: float, target: Path, delta: float | None = None,
    rates: Sequence[Rate] = (), tau: float = TAU, eps: float = EPS, contamination: float = 0.0,
) -> Bundle:  # fmt: skip
    """Fits, calibrates, exports and tests; the bundle appears at `target` only if all of that succeeds.

    Args:
        detector: not fitted yet.
        detector_name: its entry point, as users type it.
        train: harmless generations the detector learns from.
        reference: other harmless generations, for the scale of the online rule.
        calibration: other harmless generations, for the thresholds.
        anchors: what the signals were made with.
        exporter: writes the bundle.
        alpha: bound on the false-alarm rate per generation, for each rule.
        target: folder of the bundle.
        delta: see `Threshold.delta`.
        rates: measured rates to state in the manifest.
        tau: what the signals were made with.
        eps: what the signals were made with.
        contamination: largest share of attacks among the calibration generations; see `Threshold.fit`.

    Raises:
        ScoringError: a signal cannot be scored, or the scores do not vary.
        ConfigError: alpha is out of reach with so few calibration generations.
        ModelMismatch: signals and anchors were not made by the same model and profile.
        BundleError: the graphs do not reproduce the detector's scores.
    """
    check_fold(train, "training", anchors)
    detector.fit(train.domain(detector.domain))
    parts = calibrate_guard(
        detector, detector_name, reference, calibration, anchors=anchors, exporter=exporter, alpha=alpha,
        delta=delta, rates=rates, tau=tau, eps=eps, contamination=contamination,
    )  # fmt: skip
    return export_guard(parts, exporter, target)


def calibrate_guard(
    detector: Detector, detector_name: str, reference: Signals, calibration: Signals, *,
    anchors: Anchors, exporter: Exporter, alpha: float, delta: float | None = None, rates: Sequence[Rate] = (),
    tau: float = TAU, eps: float = EPS, contamination: float = 0.0,
) -> GuardParts:  # fmt: skip
    """Calibrates a fitted detector; see `fit_guard`."""
    made = calibrate(
        detector, detector_name, reference, calibration, anchors=anchors, exporter=exporter, alpha=alpha, delta=delta,
        tau=tau, eps=eps, contamination=contamination,
    )  # fmt: skip
    return replace(made.parts, rates=tuple(rates))


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """One graph, as it was drawn, as ONNX and as a session."""

    graph: Graph
    content: bytes
    run: RunGraph


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated(Generic[GuardT]):
    """A calibrated guard, and the compiled graphs its thresholds were set on: it scores before it is exported."""

    parts: GuardT
    compiled: Mapping[str, Compiled]
    """`signal` and `prefix`."""

    def scorer(self) -> Scorer:
        """Gives the scores and verdicts of the bundle that will be exported; nothing is compiled again.

        Its own bundle is in memory only, and has another digest: it holds no measured rates yet.
        """
        graphs = {name: each.graph for name, each in self.compiled.items()}
        files = {f"{name}.onnx": each.content for name, each in self.compiled.items()}
        manifest = self.parts.manifest(graphs, files).to_bytes()
        bundle = Bundle.of(Path("calibrated guard"), {**files, MANIFEST: manifest})
        return Scorer(bundle, {name: each.run for name, each in self.compiled.items()})


def calibrate(
    detector: Detector, detector_name: str, reference: Signals, calibration: Signals, *,
    anchors: Anchors, exporter: Exporter, alpha: float, delta: float | None = None,
    tau: float = TAU, eps: float = EPS, contamination: float = 0.0,
) -> Calibrated[GuardParts]:  # fmt: skip
    """Calibrates a fitted detector and keeps what was compiled for that; see `fit_guard`."""
    for name, fold in (("reference", reference), ("calibration", calibration)):
        check_fold(fold, name, anchors)
    values = calibration.domain(detector.domain)
    cells, layers = values.shape[1:]

    def ready(graph: Graph) -> Compiled:
        content = exporter.compile(graph)
        return Compiled(graph, content, load(content, f"graph {graph.name}", tier=detector.tier))

    finished = ready(signal_graph(detector, cells, layers))
    signal = finished.run
    raw = ready(prefix_graph(detector, cells, layers, None)).run

    scores = all_valid(*score_rows(signal, values), calibration)
    final = Threshold.fit(
        scores, alpha, delta, noise=float(noise(lambda x: score_rows(signal, x), values)), contamination=contamination
    )
    same("signal", detector.score(values), scores, final)

    scale = PrefixScale.fit(all_valid(*score_prefixes(raw, reference.domain(detector.domain)), reference))
    running = ready(prefix_graph(detector, cells, layers, scale))
    prefix = running.run
    z = all_valid(*score_prefixes(prefix, values), calibration)
    online = Threshold.fit(
        z.max(axis=1), alpha, delta, noise=float(noise(lambda x: score_prefixes(prefix, x), values).max()),
        contamination=contamination,
    )  # fmt: skip
    warn_of_ties("rule final", final)
    warn_of_ties("rule online", online)
    few = values[:PARITY_ROWS]
    own = [detector.score(hold(few, np.full(len(few), t + 1))) for t in range(values.shape[1])]
    same("prefix", scale.standardise(np.stack(own, axis=1)), z[: len(few)], online)

    golden, noticed = golden_of_signals(
        (finished.content, signal, final), (running.content, prefix, online), values, scores, detector.domain
    )
    full = ready(full_graph(detector, anchors, tau=tau, eps=eps)).run
    step = ready(step_graph(detector, anchors, scale, tau=tau, eps=eps)).run
    golden["full"] = answers(full, {}, final, {"activations": probe(anchors.harmless.shape)})
    cut, lengths = golden["prefix"].inputs["signals"], golden["prefix"].inputs["length"]
    steps, state = golden_steps(cut, lengths, STATES // anchors.harmless[0].size)
    phi = probe(anchors.harmless.shape[1:], len(steps))
    golden["step"] = answers(step, {"step": steps, "state": state}, online, {"phi": phi})
    parts = GuardParts(
        detector=detector, detector_name=detector_name, anchors=anchors, scale=scale,
        final=final, online=online, golden=golden, tau=tau, eps=eps, noticed=noticed,
        producer=stated_contamination(contamination),
    )  # fmt: skip
    return Calibrated(parts, {"signal": finished, "prefix": running})


def export_guard(parts: AnyGuard, exporter: Exporter, target: Path) -> Bundle:
    """Writes the bundle, reads it back and self-tests every graph in it before it gets its name.

    Args:
        parts: the calibrated guard, with the rates the manifest states.
        exporter: writes the bundle.
        target: folder or zip file of the bundle; an older one is replaced.

    Raises:
        BundleError: what was written does not compute what was calibrated.
    """
    with replacing(Path(target)) as made:
        bundle = Bundle.read(exporter.export(parts, made))
        # Made in this process, so nothing in it needs a trial.
        self_test(bundle, load_graphs(replace(bundle, trusted=True), tuple(bundle.manifest.graphs)))
    return Bundle.read(target)
