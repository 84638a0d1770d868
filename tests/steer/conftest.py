"""The lab's models and requests, loaded once per test run."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import build

from sri_sdk import registry
from sri_sdk.hook import Hook
from sri_sdk.records import Label, LoadedModel, Prompt
from sri_sdk.steer.extract import TemplateMeans, extract_means

MODELS = {"diffusion": "lab-diffusion", "causal": "lab-causal"}


@dataclass(frozen=True)
class Lab:
    """One lab model, and its world."""

    hook: Hook
    loaded: LoadedModel

    def prompts(self, label: Label, count: int, *, split: str = "fit", **options: Any) -> list[Prompt]:
        return registry.build("datasets", "lab", {}).prompts(split, label, count, **options)

    def means(self, count: int = 48, **options: Any) -> TemplateMeans:
        kinds = self.prompts("harmless", count), self.prompts("harmful", count)
        return extract_means(self.hook, self.loaded.tokenizer, *kinds, **options)


@cache
def load(name: str) -> Lab:
    hook_class = registry.load("hooks", MODELS[name])
    loaded = hook_class.load(hook_class.Config())
    return Lab(hook_class(loaded.model), loaded)


@pytest.fixture
def lab_of():
    """load(name): `diffusion` or `causal`."""
    return load


@pytest.fixture
def diffusion() -> Lab:
    return load("diffusion")


@pytest.fixture
def causal() -> Lab:
    return load("causal")


@pytest.fixture
def hook() -> ToyHook:
    """Of a fresh toy."""
    return ToyHook(build(0))
