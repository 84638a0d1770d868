"""One generation as a card of a page: what was asked and written, the verdict, and a player of its drafts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sri_sdk.records import Status
from sri_sdk.report import looks, words
from sri_sdk.report.data import Trajectory

PLOT_WIDTH, PLOT_HEIGHT = 320, 72
"""Of the small plot in the player, in its own units."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One position of the step player."""

    step: int
    """Counted from 1."""
    sigma: str
    x: float
    """In units of the small plot."""
    y: float | None
    """None = no signal at this step."""
    alarm: bool
    text: str


@dataclass(frozen=True, slots=True)
class Card:
    """One generation."""

    trajectory: Trajectory
    tone: looks.Tone
    badge: Status
    """What the verdict looks like."""
    verdict: str
    remark: str
    """What stands below the verdict; empty = nothing."""
    facts: tuple[tuple[str, str], ...]
    frames: tuple[Frame, ...]
    steps: int
    """Steps of the whole generation."""
    paths: tuple[str, ...]
    """The signal in the small plot, as SVG points; one run of seen cells each."""
    alarm_x: float | None
    middle_y: float


def card(item: Trajectory, facts: tuple[tuple[str, str], ...] | None = None) -> Card:
    """A generation, ready to be shown.

    Args:
        item: the generation.
        facts: name and value of what to show below the texts; None = what the verdict holds.
    """
    seen = np.flatnonzero(np.isfinite(item.sigma))
    steps = item.budget or item.verdict.steps_expected or len(item.sigma)
    alarm = item.verdict.first_alarm_step
    return Card(
        trajectory=item,
        tone=looks.tone(item.kind),
        badge="clear" if item.recovered is not None else item.verdict.status,
        verdict="recovered"
        if item.recovered is not None
        else f"{words.STATUS[item.verdict.status]} {words.when(item.verdict)}".strip(),
        remark=_remark(item),
        facts=_facts(item, steps) if facts is None else facts,
        frames=tuple(_frame(item, draft.step, draft.text, alarm) for draft in item.drafts),
        steps=steps,
        paths=_paths(item, seen),
        alarm_x=None if alarm is None or not len(item.sigma) else _x(item, item.cell(alarm)),
        middle_y=_y(0.5),
    )


def _remark(item: Trajectory) -> str:
    """Why the guard says so, and what the model did about it."""
    if item.recovered is not None:
        said = words.RECOVERED[item.recovered]
        return f"The guard had flagged the response. {said[0].upper()}{said[1:]}."
    refused = "The model refused, and the guard noticed." if words.noticed(item) else ""
    return " ".join(filter(None, (words.why(item.verdict), refused)))


_RULES = {"final": "at the end", "online": "at every step", "request": "when the prompt was read"}


def _facts(item: Trajectory, steps: int) -> tuple[tuple[str, str], ...]:
    verdict = item.verdict
    scores = [("Score", words.number(verdict.score)), ("Threshold", words.number(verdict.threshold))]
    return (
        ("Judge says", words.OUTCOME[item.outcome]),
        ("Ended", words.ended(verdict)),
        # Parts have a score and a threshold each.
        *([(f"Part {part.name}", words.part(part)) for part in verdict.parts] or scores),
        ("p-value", words.number(verdict.p_value, 2)),
        ("Rule", _RULES[verdict.rule]),
        ("Steps seen", f"{verdict.steps_seen if verdict.steps_seen is not None else words.DASH} of {steps}"),
    )


def _frame(item: Trajectory, step: int, text: str, alarm: int | None) -> Frame:
    cell = item.cell(step)
    sigma = float(item.sigma[cell]) if len(item.sigma) else float("nan")
    known = bool(np.isfinite(sigma))
    return Frame(
        step=step + 1,
        sigma=f"{sigma:.2f}" if known else words.DASH,
        x=_x(item, cell),
        y=_y(sigma) if known else None,
        alarm=alarm is not None and step >= alarm,
        text=words.printable(text),
    )


def _x(item: Trajectory, cell: int) -> float:
    return round(6 + (PLOT_WIDTH - 12) * cell / max(len(item.sigma) - 1, 1), 1)


def _y(sigma: float) -> float:
    return round(6 + (PLOT_HEIGHT - 12) * (1 - sigma), 1)


def _paths(item: Trajectory, seen: np.ndarray[Any, Any]) -> tuple[str, ...]:
    runs = np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1)
    return tuple(" ".join(f"{_x(item, c)},{_y(float(item.sigma[c]))}" for c in run) for run in runs if len(run))
