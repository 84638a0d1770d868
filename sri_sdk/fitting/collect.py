"""Generates the prompts of a fold and keeps what a fit needs: anchors, or signals.

Batch by batch: an interrupted run continues after the last batch it finished, and a second process with the same config
makes those that nobody is at. Workers may make them, here or on other machines; see `dispatch.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from sri_sdk.anchors import AnchorBuilder, Anchors
from sri_sdk.capture.settings import KEEPS_COMMITS
from sri_sdk.config.fit import LimitsSection, PluginSection
from sri_sdk.fitting.batches import Batches, batch_name
from sri_sdk.fitting.by_length import SHORT_IN_FITS, longest_first, places
from sri_sdk.fitting.counters import Counters
from sri_sdk.fitting.deployment import Deployment, Tapped
from sri_sdk.fitting.dispatch import Dispatcher
from sri_sdk.fitting.generating import Generating, parts_of
from sri_sdk.fitting.packed import Batch
from sri_sdk.fitting.store import Store
from sri_sdk.fitting.tally import Tally, refuse_few
from sri_sdk.fitting.tasks import AnchorSums, FoldSignals, Task
from sri_sdk.metrics.outcomes import codes, words
from sri_sdk.records import Outcome, Prompt, Signals

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, prompts done and prompts in all."""


WHOLE = "whole"
"""Name of what is kept of the anchors once all their batches were made."""
EARLY_BATCHES = 2
"""Batches of the anchors after each of which the outcomes are said; by then both classes have been seen."""


@dataclass(frozen=True, slots=True)
class Collected:
    """The generations of one fold."""

    prompts: tuple[Prompt, ...]
    """N prompts; signals and outcomes are in their order."""
    signals: Signals
    """sigma and logit [N, T, C] float32, every tapped layer; see `sri_sdk.signal`."""
    outcomes: tuple[Outcome, ...]
    """What the judge said of each response."""


@dataclass(frozen=True, slots=True)
class Collector(Generating):
    """Generates folds, and keeps what comes of them."""

    cache: Path
    """Folder of what an interrupted run continues from."""
    progress: Progress
    counters: Counters = field(default_factory=lambda: Counters(LimitsSection()))
    """What may make results worthless, of all that this collector generated or found."""
    dispatcher: Dispatcher | None = None
    """Deals batches to workers; None = this process makes them."""

    @classmethod
    def of(cls, deployment: Deployment, cache: Path, progress: Progress) -> Self:
        """The collector of a deployment.

        Args:
            deployment: model, sampler and tap, with the config they come from.
            cache: folder of what an interrupted run continues from.
            progress: called as generations are done.
        """
        config = deployment.config
        return cls.under(
            deployment, config.judge, cache, progress, seed=config.seed, batch_size=config.batch_size,
            limits=config.limits,
        )  # fmt: skip

    @classmethod
    def under(
        cls, tapped: Tapped, judge: PluginSection, cache: Path, progress: Progress, *, seed: int, batch_size: int,
        limits: LimitsSection | None = None,
    ) -> Self:  # fmt: skip
        """The collector of a live model under a tap.

        Args:
            tapped: model, sampler and tap.
            judge: plugin of kind judges: what a response is.
            cache: folder of what an interrupted run continues from.
            progress: called as generations are done.
            seed: of every generation.
            batch_size: prompts generated at once.
            limits: when counts stop a run; None = the usual limits.
        """
        parts = parts_of(tapped, judge, seed=seed, batch_size=batch_size)
        counters = Counters(limits or LimitsSection())
        return cls(**parts, cache=cache, progress=progress, counters=counters)

    def no_anchors(self) -> Anchors:
        """Those of a guard that reads the request alone: two means of no layer, [T, 0, D] float32."""
        means = np.empty((self.grid.cells, 0, self.hook.hidden_size()), dtype=np.float32)
        return Anchors(means, means, self.fingerprint, {"seed": self.seed, KEEPS_COMMITS: self.sampler.keeps_commits})

    def anchors(self, prompts: Sequence[Prompt]) -> Anchors:
        """Streams both means over the anchor fold.

        Args:
            prompts: harmless and harmful ones; only answered harmless and refused harmful ones count.

        Returns:
            Both means, [T, C, D] float32 each.

        Raises:
            CaptureError: a generation could not be watched whole, or a state is not usable.
            ConfigError: too few generations of a class count, found as soon as it is certain; or too many cannot be
                judged.
        """
        ordered = [prompts[at] for at in longest_first(prompts, SHORT_IN_FITS)]
        key = self.key(ordered)
        store = Store(self.cache, "anchors", key)
        with store.alone(WHOLE):
            builder = self._sums(ordered, key, store)
        provenance = {
            "prompts_digest": self.key(prompts)["prompts"],
            "judge": {"name": self.judge_name, "version": self.judge.version},
            "seed": self.seed,
            KEEPS_COMMITS: self.sampler.keeps_commits,
        }
        anchors = builder.build(self.fingerprint, provenance)
        refuse_few(anchors.provenance["counts"])
        return anchors

    def _sums(self, prompts: Sequence[Prompt], key: Mapping[str, Any], store: Store) -> AnchorBuilder:
        """Both sums over prompts: those of the batches, always added in the same order."""
        builder = AnchorBuilder(self.anchor_shape)
        tally = Tally("anchors", prompts, self.judge)
        order = both_classes_first(prompts, self.batch_size)
        # Once the whole is there, that is what is kept, and not each batch as well.
        whole = store.load(WHOLE)
        parts: Iterable[tuple[tuple[Prompt, ...], Batch]]
        if whole is None:
            parts = self.batches("anchors", prompts, key, AnchorSums(), order=order)
        else:
            builder.merge(whole[0])
            parts = self._found(prompts, order, whole[1])
        kept, done = list[Mapping[str, Any]](), 0
        for number, (batch, (arrays, notes)) in enumerate(parts):
            if whole is None:
                builder.merge(arrays)
            kept.append(notes)
            done += len(batch)
            tally.add(batch, words(codes(notes["outcomes"])))
            self.counters.add("anchors", len(batch), notes["counts"])
            self.counters.check("anchors", ended=done == len(prompts))
            if number < EARLY_BATCHES:
                tally.say()
            tally.anchors()
        if len(order) > EARLY_BATCHES:
            tally.say()
        if whole is None:
            store.save(WHOLE, builder.state(), {"batches": kept})
            store.remove(map(batch_name, order))
        return builder

    def _found(
        self, prompts: Sequence[Prompt], order: Sequence[int], notes: Mapping[str, Any]
    ) -> Iterator[tuple[tuple[Prompt, ...], Batch]]:
        """What a former run has noted of each batch of the anchors; the arrays [...] are in the whole."""
        for start, each in zip(order, notes["batches"], strict=True):
            yield tuple(prompts[start : start + self.batch_size]), ({}, each)
        self.progress("anchors", len(prompts), len(prompts))

    def signals(self, stage: str, prompts: Sequence[Prompt], anchors: Anchors) -> Collected:
        """Signals and outcomes of a fold.

        Args:
            stage: name of the fold, for progress and for the folder its batches are kept in.
            prompts: of the fold.
            anchors: what the signals are measured against.

        Raises:
            CaptureError: a generation could not be watched whole, or a state is not usable.
            ConfigError: too many generations cannot be judged.
        """
        order = longest_first(prompts, SHORT_IN_FITS)
        ordered = [prompts[at] for at in order]
        key = {**self.key(ordered), "anchors": anchors.digest}
        columns = None
        if anchors.request is not None:
            key["request_map"] = anchors.request.digest
            columns = tuple(column.name for column in anchors.columns)
        tally, parts = Tally(stage, prompts, self.judge), []
        for batch, (arrays, notes) in self.batches(stage, ordered, key, FoldSignals(anchors)):
            parts.append(arrays)
            self.counters.add(stage, len(batch), notes["counts"])
            self.counters.check(stage, ended=len(parts) * self.batch_size >= len(prompts))
            tally.add(batch, words(arrays["outcomes"]))
            tally.refusals()
        tally.say()
        back = places(order)
        sigma, logit, outcomes = (
            np.concatenate([part[k] for part in parts])[back] for k in ("sigma", "logit", "outcomes")
        )
        made = Signals(tuple(p.id for p in prompts), sigma, logit, self.printed(anchors), columns=columns)
        return Collected(tuple(prompts), made, words(outcomes))

    def batches(
        self, stage: str, prompts: Sequence[Prompt], key: Mapping[str, Any],
        make: Task | Callable[[tuple[Prompt, ...]], Batch], *, order: Sequence[int] | None = None,
    ) -> Iterator[tuple[tuple[Prompt, ...], Batch]]:  # fmt: skip
        """Every batch of a stage with its prompts, in order: made now, or found where an interrupted run left it.

        Args:
            stage: for progress, and for the folder the batches are kept in.
            prompts: of all batches.
            key: everything the batches depend on.
            make: generates one batch. Workers make those of a task, if there are workers.
            order: where the batches begin among the prompts, in the order to make them; None = from the first on.

        Yields:
            The prompts of a batch, and what `make` gave for them: arrays [...] of any shape by name, and notes.
        """
        store = Store(self.cache, stage, key)
        here = partial(make.make, self) if isinstance(make, Task) else make
        work = Batches(store, prompts, self.batch_size, here, order)
        if self.dispatcher is not None and isinstance(make, Task):
            yield from self.dispatcher.results(stage, work, make, partial(self.progress, stage))
            return
        done = 0
        for start in work.starts:
            self.progress(stage, done, len(prompts))
            batch = work.prompts_at(start)
            yield batch, work.at(start)
            done += len(batch)
        self.progress(stage, len(prompts), len(prompts))


def both_classes_first(prompts: Sequence[Prompt], size: int) -> list[int]:
    """Where the batches of the anchors start, in the order they are generated: the first of each class, then the rest.

    Prompts of one class lie together, and a model that refuses nothing must not show after half of the fold.
    """
    starts = list(range(0, len(prompts), size))
    firsts = [next(at for at, p in enumerate(prompts) if p.label == label) for label in {p.label for p in prompts}]
    early = sorted({at // size * size for at in firsts})
    return early + [start for start in starts if start not in early]
