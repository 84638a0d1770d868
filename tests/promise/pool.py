"""Harmless generations of the lab's causal model, made once: the traffic that the promise is tried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sri_sdk import registry
from sri_sdk.anchors import Anchors
from sri_sdk.config.fit import FitConfig
from sri_sdk.config.load import load_config
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.folds import draw_folds
from sri_sdk.fitting.request_stage import collect_request_map
from sri_sdk.records import Prompt, Signals

CONFIG = Path(__file__).parent / "guard.yaml"
FIRST, SECOND = "first", "second"
"""The groups: requests in the language that most of the training was in, and in the other one."""
SIZES = {FIRST: 8_000, SECOND: 4_000}
"""Generations per group and split."""
SPLITS = ("calibration", "test")
"""Splits of the lab's world that the pool comes from. Exchangeable, by construction of that world."""
UNUSUAL = 2_000
"""Generations of the split `unusual`: other traffic, for planted shifts."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Signals of harmless generations, and what made them."""

    signals: Signals
    """[N, T, C], with groups; no two of one request."""
    split: NDArray[np.str_]
    """[N]: of the lab's world."""
    unusual: Signals
    """[M, T, C] of requests that are asked in ways of their own; group `first`."""
    anchors: Anchors
    """With the request map."""


def collect(
    sizes: Mapping[str, int] = SIZES, unusual: int = UNUSUAL, *, config: FitConfig | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Pool:  # fmt: skip
    """Generates the pool, or finds what an earlier run has left of it.

    Args:
        sizes: generations per group and split.
        unusual: generations of the split `unusual`.
        config: another guard; None = that of `guard.yaml`. What is generated is kept under its `out`.
        progress: called as generations are done.
    """
    config = config or load_config(CONFIG)
    dataset = registry.build("datasets", config.prompts.dataset, config.prompts.options)
    folds = draw_folds(dataset, config.folds, seed=config.seed)
    collector = Collector.of(Deployment.open(config), config.out / "cache", progress)
    anchors = replace(collector.anchors(folds.anchors), request=collect_request_map(collector, folds.request))
    prompts: list[Prompt] = []
    groups: list[str] = []
    splits: list[str] = []
    for split in SPLITS:
        # One variant per request: the second group's are those that the first has not taken.
        plain = dataset.prompts(split, "harmless", sum(sizes.values()))[: sizes[FIRST]]
        foreign = dataset.prompts(split, "harmless", sum(sizes.values()), attack="second-language")[sizes[FIRST] :]
        prompts += [*plain, *foreign]
        groups += [FIRST] * len(plain) + [SECOND] * len(foreign)
        splits += [split] * (len(plain) + len(foreign))
    assert len({p.base or p.id for p in prompts}) == len(prompts)
    # The map has read the first requests of this split.
    skipped = sum(config.folds.request.unusual.values()) if config.folds.request else 0
    others = dataset.prompts("unusual", "harmless", skipped + unusual)
    read = {p.id for p in folds.request}
    others = [p for p in others if p.id not in read][:unusual]
    signals = replace(collector.signals("pool", prompts, anchors).signals, groups=tuple(groups))
    unlike = replace(collector.signals("unusual", others, anchors).signals, groups=(FIRST,) * len(others))
    return Pool(signals, np.array(splits), unlike, anchors)


def kept_in(out: Path) -> FitConfig:
    """The guard of `guard.yaml`, with what is generated kept in another folder."""
    return load_config(CONFIG).model_copy(update={"out": out})
