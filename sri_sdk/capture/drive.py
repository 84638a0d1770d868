"""Drive: our sampler runs the loop, step by step, under the same tap as `watch`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace

import torch

from sri_sdk.capture.conclude import INTERRUPTED
from sri_sdk.capture.identity import system_prompt_fact
from sri_sdk.capture.recoverer import Answer, DrivenBatch, Recoverer
from sri_sdk.capture.rows import SPECIAL_TOKEN, mask_in_prompt
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.start import Start, check, start
from sri_sdk.capture.tap import Tap, tap_of
from sri_sdk.edit_flows import refuse_moving_tokens
from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.records import Intervention, LoadedModel, Prompt, RecoveryAction, SamplerStep
from sri_sdk.sampler import Sampler, Steps

log = logging.getLogger("sri_sdk.capture")


class Drive:
    """One driven batch: iterate it to the end, then read `run` and `texts`.

    Attributes:
        run: traces, signals, verdicts and decisions, as in `watch`; complete when the loop has ended.
        step: the last step the sampler yielded; None before the first.
        undecoded: row -> what the tokenizer raised over its response, when the texts were last read.
        recoveries: every action that a recovery took, once the loop has ended.
        answers: row -> what answers in place of its flagged response, once the loop has ended.
    """

    def __init__(
        self, hook: Hook, loaded: LoadedModel, sampler: Sampler, prompts: Sequence[Prompt], settings: WatchSettings,
        *, seed: int, system_prompt: str | None, recovery: Recoverer | None = None, canvas: torch.Tensor | None = None,
        around: Callable[[Hook], Hook] | None = None,
    ) -> None:  # fmt: skip
        """Use `drive`.

        Args:
            hook: the model family.
            loaded: model and tokenizer.
            sampler: the sampling scheme.
            prompts: what to answer.
            settings: what to measure against.
            seed: the run's seed.
            system_prompt: goes before every prompt.
            recovery: answers in place of flagged responses.
            canvas: [B, P] int64 tensor, responses to begin with, the mask token where they are open; None = as the
                prompts say.
            around: makes of the hook the one whose passes the sampler asks for.
        """
        self._recovery, self._canvas, self._around = recovery, canvas, around
        self.answers: Mapping[int, Answer] = {}
        self.recoveries: tuple[RecoveryAction, ...] = ()
        self._settings = settings
        self._hook, self._loaded, self._sampler = hook, loaded, sampler
        self._prompts, self._seed, self._system_prompt = tuple(prompts), seed, system_prompt
        self._next: Intervention | None = None
        self._stopped: set[int] = set()
        self._cut: set[int] = set()
        self._may_withhold = settings.scorer is not None and settings.policy.may_withhold
        self._fails_closed = settings.policy.stops_on_tampering
        self.run = Run(hook, settings, [p.id for p in prompts], driven=True, groups=[p.group for p in prompts])
        self.step: SamplerStep | None = None
        self.undecoded: dict[int, str] = {}
        self._ready: Start | None = None

    def intervene(self, intervention: Intervention) -> None:
        """Asks the sampler for something before its next step.

        Raises:
            RecoveryError: the policy recovers, and a refusal would be taken out of a response.
        """
        if self._recovery is not None and intervention.remask is not None and self.step is not None:
            self._recovery.refuse_opening(self._hook, self._loaded, self._prompts, self.step, intervention.remask)
        self._next = intervention

    def __iter__(self) -> Generator[SamplerStep, None, None]:
        ready = start(
            self._hook, self._loaded.tokenizer, self._sampler, self._prompts, self._system_prompt,
            find_requests=self.run.reads_requests,
        )  # fmt: skip
        if self._canvas is not None:
            ready = replace(ready, encoded=replace(ready.encoded, response=self._canvas))
        self._ready, ids = ready, [p.id for p in self._prompts]
        if ready.requests is not None:
            self.run.locate_requests(ready.requests)
        held = mask_in_prompt(self._hook, ready.encoded)
        self.run.distrust(held, SPECIAL_TOKEN)
        # Where a prompt holds masks of its own, the canvas cannot be found by its masks either.
        if ready.encoded.response is not None or bool(held.any()):
            self.run.starts(ready.encoded.input_ids.shape[1], self._sampler.canvas())
        asked = self._hook if self._around is None else self._around(self._hook)
        steps = self._sampler.steps(asked, ready.encoded, ids, self._seed)
        taken: torch.Tensor | None = None
        tap, ended = tap_of(self._hook.model), False
        try:
            with tap.installed(self._hook, self.run):
                while (step := self._advance(steps, tap)) is not None:
                    # On the device: nobody waits for it before the end.
                    taken = step.active.long() if taken is None else taken + step.active
                    yield step
            ended = True
        finally:
            steps.close()
            if not ended:
                self.run.fail(INTERRUPTED)
            self.run.expect([0] * len(ids) if taken is None else taken.tolist())
            self.run.finish(None if self.step is None else self.step.committed)
        self._recover()

    def _recover(self) -> None:
        """Answers in place of what is flagged, where the policy recovers. Nobody else's row is touched."""
        policy = self._settings.policy
        if self._recovery is None or not any(map(policy.to_recover, self.run.decisions)):
            return
        found = self._recovery.recover(
            DrivenBatch(
                self._hook, self._loaded, self._sampler, self._settings, self._prompts, self._seed,
                self._system_prompt, self.run.decisions, self.run.traces, frozenset(self._cut), self.step,
                tuple(self.texts),
            )
        )  # fmt: skip
        self.answers, self.recoveries = dict(found.answers), found.actions
        self.run.decisions = tuple(
            decision
            if (answer := self.answers.get(row)) is None
            else replace(decision, withheld=answer.by == "refuse", recovered=answer.by)
            for row, decision in enumerate(self.run.decisions)
        )
        if self._settings.emitter is not None:
            self._settings.emitter.emit_recoveries(self.recoveries)

    def _advance(self, steps: Steps, tap: Tap) -> SamplerStep | None:
        """One step. Grad mode and ownership of the model end with it: what the caller does in between is its own."""
        intervention, self._next = self._next, None
        # The policy ends rows, not batches: the others go on.
        if stopped := tuple(row for row in self.run.rows_to_stop if row not in self._stopped):
            self._stopped.update(stopped)
            intervention = intervention or Intervention()
            intervention = replace(intervention, abort=tuple(dict.fromkeys((*intervention.abort, *stopped))))
        if intervention is not None:
            self._cut.update(intervention.abort)
        if intervention is not None and intervention.remask is not None:
            self.run.permit(intervention.remask)
        try:
            with torch.inference_mode(), tap.owned_by(self.run):
                self.step = next(steps) if self.step is None else steps.send(intervention)
        except StopIteration:
            return None
        self.run.close_step(self.step.committed, self.step.active)
        return self.step

    @property
    def responses(self) -> list[str | None]:
        """The texts; None where the policy withholds one, may do so once the verdict is there, or none can be read.

        Where a flagged response was recovered, what answers in its place: `run.decisions` says what that is.
        A guard with a horizon may have cleared a response that still grows: it is there from then on, unless the policy
        withholds what turns out to be unmonitored.
        """
        withheld = {decision.request_id for decision in self.run.decisions if decision.withheld}
        if not self.run.finished and self._may_withhold:
            known = () if self._fails_closed else self.run.decisions
            cleared = {decision.request_id for decision in known if not decision.withheld}
            withheld = {prompt.id for prompt in self._prompts} - cleared
            if not cleared:
                return [None] * len(self._prompts)
        texts: list[str | None] = [
            None if p.id in withheld else t for p, t in zip(self._prompts, self.texts, strict=True)
        ]
        shown = [None if row in self.undecoded else text for row, text in enumerate(texts)]
        return [self.answers[row].text if row in self.answers else text for row, text in enumerate(shown)]

    @property
    def texts(self) -> list[str]:
        """What the response of each prompt reads as now, with what it was started with.

        Empty where the tokenizer fails on one; `undecoded` then says so. Its neighbours keep theirs.
        """
        if self.step is None or self._ready is None:
            return [""] * len(self._prompts)
        before = self.undecoded
        texts, self.undecoded = self._ready.readable(self._hook, self._loaded.tokenizer, self.step.draft)
        for row in self.undecoded.keys() - before.keys():
            log.warning("prompt %r: its response cannot be decoded: %s", self._prompts[row].id, self.undecoded[row])
        return texts


def drive(
    hook: Hook, loaded: LoadedModel, sampler: Sampler, prompts: Sequence[Prompt], settings: WatchSettings,
    *, seed: int = 0, system_prompt: str | None = None, recovery: Recoverer | None = None,
) -> Drive:  # fmt: skip
    """Generates a batch with one of our samplers, under watch.

        batch = sri_sdk.drive(hook, loaded, sampler, prompts, settings)
        for step in batch:
            print(step.index, batch.texts[0])
        print(batch.run.verdicts)

    Args:
        hook: the model family, built on `loaded.model`.
        loaded: model and tokenizer.
        sampler: the sampling scheme.
        prompts: what to answer; a `prefill` is generated with its response started, and a `group` is judged by the
            thresholds of that group, if the guard has such.
        settings: what to measure against, made by `sri_sdk.watch_settings`. Its policy is applied row by row: a row
            that it stops takes no further step, and the others go on.
        seed: the run's seed; each row is seeded by (seed, prompt id).
        system_prompt: goes before every prompt.
        recovery: a `sri_sdk.Recovery` for the policy of the settings, where that says `flagged: recover`. The loop then
            ends when every flagged response is answered otherwise.

    Raises:
        ConfigError: the sampler cannot drive this family or start its responses, there are no prompts, the settings
            state another system prompt, or recovery and policy do not go together.
        ModelMismatch: a direction of the recovery belongs to another model, or the model inserts and deletes tokens.
    """
    if hook.scheme not in sampler.schemes:
        raise ConfigError(
            f"sampler {type(sampler).__name__} drives {', '.join(sorted(sampler.schemes))} models, "
            f"{type(hook).__name__} is {hook.scheme}. Choose a sampler of that scheme: "
            "`sri plugins list --kind samplers`."
        )
    if not hook.follows_moves:
        refuse_moving_tokens(hook.model)
    if not prompts:
        raise ConfigError("drive: no prompts. Pass at least one.")
    check(hook, sampler, prompts)
    stated = None if settings.fingerprint is None else settings.fingerprint.soft.get("system_prompt")
    if stated not in (None, used := system_prompt_fact(system_prompt)):
        raise ConfigError(
            f"drive: the settings were made for system prompt {stated}, and this generation has {used} (digests of "
            "the texts). Pass the same system_prompt to watch_settings and to drive."
        )
    if recovery is not None or settings.policy.recovers:
        _checked(recovery, settings).check(hook, sampler, system_prompt)
    return Drive(
        hook, loaded, sampler, prompts, settings, seed=seed, system_prompt=system_prompt, recovery=recovery
    )  # fmt: skip


def _checked(recovery: Recoverer | None, settings: WatchSettings) -> Recoverer:
    """The recovery that the policy of the settings asks for.

    Raises:
        ConfigError: there is none, or it was made for another policy.
    """
    if recovery is None:
        raise ConfigError(
            "drive: the policy says flagged: recover, and there is no recovery. Pass recovery=sri_sdk.Recovery.open("
            "policy, judge), or choose flagged: abort."
        )
    if recovery.policy != settings.policy:
        raise ConfigError(
            "drive: recovery was made for another policy than the settings have. Make both with the same policy, which "
            "says flagged: recover."
        )
    return recovery


def generate_untapped(
    hook: Hook, loaded: LoadedModel, sampler: Sampler, prompts: Sequence[Prompt], *, seed: int = 0,
    system_prompt: str | None = None,
) -> list[str]:  # fmt: skip
    """The responses of a driven batch without watching it: what the tap is compared with, and what attackers see.

    Args:
        hook: the model family, built on `loaded.model`.
        loaded: model and tokenizer.
        sampler: the sampling scheme.
        prompts: what to answer.
        seed: the run's seed.
        system_prompt: goes before every prompt.

    Raises:
        ConfigError: a response cannot be started with this family and sampler.
    """
    check(hook, sampler, prompts)
    with torch.inference_mode():
        ready = start(hook, loaded.tokenizer, sampler, prompts, system_prompt)
        last = None
        for step in sampler.steps(hook, ready.encoded, [p.id for p in prompts], seed):
            last = step
        return [""] * len(prompts) if last is None else ready.texts(hook, loaded.tokenizer, last.draft)
