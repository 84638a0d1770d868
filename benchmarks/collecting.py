"""Both ways to anchors, on the same prompts of the lab."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import research
from sri_plugin_lab.dataset import LabDataset
from sri_plugin_lab.hooks import LabCausalHook, LabDiffusionHook
from sri_plugin_lab.judge import LabJudge
from sri_plugin_samplers.autoregressive import AutoregressiveSampler
from sri_plugin_samplers.low_confidence import LowConfidenceSampler

from sri_sdk.capture.drive import generate_untapped
from sri_sdk.capture.identity import fingerprint
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.fitting.collect import Collector
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.records import LoadedModel, Prompt
from sri_sdk.sampler import Sampler

Way = Callable[[], tuple[np.ndarray, ...]]
"""Both anchors, [T, D]: answered harmless, refused harmful."""


def ways(scheme: str, *, per_class: int, batch_size: int) -> dict[str, Way]:
    """`ours`, `research` with the same batches, `alone`: research with one prompt at a time, and `untapped`: the same
    batches by our sampler, which gives no anchors."""
    sampler: Sampler
    if scheme == "causal":
        hook_class, sampler, pooling, loop = LabCausalHook, AutoregressiveSampler(), "predicting", research.causal
    else:
        config = LowConfidenceSampler.Config(steps=32, tokens=48)
        hook_class, sampler, loop = LabDiffusionHook, LowConfidenceSampler(config), research.diffusion
        pooling = "response"
    loaded = hook_class.load(hook_class.Config())
    world = LabDataset()
    asked = [p for label in ("harmless", "harmful") for p in world.prompts("fit", label, per_class)]
    plain, hook = partial(research.anchors, loaded, asked, loop=loop), hook_class(loaded.model)
    return {
        "ours": partial(_ours, hook, loaded, sampler, pooling, asked, batch_size),
        "untapped": partial(_untapped, hook, loaded, sampler, asked, batch_size),
        "research": partial(plain, batch_size=batch_size),
        "alone": partial(plain, batch_size=1),
    }


def model_of(way: Way) -> Any:
    """The model that a way runs."""
    assert isinstance(way, partial)
    return next(each.model for each in way.args if isinstance(each, LoadedModel))


def _untapped(
    hook: Hook, loaded: LoadedModel, sampler: Sampler, asked: list[Prompt], batch_size: int
) -> tuple[np.ndarray, ...]:
    for start in range(0, len(asked), batch_size):
        generate_untapped(hook, loaded, sampler, asked[start : start + batch_size])
    return ()


def _ours(
    hook: Hook, loaded: LoadedModel, sampler: Sampler, pooling: str, asked: list[Prompt], batch_size: int
) -> tuple[np.ndarray, ...]:
    grid = StepGrid(32, "step", sampler.budget())
    printed = fingerprint(hook, pooling=pooling, layers=("final",), grid=grid, sampler={"name": "made-up"})
    with tempfile.TemporaryDirectory() as cache:  # a new one each time: nothing is resumed
        collector = Collector(
            hook=hook, loaded=loaded, sampler=sampler, judge=LabJudge(), judge_name="lab", fingerprint=printed,
            settings=WatchSettings(pooling, ("final",), grid), cache=Path(cache), seed=0, batch_size=batch_size,
            system_prompt=None, progress=lambda *_: None,
        )  # fmt: skip
        made = collector.anchors(asked)
    return made.harmless[:, 0], made.harmful[:, 0]
