"""One model of an evaluation: generate every group of prompts, fit and score the guards, measure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sri_sdk import registry
from sri_sdk.baseline import Baseline
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.evaluation import measure
from sri_sdk.evaluation.attacks import AttackFacts, attacked_prompts
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.evaluation.evaluated import Evaluated
from sri_sdk.evaluation.generations import Generations, Generator
from sri_sdk.evaluation.groups import HARMFUL, HARMLESS, READ_BY_GUARDS, Groups, attack_group, set_group
from sri_sdk.evaluation.guards import (
    FittedDetector,
    GuardScores,
    baseline_guard,
    detector_guard,
    fit_detector,
    open_baselines,
)
from sri_sdk.evaluation.live_target import LiveTarget
from sri_sdk.evaluation.measure_guard import guard_result
from sri_sdk.evaluation.overhead import Overhead, measure_overhead
from sri_sdk.evaluation.separate import separations, unseen_families
from sri_sdk.files import digest
from sri_sdk.fitting.collect import Collector, Progress
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.store import Store
from sri_sdk.judge import Judge
from sri_sdk.metrics.results import GuardResult, ModelResult, our_guard

STORE = "store"
"""Folder under `out` with what an interrupted run continues from."""


class ModelEvaluation:
    """One model's turn: everything it generates, and everything that is computed from that."""

    def __init__(
        self, config: EvaluationConfig, name: str, groups: Groups, datasets: Datasets, deployment: Deployment,
        progress: Progress,
    ) -> None:  # fmt: skip
        def advance(stage: str, made: int, total: int) -> None:
            progress(f"{name}: {stage}", made, total)

        self._config, self._name, self._deployment, self._progress = config, name, deployment, advance
        self._groups = groups.scaled(config.models[name].scale, config.calibrate)
        self._datasets = datasets
        self.collector = Collector.of(deployment, Path(config.out) / STORE / name, advance)

    def evaluated(self) -> Evaluated:
        """Generates, scores and measures."""
        config, groups = self._config, self._groups
        compared = config.guards if config.models[self._name].guards else {}
        baselines, missing = open_baselines(compared, LiveTarget(self.collector))
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
        for name, prompts in groups.harmless_sets.items():
            found[set_group(name)] = generator.group(set_group(name), prompts)
        overhead = self._overhead(generator) if compared else None
        guards = self._guards(generator, found, baselines)
        return Evaluated(self._result(found, facts, guards, missing, overhead), found, guards)

    def _overhead(self, generator: Generator) -> Overhead:
        """Measured once; a continued run reads what the first one measured."""
        key = {**self.collector.key(self._groups.harmless), "pairs": self._config.overhead_batches}
        store = Store(self.collector.cache, "overhead", key)
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

    def _guards(
        self, generator: Generator, found: Mapping[str, Generations], baselines: Mapping[str, Baseline]
    ) -> tuple[GuardScores, ...]:
        made, config = [], self._config
        fitted: dict[str, FittedDetector] = {}
        for name, entry in config.guards.items() if config.models[self._name].guards else ():
            if entry.detector is not None:
                self._progress(f"guard {name}", 0, 1)
                # Guards of one detector differ in the threshold alone.
                key = digest(entry.detector.model_dump(mode="json"))
                if key not in fitted:
                    fitted[key] = fit_detector(entry.detector, found, generator.anchors, config.calibrate)
                made.append(detector_guard(name, entry, fitted[key], config.calibrate))
            elif name in baselines:
                self._progress(f"guard {name}", 0, 1)
                scored = {group: part for group, part in found.items() if group not in ("train", "reference")}
                made.append(baseline_guard(name, entry, baselines[name], scored, self.collector, config.calibrate))
            else:
                continue
            self._progress(f"guard {name}", 1, 1)
        return tuple(made)

    def _result(
        self, found: Mapping[str, Generations], facts: Mapping[str, AttackFacts], guards: tuple[GuardScores, ...],
        missing: Mapping[str, str], overhead: Overhead | None,
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
        rows: list[GuardResult] = [
            guard_result(guard, found, run, sets, overhead, budget) for guard in guards
        ]  # fmt: skip
        section = deployment.config.detector
        assert section is not None  # An evaluation names one detector per guard.
        labelled = config.unseen_attacks
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
                section, found["train"], found[HARMLESS], attacked, deployment.settings.layers, grid
            ),
            guards=tuple(rows),
            guard_notes=missing,
            unseen=()
            if labelled is None
            else unseen_families(
                labelled, found["train"], found[HARMLESS], {name: found[attack_group(name)] for name in run},
                {name: facts[name].family for name in run}, deployment.settings.layers,
            ),
            seconds_per_generation=None if overhead is None else overhead.seconds,
            counters=self.collector.counters.to_dict(),
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
