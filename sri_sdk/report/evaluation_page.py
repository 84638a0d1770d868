"""The page of an evaluation: models, attacks and guards on the same prompts."""

from __future__ import annotations

import math
from typing import cast, get_args

import numpy as np

from sri_sdk.metrics.results import Evaluation, Example
from sri_sdk.records import Outcome, Status, Verdict
from sri_sdk.report import evaluation_figures, evaluation_words, words
from sri_sdk.report.cards import Card, card
from sri_sdk.report.data import Draft, Trajectory
from sri_sdk.report.drawing import Width
from sri_sdk.report.evaluation_sections import sections
from sri_sdk.report.evaluation_words import called, class_words
from sri_sdk.report.panels import class_look
from sri_sdk.report.shell import Picture, page, picture
from sri_sdk.report.themes import Theme


def render(evaluation: Evaluation) -> str:
    """The page as text."""
    drawn = evaluation_figures.drawn(evaluation)
    return page(
        "evaluation.html",
        evaluation=evaluation,
        subtitle=evaluation_words.subtitle(evaluation),
        finding=evaluation_words.finding(evaluation),
        also=evaluation_words.also(evaluation),
        limited=evaluation_words.limited(evaluation),
        keys=evaluation_words.keys(evaluation),
        sections=sections(evaluation, drawn),
        pictures={name: _picture(name, evaluation) for name in drawn},
        cards=[_card(example, evaluation) for example in evaluation.examples],
    )


def _picture(name: str, evaluation: Evaluation) -> Picture:
    def svg(theme: Theme, width: Width) -> bytes:
        return evaluation_figures.svg(name, evaluation, theme, width)

    return picture(evaluation_words.ALT[name], svg)


def _card(example: Example, evaluation: Evaluation) -> Card:
    status = cast(Status, example.status if example.status in get_args(Status) else "unmonitored")
    outcome = cast(Outcome, example.outcome if example.outcome in get_args(Outcome) else "other")
    budget = next((m.budget for m in evaluation.models if m.name == example.model), 0) or len(example.drafts)
    alarm = example.first_alarm_step
    sigma = np.array(example.sigma, dtype=np.float32)
    item = Trajectory(
        title=example.title.strip() or class_words(example.kind).strip() or "generation",
        prompt=example.prompt,
        response=example.response,
        outcome=outcome,
        verdict=Verdict("", status, (), example.score, example.threshold, None, alarm),
        sigma=np.where(np.isfinite(sigma), sigma, np.float32("nan")),
        drafts=tuple(Draft(step, text) for step, text in enumerate(example.drafts)),
        budget=budget or None,
    )
    facts = (
        ("Model", called(example.model)),
        ("Class", class_words(example.kind)),
        ("Judge says", words.OUTCOME[outcome]),
        ("Score", words.number(example.score)),
        ("Threshold", _limit(example.threshold)),
        ("First alarm", words.DASH if alarm is None else f"step {alarm + 1}"),
    )
    return card(item, class_look(example.kind)[0], facts=facts)


def _limit(threshold: float | None) -> str:
    # Too little calibration data for the promise: nothing can be flagged, and a dash would not say so.
    return "none reachable" if threshold is not None and math.isinf(threshold) else words.number(threshold)
