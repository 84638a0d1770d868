"""What the maps of an evaluation say of each request: the model only reads the prompts, and one number per map stays.

It is a stage of its own, apart from the generations: another map, or another fit of one, costs a pass per prompt and
not a generation. States are never written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sri_sdk.anchors import Anchors
from sri_sdk.capture.request_column import RequestColumn
from sri_sdk.config.fit import RequestSection
from sri_sdk.evaluation.generations import Generations
from sri_sdk.evaluation.steered import Steered
from sri_sdk.fitting.by_length import longest_first, places
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.deployment import Deployment, Tapped
from sri_sdk.fitting.packed import Batch
from sri_sdk.fitting.request_stage import collect_request_map, map_key, read
from sri_sdk.records import Prompt, Signals
from sri_sdk.request_map import RequestMap


@dataclass(frozen=True, slots=True)
class RequestReader:
    """Reads requests on one model, beside a collector that generates on it."""

    collector: Collector
    """Knows the layers that are read of requests; its fingerprint says so, as that of a guard does."""
    maps: Mapping[str, RequestMap]

    @classmethod
    def open(
        cls,
        collector: Collector,
        deployment: Deployment,
        section: RequestSection,
        folds: Mapping[str, Sequence[Prompt]],
    ) -> RequestReader:
        """Fits the maps, or finds those of a former run.

        Args:
            collector: of the model.
            deployment: the same model.
            section: what is read.
            folds: map -> the prompts it is fitted on, with labels.

        Raises:
            CaptureError: a request could not be located, or was not seen whole.
            ConfigError: the model has fewer layers than are named, or a class of a map has too few prompts.
        """
        config = deployment.config
        tapped = Tapped.of(
            deployment.hook, deployment.loaded, config.sampler, config.tap, config.model.system_prompt, request=section
        )
        own = replace(collector, settings=tapped.settings, fingerprint=tapped.fingerprint)
        return cls(own, {name: collect_request_map(own, prompts) for name, prompts in folds.items()})

    def columns(
        self, group: str, prompts: Sequence[Prompt], anchors: Anchors, steered: Steered | None = None
    ) -> dict[str, RequestColumn]:
        """Map -> what it says of each prompt.

        Args:
            group: name of the prompts, for progress and for the folder.
            prompts: N of them.
            anchors: of the model.
            steered: how the model is steered while it reads; None = it is not.

        Raises:
            CaptureError: a hook failed over a batch.
        """

        def make(batch: tuple[Prompt, ...]) -> Batch:
            with nullcontext() if steered is None else steered.on(self.collector.hook, self.collector.sampler.budget()):
                states = read(self.collector, batch)
            found = {
                name: RequestColumn.of(self.anchors(anchors, name), states, len(batch), failed=False)
                for name in self.maps
            }
            return (
                {name: column.logit for name, column in found.items()},
                {"missing": {name: list(column.missing) for name, column in found.items()}},
            )

        order = longest_first(prompts)
        ordered = [prompts[at] for at in order]
        key: dict[str, Any] = map_key(self.collector, ordered)
        key["maps"] = {name: made.digest for name, made in self.maps.items()}
        if steered is not None:
            key["steered"] = steered.key()
        parts = [made for _, made in self.collector.batches(f"request {group}", ordered, key, make)]
        return {
            name: RequestColumn(
                np.concatenate([arrays[name] for arrays, _ in parts]),
                tuple(why for _, notes in parts for why in notes["missing"][name]),
            ).take(places(order))
            for name in self.maps
        }

    def anchors(self, anchors: Anchors, name: str) -> Anchors:
        """The anchors of a guard that reads requests through this map."""
        return replace(anchors, fingerprint=self.collector.fingerprint, request=self.maps[name])

    def signals(self, found: Generations, column: RequestColumn, anchors: Anchors) -> Signals:
        """The signals [N, T, C + 1] that a live guard with these anchors would have been given.

        Args:
            found: N generations.
            column: of the same prompts.
            anchors: see `anchors`.
        """
        made = replace(found.signals, fingerprint=self.collector.printed(anchors))
        return column.beside(made, anchors)
