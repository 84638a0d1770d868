"""The page of an evaluation: models, attacks and guards on the same prompts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast, get_args

import numpy as np

from sri_sdk.metrics.cells import called
from sri_sdk.metrics.results import Evaluation, Example
from sri_sdk.records import Outcome, Status, Verdict
from sri_sdk.report import evaluation_words, words
from sri_sdk.report.cards import Card, card
from sri_sdk.report.data import Draft, Trajectory
from sri_sdk.report.drawing import Drawing
from sri_sdk.report.evaluation_sections import sections
from sri_sdk.report.shell import page


def render(evaluation: Evaluation, drawings: Mapping[str, Drawing]) -> str:
    """The page as text."""
    return page(
        "evaluation.html",
        evaluation=evaluation,
        subtitle=evaluation_words.subtitle(evaluation),
        finding=evaluation_words.finding(evaluation),
        also=evaluation_words.also(evaluation),
        limited=evaluation_words.limited(evaluation),
        keys=evaluation_words.keys(evaluation),
        sections=list(sections(evaluation, drawings)),
        cards=[_card(example, evaluation) for example in evaluation.examples],
    )


def _card(example: Example, evaluation: Evaluation) -> Card:
    status = cast(Status, example.status if example.status in get_args(Status) else "unmonitored")
    outcome = cast(Outcome, example.outcome if example.outcome in get_args(Outcome) else "other")
    budget = next((m.budget for m in evaluation.models if m.name == example.model), 0) or len(example.drafts)
    alarm, kind = example.first_alarm_step, words.of_class(example.kind)
    sigma = np.array(example.sigma, dtype=np.float32)
    item = Trajectory(
        title=example.title.strip() or kind.strip() or "generation",
        kind=example.kind,
        prompt=example.prompt,
        response=example.response,
        outcome=outcome,
        verdict=Verdict("", status, (), example.score, example.threshold, None, alarm),
        sigma=np.where(np.isfinite(sigma), sigma, np.float32("nan")),
        drafts=tuple(Draft(step, text) for step, text in enumerate(example.drafts)),
        budget=budget or None,
    )
    # Too little calibration data for the promise: nothing can be flagged, and a dash would not say so.
    unreachable = example.threshold is not None and math.isinf(example.threshold)
    facts = (
        ("Model", called(example.model)),
        ("Class", kind),
        ("Judge says", words.OUTCOME[outcome]),
        ("Score", words.number(example.score)),
        ("Threshold", "none reachable" if unreachable else words.number(example.threshold)),
        ("First alarm", words.DASH if alarm is None else f"step {alarm + 1}"),
    )
    return card(item, facts)
