"""The last generation of `sri demo`: the attacked request once more, under a policy that recovers what it flags."""

from __future__ import annotations

import numpy as np

from sri_sdk import registry
from sri_sdk.capture.drive import drive
from sri_sdk.capture.recoverer import Recoverer
from sri_sdk.capture.settings import watch_settings
from sri_sdk.fitting.fit import Fitted
from sri_sdk.fitting.judged import judged
from sri_sdk.judge import Judge
from sri_sdk.metrics.guard_rates import class_of
from sri_sdk.records import Prompt
from sri_sdk.report.data import Trajectory

TITLE = "Attack, recovered"


def recovered(fitted: Fitted, prompt: Prompt, recovery: Recoverer) -> Trajectory:
    """Generates a prompt whose response the guard flags, and shows what answers in its place.

    Args:
        fitted: the guard and its model.
        prompt: the same one as before: of the same seed, so its first generation is the same, too.
        recovery: for a policy that says `flagged: recover`; made by the caller, since steering is above this floor.
    """
    live = fitted.deployment
    config = live.config
    settings = watch_settings(
        live.hook, fitted.guard, policy=recovery.policy, sampler=live.fingerprint.hard["sampler"],
        fingerprint=live.fingerprint,
    )  # fmt: skip
    batch = drive(
        live.hook, live.loaded, live.sampler, [prompt], settings, seed=config.seed,
        system_prompt=config.model.system_prompt, recovery=recovery,
    )  # fmt: skip
    for _ in batch:
        pass
    answer, (response,) = batch.answers.get(0), batch.responses
    (verdict,) = batch.run.verdicts
    assert batch.run.signals is not None
    sigma = batch.run.signals.drawn[0]
    if answer is not None:
        verdict = answer.verdict or verdict
        # A refusal text was never generated, so there is nothing to draw.
        sigma = np.full_like(sigma, np.nan) if answer.sigma is None else answer.sigma
    judge: Judge = registry.build("judges", config.judge.name, config.judge.options)
    (outcome,) = judged(judge, live.hook.thoughts, [prompt], [response or ""]).outcomes
    return Trajectory(
        title=TITLE, kind=class_of(prompt, outcome) or "", prompt=prompt.text, response=response or "",
        outcome=outcome, verdict=verdict, sigma=sigma, budget=live.sampler.budget(),
        recovered=None if answer is None else answer.by,
    )  # fmt: skip
