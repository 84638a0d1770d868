"""From fitted parts and two folds of signals to a calibrated guard of format 2; `build.py` does it for one detector.

Every part gets its share of alpha, and a threshold of its own for each rule and group of prompts: by the union bound,
the guard raises a false alarm in at most alpha of the generations of any group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.entries import stated_contamination
from sri_sdk.bundle.golden import PROBE_ROWS, broken_columns, golden_steps, probe
from sri_sdk.bundle.manifest_v2 import ALL
from sri_sdk.bundle.multi_part_guard import GuardPart, MultiPartGuard
from sri_sdk.bundle.part_graphs import (
    DrawnPart,
    domain_of,
    parts_full_graph,
    parts_prefix_graph,
    parts_signal_graph,
    parts_step_graph,
)  # fmt: skip
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.calibrate.prefix import PrefixScale, hold
from sri_sdk.detector import Tier
from sri_sdk.errors import ConfigError, ScoringError
from sri_sdk.exporter import Exporter
from sri_sdk.fitting.build import PARITY_ROWS, STATES, Calibrated, Compiled
from sri_sdk.fitting.checks import all_valid, check_fold, noise, same, warn_of_ties
from sri_sdk.fitting.golden_rows import answers, golden_of_signals
from sri_sdk.fitting.parts import Part
from sri_sdk.graph.builder import Graph
from sri_sdk.records import REQUEST, Rule, Signals
from sri_sdk.scoring.runtime import load, score_prefixes, score_rows
from sri_sdk.signal import EPS, TAU

Floats = NDArray[np.float32]


def calibrate_parts(
    parts: Sequence[Part], reference: Signals, calibration: Signals, *, anchors: Anchors, exporter: Exporter,
    alpha: float, delta: float | None = None, tau: float = TAU, eps: float = EPS, contamination: float = 0.0,
) -> Calibrated[MultiPartGuard]:  # fmt: skip
    """Calibrates fitted parts, and keeps what was compiled for that.

    Args:
        parts: fitted, in the order of the scores.
        reference: harmless generations, for the scales of the online rule.
        calibration: other harmless generations, for the thresholds. Where they have groups, each group sets its own.
        anchors: what the signals were made with; with the request map, if they have that column.
        exporter: compiles the graphs.
        alpha: bound on the false-alarm rate per generation, for each rule.
        delta: see `Threshold.delta`.
        tau: what the signals were made with.
        eps: what the signals were made with.
        contamination: largest share of attacks among the calibration generations of any group; see `Threshold.fit`.

    Raises:
        ScoringError: a signal cannot be scored, or the scores of a part do not vary.
        ConfigError: a share of alpha is out of reach with so few generations.
        ModelMismatch: signals and anchors were not made by the same model and profile.
        BundleError: the graphs do not reproduce the detectors' scores.
    """
    for fold_name, fold in (("reference", reference), ("calibration", calibration)):
        check_fold(fold, fold_name, anchors)
    names = [column.name for column in anchors.columns]
    tier: Tier = "python" if any(part.detector.tier == "python" for part in parts) else "portable"
    domain = domain_of([part.detector for part in parts])
    values, cells, count = calibration.domain(domain), calibration.sigma.shape[1], len(parts)
    plain = [DrawnPart(part.detector, tuple(map(names.index, part.columns))) for part in parts]

    def ready(graph: Graph) -> Compiled:
        content = exporter.compile(graph)
        return Compiled(graph, content, load(content, f"graph {graph.name}", tier=tier))

    finished = ready(parts_signal_graph(plain, cells, len(names)))
    raw = ready(parts_prefix_graph(plain, cells, len(names))).run
    before = all_valid(*score_prefixes(raw, reference.domain(domain), count), reference)
    scales = [PrefixScale.fit(np.ascontiguousarray(before[:, :, k])) for k in range(count)]
    drawn = [DrawnPart(part.detector, part.columns, scale) for part, scale in zip(plain, scales, strict=True)]
    running = ready(parts_prefix_graph(drawn, cells, len(names)))
    signal, prefix = finished.run, running.run

    scores = all_valid(*score_rows(signal, values, count), calibration)
    z = all_valid(*score_prefixes(prefix, values, count), calibration)
    moves = noise(lambda x: score_rows(signal, x, count), values)
    running_moves = noise(lambda x: score_prefixes(prefix, x, count), values).max(axis=0)
    groups = _groups(calibration)
    reading = sum(part.share for part in parts if part.columns == (REQUEST,))
    made: list[GuardPart] = []
    for k, part in enumerate(parts):
        shares: dict[Rule, float] = {"final": part.share, "online": part.share}
        if part.columns == (REQUEST,):
            shares["request"] = part.share / reading
        rules: dict[Rule, dict[str, Threshold]] = {rule: {} for rule in shares}
        for rule, share in shares.items():
            found, room = (z[:, :, k].max(axis=1), running_moves[k]) if rule == "online" else (scores[:, k], moves[k])
            for group, rows in groups.items():
                with _of(part.name, group):
                    rules[rule][group] = Threshold.fit(
                        found[rows], alpha * share, delta, noise=float(room), contamination=contamination
                    )
                where = "" if group == ALL else f", group {group}"
                warn_of_ties(f"part {part.name}, rule {rule}{where}", rules[rule][group])
        own, scale = part.of(calibration, names), scales[k]
        same("signal", part.detector.score(own), scores[:, k], Strictest(rules["final"]))
        few = own[:PARITY_ROWS]
        held = [part.detector.score(hold(few, np.full(len(few), t + 1))) for t in range(cells)]
        same("prefix", scale.standardise(np.stack(held, axis=1)), z[: len(few), :, k], Strictest(rules["online"]))
        made.append(GuardPart(part.name, part.detector, part.detector_name, part.columns, part.reason, scale, rules))

    final, online = (EachPart([Strictest(part.rules[rule]) for part in made]) for rule in ("final", "online"))
    broken = partial(broken_columns, domain=domain, request=REQUEST in names)
    # Rows spread over the scores of all parts: by the sum of their ranks.
    order = scores.argsort(axis=0, kind="stable").argsort(axis=0).sum(axis=1).astype(np.float32)
    golden, noticed = golden_of_signals(
        (finished.content, signal, final), (running.content, prefix, online), values, order, domain, broken
    )
    prompt = () if anchors.request is None else anchors.request.weight.shape
    full = ready(parts_full_graph(drawn, anchors, tau=tau, eps=eps))
    golden["full"] = answers(full.run, {}, final, _states(full.graph, PROBE_ROWS))
    if anchors.harmless.shape[1]:
        step = ready(parts_step_graph(drawn, anchors, tau=tau, eps=eps))
        cut, lengths = golden["prefix"].inputs["signals"], golden["prefix"].inputs["length"]
        most = STATES // max(anchors.harmless[0].size, int(np.prod(prompt)))
        steps, state = golden_steps(cut, lengths, most, len(broken(values[0])))
        golden["step"] = answers(
            step.run, {"step": steps, "state": state}, online, _states(step.graph, len(steps))
        )  # fmt: skip
    guard = MultiPartGuard(
        parts=tuple(made), anchors=anchors, alpha=alpha, golden=golden, tau=tau, eps=eps, noticed=noticed,
        producer=stated_contamination(contamination),
    )  # fmt: skip
    return Calibrated(guard, {"signal": finished, "prefix": running})


class Strictest:
    """What is allowed of scores that are compared with thresholds by group: what all of them allow."""

    def __init__(self, thresholds: Mapping[str, Threshold]) -> None:
        self._thresholds = tuple(thresholds.values())

    def allowed(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """[...] scores -> [...] float64; see `Threshold.allowed`."""
        found: NDArray[np.float64] = np.minimum.reduce([t.allowed(scores) for t in self._thresholds])
        return found


class EachPart:
    """What is allowed of the scores of K parts."""

    def __init__(self, parts: Sequence[Strictest]) -> None:
        self._parts = tuple(parts)

    def allowed(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """[G, K] scores -> [G, K] float64; see `Threshold.allowed`."""
        return np.stack([part.allowed(scores[:, k]) for k, part in enumerate(self._parts)], axis=1)


def _groups(calibration: Signals) -> dict[str, NDArray[np.int64]]:
    """Group -> its rows, [M] int64; one for all where the signals have no groups."""
    if calibration.groups is None:
        return {ALL: np.arange(len(calibration))}
    named = [group for group in calibration.groups if group is not None]
    if len(named) < len(calibration):
        at = calibration.groups.index(None)
        raise ConfigError(
            f"calibration signals: {calibration.ids[at]!r} has no group, and others have one. Give every calibration "
            "prompt a group, or none."
        )
    return {name: np.flatnonzero([group == name for group in named]) for name in sorted(set(named))}


def _states(graph: Graph, rows: int) -> dict[str, NDArray[Any]]:
    """Golden hidden states [rows, ...] of a drawing, by input."""
    shapes = {name: shape for name, (_, shape) in graph.inputs.items() if name in ("activations", "phi", "prompt")}
    return {name: probe(tuple(int(size) for size in shape[1:]), rows) for name, shape in shapes.items()}


@contextmanager
def _of(part: str, group: str) -> Iterator[None]:
    """Says which part and group an error is about."""
    try:
        yield
    except (ConfigError, ScoringError) as err:
        where = "" if group == ALL else f", group {group!r}"
        raise type(err)(f"part {part!r}{where}: {err}") from err
