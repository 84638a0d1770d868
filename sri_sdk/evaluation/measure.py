"""What one model did, as results: its outcomes, recovery while it generates, and where its signals lie.

The signal is drawn, and recovery is counted, on the last tapped layer; guards see every layer, see `measure_guard.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sri_sdk.errors import ConfigError, ScoringError
from sri_sdk.evaluation.attacks import AttackFacts
from sri_sdk.evaluation.generations import Generations
from sri_sdk.evaluation.groups import attack_group, set_group
from sri_sdk.evaluation.guards import GuardScores
from sri_sdk.evaluation.measure_guard import guard_area
from sri_sdk.metrics import spread
from sri_sdk.metrics.geometry import geometry
from sri_sdk.metrics.guard_rates import CLASSES
from sri_sdk.metrics.internal import incomplete_recovery, internal_recovery
from sri_sdk.metrics.outcomes import NONE
from sri_sdk.metrics.rates import Rate, exact_rate
from sri_sdk.metrics.recovery import recovery
from sri_sdk.metrics.results import AttackResult, ClassBand, HarmlessSetResult, Points, Projection

MAP_POINTS = 400
"""Most points of one class on a map."""


def outcome_rate(name: str, part: Generations, outcome: str) -> Rate:
    """Share of generations the judge calls this."""
    return exact_rate(name, sum(o == outcome for o in part.outcomes), len(part))


def attack_results(
    found: Mapping[str, Generations], facts: Mapping[str, AttackFacts], ours: GuardScores | None
) -> tuple[AttackResult, ...]:
    """One row per attack. A row of an attack that was not run has n = 0 and a note.

    Args:
        found: group -> generations.
        facts: attack -> what is known of it.
        ours: our guard's scores; None = no guard was compared.
    """
    rows = []
    for name, about in facts.items():
        part = found.get(attack_group(name))
        if part is None:
            none = exact_rate(f"success:{name}", 0, 0), exact_rate(f"refused:{name}", 0, 0)
            rows.append(AttackResult(name, about.family, about.source, *none, None, about.note))
            continue
        own = None if ours is None else guard_area(ours, found, (name,))
        rows.append(
            AttackResult(
                name, about.family, about.source, outcome_rate(f"success:{name}", part, "harmful"),
                outcome_rate(f"refused:{name}", part, "refusal"), own, about.note,
            )
        )  # fmt: skip
    return tuple(rows)


def set_results(
    found: Mapping[str, Generations], names: Sequence[str], ours: GuardScores | None
) -> tuple[HarmlessSetResult, ...]:
    """One row per set of unusual harmless prompts.

    Args:
        found: group -> generations.
        names: of the sets.
        ours: our guard's scores; None = no guard was compared.
    """
    rows = []
    for name in names:
        part = found[set_group(name)]
        flagged = None
        if ours is not None:
            flags = ours.flagged(set_group(name))
            flagged = exact_rate(f"flagged:{name}", int(flags.sum()), len(flags))
        rows.append(HarmlessSetResult(name, outcome_rate(f"refused:{name}", part, "refusal"), flagged))
    return tuple(rows)


def text_recovery(attacked: Generations | None) -> dict[str, Rate]:
    """HRR and FRR over attacked prompts; empty where drafts were not judged."""
    if attacked is None or not (attacked.drafts != NONE).any():
        return {}
    said = recovery(attacked.drafts, list(attacked.outcomes))
    return {
        "HRR": said.remasking,
        "FRR per harmful draft": said.recovered_of_harmful,
        "FRR per revised trace": said.recovered_of_revised,
    }


def signal_recovery(attacked: Generations | None, everything: Generations) -> tuple[dict[str, Rate], dict[str, Rate]]:
    """IRR over attacked prompts by its threshold, and incomplete internal recovery by class; last tapped layer."""
    irr = {}
    if attacked is not None:
        irr = {r.name.rpartition(":")[2]: r for r in internal_recovery(attacked.signals.sigma[:, :, -1]).rates}
    refused = [o == "refusal" for o in everything.outcomes]
    kinds = everything.classes.tolist()
    said = incomplete_recovery(everything.signals.sigma[:, :, -1], refused, kinds)
    return irr, {name: said[name].dipped for name in CLASSES if name in said}


def class_bands(everything: Generations) -> tuple[ClassBand, ...]:
    """Mean and spread of sigma per class and cell, last tapped layer."""
    return spread.class_bands(everything.signals.sigma[:, :, -1], everything.classes.tolist())


def maps(everything: Generations, seed: int) -> tuple[Projection, ...]:
    """LDA and PCA maps of the last tapped layer; empty where a class is too small to fit and draw."""
    kinds = everything.classes
    bases = [p.base or p.id for p in everything.prompts]
    try:
        found = geometry(everything.signals.logit[:, :, -1], kinds.tolist(), bases, seed=seed)
    except (ConfigError, ScoringError):
        return ()
    drawn = np.array(found.classes)
    made = []
    for one, name in ((found.lda, "LDA"), (found.pca, "PCA")):
        # With two classes there is one discriminant: it is drawn on a line.
        plane = np.pad(one.coordinates, ((0, 0), (0, max(0, 2 - one.coordinates.shape[1]))))
        shares = [*one.explained.tolist(), 0.0][:2]
        axes = [f"{name} {i + 1} ({100 * share:.0f} %)" for i, share in enumerate(shares)]
        points = []
        for kind in CLASSES:
            own = plane[drawn == kind][:MAP_POINTS]
            if len(own):
                points.append(Points(kind, tuple(own[:, 0].tolist()), tuple(own[:, 1].tolist())))
        made.append(Projection(name, (axes[0], axes[1]), sum(found.fitted.values()), tuple(points)))
    return tuple(made)
