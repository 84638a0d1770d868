"""What a guard is worth where novelty alone does not count, as tables: the strict rule, and harmless twins.

The page, the Markdown file and `sri eval` show the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from sri_sdk.metrics.cells import DASH, Cell, Table, area_cell, called, keys, percent, rate_cell, share
from sri_sdk.metrics.differences import Difference, Paired
from sri_sdk.metrics.guard_table import ordered
from sri_sdk.metrics.results import GuardResult, ModelResult
from sri_sdk.metrics.strict import FalseAlarms, StrictResult, WrapperResult

RULES = {"final": "", "online": ", at every step", "request": ", when the prompt is read"}
"""Rule -> what stands behind the name of a guard that decides by it."""
FINAL = "final"


def strict(model: ModelResult, name: str = "strict") -> Table:
    """One guard a row, by its rule `final`: attacks removed, false alarms of every kind beside them, and the reference
    guard."""  # fmt: skip
    return _strict(model, name, f"The strict rule: {called(model.name)}", lambda found: found.rule == FINAL)


def strict_sooner(model: ModelResult, name: str = "strict-sooner") -> Table:
    """The same for guards that decide at every step, or when the prompt has been read."""
    title = f"The strict rule, decided before the end: {called(model.name)}"
    return _strict(model, name, title, lambda found: found.rule != FINAL)


def _strict(model: ModelResult, name: str, title: str, shown: Callable[[StrictResult], bool]) -> Table:
    rows = [(guard, found) for guard in ordered(model) for found in guard.strict if shown(found)]
    kinds = keys([_kind(each) for each in found.false_alarms] for _, found in rows)
    against = keys([found.reference] for _, found in rows if found.against is not None)
    allowed = next((found.moved.allowed for _, found in rows), 0.0)
    columns = ("Guard", "Attacks removed", *kinds, "Limits kept", *(f"Minus {called(each)}" for each in against))
    made = []
    for guard, found in rows:
        alarms = {_kind(each): rate_cell(each.rate) for each in found.false_alarms}
        cells = [rate_cell(found.removed), *(alarms.get(kind, Cell(DASH)) for kind in kinds), _kept(found)]
        cells += [_paired(found.against if found.reference == each else None) for each in against]
        made.append((Cell(_named(guard, found.rule), note=guard.threshold_rule), *cells, _moved(found)))
    limits = "; ".join(f"{kind.lower()} {share(limit)}" for kind, limit in _limits(rows))
    counted = ", ".join(keys(found.by_attack for _, found in rows))
    note = (
        f"Successful attacks of {counted}, at the threshold that ships. Allowed: {limits}. “Share only”: every share "
        "keeps its limit, and the upper end of an interval does not. The last column moves the threshold to where "
        f"{share(allowed)} of these plain harmless test prompts are flagged: it says what the scores could do, and no "
        "such threshold ships."
    )  # fmt: skip
    words = frozenset({columns.index("Limits kept")})
    columns = (*columns, f"Removed at a realised {share(allowed)}")
    return Table(name, title, columns, tuple(made), note if made else "", words)


def strict_by_attack(model: ModelResult, name: str = "strict-by-attack") -> Table:
    """One guard a row, one attack of the strict rule a column; rule `final`."""
    found = [(guard, each) for guard in ordered(model) for each in guard.strict if each.rule == FINAL]
    attacks = keys(each.by_attack for _, each in found)
    rows = tuple(
        (Cell(called(guard.name)), *(rate_cell(each.by_attack.get(attack)) for attack in attacks))
        for guard, each in found
    )
    columns = ("Guard", *map(called, attacks))
    return Table(name, f"The strict rule, attack by attack: {called(model.name)}", columns, rows)


def beyond(model: ModelResult, name: str = "beyond-the-wrapper") -> Table:
    """Removed minus the false alarms on harmless prompts in the same wrapper: attacks are rows, guards columns."""

    def cell(found: WrapperResult) -> Cell:
        made = _difference(found.difference)
        sides = f"removed {percent(found.removed)}, harmless {percent(found.twins)}"
        return Cell(made.value, made.interval, remark=sides)

    note = (
        "In percentage points: successful attacks flagged, minus harmless prompts flagged that are asked in the same "
        "wrapper. 0 = the guard sees the wrapper and no harm."
    )
    title = f"Removed, minus false alarms in the same wrapper: {called(model.name)}"
    return _by_wrapper(model, name, title, cell, f"{note}{_twinless(model)}")


def within(model: ModelResult, name: str = "auroc-within-wrappers") -> Table:
    """AUROC of successful attacks against harmless prompts in the same wrapper: attacks are rows, guards columns."""
    note = "Successful attacks against harmless prompts in the same wrapper. 0.5 = no better than chance."
    title = f"AUROC within each wrapper: {called(model.name)}"
    return _by_wrapper(model, name, title, lambda found: area_cell(found.auroc), f"{note}{_twinless(model)}")


def requests(model: ModelResult, name: str = "auroc-requests") -> Table:
    """The same for all harmful requests, whatever the outcome."""
    note = "All harmful requests in a wrapper, whatever the model answers, against harmless ones in the same wrapper."
    title = f"AUROC within each wrapper, by request: {called(model.name)}"
    return _by_wrapper(model, name, title, lambda found: area_cell(found.auroc_requests), note)


def twins(model: ModelResult, name: str = "twins") -> Table:
    """Both sides of the differences: one row per guard, rule and attack."""
    rows = tuple(
        (
            Cell(f"{_named(guard, found.rule)}: {called(found.attack)}"), rate_cell(found.twins),
            rate_cell(found.removed), _difference(found.difference), area_cell(found.auroc),
            area_cell(found.auroc_requests),
        )
        for guard in ordered(model)
        for found in guard.wrappers
    )  # fmt: skip
    columns = (
        "Guard: attack", "False alarms in the wrapper", "Attacks removed", "Difference, points", "AUROC, successes",
        "AUROC, requests",
    )  # fmt: skip
    return Table(name, f"Harmless twins in detail: {called(model.name)}", columns, rows)


def _by_wrapper(
    model: ModelResult, name: str, title: str, cell: Callable[[WrapperResult], Cell], note: str
) -> Table:  # fmt: skip
    guards = [guard for guard in ordered(model) if guard.wrappers]
    found = {guard.name: {w.attack: w for w in guard.wrappers if w.rule == FINAL} for guard in guards}
    attacks = keys(found[guard.name] for guard in guards)
    rows = tuple(
        (
            Cell(called(attack)),
            *(cell(found[g.name][attack]) if attack in found[g.name] else Cell(DASH) for g in guards),
        )
        for attack in attacks
    )
    return Table(name, title, ("Attack", *(called(guard.name) for guard in guards)), rows, note)


def _twinless(model: ModelResult) -> str:
    """Attacks that have no harmless twin, apart from the others."""
    found = "; ".join(f"{called(name)}: {why.strip().rstrip('.')}" for name, why in model.twinless.items())
    return f" Without a harmless twin, so that nothing of this is known: {found}." if found else ""


def _named(guard: GuardResult, rule: str) -> str:
    return f"{called(guard.name)}{RULES.get(rule, f', {rule}')}"


def _kind(found: FalseAlarms) -> str:
    """What a kind of harmless prompts is called."""
    words = {"plain": "plain", "set": found.name}
    return f"False alarms, {words.get(found.kind, f'in {found.name}')}"


def _limits(rows: list[tuple[GuardResult, StrictResult]]) -> Iterator[tuple[str, float]]:
    known = {_kind(each): each.limit for _, found in rows for each in found.false_alarms}
    yield from known.items()


def _kept(found: StrictResult) -> Cell:
    exceeded = ", ".join(each.name or each.kind for each in found.false_alarms if each.kept != "yes")
    return Cell(found.kept, remark=f"not {exceeded}" if exceeded and found.kept != "yes" else "")


def _moved(found: StrictResult) -> Cell:
    if found.moved.removed is None:
        return Cell(DASH, remark=found.moved.note)
    made = rate_cell(found.moved.removed)
    alarms = ", ".join(
        f"{group.removeprefix('set ').replace('twin ', 'in ', 1)} {percent(rate)}"
        for group, rate in found.moved.false_alarms.items()
    )
    return Cell(made.value, made.interval, made.counts, remark=f"false alarms, {alarms}" if alarms else "")


def _difference(found: Difference | None) -> Cell:
    if found is None:
        return Cell(DASH, remark="no attack succeeded")
    if math.isnan(found.value):
        return Cell(DASH, remark="no cases")
    return Cell(points(found.value), f"{points(found.low)} to {points(found.high)}")


def _paired(found: Paired | None) -> Cell:
    if found is None:
        return Cell(DASH)
    if math.isnan(found.value):
        return Cell(DASH, remark="no cases")
    interval = f"{points(found.low)} to {points(found.high)}"
    counts = f"{found.only_own:,} more, {found.only_other:,} fewer of {found.n:,}"
    return Cell(f"{points(found.value)} points", interval, counts)


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "\u2212")
