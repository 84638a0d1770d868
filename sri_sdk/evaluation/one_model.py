"""One model of an evaluation: generate every group of prompts, fit and score the guards, measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sri_sdk import registry
from sri_sdk.anchors import Anchors
from sri_sdk.baseline import Baseline
from sri_sdk.capture.request_column import RequestColumn
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.fit import FitConfig
from sri_sdk.evaluation import measure
from sri_sdk.evaluation.attacks import AttackFacts, attacked_prompts, has_holes
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.evaluation.evaluated import Evaluated
from sri_sdk.evaluation.generations import Generations, Generator
from sri_sdk.evaluation.groups import HARMFUL, HARMLESS, READ_BY_GUARDS, Groups, attack_group, set_group, twin_group
from sri_sdk.evaluation.guards import (
    FittedDetector,
    GuardScores,
    baseline_guard,
    detector_guard,
    fit_detector,
    of_traffic,
    open_baselines,
)
from sri_sdk.evaluation.left_out import put_together
from sri_sdk.evaluation.live_target import LiveTarget
from sri_sdk.evaluation.measure_guard import guard_result
from sri_sdk.evaluation.measure_strict import strict_results, wrapper_results
from sri_sdk.evaluation.overhead import Overhead, measure_overhead
from sri_sdk.evaluation.parts_guard import parts_guard
from sri_sdk.evaluation.request_odds import RequestReader
from sri_sdk.evaluation.separate import separations, unseen_families
from sri_sdk.evaluation.steering import STEERED, SteeringAnalysis
from sri_sdk.evaluation.steering_directions import find_directions
from sri_sdk.evaluation.steering_prompts import SteeringPrompts, expected
from sri_sdk.executor import Executor
from sri_sdk.files import digest
from sri_sdk.fitting.collect import Collector, Progress
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.dispatch import workers_of
from sri_sdk.fitting.forecast import Forecast
from sri_sdk.fitting.store import Store
from sri_sdk.judge import Judge
from sri_sdk.metrics.results import GuardResult, ModelResult, our_guard
from sri_sdk.steer.direction import Direction

STORE = "store"
"""Folder under `out` with what an interrupted run continues from."""
UNASKED = ("map", "practice")
"""First words of groups that are read, or learnt from, and not generated as they stand."""


class ModelEvaluation:
    """One model's turn: everything it generates, and everything that is computed from that."""

    def __init__(
        self, config: EvaluationConfig, name: str, groups: Groups, datasets: Datasets, deployment: Deployment,
        progress: Progress, steering: SteeringPrompts | None = None, directions: Mapping[str, Direction] | None = None,
        executor: Executor | None = None,
    ) -> None:  # fmt: skip
        def advance(stage: str, made: int, total: int) -> None:
            progress(f"{name}: {stage}", made, total)

        self._config, self._name, self._deployment, self._datasets = config, name, deployment, datasets
        self._groups = groups.scaled(config.models[name].scale, config)
        wanted = config.steering is not None and name in (config.steering.models or config.models)
        self._steering_prompts, self._directions = steering if wanted else None, directions or {}
        self._steering: SteeringAnalysis | None = None
        self._executor = executor
        self._progress = Forecast(self._expected(), advance)
        self.collector = Collector.of(deployment, Path(config.out) / STORE / name, self._progress)

    def _expected(self) -> int:
        """Generations in all, if every attack can be run on this model; attacks that practise need more."""
        config, groups = self._config, self._groups
        scale = config.models[self._name].scale
        drawn = sum(len(prompts) for group, prompts in groups.named().items() if group.partition(" ")[0] not in UNASKED)
        made = 0
        for name, entry in config.attacks.items():
            if entry.plugin is not None:
                made += min(max(1, round(entry.count * scale)), len(groups.harmful))
                made += min(round(config.twin_counts().get(name, 0) * scale), len(groups.harmless))
        if config.steering is not None and self._steering_prompts is not None:
            language = len(groups.own_attacks.get(config.steering.language or "", ()))
            blocks = len(self._deployment.hook.layers())
            made += expected(config.steering, len(groups.harmful), len(groups.harmless), language, blocks)
        return drawn + made

    def evaluated(self) -> Evaluated:
        """Generates, scores and measures."""
        own = self.collector
        with workers_of(self._executor, self._deployment) as dispatcher:
            self.collector = replace(own, dispatcher=dispatcher)
            try:
                return self._evaluated()
            finally:
                self.collector = own

    def _evaluated(self) -> Evaluated:
        self._open_steering(wait=False)
        config, groups = self._config, self._groups
        compared = config.guards if config.models[self._name].guards else {}
        baselines, missing = open_baselines(compared, LiveTarget(self.collector))
        # Cheap, and it says early whether requests are located as they should be.
        reader = self._reader() if compared else None
        anchors = self.collector.anchors(groups.anchors)
        judge: Judge | None = None
        if config.draft_judge is not None:
            judge = registry.build("judges", config.draft_judge.name, config.draft_judge.options)
        generator = Generator(
            self.collector, anchors, judge, config.draft_judge.name if config.draft_judge else None,
            config.keep_texts, config.keep_texts and _reads_drafts(config),
        )  # fmt: skip
        # Where no guard is compared, nothing is calibrated.
        fitted = READ_BY_GUARDS if compared else READ_BY_GUARDS[:1]
        found = {name: generator.group(name, getattr(groups, name)) for name in fitted}
        found[HARMLESS] = generator.group(HARMLESS, groups.harmless)
        found[HARMFUL] = generator.group(HARMFUL, groups.harmful)
        facts: dict[str, AttackFacts] = {}
        for attack in attacked_prompts(config, self._name, groups, self._datasets, self.collector):
            facts[attack.name] = attack.facts
            if attack.prompts:
                group = attack_group(attack.name)
                found[group] = generator.group(group, attack.prompts)
            if attack.twins:
                found[twin_group(attack.name)] = generator.group(twin_group(attack.name), attack.twins)
        for name, prompts in groups.harmless_sets.items():
            found[set_group(name)] = generator.group(set_group(name), prompts)
        overhead = self._overhead(generator) if compared else None
        self._open_steering(wait=True)
        if self._steering is not None:
            found |= self._steering.groups(generator, found)
        guards = self._guards(generator, found, baselines, reader)
        missing |= self._unread(reader) if compared else {}
        return Evaluated(self._result(found, facts, guards, missing, overhead, reader), found, guards)

    @property
    def direction(self) -> Direction | None:
        """The refusal direction of the model, once it was evaluated; None = it is not steered."""
        return None if self._steering is None else self._steering.directions.main

    def _open_steering(self, *, wait: bool) -> None:
        """First of all: a model without a direction must not show after an hour of generations. While another process
        looks for the directions, there is other work."""
        section, prompts = self._config.steering, self._steering_prompts
        if section is None or prompts is None or self._steering is not None:
            return
        directions = find_directions(self.collector, section, prompts, wait=wait)
        if directions is not None:
            self._steering = SteeringAnalysis(section, self.collector, directions, self._directions, self._name)

    def _overhead(self, generator: Generator) -> Overhead:
        """Measured once; a continued run reads what the first one measured."""
        key = {**self.collector.key(self._groups.harmless), "pairs": self._config.overhead_batches}
        store = Store(self.collector.cache, "overhead", key)
        with store.alone("overhead"):
            saved = store.load_notes("overhead")
            if saved is None:
                self._progress("overhead", 0, 1)
                made = measure_overhead(
                    self.collector, generator.anchors, self._groups.harmless, self._config.overhead_batches
                )
                saved = {field: getattr(made, field) for field in made.__slots__}
                store.save_notes("overhead", saved)
                self._progress("overhead", 1, 1)
        return Overhead(**saved)

    def _reader(self) -> RequestReader | None:
        """Reads requests, if a guard does and the model is one whose requests are read."""
        section = self._config.request_of(self._name)
        wanted = {each for guard in self._config.guards.values() for each in guard.maps()}
        if section is None or not wanted:
            return None
        fills = self.collector.hook.scheme == "masked"
        folds = {
            name: tuple(p for p in prompts if fills or not has_holes(p))
            for name, prompts in self._groups.maps.items()
            if name in wanted
        }
        return RequestReader.open(self.collector, self._deployment, section, folds)

    def _unread(self, reader: RequestReader | None) -> dict[str, str]:
        """Guards that read requests, where nobody does -> why they could not run."""
        reading = [name for name, guard in self._config.guards.items() if guard.maps()]
        return (
            {} if reader else dict.fromkeys(reading, "the model has no section `request`, so its requests are not read")
        )

    def _guards(
        self, generator: Generator, found: Mapping[str, Generations], baselines: Mapping[str, Baseline],
        reader: RequestReader | None,
    ) -> tuple[GuardScores, ...]:  # fmt: skip
        made, config = list[GuardScores](), self._config
        fitted: dict[str, FittedDetector] = {}
        odds: dict[str, dict[str, RequestColumn]] = {}
        if reader is not None:
            ablated = {} if self._steering is None else dict.fromkeys(STEERED.values(), self._steering.ablated)
            odds = {
                group: reader.columns(group, part.prompts, generator.anchors, ablated.get(group))
                for group, part in found.items()
            }
        for name, entry in config.guards.items() if config.models[self._name].guards else ():
            limits = entry.limits(config.calibrate)
            if not (entry.detector or name in baselines or (entry.parts and (not entry.maps() or reader))):
                continue
            self._progress(f"guard {name}", 0, 1)
            own = of_traffic(found, self._groups, entry.traffic)
            if entry.detector is not None:
                # Guards of one detector on the same traffic differ in the threshold alone.
                key = digest([entry.detector.model_dump(mode="json"), entry.traffic, limits.alpha])
                if key not in fitted:
                    fitted[key] = fit_detector(entry.detector, own, generator.anchors, limits)
                made.append(detector_guard(name, entry, fitted[key], limits))
            elif entry.baseline is not None:
                scored = {group: part for group, part in own.items() if group not in ("train", "reference")}
                made.append(baseline_guard(name, entry, baselines[name], scored, self.collector, limits))
            else:
                made.append(self._parts_guard(name, own, generator.anchors, reader, odds))
            self._progress(f"guard {name}", 1, 1)
        return tuple(made)

    def _parts_guard(
        self, name: str, found: Mapping[str, Generations], anchors: Anchors, reader: RequestReader | None,
        odds: Mapping[str, Mapping[str, RequestColumn]],
    ) -> GuardScores:  # fmt: skip
        """A guard with parts, on the generations of its traffic; `odds` are those of all."""
        entry, config = self._config.guards[name], FitConfig.model_validate(self._config.guard_data(self._name, name))
        if not entry.maps() or reader is None:
            return parts_guard(name, None, config, {group: part.signals for group, part in found.items()}, anchors)
        # An attack that was not run has no part in what the others are judged by.
        run = {attack: each for attack, each in entry.left_out.items() if attack_group(attack) in found}
        fits = {}
        for each in dict.fromkeys(run.values()) if run else entry.maps()[:1]:
            made, signals = reader.anchors(anchors, each), {}
            for group, part in found.items():
                column = odds[group][each]
                if len(part) < len(column.logit):
                    column = column.take(np.flatnonzero(self._groups.plain(group)).tolist())
                signals[group] = reader.signals(part, column, made)
            fits[each] = parts_guard(name, each, config, signals, made)
        return put_together(name, fits, run) if run else next(iter(fits.values()))

    def _result(
        self, found: Mapping[str, Generations], facts: Mapping[str, AttackFacts], guards: tuple[GuardScores, ...],
        missing: Mapping[str, str], overhead: Overhead | None, reader: RequestReader | None,
    ) -> ModelResult:  # fmt: skip
        config, deployment = self._config, self._deployment
        run = [name for name in facts if attack_group(name) in found]
        attacked = Generations.joined([found[attack_group(name)] for name in run]) if run else None
        everything = Generations.joined(
            [found[HARMLESS], found[HARMFUL], *(found[attack_group(name)] for name in run)]
        )  # fmt: skip
        ours = our_guard(guards)
        irr, incomplete = measure.signal_recovery(attacked, everything)
        sets = list(self._groups.harmless_sets)
        budget = deployment.sampler.budget()
        reference = next((g for g in guards if config.strict and g.name == config.strict.reference), None)
        rows: list[GuardResult] = [
            replace(
                guard_result(guard, found, run, sets, overhead, budget),
                wrappers=wrapper_results(guard, found, run),
                strict=strict_results(guard, reference, found, config.strict) if config.strict else (),
            )
            for guard in guards
        ]
        section = deployment.config.detector
        assert section is not None  # An evaluation names one detector per guard.
        labelled = config.unseen_attacks
        plain_train = of_traffic(found, self._groups, "plain")["train"]
        grid = deployment.settings.grid
        assert grid is not None
        plain = found[HARMFUL]
        return ModelResult(
            name=self._name,
            describes=_describe(deployment),
            scheme=deployment.hook.scheme,
            budget=budget,
            counts={group: len(part) for group, part in found.items()},
            refused_harmless=measure.outcome_rate("refused:harmless", found[HARMLESS], "refusal"),
            refused_harmful=measure.outcome_rate("refused:harmful", plain, "refusal"),
            plain_success=measure.outcome_rate("success:plain", plain, "harmful"),
            attacks=measure.attack_results(found, facts, ours),
            success=None if attacked is None else measure.outcome_rate("success:all", attacked, "harmful"),
            harmless_sets=measure.set_results(found, sets, ours),
            recovery=measure.text_recovery(attacked),
            internal_recovery=irr,
            incomplete_recovery=incomplete,
            bands=measure.class_bands(everything),
            projections=measure.maps(everything, config.seed),
            separations=separations(
                section, plain_train, found[HARMLESS], attacked, deployment.settings.layers, grid
            ),
            guards=tuple(rows),
            guard_notes=missing,
            unseen=()
            if labelled is None
            else unseen_families(
                labelled, plain_train, found[HARMLESS], {name: found[attack_group(name)] for name in run},
                {name: facts[name].family for name in run}, deployment.settings.layers,
            ),
            seconds_per_generation=None if overhead is None else overhead.seconds,
            counters=self.collector.counters.to_dict(),
            twinless={name: why for name, why in self._groups.twinless.items() if name in run},
            request_maps={}
            if reader is None
            else {name: {"digest": made.digest, **made.provenance} for name, made in reader.maps.items()},
            steering=None if self._steering is None else self._steering.result(found, guards, run),
        )  # fmt: skip


def _reads_drafts(config: EvaluationConfig) -> bool:
    """Whether any guard reads what responses looked like on the way."""
    named = [guard.baseline.name for guard in config.guards.values() if guard.baseline is not None]
    return any(registry.load("baselines", name).reads == "drafts" for name in named)


def _describe(deployment: Deployment) -> str:
    config, sampler = deployment.config, deployment.sampler
    layers = ", ".join(str(layer) for layer in config.tap.layers)
    return (
        f"{deployment.loaded.source}; {config.sampler.name}, {sampler.budget()} steps, {sampler.canvas()} tokens; "
        f"pooling {config.tap.pooling}, layers {layers}"
    )
