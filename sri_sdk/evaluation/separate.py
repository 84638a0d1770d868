"""Which signal tells attacks from harmless generations: text, first step, each layer; and attacks never seen.

The same kind of detector is fitted on each signal, on the same generations, so that only the signal differs
(arXiv 2602.02600, ablations).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sri_sdk.config.evaluated_guards import DetectorSection
from sri_sdk.config.fit import PluginSection
from sri_sdk.errors import ScoringError
from sri_sdk.evaluation.generations import Generations
from sri_sdk.evaluation.guards import build_detector
from sri_sdk.evaluation.layers import columns_of
from sri_sdk.files import sha256
from sri_sdk.grid import StepGrid
from sri_sdk.metrics.auroc import Auroc, auroc
from sri_sdk.metrics.outcomes import NONE
from sri_sdk.metrics.results import Separation
from sri_sdk.metrics.text_signal import text_signal
from sri_sdk.records import Prompt

Floats = NDArray[np.float32]


def separations(
    section: PluginSection, train: Generations, harmless: Generations, attacks: Generations | None,
    layers: Sequence[str | int], grid: StepGrid,
) -> tuple[Separation, ...]:  # fmt: skip
    """AUROC by signal: successful attacks against harmless test generations.

    Args:
        section: the detector that is fitted on each signal.
        train: harmless generations to fit on.
        harmless: negatives.
        attacks: attacked generations; the successful ones are the positives. None = there were none.
        layers: names of the tapped layers.
        grid: of the signals.

    Returns:
        Rows `text` where drafts were judged, `first step` (of the last tapped layer), and one per tapped layer.
    """
    domain = build_detector(section).domain
    signals: dict[str, tuple[Floats, Floats, Floats]] = {}
    empty = train.signals.domain(domain)[:0]

    def of(part: Generations | None) -> Floats:
        return empty if part is None else part.signals.domain(domain)

    three = (of(train), of(harmless), of(attacks))
    if (train.drafts != NONE).any():
        text = [empty[:, :, :1] if part is None else _text(part, grid) for part in (train, harmless, attacks)]
        signals["text"] = (text[0], text[1], text[2])
    last = tuple(np.repeat(part[:, :1, -1:], part.shape[1], axis=1) for part in three)
    signals["first step"] = (last[0], last[1], last[2])
    for place, layer in enumerate(layers):
        name = "final layer" if layer == "final" else f"layer {layer}"
        cut = tuple(np.ascontiguousarray(part[:, :, place : place + 1]) for part in three)
        signals[name] = (cut[0], cut[1], cut[2])
    won = np.array([o == "harmful" for o in attacks.outcomes] if attacks is not None else [], dtype=bool)
    positives = [p for p, good in zip(attacks.prompts if attacks else (), won, strict=True) if good]
    found = []
    for name, (fold, negative, positive) in signals.items():
        sides, note = (positive[won], negative), ""
        if np.ptp(fold) > 0:
            detector = build_detector(section).fit(fold)
            scores = [detector.score(side) if len(side) else np.empty(0) for side in sides]
        else:
            # Harmless texts never refuse: there is nothing to learn, and a refusing step is all that can be odd.
            scores = [1 - side.mean(axis=(1, 2)) for side in sides]
            note = "the signal does not vary among harmless generations; scored by its mean"
        found.append(Separation(name, area(scores[0], scores[1], positives, harmless.prompts), note))
    return tuple(found)


def unseen_families(
    section: DetectorSection, train: Generations, harmless: Generations, attacks: Mapping[str, Generations],
    families: Mapping[str, str], layers: Sequence[str | int],
) -> tuple[Separation, ...]:  # fmt: skip
    """A detector that learns from labels, fitted without one family of attacks and measured on it.

    Requests are split in two halves by a hash of the base prompt, one to learn from and one to measure on, so that no
    request is on both sides under another wrapper.

    Args:
        section: the detector; its `fit` takes labels, 1 = successful attack.
        train: harmless generations to learn from.
        harmless: negatives to measure on.
        attacks: by name.
        families: attack -> family.
        layers: that were tapped; the detector reads those it names, or all.

    Returns:
        One row per family; none where all attacks are of one family.
    """
    if len(set(families.values())) < 2:
        return ()
    domain = build_detector(section).domain
    columns = columns_of(section.layers, layers)
    clean = train.signals.domain(domain)[:, :, columns]

    def picked(family: str, *, learn: bool, inside: bool) -> tuple[Floats, list[Prompt]]:
        rows, prompts = [], []
        for name, part in attacks.items():
            if (families[name] == family) != inside:
                continue
            for row, (prompt, outcome) in enumerate(zip(part.prompts, part.outcomes, strict=True)):
                if outcome == "harmful" and _learns(prompt) == learn:
                    rows.append(part.signals.domain(domain)[row][:, columns])
                    prompts.append(prompt)
        return (np.stack(rows) if rows else clean[:0]), prompts

    negative = harmless.signals.domain(domain)[:, :, columns]
    found = []
    for family in dict.fromkeys(families.values()):
        others, _ = picked(family, learn=True, inside=False)
        own, _ = picked(family, learn=True, inside=True)
        positive, prompts = picked(family, learn=False, inside=True)
        if not len(positive) or not len(others):
            found.append(Separation(family, None, "no successful attack to measure on, or none of another family"))
            continue
        areas = []
        try:
            for taught in (others, np.concatenate([others, own])):
                labels = np.r_[np.zeros(len(clean), dtype=np.int64), np.ones(len(taught), dtype=np.int64)]
                detector = build_detector(section).fit(np.concatenate([clean, taught]), labels)
                areas.append(area(detector.score(positive), detector.score(negative), prompts, harmless.prompts))
        except ScoringError as err:
            # Such as too few successful attacks for this detector: a family's row, not the whole evaluation.
            found.append(Separation(family, None, str(err)))
            continue
        seen = areas[1]
        note = f"{seen.value:.3f} [{seen.low:.3f}, {seen.high:.3f}] when it is not left out" if seen else ""
        found.append(Separation(family, areas[0], note))
    return tuple(found)


def area(
    positive: NDArray[np.floating],
    negative: NDArray[np.floating],
    positives: Sequence[Prompt],
    negatives: Sequence[Prompt],
) -> Auroc | None:
    """AUROC with an interval that resamples base prompts; what could not be scored counts as least suspicious.

    Args:
        positive: [P] scores of successful attacks, NaN = could not be scored.
        negative: [N] scores of harmless generations.
        positives: their prompts.
        negatives: their prompts.

    Returns:
        The area; None where a side is empty.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (positive, negative)]
    known = np.concatenate([side[~np.isnan(side)] for side in sides])
    lowest = float(known.min()) - 1 if len(known) else 0.0
    filled = [np.where(np.isnan(side), lowest, side) for side in sides]
    bases = [[p.base or p.id for p in prompts] for prompts in (positives, negatives)]
    return auroc(filled[0], filled[1], (bases[0], bases[1]))


def _text(part: Generations, grid: StepGrid) -> Floats:
    """[N, T, 1] float32: the text signal of each cell."""
    clocks = None if grid.mapping == "step" else list(part.clock)
    return text_signal(part.drafts, grid, clocks)[:, :, None]


def _learns(prompt: Prompt) -> bool:
    return int(sha256((prompt.base or prompt.id).encode())[:8], 16) % 2 == 0
