"""What `sri doctor CONFIG` finds out: what a fit would see and cost, from a small sample of its prompts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sri_sdk.config.fit import FitConfig
from sri_sdk.config.folds import FEWEST_LABELLED
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.counters import Count
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.prompts import prompts_of
from sri_sdk.fitting.request import fit_request_map, request_states
from sri_sdk.fitting.request_stage import STAGE as REQUEST
from sri_sdk.fitting.request_stage import held_out_quality, read, words
from sri_sdk.metrics.rates import Rate, exact_rate
from sri_sdk.records import Label, Outcome, Prompt

Made = TypeVar("Made")
LABELS: tuple[Label, ...] = ("harmless", "harmful")


@dataclass(frozen=True, slots=True)
class Sample:
    """The first prompts of the anchors fold, generated and judged as a fit would; of the train fold without anchors."""

    source: str
    """What the model was loaded from."""
    folds: Mapping[str, Mapping[str, int]]
    """Fold -> kind of prompt -> how many the config takes."""
    outcomes: Mapping[Label, tuple[Outcome, ...]]
    """What the judge said of each response, by label of the prompt."""
    counts: Mapping[str, Count]
    """What may make a fit worthless, by counter."""
    tokens: int
    """Of all responses that were watched."""
    watched: float
    """Seconds of generating them under the tap, without judging."""
    judging: float
    """Seconds the judge took for them."""
    tapped: float
    """Seconds of the harmless ones alone under the tap."""
    untapped: float
    """Seconds of the same generations without it."""
    request: str | None = None
    """How well a map of the request does that a part of its fold gives, on prompts it had not seen; None = no map."""

    @property
    def size(self) -> int:
        """Prompts that were watched."""
        return sum(map(len, self.outcomes.values()))

    @property
    def tap_cost(self) -> float:
        """Share by which the tap slows generation down; below 0 = lost in noise."""
        return self.tapped / self.untapped - 1

    @property
    def prompts(self) -> int:
        """Prompts that a whole fit answers; those that are only read take little time."""
        return sum(sum(counts.values()) for fold, counts in self.folds.items() if fold != REQUEST)

    @property
    def fit_seconds(self) -> float:
        """Seconds that answering and judging them takes at the speed of the sample."""
        return (self.watched + self.judging) / self.size * self.prompts

    def refused(self, label: Label) -> int:
        """How many prompts of a class were refused."""
        return self.outcomes[label].count("refusal")

    def counted(self, label: Label) -> float:
        """How many generations an anchor of the whole fold would be the mean of, at the rate of the sample."""
        rate = self._used(label)
        return rate.value * self.folds.get("anchors", {}).get(label, 0)

    def counted_between(self, label: Label) -> tuple[float, float]:
        """The same with both ends of the rate's 95 % interval: where it lies, as far as the sample can tell."""
        rate, wanted = self._used(label), self.folds.get("anchors", {}).get(label, 0)
        return rate.low * wanted, rate.high * wanted

    def _used(self, label: Label) -> Rate:
        """The share of prompts of a class that count: refused harmful ones, and answered harmless ones."""
        seen, refused = len(self.outcomes[label]), self.refused(label)
        return exact_rate(label, refused if label == "harmful" else seen - refused, seen)


def sample(config: FitConfig, per_class: int) -> Sample:
    """Generates a few prompts of each class, once with the tap and the harmless ones once without.

    Args:
        config: a checked config; nothing is written under its `out`.
        per_class: prompts per class, as far as the anchors fold has them.

    Raises:
        ConfigError: prompts overlap or are too few.
        CaptureError: a generation could not be watched whole.
    """
    folds = prompts_of(config)
    source = folds.anchors or folds.train or folds.calibration
    few = {label: [p for p in source if p.label == label][:per_class] for label in LABELS}
    few = {label: prompts for label, prompts in few.items() if prompts}
    deployment = Deployment.open(config)
    collector = Collector.of(deployment, Path(config.out) / "cache", lambda *_: None)
    # The first generation warms up: kernels, caches, lazy imports.
    collector.respond(few["harmless"][:1])
    untapped, _ = _timed(collector.respond, few["harmless"])
    seconds: dict[Label, float] = {}
    judging, tokens = 0.0, 0
    outcomes: dict[Label, tuple[Outcome, ...]] = {}
    settings = replace(collector.settings, keep_states=True, request_layers=())
    for label, prompts in few.items():
        seconds[label], driven = _timed(collector.run, prompts, settings)
        texts = driven.texts
        took, said = _timed(collector.judged, prompts, texts)
        judging, outcomes[label] = judging + took, tuple(said.outcomes)
        collector.counters.add(label, len(prompts), said.counts)
        tokens += sum(len(deployment.hook.tokens(deployment.loaded.tokenizer, text)) for text in texts)
    return Sample(
        source=deployment.loaded.source, folds=folds.counts(), outcomes=outcomes,
        counts=collector.counters.total(), tokens=tokens, watched=sum(seconds.values()), judging=judging,
        tapped=seconds["harmless"], untapped=untapped, request=_request(collector, folds.request, per_class),
    )  # fmt: skip


def _request(collector: Collector, prompts: Sequence[Prompt], per_kind: int) -> str | None:
    """The quality of a map fitted on the first prompts of each label and wrapper."""
    if not prompts:
        return None
    kinds: dict[tuple[str, str | None], list[Prompt]] = {}
    for prompt in prompts:
        kinds.setdefault((prompt.label, prompt.attack), []).append(prompt)
    some = [p for found in kinds.values() for p in found[: max(per_kind, FEWEST_LABELLED)]]
    states = request_states(some, lambda batch: read(collector, batch), batch_size=collector.batch_size)
    made = fit_request_map(states, some, seed=collector.seed)
    return words({"held_out": held_out_quality(made.held_out, some)})


def _timed(call: Callable[..., Made], *arguments: object) -> tuple[float, Made]:
    started = time.perf_counter()
    made = call(*arguments)
    return time.perf_counter() - started, made
