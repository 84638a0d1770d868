"""What `sri doctor MODEL` finds out: which hook fits the model, whether its tap fires, whether refusal separates."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sri_sdk import registry
from sri_sdk.capture.choose import ask
from sri_sdk.capture.probe import Probe, probe
from sri_sdk.config.fit import PluginSection, TapSection
from sri_sdk.errors import ConfigError, MissingExtra, SriError
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.deployment import Tapped
from sri_sdk.hook import Hook
from sri_sdk.pooling import USUAL
from sri_sdk.records import Label, LoadedModel, Match, Prompt

PER_CLASS = 8
"""Prompts per class for the anchors, and as many others to measure."""
CELLS = 16
"""T: cells of the step grid that they are measured on."""

SHORT: dict[str, tuple[str, dict[str, int]]] = {
    "masked": ("low-confidence", {"steps": 4, "tokens": 8}),
    "autoregressive": ("autoregressive", {"tokens": 4}),
}
"""Scheme -> a sampler, and options for one generation that only has to show that the tap fires."""
_WHOLE: dict[str, tuple[str, dict[str, int]]] = {
    "masked": ("low-confidence", {"steps": 16, "tokens": 48}),
    "autoregressive": ("autoregressive", {"tokens": 32}),
}
"""The same, long enough for a judge to tell a refusal."""


@dataclass(frozen=True, slots=True)
class Separation:
    """Mean sigma per class on prompts the anchors have not seen; 1 = compliant, 0 = refusal-aligned."""

    dataset: str
    per_class: int
    """Prompts behind each anchor, and behind each mean."""
    harmless: float
    harmful: float

    @property
    def gap(self) -> float:
        """Harmless minus harmful sigma; near 0 = the signal does not tell them apart."""
        return self.harmless - self.harmful


def load_model(source: str) -> LoadedModel:
    """A model by the name of the hook that brings it, or by folder or hub id.

    Raises:
        ConfigError: it is neither, or needs code from outside.
        MissingExtra: transformers is not installed.
    """
    if source in {info.name for info in registry.installed("hooks")}:
        loaded: LoadedModel = registry.load("hooks", source).load(registry.configure("hooks", source))
        return loaded
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError as err:
        raise MissingExtra("Loading a model", extra="capture") from err
    try:
        # Code from a checkpoint is never run just to look at it.
        AutoConfig.from_pretrained(source, trust_remote_code=False)
        # Before the weights, which may take minutes.
        tokenizer = _tokenizer(source)
        model = AutoModelForCausalLM.from_pretrained(source, trust_remote_code=False).eval()
    except (OSError, ValueError, KeyError) as err:
        reason = " ".join(str(err).split())
        raise ConfigError(
            f"model {source!r}: transformers cannot load it: {reason[:300].rstrip('. ')}. Pass the "
            "name of an installed hook (`sri plugins list --kind hooks`), a folder or a hub id; a model with code of "
            "its own needs a hook whose `load` brings it."
        ) from err
    return LoadedModel(model, tokenizer, source)


def _tokenizer(source: str) -> Any:
    """The tokenizer that is saved beside a model.

    Raises:
        ConfigError: there is none.
    """
    from transformers import AutoTokenizer

    problem: Exception | None = None
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        # If its files are missing, some releases of transformers silently make one without a single word.
        if set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids):
            return tokenizer
    except Exception as err:
        # What is raised depends on the family, the release, and which packages are installed.
        problem = err
    found = "" if problem is None else f" ({type(problem).__name__}; `sri --debug doctor {source}` shows it)"
    raise ConfigError(
        f"model {source!r}: no tokenizer is saved with it, or none can be read{found}, and prompts need one. Save the "
        f"one it was trained with beside it, tokenizer.save_pretrained({source!r}), or watch the model from Python: "
        "sri_sdk.watch() needs no tokenizer."
    ) from problem


def candidates(model: Any, only: str | None = None) -> dict[str, Match]:
    """What each installed hook says of a model, or the one in `only`; one that cannot be asked says why."""
    found = {}
    for name in [only] if only else [info.name for info in registry.installed("hooks")]:
        try:
            _, found[name] = ask(name, model)
        except SriError as err:
            if only:
                raise
            found[name] = Match(False, f"it cannot be asked: {err}")
    return found


def fire(hook: Hook, loaded: LoadedModel) -> Probe:
    """One short generation under the tap.

    Raises:
        ConfigError: no sampler of ours drives the hook's scheme.
    """
    if hook.scheme not in SHORT:
        raise ConfigError(
            f"scheme {hook.scheme}: no sampler here drives it, so its model is not tried. Generate with the model's "
            "own call under sri_sdk.watch(), or run: sri check hook NAME"
        )
    return probe(hook, loaded, registry.build("samplers", *SHORT[hook.scheme]))


def prompts_of(hook_name: str) -> tuple[str, str] | None:
    """Dataset and judge that come in the same package as a hook; None = that package has none."""
    home = _packages("hooks")[hook_name]
    both = [[name for name, package in _packages(kind).items() if package == home] for kind in ("datasets", "judges")]
    return (both[0][0], both[1][0]) if all(both) else None


def separate(hook: Hook, loaded: LoadedModel, dataset_name: str, judge_name: str) -> Separation:
    """Anchors of a few prompts, and the signals of a few others.

    Raises:
        ConfigError: no harmful prompt was refused, or no harmless one answered.
        CaptureError: a generation could not be watched whole.
    """
    dataset = registry.build("datasets", dataset_name)
    split = dataset.splits()[0] if "fit" not in dataset.splits() else "fit"
    labels: tuple[Label, ...] = ("harmless", "harmful")
    drawn: dict[Label, list[Prompt]] = {label: dataset.prompts(split, label, 2 * PER_CLASS) for label in labels}
    with tempfile.TemporaryDirectory() as scratch:
        collector = _collector(hook, loaded, judge_name, Path(scratch))
        anchors = collector.anchors([prompt for label in labels for prompt in drawn[label][:PER_CLASS]])
        means = [
            float(collector.signals(label, drawn[label][PER_CLASS:], anchors).signals.sigma.mean()) for label in labels
        ]
    return Separation(dataset_name, PER_CLASS, *means)


def _collector(hook: Hook, loaded: LoadedModel, judge_name: str, cache: Path) -> Collector:
    name, options = _WHOLE[hook.scheme]
    tap = TapSection.model_validate({"pooling": USUAL[hook.scheme], "cells": CELLS})
    tapped = Tapped.of(hook, loaded, PluginSection(name=name, options=options), tap)
    return Collector.under(
        tapped, PluginSection(name=judge_name), cache, progress=lambda *_: None, seed=0, batch_size=PER_CLASS
    )


def _packages(kind: str) -> dict[str, str]:
    """Name of each installed plugin of a kind -> top-level package it lives in."""
    return {info.name: info.target.partition(":")[0].partition(".")[0] for info in registry.installed(kind)}
