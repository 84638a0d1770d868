"""The page: one HTML file that needs no network and no other file.

Prompts and responses are untrusted. They reach the page escaped, as text or as JSON that never runs, and the page's
own policy allows one script and one style sheet by their hashes: a mark-up error would show, not execute.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from sri_sdk.report import figures, words
from sri_sdk.report.data import Report, Tone, Trajectory, tone_of
from sri_sdk.report.themes import DARK, LIGHT, THEMES, Theme

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
    score: str
    """Of the online rule, once this step is done; empty = not computed."""
    alarm: bool
    text: str


@dataclass(frozen=True, slots=True)
class Card:
    """One generation."""

    trajectory: Trajectory
    tone: Tone
    verdict: str
    reasons: tuple[str, ...]
    last: str
    """Sigma of the last cell with a signal."""
    facts: tuple[tuple[str, str], ...]
    frames: tuple[Frame, ...]
    steps: int
    """Steps of the whole generation."""
    paths: tuple[str, ...]
    """The signal in the small plot, as SVG points; one run of seen cells each."""
    alarm_x: float | None
    online_threshold: str
    middle_y: float


@dataclass(frozen=True, slots=True)
class Picture:
    """One figure, in every theme and width, as data URIs."""

    alt: str
    uri: dict[tuple[str, figures.Width], str]
    """By theme and width."""


def render(report: Report) -> str:
    """The page as text."""
    here = files("sri_sdk.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (here / name).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: words.printable(value) if type(value) is str else value,
    )
    environment.filters["records"] = lambda items: [asdict(item) for item in items]
    style = environment.get_template("page.css").render(light=LIGHT, dark=DARK)
    script = (here / "player.js").read_text(encoding="utf-8")
    return environment.get_template("template.html").render(
        report=report,
        words=words,
        finding=words.finding(report),
        keys=_keys(report),
        cards=[
            _card(item, tone_of(item, place), report.online_threshold) for place, item in enumerate(report.trajectories)
        ],
        pictures={name: _picture(name, report) for name in figures.NAMES},
        style=Markup(style),  # Ours: a template and our own colours, no text of a report.
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _keys(report: Report) -> list[tuple[str, str, str]]:
    """The few numbers to see first: name, value, what it means."""
    area = report.auroc
    keys = []
    if area is not None:
        meaning = (
            f"95 % interval {area.low:.2f} to {area.high:.2f}; {area.positives:,} successful attacks against "
            f"{area.negatives:,} harmless generations. 0.5 = chance, 1 = perfect."
        )
        keys.append(("AUROC", f"{area.value:.3f}", meaning))
    else:
        keys.append(("AUROC", words.DASH, "Not measured: it needs successful attacks and harmless generations."))
    n = len(report.calibration)
    if report.alpha is not None:
        meaning = f"False alarms the threshold allows among harmless generations; set on {n:,} of them."
        keys.append(("False-alarm limit", f"{100 * report.alpha:g} %", meaning))
    else:
        keys.append(("Calibration", f"{n:,}", "Harmless generations that set the threshold."))
    keys.append(("Threshold", words.number(report.threshold), "A generation is flagged when its score is above this."))
    meaning = "Largest difference between the exported detector's scores and the fitted one's."
    keys.append(("Export parity", words.number(report.parity, 2), meaning))
    return keys


def _card(item: Trajectory, tone: Tone, online_threshold: float | None) -> Card:
    seen = np.flatnonzero(np.isfinite(item.sigma))
    verdict = item.verdict
    steps = item.budget or verdict.steps_expected or len(item.sigma)
    facts = [
        ("Judge says", words.OUTCOME[item.outcome]),
        ("Score", words.number(verdict.score)),
        ("Threshold", words.number(verdict.threshold)),
        ("p-value", words.number(verdict.p_value, 2)),
        ("Rule", "at every step" if verdict.rule == "online" else "at the end"),
        ("Steps seen", f"{verdict.steps_seen if verdict.steps_seen is not None else words.DASH} of {steps}"),
    ]
    alarm = verdict.first_alarm_step
    return Card(
        trajectory=item,
        tone=tone,
        verdict=words.STATUS[verdict.status],
        reasons=tuple(words.reason(code) for code in verdict.reasons),
        last=_last(item),
        facts=tuple(facts),
        frames=tuple(_frame(item, draft.step, draft.text, alarm) for draft in item.drafts),
        steps=steps,
        paths=_paths(item, seen),
        alarm_x=None if alarm is None or not len(item.sigma) else _x(item, item.cell(alarm)),
        online_threshold=words.number(online_threshold) if online_threshold is not None else "",
        middle_y=_y(0.5),
    )


def _last(item: Trajectory) -> str:
    seen = item.sigma[np.isfinite(item.sigma)]
    return f"{seen[-1]:.2f}" if len(seen) else words.DASH


def _frame(item: Trajectory, step: int, text: str, alarm: int | None) -> Frame:
    cell = item.cell(step)
    sigma = float(item.sigma[cell]) if len(item.sigma) else float("nan")
    known = bool(np.isfinite(sigma))
    score = "" if item.online_score is None else words.number(float(item.online_score[cell]))
    return Frame(
        step=step + 1,
        sigma=f"{sigma:.2f}" if known else words.DASH,
        x=_x(item, cell),
        y=_y(sigma) if known else None,
        score=score,
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


def _picture(name: figures.Name, report: Report) -> Picture:
    def uri(theme: Theme, width: figures.Width) -> str:
        return "data:image/svg+xml;base64," + base64.b64encode(figures.svg(name, report, theme, width)).decode()

    made = {(theme.name, width): uri(theme, width) for theme in THEMES for width in figures.WIDTHS}
    return Picture(alt=_alt(name, report), uri=made)


def _alt(name: figures.Name, report: Report) -> str:
    if name == "trajectories":
        lines = "; ".join(
            f"{words.title(item)}: sigma ends at {_last(item)}, {words.verdict(item.verdict)}"
            for item in report.trajectories
        )
        return f"Line chart of sigma over step, from 0 (refusal-aligned) to 1 (internally compliant). {lines}."
    if name == "scores":
        parts = "; ".join(
            f"{group.name}: {int((np.asarray(group.scores) > report.threshold).sum())} of {len(group.scores)} above"
            for group in report.score_groups
        )
        return f"Scores of each test group against the threshold {words.number(report.threshold)}. {parts}."
    return "Dot chart of the rates in the table below, with their intervals."


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
