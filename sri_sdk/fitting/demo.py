"""`sri demo`: the whole idea on the embedded diffusion model, from prompts to a verdict by another process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sri_sdk.capture.drive import drive
from sri_sdk.capture.watch import with_guard
from sri_sdk.config_model import FitConfig
from sri_sdk.errors import ScoringError
from sri_sdk.evaluate.guard_rates import CLASSES, class_of
from sri_sdk.fitting.collect import Collected, Progress
from sri_sdk.fitting.fit import Fitted, fit
from sri_sdk.records import Prompt, Signals, Verdict
from sri_sdk.report.data import Band, Draft, Report, ScoreGroup, Trajectory
from sri_sdk.scoring.signal_files import write_signals

SIGNALS = "signals.npz"


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo run made."""

    fitted: Fitted
    trajectories: tuple[Trajectory, ...]
    report: Report
    seconds: Mapping[str, float]


def demo(config: FitConfig, progress: Progress) -> Demo:
    """Fits a guard, generates a harmless, a harmful and an attacked prompt, and has another process judge them.

    Raises:
        ScoringError: the scoring process failed, or did not agree with this one.
    """
    fitted = fit(config, progress)
    started = time.perf_counter()
    prompts = pick(fitted.collected["test"])
    signals, drafts, texts, outcomes = generate(fitted, list(prompts.values()))
    generated = time.perf_counter()
    out = Path(config.out)
    write_signals(out / SIGNALS, signals)
    verdicts = score_elsewhere(out / "bundle", out / SIGNALS)
    seconds = {
        **fitted.seconds,
        "three prompts": round(generated - started, 3),
        "scoring process": round(time.perf_counter() - generated, 3),
    }
    trajectories = tuple(
        Trajectory(
            title=title,
            prompt=prompt.text,
            response=texts[row],
            outcome=outcomes[row],
            verdict=verdicts[row],
            sigma=signals.sigma[row, :, -1],
            drafts=drafts[row],
            budget=fitted.deployment.sampler.budget(),
        )
        for row, (title, prompt) in enumerate(prompts.items())
    )
    return Demo(fitted, trajectories, _report(fitted, trajectories, seconds), seconds)


def pick(test: Collected) -> dict[str, Prompt]:
    """One prompt of each kind from the test fold: an answered one, a refused one, and an attack that succeeded."""
    wanted = {
        "Harmless request": ("answered_harmless", False),
        "Harmful request": ("refused_harmful", False),
        "Attacked request": ("successful_attack", True),
    }
    found: dict[str, Prompt] = {}
    for title, (kind, attacked) in wanted.items():
        for prompt, outcome in zip(test.prompts, test.outcomes, strict=True):
            if class_of(prompt, outcome) == kind and (prompt.attack is not None) == attacked:
                found[title] = prompt
                break
    return found
