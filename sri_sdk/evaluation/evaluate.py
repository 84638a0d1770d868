"""`sri eval`: from the config of an evaluation to its results. What lies under `out`:

store/<model>/      generations, batch by batch, and anchors: what an interrupted run continues from
report.html         everything, as one page
results.json        everything, as numbers
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sri_sdk import registry
from sri_sdk._version import __version__
from sri_sdk.baseline import Baseline
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.fit import FitConfig, ModelSection
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation import measure
from sri_sdk.evaluation.attacks import AttackFacts, attacked_prompts
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.evaluation.evaluated import Evaluated
from sri_sdk.evaluation.examples import pick_examples
from sri_sdk.evaluation.generations import Generations, Generator
from sri_sdk.evaluation.groups import Groups, draw_groups
from sri_sdk.evaluation.guards import (
    FittedDetector,
    GuardScores,
    baseline_guard,
    detector_guard,
    fit_detector,
    open_baselines,
)
from sri_sdk.evaluation.live_target import LiveTarget
from sri_sdk.evaluation.measure import HARMFUL, HARMLESS, attack_group, set_group
from sri_sdk.evaluation.overhead import Overhead, measure_overhead
from sri_sdk.evaluation.separate import separations, unseen_families
from sri_sdk.evaluation.store import Store
from sri_sdk.evaluation.surrogate import surrogate_result
from sri_sdk.files import digest
from sri_sdk.fitting.collect import Collector, Progress
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.judge import Judge
from sri_sdk.metrics.results import Evaluation, Example, GuardResult, ModelResult
from sri_sdk.records import LoadedModel

STORE = "store"
READ_BY_GUARDS = ("train", "reference", "calibration")


def evaluate(
    config: EvaluationConfig,
    progress: Progress = lambda *_: None,
    *,
    limit: int | None = None,
    only: Sequence[str] = (),
) -> Evaluation:
    """Runs an evaluation, or continues one that was interrupted.

    Args:
        config: a checked config.
        progress: called as generations are done.
        limit: most prompts per group, for a quick look.
        only: names of the models to evaluate; none = all of them.

    Raises:
        ConfigError: there is no such model, prompts overlap or are too few, or a plugin refuses its options.
        CaptureError: a generation could not be watched whole.
        ScoringError, BundleError: a guard of ours could not be fitted.
    """
    if unknown := [name for name in only if name not in config.models]:
        raise ConfigError(f"models: {', '.join(unknown)} not in the config; it has {', '.join(config.models)}")
    if limit is not None:
        config = config.limited(limit)
    seconds: dict[str, float] = {}
    datasets = Datasets(config)
    groups = draw_groups(config, datasets)
    Path(config.out).mkdir(parents=True, exist_ok=True)
    done: dict[str, Evaluated] = {}
    examples: tuple[Example, ...] = ()
    models = _Models()
    for name in only or config.models:
        with _timed(seconds, name):
            run = _ModelEvaluation(config, name, groups, datasets, models.open(config.fit_config(name)), progress)
            done[name] = run.evaluated()
            if config.keep_texts and len(done) == 1:
                examples = pick_examples(name, done[name], run.collector)
            del run  # With it goes the model, before the next one is loaded.
    return Evaluation(
        title=config.title,
        models=tuple(each.result for each in done.values()),
        surrogates=tuple(
            surrogate_result(pair, done) for pair in config.surrogates if {pair.guarded, pair.by} <= done.keys()
        ),
        examples=examples,
        alpha=config.calibrate.alpha,
        facts=_facts(config, datasets, limit),
        seconds=seconds,
        limit=limit,
    )


class _Models:
    """Opens deployments. One model is in memory at a time, and stays there for all that differ in sampler or tap."""

    def __init__(self) -> None:
        self._last: tuple[ModelSection, LoadedModel] | None = None

    def open(self, config: FitConfig) -> Deployment:
        """The deployment of a config."""
        if self._last is not None and self._last[0] == config.model:
            return Deployment.open(config, self._last[1])
        self._last = None
        made = Deployment.open(config)
        self._last = config.model, made.loaded
        return made


class _ModelEvaluation:
    """One model's turn."""

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
            config.keep_texts, config.keep_texts and _reads_drafts(config), self._progress,
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
        ours = next((guard for guard in guards if guard.tapped), None)
        irr, incomplete = measure.signal_recovery(attacked, everything)
        sets = list(self._groups.harmless_sets)
        budget = deployment.sampler.budget()
        rows: list[GuardResult] = [
            measure.guard_result(guard, found, run, sets, overhead, budget) for guard in guards
        ]  # fmt: skip
        section = deployment.config.detector
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
                {name: facts[name].family for name in run},
            ),
            seconds_per_generation=None if overhead is None else overhead.seconds,
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


def _facts(config: EvaluationConfig, datasets: Datasets, limit: int | None) -> dict[str, str]:
    judge = registry.build("judges", config.judge.name, config.judge.options)
    facts = {
        "Dataset": config.prompts.dataset,
        "Judge": f"{config.judge.name}, version {judge.version}",
        "Judge of drafts": config.draft_judge.name if config.draft_judge else "none: drafts were not judged",
        "False-alarm limit": f"{100 * config.calibrate.alpha:g} % of harmless generations, split conformal",
        "Seed": str(config.seed),
        "Config digest": digest(config.model_dump(mode="json"))[:16],
        "sri-sdk": __version__,
    }
    for name, dataset in datasets:
        if found := dataset.provenance():
            files = ", ".join(f"{file['file']} {str(file['sha256'])[:12]}" for file in found.get("files", ()))
            facts[f"Source of {name}"] = f"{found.get('set', name)}; {found.get('licence', 'licence unknown')}; {files}"
    for package in ("torch", "transformers", "numpy", "onnxruntime"):
        facts[package] = _version(package)
    if limit is not None:
        facts["Quick look"] = f"at most {limit} prompts per group"
    return facts


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 1)
