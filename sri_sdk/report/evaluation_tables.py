"""The numbers behind the figures, as tables: the page and the Markdown file show the same ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.results import CLASS_WORDS, Evaluation, GuardResult, ModelResult, Separation
from sri_sdk.report import words
from sri_sdk.report.evaluation_words import (
    all_remaining,
    attack_remaining,
    called,
    class_words,
    leading,
    ordered,
    ours,
    overhead,
    unguarded,
)
from sri_sdk.report.tables import Cell, Table, area_cell, keys, rate_cell


def models(evaluation: Evaluation) -> Table:
    """What each model does by itself, and how it recovers: RR, ASR, HRR, FRR, IRR."""
    found = evaluation.models
    rows: list[tuple[str, Callable[[ModelResult], Rate | None]]] = [
        ("RR, harmless", lambda m: m.refused_harmless),
        ("RR, harmful", lambda m: m.refused_harmful),
        ("ASR, no attack", lambda m: m.plain_success),
        ("ASR, all attacks", lambda m: m.success),
    ]
    rows += [(key, partial(_held, "recovery", key)) for key in keys(m.recovery for m in found)]
    rows += [
        (f"IRR, ends below {key}", partial(_held, "internal_recovery", key))
        for key in keys(m.internal_recovery for m in found)
    ]
    note = (
        "RR: responses that refuse. ASR: responses that do harm. HRR: generations with a harmful draft that is "
        "revised; FRR: those whose final text does no harm. IRR: σ above 0.5 at some step, and below the threshold "
        "at the end."
    )
    made = tuple((Cell(label), *(rate_cell(of(model)) for model in found)) for label, of in rows)
    return Table("models", "Models", ("Rate", *(called(model.name) for model in found)), made, note)


def attacks(evaluation: Evaluation) -> Table:
    """Success of each attack on each model."""

    def each(model: ModelResult) -> dict[str, Rate | None]:
        return {attack.name: attack.success for attack in model.attacks}

    return _by_attack(evaluation, "attack-success", "Attack success", each, lambda model: model.success)


def remains(evaluation: Evaluation) -> Table:
    """What remains of each attack after our guard: responses that do harm and are not flagged."""

    def each(model: ModelResult) -> dict[str, Rate | None]:
        return {attack.name: attack_remaining(model, attack) for attack in model.attacks}

    title = "Attack success after our guard"
    return _by_attack(evaluation, "attack-remains", title, each, all_remaining)


def attack_details(evaluation: Evaluation) -> Table:
    """One row per model and attack: refusals, the guard's share and AUROC, source."""
    rows = []
    for model in evaluation.models:
        guard = ours(model)
        for attack in model.attacks:
            removed = guard.removed_by_attack.get(attack.name) if guard else None
            rows.append(
                (
                    Cell(f"{called(model.name)}: {called(attack.name)}", note=attack.note),
                    Cell(attack.family or words.DASH),
                    Cell(attack.source or words.DASH),
                    rate_cell(attack.success),
                    rate_cell(attack.refused),
                    rate_cell(removed),
                    area_cell(attack.auroc),
                )
            )
    columns = ("Model: attack", "Family", "Source", "Succeeds", "Refused", "Removed by our guard", "AUROC of our guard")
    return Table("attack-details", "Attacks in detail", columns, tuple(rows), texts=frozenset({1, 2}))


def guards(model: ModelResult, name: str = "guards") -> Table:
    """Guards side by side on one model: one guard a column, ours first."""
    levels = sorted(keys((*guard.tpr, *guard.tpr_notes) for guard in model.guards), key=_level, reverse=True)
    sets = keys(guard.harmless_sets for guard in model.guards)
    mine = ours(model)
    rows: list[tuple[str, Callable[[GuardResult], Cell]]] = [
        ("Reads", lambda g: Cell(g.reads or words.DASH, note=g.source)),
        ("AUROC", lambda g: area_cell(g.auroc)),
        *((f"TPR at {_level_words(level)} FPR", partial(_tpr_cell, level)) for level in levels),
        ("Attacks removed", lambda g: rate_cell(g.removed)),
        ("False alarms", lambda g: rate_cell(g.false_alarm)),
        *((f"False alarms, {which}", partial(_set_cell, which)) for which in sets),
        ("Overhead", lambda g: Cell(overhead(g), note=g.overhead_note)),
        ("Overhead against ours", lambda g: Cell(_times_ours(g, mine))),
        ("Median alarm step", lambda g: Cell(_step(g))),
        ("Threshold", lambda g: Cell(g.threshold_rule or words.DASH)),
        ("Not scored", lambda g: Cell(f"{g.unscored:,}")),
    ]
    made = tuple((Cell(label), *(of(guard) for guard in ordered(model))) for label, of in rows)
    note = (
        "Attacks removed and false alarms are counted at each guard's own threshold, on prompts nothing was fitted on. "
        "Generations a guard could not score count as not flagged."
    )
    if model.guard_notes:
        note = f"{note} {unguarded(model)}"
    columns = ("", *(called(guard.name) for guard in ordered(model)))
    return Table(name, f"Guards side by side: {called(model.name)}", columns, made, note)


def _times_ours(guard: GuardResult, mine: GuardResult | None) -> str:
    """How many times as long as our guard it takes, measured on the same machine in the same run."""
    if mine is None or not mine.overhead or guard.overhead is None:
        return words.DASH
    ratio = guard.overhead / mine.overhead
    if not math.isfinite(ratio):
        return words.DASH
    return f"{ratio:.2g} times" if ratio < 10 else f"{ratio:,.0f} times"


def flags(evaluation: Evaluation) -> Table:
    """Flagged share of each class, for every guard on every model."""
    pairs = [(model, guard) for model in evaluation.models for guard in ordered(model)]
    names = [*CLASS_WORDS, *(n for n in keys(guard.flagged for _, guard in pairs) if n not in CLASS_WORDS)]
    rows = tuple(
        (Cell(f"{called(model.name)}: {called(guard.name)}"), *(rate_cell(guard.flagged.get(name)) for name in names))
        for model, guard in pairs
    )
    columns = ("Model: guard", *(class_words(name) for name in names))
    return Table("flags", "Flagged, by class", columns, rows)


def removed_by_attack(evaluation: Evaluation) -> Table:
    """Share of each attack's successes that each guard flags, on the model the report begins with."""
    model = leading(evaluation)
    found = ordered(model) if model else ()
    names = keys(guard.removed_by_attack for guard in found)
    rows = tuple(
        (Cell(called(name)), *(rate_cell(guard.removed_by_attack.get(name)) for guard in found)) for name in names
    )
    title = f"Attacks removed, by guard: {called(model.name)}" if model else "Attacks removed, by guard"
    return Table("removed-by-attack", title, ("Attack", *(called(guard.name) for guard in found)), rows)


def harmless_sets(evaluation: Evaluation) -> Table:
    """Refusals and false alarms on unusual harmless prompts."""
    rows = tuple(
        (Cell(f"{called(model.name)}: {called(found.name)}"), rate_cell(found.refused), rate_cell(found.flagged))
        for model in evaluation.models
        for found in model.harmless_sets
    )
    columns = ("Model: harmless set", "Refused by the model", "Flagged by our guard")
    return Table("harmless-sets", "Unusual harmless prompts", columns, rows)


def signals(evaluation: Evaluation) -> Table:
    """AUROC by signal."""
    return _separations(evaluation, "signals", "AUROC by signal", lambda model: model.separations)


def unseen(evaluation: Evaluation) -> Table:
    """AUROC on families of attacks the detector never learnt from."""
    return _separations(evaluation, "unseen-families", "AUROC on unseen families", lambda model: model.unseen)


def incomplete(evaluation: Evaluation) -> Table:
    """Incomplete internal recovery by class."""
    names = keys(model.incomplete_recovery for model in evaluation.models)
    rows = tuple(
        (Cell(called(model.name)), *(rate_cell(model.incomplete_recovery.get(name)) for name in names))
        for model in evaluation.models
        if model.incomplete_recovery
    )
    note = "σ falls below 0.5 at some step and ends above it, and the text does not refuse."
    columns = ("Model", *(class_words(name) for name in names))
    return Table("incomplete-recovery", "Incomplete internal recovery", columns, rows, note)


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


def _by_attack(
    evaluation: Evaluation,
    name: str,
    title: str,
    each: Callable[[ModelResult], dict[str, Rate | None]],
    together: Callable[[ModelResult], Rate | None],
) -> Table:
    found = [(model, each(model)) for model in evaluation.models]
    names = keys(rates for _, rates in found)
    rows = [(Cell(called(attack)), *(rate_cell(rates.get(attack)) for _, rates in found)) for attack in names]
    if rows:
        rows.append((Cell("all attacks"), *(rate_cell(together(model)) for model, _ in found)))
    return Table(name, title, ("Attack", *(called(model.name) for model, _ in found)), tuple(rows))


def _separations(
    evaluation: Evaluation, name: str, title: str, of: Callable[[ModelResult], Sequence[Separation]]
) -> Table:
    found = [(model, {item.name: item for item in of(model)}) for model in evaluation.models if of(model)]
    names = keys(items for _, items in found)
    rows = tuple(
        (Cell(called(model.name)), *(_separation_cell(items.get(key)) for key in names)) for model, items in found
    )
    return Table(name, title, ("Model", *(called(key) for key in names)), rows)


def _separation_cell(item: Separation | None) -> Cell:
    return Cell(words.DASH) if item is None else area_cell(item.auroc, item.note)


def _held(attribute: str, key: str, model: ModelResult) -> Rate | None:
    found: Mapping[str, Rate] = getattr(model, attribute)
    return found.get(key)


def _set_cell(which: str, guard: GuardResult) -> Cell:
    return rate_cell(guard.harmless_sets.get(which))


def _tpr_cell(level: str, guard: GuardResult) -> Cell:
    rate = guard.tpr.get(level)
    if rate is None:
        return Cell(words.DASH, guard.tpr_notes.get(level, ""))
    return rate_cell(rate)


def _level(level: str) -> float:
    try:
        return float(level)
    except ValueError:
        return -1.0


def _level_words(level: str) -> str:
    return f"{100 * _level(level):g} %" if _level(level) > 0 else level


def _step(guard: GuardResult) -> str:
    step = guard.median_alarm_step
    return f"{step:g}" if step is not None and math.isfinite(step) else words.DASH
