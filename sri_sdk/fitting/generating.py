"""Generates one batch under watch and has it judged: everything that a generation depends on, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sri_sdk import registry
from sri_sdk._version import __version__
from sri_sdk.anchors import Anchors
from sri_sdk.capture.conclude import made_with
from sri_sdk.capture.drive import Drive, drive, generate_untapped
from sri_sdk.capture.rows import SPECIAL_TOKEN, mask_in_prompt
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.config.fit import FitConfig, PluginSection
from sri_sdk.errors import CaptureError, ConfigError
from sri_sdk.files import digest, sha256
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.fitting.deployment import Deployment, Tapped
from sri_sdk.fitting.judged import Judged, judged
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.judge import Judge
from sri_sdk.records import LoadedModel, Prompt
from sri_sdk.sampler import Sampler
from sri_sdk.thoughts import VERSION as THOUGHTS


@dataclass(frozen=True, slots=True)
class Generating:
    """A live model under a tap, with its sampler and a judge."""

    hook: Hook
    loaded: LoadedModel
    sampler: Sampler
    judge: Judge
    judge_name: str
    fingerprint: Fingerprint
    settings: WatchSettings
    """Pooling, layers and grid; anchors are added when there are some."""
    seed: int
    batch_size: int
    system_prompt: str | None

    @staticmethod
    def on(deployment: Deployment) -> Generating:
        """What a worker generates with: the same as the collector of that deployment."""
        config: FitConfig = deployment.config
        return Generating(**parts_of(deployment, config.judge, seed=config.seed, batch_size=config.batch_size))

    @property
    def grid(self) -> StepGrid:
        """The step grid of anchors and signals."""
        assert self.settings.grid is not None
        return self.settings.grid

    @property
    def anchor_shape(self) -> tuple[int, int, int]:
        """(T, C, D) of each anchor."""
        return self.grid.cells, len(self.settings.layers), self.hook.hidden_size()

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


def parts_of(tapped: Tapped, judge: PluginSection, *, seed: int, batch_size: int) -> dict[str, Any]:
    """The fields of a `Generating`.

    Args:
        tapped: model, sampler and tap.
        judge: plugin of kind judges: what a response is.
        seed: of every generation.
        batch_size: prompts generated at once.
    """
    built: Judge = registry.build("judges", judge.name, judge.options)
    return {
        "hook": tapped.hook, "loaded": tapped.loaded, "sampler": tapped.sampler, "judge": built,
        "judge_name": judge.name, "fingerprint": tapped.fingerprint, "settings": tapped.settings, "seed": seed,
        "batch_size": batch_size, "system_prompt": tapped.system_prompt,
    }  # fmt: skip


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
