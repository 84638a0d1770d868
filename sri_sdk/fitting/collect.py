"""Generates the prompts of a fold and keeps what a fit needs: anchors, or signals.

Batch by batch: an interrupted run continues after the last batch it finished, and a second process with the same config
makes those that nobody is at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from sri_sdk import registry
from sri_sdk._version import __version__
from sri_sdk.anchors import AnchorBuilder, Anchors
from sri_sdk.capture.conclude import made_with
from sri_sdk.capture.drive import Drive, drive, generate_untapped
from sri_sdk.capture.rows import SPECIAL_TOKEN, mask_in_prompt
from sri_sdk.capture.settings import KEEPS_COMMITS, WatchSettings
from sri_sdk.config.fit import LimitsSection, PluginSection
from sri_sdk.errors import CaptureError, ConfigError
from sri_sdk.files import digest, sha256
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.fitting.batches import Batches
from sri_sdk.fitting.by_length import SHORT_IN_FITS, longest_first, places
from sri_sdk.fitting.counters import Counters
from sri_sdk.fitting.deployment import Deployment, Tapped
from sri_sdk.fitting.judged import Counts, Judged, judged
from sri_sdk.fitting.store import Batch, Store
from sri_sdk.fitting.tally import Tally, refuse_few
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.judge import Judge
from sri_sdk.metrics.outcomes import codes, words
from sri_sdk.records import LoadedModel, Outcome, Prompt, Signals
from sri_sdk.sampler import Sampler
from sri_sdk.thoughts import VERSION as THOUGHTS

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, prompts done and prompts in all."""


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
class Collector:
    """Everything a generation depends on, in one place."""

    hook: Hook
    loaded: LoadedModel
    sampler: Sampler
    judge: Judge
    judge_name: str
    fingerprint: Fingerprint
    settings: WatchSettings
    """Pooling, layers and grid; anchors are added when there are some."""
    cache: Path
    seed: int
    batch_size: int
    system_prompt: str | None
    progress: Progress
    counters: Counters = field(default_factory=lambda: Counters(LimitsSection()))
    """What may make results worthless, of all that this collector generated or found."""

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
        built: Judge = registry.build("judges", judge.name, judge.options)
        return cls(
            hook=tapped.hook, loaded=tapped.loaded, sampler=tapped.sampler, judge=built, judge_name=judge.name,
            fingerprint=tapped.fingerprint, settings=tapped.settings, cache=cache, seed=seed, batch_size=batch_size,
            system_prompt=tapped.system_prompt, progress=progress, counters=Counters(limits or LimitsSection()),
        )  # fmt: skip

    def no_anchors(self) -> Anchors:
        """Those of a guard that reads the request alone: two means of no layer, [T, 0, D] float32."""
        means = np.empty((self._grid().cells, 0, self.hook.hidden_size()), dtype=np.float32)
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
        store = Store(self.cache, "anchors", self.key(ordered))
        with store.alone("sums"):
            builder = self._sums(ordered, store)
        provenance = {
            "prompts_digest": self.key(prompts)["prompts"],
            "judge": {"name": self.judge_name, "version": self.judge.version},
            "seed": self.seed,
            KEEPS_COMMITS: self.sampler.keeps_commits,
        }
        anchors = builder.build(self.fingerprint, provenance)
        refuse_few(anchors.provenance["counts"])
        return anchors

    def _sums(self, prompts: Sequence[Prompt], store: Store) -> AnchorBuilder:
        """Both sums over prompts, continued from where an interrupted run left them."""
        grid = self._grid()
        builder = AnchorBuilder((grid.cells, len(self.settings.layers), self.hook.hidden_size()))
        tally = Tally("anchors", prompts, self.judge)
        kept: list[str] = []
        counted: list[Counts] = []
        # Without counts an older release wrote it, and without outcomes one that took the batches in another order.
        if (saved := store.load("sums")) is not None and {"outcomes", "counts"} <= saved[1].keys():
            builder.restore(saved[0])
            kept, counted = saved[1]["outcomes"], saved[1]["counts"]
        order = both_classes_first(prompts, self.batch_size)
        settings = replace(self.settings, keep_states=True, request_layers=())
        done = 0
        for number, start in enumerate(order):
            self.progress("anchors", done, len(prompts))
            batch = prompts[start : start + self.batch_size]
            outcomes: Sequence[Outcome]
            if done < len(kept):
                outcomes = words(codes(kept[done : done + len(batch)]))
            else:
                driven, said = self.generate(batch, settings)
                outcomes = said.outcomes
                for prompt, trace, outcome in zip(batch, driven.run.traces, outcomes, strict=True):
                    builder.add(prompt.label, outcome, grid.place(trace.phi, trace.clock), prompt_id=prompt.id)
                kept, counted = [*kept, *outcomes], [*counted, said.counts]
                store.save("sums", builder.state(), {"outcomes": kept, "counts": counted})
            done += len(batch)
            tally.add(batch, outcomes)
            self.counters.add("anchors", len(batch), counted[number])
            self.counters.check("anchors", ended=done == len(prompts))
            if number < EARLY_BATCHES:
                tally.say()
            tally.anchors()
        self.progress("anchors", len(prompts), len(prompts))
        if len(order) > EARLY_BATCHES:
            tally.say()
        return builder

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
        settings = self.signal_settings(anchors)

        def make(batch: tuple[Prompt, ...]) -> Batch:
            driven, said = self.generate(batch, settings)
            signals = driven.run.signals
            assert signals is not None
            refuse_missing(signals)
            outcomes = codes(said.outcomes)
            return {"sigma": signals.sigma, "logit": signals.logit, "outcomes": outcomes}, {"counts": said.counts}

        order = longest_first(prompts, SHORT_IN_FITS)
        ordered = [prompts[at] for at in order]
        key = {**self.key(ordered), "anchors": anchors.digest}
        columns = None
        if anchors.request is not None:
            key["request_map"] = anchors.request.digest
            columns = tuple(column.name for column in anchors.columns)
        tally, parts = Tally(stage, prompts, self.judge), []
        for batch, (arrays, notes) in self.batches(stage, ordered, key, make):
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
        self, stage: str, prompts: Sequence[Prompt], key: Mapping[str, Any], make: Callable[[tuple[Prompt, ...]], Batch]
    ) -> Iterator[tuple[tuple[Prompt, ...], Batch]]:
        """Every batch of a stage with its prompts, in order: made now, or found where an interrupted run left it.

        Args:
            stage: for progress, and for the folder the batches are kept in.
            prompts: of all batches.
            key: everything the batches depend on.
            make: generates one batch.

        Yields:
            The prompts of a batch, and what `make` gave for them: arrays [...] of any shape by name, and notes.
        """
        work = Batches(Store(self.cache, stage, key), prompts, self.batch_size, make)
        for start in work.starts:
            self.progress(stage, start, len(prompts))
            yield work.prompts_at(start), work.at(start)
        self.progress(stage, len(prompts), len(prompts))

    def signal_settings(self, anchors: Anchors) -> WatchSettings:
        """How to watch a generation whose signal is wanted."""
        return replace(self.settings, anchors=anchors, fingerprint=self.fingerprint)

    def printed(self, anchors: Anchors) -> dict[str, Any]:
        """The fingerprint of signals that were made with these anchors."""
        made_by = made_with(anchors, self.settings.tau, self.settings.eps)
        return {**self.fingerprint.to_dict(), **made_by}

    def generate(self, prompts: Sequence[Prompt], settings: WatchSettings) -> tuple[Drive, Judged]:
        """Generates one batch under watch and judges its answers.

        Raises:
            CaptureError: see `run`.
        """
        driven = self.run(prompts, settings)
        return driven, self.judged(prompts, texts_of(driven))

    def judged(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> Judged:
        """What the judge says of the answers in responses, thoughts left out."""
        return judged(self.judge, self.hook.thoughts, prompts, texts)

    def respond(self, prompts: Sequence[Prompt]) -> list[str]:
        """Generates one batch without watching it; the same responses as under watch, thoughts included."""
        return generate_untapped(
            self.hook, self.loaded, self.sampler, prompts, seed=self.seed, system_prompt=self.system_prompt
        )

    def run(
        self, prompts: Sequence[Prompt], settings: WatchSettings, each_step: Callable[[Drive], None] = lambda _: None
    ) -> Drive:
        """Generates one batch under watch; `each_step` may look on after every step.

        Raises:
            CaptureError: a generation could not be watched whole, or a state is not usable.
        """
        driven = drive(
            self.hook, self.loaded, self.sampler, prompts, settings, seed=self.seed, system_prompt=self.system_prompt
        )
        for _ in driven:
            each_step(driven)
        for trace in driven.run.traces:
            if trace.reasons:
                raise CaptureError(self._refusal(trace.request_id, trace.reasons, driven))
        return driven

    def refuse_special(self, groups: Mapping[str, Sequence[Prompt]]) -> None:
        """Whether prompts hold the mask token, asked before anything is generated.

        Args:
            groups: name of a fold or group -> its prompts.

        Raises:
            ConfigError: some do; every group with such prompts is a problem of its own, with their number.
        """
        problems = []
        for name, prompts in groups.items():
            found: list[str] = []
            for start in range(0, len(prompts) if self.hook.mask_id() is not None else 0, self.batch_size):
                batch = prompts[start : start + self.batch_size]
                encoded = self.hook.encode(self.loaded.tokenizer, [p.text for p in batch], self.system_prompt)
                held = mask_in_prompt(self.hook, encoded).tolist()
                found += [p.id for p, yes in zip(batch, held, strict=True) if yes]
            if found:
                problems.append(
                    f"prompts of {name!r}: {len(found)} of {len(prompts)} hold the mask token, for example "
                    f"{found[0]!r}. The tokenizer reads it out of their text, and a generation is then not watched "
                    f"whole ({SPECIAL_TOKEN}). Leave these prompts out, or write the token in another way."
                )
        if problems:
            raise ConfigError(problems[0], problems)

    def _refusal(self, prompt_id: str, reasons: tuple[str, ...], driven: Drive) -> str:
        where = ""
        if driven.run.signals is not None:
            row = driven.run.signals.ids.index(prompt_id)
            bad = np.argwhere(np.isnan(driven.run.signals.sigma[row]))
            where = f" at cell {bad[0][0]}, layer {bad[0][1]}" if len(bad) else ""
        cause = f" ({driven.run.failure})" if driven.run.failure else ""
        return (
            f"prompt {prompt_id!r}: {', '.join(reasons)}{where}{cause}. Nothing is fitted on generations that were not "
            "watched whole: check the model's dtype and the hook's `plan`, or leave the prompt out if it is alone."
        )

    def _grid(self) -> StepGrid:
        assert self.settings.grid is not None
        return self.settings.grid

    def key(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """What a stored result depends on. The batch size is in it because shards are batches."""
        # To the letter, unlike the check for overlaps: a model answers capitals differently.
        texts = digest([[p.id, p.label, sha256(p.text.encode()), p.prefill or ""] for p in prompts])
        # The fingerprint of a guard with a horizon says nothing of the length, and texts and outcomes depend on it.
        length = {} if self.settings.horizon is None else {"sampler": self.sampler.config.model_dump(mode="json")}
        return {
            **length,
            "fingerprint": self.fingerprint.to_dict(),
            "prompts": texts,
            "judge": [self.judge_name, self.judge.version, self.judge.config.model_dump(mode="json")],
            "hook": [type(self.hook).__qualname__, self.hook.config.model_dump(mode="json"), self.system_prompt],
            "thoughts": [THOUGHTS, [list(pair) for pair in self.hook.thoughts.more]],
            "version": __version__,
            "seed": self.seed,
            "batch_size": self.batch_size,
        }


def refuse_missing(signals: Signals) -> None:
    """Raises CaptureError if a column has no number for a generation; nothing is fitted on such."""
    for name, whys in (signals.missing or {}).items():
        row = next(at for at, why in enumerate(whys) if why is not None)
        raise CaptureError(
            f"prompt {signals.ids[row]!r}: column {name!r} has no number ({whys[row]}). Leave the prompt out if it is "
            "alone; otherwise check the chat template and the hook's `prompt_columns` with `sri check hook NAME`."
        )


def texts_of(driven: Drive) -> list[str]:
    """The responses of a batch, for a judge.

    Raises:
        CaptureError: one cannot be decoded: nothing is known of it, and it must not count as an empty answer.
    """
    texts = driven.texts
    if driven.undecoded:
        row, why = next(iter(driven.undecoded.items()))
        raise CaptureError(
            f"prompt {driven.run.traces[row].request_id!r}: its response cannot be decoded ({why}); "
            f"{len(driven.undecoded)} of {len(texts)} in its batch. Mend the tokenizer or the hook's `decode`, or "
            "leave the prompt out."
        )
    return texts


def both_classes_first(prompts: Sequence[Prompt], size: int) -> list[int]:
    """Where the batches of the anchors start, in the order they are generated: the first of each class, then the rest.

    Prompts of one class lie together, and a model that refuses nothing must not show after half of the fold.
    """
    starts = list(range(0, len(prompts), size))
    firsts = [next(at for at, p in enumerate(prompts) if p.label == label) for label in {p.label for p in prompts}]
    early = sorted({at // size * size for at in firsts})
    return early + [start for start in starts if start not in early]
