"""What a fit learns from, generated once: anchors, the request map, and the signals of every fold."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sri_sdk.anchors import Anchors
from sri_sdk.config.fit import FitConfig
from sri_sdk.executor import Executor
from sri_sdk.fitting.collect import Collected, Collector, Progress
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.dispatch import workers_of
from sri_sdk.fitting.folds import Folds
from sri_sdk.fitting.forecast import Forecast
from sri_sdk.fitting.labelled import STAGE, LabelledAttacks, label
from sri_sdk.fitting.observed import Observed
from sri_sdk.fitting.request_stage import STAGE as REQUEST
from sri_sdk.fitting.request_stage import collect_request_map
from sri_sdk.fitting.tally import log
from sri_sdk.records import Prompt, Signals
from sri_sdk.scoring.guard import ANCHORS

KEPT = ("anchors", "request", "train", "labelled")
"""Folds whose results stay where only thresholds are set anew."""


class Stopwatch:
    """Wall-clock seconds per named stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Times a block."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Of one fit."""

    deployment: Deployment
    collector: Collector
    anchors: Anchors
    """With the request map, if the guard has that column."""
    collected: dict[str, Collected]
    """Per fold: train, reference, calibration, test, labelled. Without what detectors learn from where only thresholds
    are set anew."""
    attacks: LabelledAttacks | None = None
    """Of the fold `labelled`, and labelled traffic, where there is some."""
    observed: Observed = field(default_factory=lambda: Observed(None, None))
    """Labelled traffic, attacks included."""

    @property
    def harmless(self) -> Signals:
        """What detectors learn from as harmless: the train fold, and labelled traffic."""
        return self.observed.with_harmless(self.collected["train"].signals)


def gather(
    config: FitConfig, folds: Folds, progress: Progress, timed: Stopwatch, *, recalibrate: bool,
    executor: Executor | None = None,
) -> Gathered:  # fmt: skip
    """Generates and reads everything that a fit needs; an interrupted one continues where it stopped.

    Args:
        config: a checked config.
        folds: its prompts.
        progress: called as generations are done.
        timed: takes the time of each stage.
        recalibrate: take anchors and map from `config.out`.
        executor: starts the workers that generate; None = this process does.

    Raises:
        ConfigError: too few gave something to average, or too many responses cannot be judged.
        CaptureError: a generation could not be watched whole, or a request not be read.
        WorkerLost: workers ended over one batch more often than is allowed.
    """
    out, named = Path(config.out), folds.named()
    log.info("loading the model of hook %s; then %s prompts", config.model.hook, sum(map(len, named.values())))
    with timed("model"):
        deployment = Deployment.open(config)
    observed = Observed.read(None if recalibrate else config.folds.train, deployment.fingerprint)
    generated = {name: prompts for name, prompts in named.items() if not (recalibrate and name in KEPT)}
    answered = sum(len(prompts) for name, prompts in generated.items() if name != REQUEST)
    collector = Collector.of(deployment, out / "cache", Forecast(answered, progress))
    collector.refuse_special(generated)
    with workers_of(executor, deployment) as dispatcher:
        dealing = replace(collector, dispatcher=dispatcher)
        found = _gathered(dealing, deployment, folds, generated, observed, timed, recalibrate)
    return replace(found, collector=collector)


def _gathered(
    collector: Collector, deployment: Deployment, folds: Folds, generated: Mapping[str, tuple[Prompt, ...]],
    observed: Observed, timed: Stopwatch, recalibrate: bool,
) -> Gathered:  # fmt: skip
    config, train = deployment.config, deployment.config.folds.train
    with timed("anchors"):
        if recalibrate:
            anchors = _old_anchors(Path(config.out), deployment)
        else:
            # The request's place is cheap to find and says early whether templates are read as they should.
            read = collect_request_map(collector, folds.request) if folds.request else None
            made = collector.anchors(folds.anchors) if deployment.settings.layers else collector.no_anchors()
            anchors = replace(made, request=read)
        observed.check(anchors)
    collected = {}
    attacks: LabelledAttacks | None = None
    # Whether enough attacks succeed is the least certain of all, so they come first.
    for name in sorted(generated, key=lambda each: each != STAGE):
        if name not in ("anchors", "request") and generated[name]:
            with timed(name):
                collected[name] = collector.signals(name, generated[name], anchors)
            if name == STAGE and train is not None:
                attacks = label(collected[name], train)
    return Gathered(deployment, collector, anchors, collected, observed.with_attacks(attacks), observed)


def _old_anchors(out: Path, deployment: Deployment) -> Anchors:
    anchors = Anchors.load(out / ANCHORS)
    anchors.fingerprint.admit(deployment.fingerprint, subject="recalibrate", accept=deployment.config.accept)
    # The thresholds will hold for the circumstances of today, so the guard says those.
    return replace(anchors, fingerprint=deployment.fingerprint)
