"""`sri eval`: from the config of an evaluation to its results. What lies under `out`:

store/<model>/      generations, batch by batch, and anchors: what an interrupted run continues from
report.html         everything, as one page
results.json        everything, as numbers
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sri_sdk import registry
from sri_sdk._version import __version__
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.fit import FitConfig, ModelSection
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.attacks import try_attacks
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.evaluation.evaluated import Evaluated
from sri_sdk.evaluation.examples import pick_examples
from sri_sdk.evaluation.groups import draw_groups
from sri_sdk.evaluation.one_model import ModelEvaluation
from sri_sdk.evaluation.steering_prompts import draw_steering
from sri_sdk.evaluation.surrogate import surrogate_result
from sri_sdk.executor import Executor
from sri_sdk.files import digest, writable_folder
from sri_sdk.fitting.collect import Progress
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.metrics.results import Evaluation, Example
from sri_sdk.records import LoadedModel
from sri_sdk.steer.direction import Direction


def evaluate(
    config: EvaluationConfig,
    progress: Progress = lambda *_: None,
    *,
    limit: int | None = None,
    only: Sequence[str] = (),
    executor: Executor | None = None,
) -> Evaluation:
    """Runs an evaluation, or continues one that was interrupted.

    Args:
        config: a checked config.
        progress: called as generations are done.
        limit: most prompts per group, for a quick look.
        only: names of the models to evaluate; none = all of them.
        executor: starts the workers that generate; None = this process does. The generations are the same.

    Raises:
        ConfigError: there is no such model, prompts overlap or are too few, or a plugin refuses its options.
        CaptureError: a generation could not be watched whole.
        MissingExtra: the executor needs a package that is not installed.
        WorkerLost: workers ended over one batch more often than is allowed.
        ScoringError, BundleError: a guard of ours could not be fitted.
    """
    if unknown := [name for name in only if name not in config.models]:
        raise ConfigError(f"models: {', '.join(unknown)} not in the config; it has {', '.join(config.models)}")
    if executor is not None:
        executor.check([config.fit_config(name).model.options for name in only or config.models])
    if limit is not None:
        config = config.limited(limit)
    seconds: dict[str, float] = {}
    try_attacks(config)
    datasets = Datasets(config)
    groups = draw_groups(config, datasets)
    steering, directions = draw_steering(config, datasets.main, groups), dict[str, Direction]()
    writable_folder(Path(config.out))
    done: dict[str, Evaluated] = {}
    examples: tuple[Example, ...] = ()
    models = _Models()
    with nullcontext() if executor is None else executor.session():
        for name in only or config.models:
            with _timed(seconds, name):
                run = ModelEvaluation(
                    config,
                    name,
                    groups,
                    datasets,
                    models.open(config.fit_config(name)),
                    progress,
                    steering,
                    directions,
                    executor,
                )
                done[name] = run.evaluated()
                if run.direction is not None:
                    directions[name] = run.direction
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
