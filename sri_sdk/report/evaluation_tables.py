"""The numbers behind the figures, as tables: the page, the Markdown file and `sri eval` show the same ones.

The guard table has a file of its own, `sri_sdk.metrics.guard_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sri_sdk.metrics.cells import DASH, Cell, Table, area_cell, by_column, by_row, called, rate_cell, rate_cells
from sri_sdk.metrics.guard_table import ordered, ours
from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.remaining import all_remaining, attack_remaining
from sri_sdk.metrics.results import CLASS_WORDS, AttackResult, Evaluation, ModelResult, Separation
from sri_sdk.report.evaluation_words import leading

TOGETHER = "all attacks"


def models(evaluation: Evaluation) -> Table:
    """What each model does by itself, and how it recovers: RR, ASR, HRR, FRR, IRR."""

    def cells(model: ModelResult) -> dict[str, Cell]:
        return {
            "RR, harmless": rate_cell(model.refused_harmless),
            "RR, harmful": rate_cell(model.refused_harmful),
            "ASR, no attack": rate_cell(model.plain_success),
            "ASR, all attacks": rate_cell(model.success),
            **rate_cells(model.recovery),
            **{f"IRR, ends below {key}": rate_cell(rate) for key, rate in model.internal_recovery.items()},
        }

    note = (
        "RR: responses that refuse. ASR: responses that do harm. HRR: generations with a harmful draft that is "
        "revised; FRR: those whose final text does no harm. IRR: σ above 0.5 at some step, and below the threshold "
        "at the end."
    )
    return by_column("models", "Models", "Rate", [(called(m.name), cells(m)) for m in evaluation.models], note)


def attacks(evaluation: Evaluation) -> Table:
    """Success of each attack on each model."""
    return _by_attack(
        evaluation, "attack-success", "Attack success", lambda _, attack: attack.success, lambda model: model.success
    )


def remains(evaluation: Evaluation) -> Table:
    """What remains of each attack after our guard: responses that do harm and are not flagged."""
    return _by_attack(evaluation, "attack-remains", "Attack success after our guard", attack_remaining, all_remaining)


def _by_attack(
    evaluation: Evaluation,
    name: str,
    title: str,
    each: Callable[[ModelResult, AttackResult], Rate | None],
    together: Callable[[ModelResult], Rate | None],
) -> Table:
    columns = []
    for model in evaluation.models:
        cells = {attack.name: rate_cell(each(model, attack)) for attack in model.attacks}
        columns.append((called(model.name), cells | ({TOGETHER: rate_cell(together(model))} if cells else {})))
    return by_column(name, title, "Attack", columns, last=TOGETHER)


def attack_details(evaluation: Evaluation) -> Table:
    """One row per model and attack: refusals, the guard's share and AUROC, source."""
    rows = []
    for model in evaluation.models:
        guard = ours(model)
        for attack in model.attacks:
            name = Cell(f"{called(model.name)}: {called(attack.name)}", note=attack.note)
            removed = guard.removed_by_attack.get(attack.name) if guard else None
            rates = map(rate_cell, (attack.success, attack.refused, removed))
            texts = Cell(attack.family or DASH), Cell(attack.source or DASH)
            rows.append((name, *texts, *rates, area_cell(attack.auroc)))
    columns = ("Model: attack", "Family", "Source", "Succeeds", "Refused", "Removed by our guard", "AUROC of our guard")
    return Table("attack-details", "Attacks in detail", columns, tuple(rows), texts=frozenset({1, 2}))


def flags(evaluation: Evaluation) -> Table:
    """Flagged share of each class, for every guard on every model."""
    none = dict.fromkeys(CLASS_WORDS, Cell(DASH))
    rows = [
        (f"{called(model.name)}: {called(guard.name)}", none | rate_cells(guard.flagged))
        for model in evaluation.models
        for guard in ordered(model)
    ]
    return by_row("flags", "Flagged, by class", "Model: guard", rows)


def removed_by_attack(evaluation: Evaluation) -> Table:
    """Share of each attack's successes that each guard flags, on the model the report begins with."""
    model = leading(evaluation)
    columns = [(called(guard.name), rate_cells(guard.removed_by_attack)) for guard in (ordered(model) if model else ())]
    title = f"Attacks removed, by guard: {called(model.name)}" if model else "Attacks removed, by guard"
    return by_column("removed-by-attack", title, "Attack", columns)


def harmless_sets(evaluation: Evaluation) -> Table:
    """Refusals and false alarms on unusual harmless prompts."""
    rows = [
        (
            f"{called(model.name)}: {called(found.name)}",
            {"Refused by the model": rate_cell(found.refused), "Flagged by our guard": rate_cell(found.flagged)},
        )
        for model in evaluation.models
        for found in model.harmless_sets
    ]
    return by_row("harmless-sets", "Unusual harmless prompts", "Model: harmless set", rows)


def signals(evaluation: Evaluation) -> Table:
    """AUROC by signal."""
    return _separations(evaluation, "signals", "AUROC by signal", lambda model: model.separations)


def unseen(evaluation: Evaluation) -> Table:
    """AUROC on families of attacks the detector never learnt from."""
    return _separations(evaluation, "unseen-families", "AUROC on unseen families", lambda model: model.unseen)


def _separations(
    evaluation: Evaluation, name: str, title: str, of: Callable[[ModelResult], Sequence[Separation]]
) -> Table:
    rows = [
        (called(model.name), {item.name: area_cell(item.auroc, item.note) for item in of(model)})
        for model in evaluation.models
        if of(model)
    ]
    return by_row(name, title, "Model", rows)


def incomplete(evaluation: Evaluation) -> Table:
    """Incomplete internal recovery by class."""
    rows = [(called(m.name), rate_cells(m.incomplete_recovery)) for m in evaluation.models if m.incomplete_recovery]
    note = "σ falls below 0.5 at some step and ends above it, and the text does not refuse."
    return by_row("incomplete-recovery", "Incomplete internal recovery", "Model", rows, note)


def surrogates(evaluation: Evaluation) -> Table:
    """A white-box model's signal as a guard of another model."""
    rows = tuple(
        (
            Cell(called(pair.guarded), note=pair.note),
            Cell(called(pair.by)),
            area_cell(pair.auroc),
            rate_cell(pair.removed),
            rate_cell(pair.false_alarm),
        )
        for pair in evaluation.surrogates
    )
    columns = ("Guarded model", "By the signal of", "AUROC", "Attacks removed", "False alarms")
    return Table("surrogates", "Surrogates", columns, rows, texts=frozenset({1}))
