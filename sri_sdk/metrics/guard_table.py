"""Guards side by side on one model, as plain cells: the page, the Markdown file and `sri eval` show this table."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from sri_sdk.metrics.cells import DASH, Cell, Table, area_cell, called, keys, rate_cell, share, step_of
from sri_sdk.metrics.results import GuardResult, ModelResult, our_guard

NOTE = (
    "Attacks removed and false alarms are counted at each guard's own threshold, on prompts nothing was fitted on. "
    "Generations a guard could not score count as not flagged."
)


def ordered(model: ModelResult) -> tuple[GuardResult, ...]:
    """The guards compared on it, ours first."""
    mine = our_guard(model.guards)
    return tuple(sorted(model.guards, key=lambda guard: guard is not mine))


def ours(model: ModelResult | None) -> GuardResult | None:
    """Our guard on it: the first that reads hidden states."""
    return None if model is None else our_guard(model.guards)


def unguarded(model: ModelResult) -> str:
    """Guards that could not run on it, and why; empty = all ran."""
    found = "; ".join(f"{called(name)}: {why.strip().rstrip('.')}" for name, why in model.guard_notes.items())
    return f"Not run: {found}." if found else ""


def overhead(guard: GuardResult) -> str:
    """Its time as a share of the time of generation: `0.02 %`."""
    if guard.overhead is None or not math.isfinite(guard.overhead):
        return "not measured"
    if guard.overhead <= 0:
        return "none measurable"  # Less than two runs of the same thing differ by.
    # Shares of ten or a hundred percent need no digit behind the point.
    return share(guard.overhead) if guard.overhead < 0.1 else f"{100 * guard.overhead:.0f} %"


def guard_table(model: ModelResult, name: str = "guards") -> Table:
    """One guard a column, ours first; one measure a row."""
    levels = sorted(keys((*guard.tpr, *guard.tpr_notes) for guard in model.guards), key=_level, reverse=True)
    sets = keys(guard.harmless_sets for guard in model.guards)
    mine = ours(model)
    rows: list[tuple[str, Callable[[GuardResult], Cell]]] = [
        ("Reads", lambda g: Cell(g.reads or DASH, note=g.source)),
        ("AUROC", lambda g: area_cell(g.auroc)),
        *((f"TPR at {_level_words(level)} FPR", partial(_tpr_cell, level)) for level in levels),
        ("Attacks removed", lambda g: rate_cell(g.removed)),
        ("False alarms", lambda g: rate_cell(g.false_alarm)),
        *((f"False alarms, {which}", partial(_set_cell, which)) for which in sets),
        ("Overhead", lambda g: Cell(overhead(g), note=g.overhead_note)),
        ("Overhead against ours", lambda g: Cell(_times_ours(g, mine))),
        ("Median alarm step", lambda g: Cell(step_of(g.median_alarm_step))),
        ("Threshold", lambda g: Cell(g.threshold_rule or DASH)),
        ("Not scored", lambda g: Cell(f"{g.unscored:,}")),
    ]
    made = tuple((Cell(label), *(of(guard) for guard in ordered(model))) for label, of in rows)
    columns = ("", *(called(guard.name) for guard in ordered(model)))
    title = f"Guards side by side: {called(model.name)}"
    return Table(name, title, columns, made, f"{NOTE} {unguarded(model)}".rstrip())


def _times_ours(guard: GuardResult, mine: GuardResult | None) -> str:
    """How many times as long as our guard it takes, measured on the same machine in the same run."""
    if mine is None or not mine.overhead or guard.overhead is None:
        return DASH
    ratio = guard.overhead / mine.overhead
    if not math.isfinite(ratio):
        return DASH
    return f"{ratio:.2g} times" if ratio < 10 else f"{ratio:,.0f} times"


def _set_cell(which: str, guard: GuardResult) -> Cell:
    return rate_cell(guard.harmless_sets.get(which))


def _tpr_cell(level: str, guard: GuardResult) -> Cell:
    rate = guard.tpr.get(level)
    return rate_cell(rate) if rate is not None else Cell(DASH, remark=guard.tpr_notes.get(level, ""))


def _level(level: str) -> float:
    try:
        return float(level)
    except ValueError:
        return -1.0


def _level_words(level: str) -> str:
    return f"{100 * _level(level):g} %" if _level(level) > 0 else level
