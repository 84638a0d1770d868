"""From flagged generations to what answers in their place: the policy's list, tried in order, within its budget."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from sri_sdk import registry
from sri_sdk.capture.recoverer import Answer, DrivenBatch, Recovered, Recoverer
from sri_sdk.config.check_recovery import unsuited
from sri_sdk.errors import BundleError, ConfigError
from sri_sdk.hook import Hook
from sri_sdk.judge import Judge
from sri_sdk.policy import Policy
from sri_sdk.records import LoadedModel, Prompt, RecoveryAction, SamplerStep
from sri_sdk.recovery_plan import REFUSAL, RecoveryStep
from sri_sdk.sampler import Sampler
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.file import load_direction
from sri_sdk.steer.identity import check_model
from sri_sdk.steer.recovery.audit import AuditLog
from sri_sdk.steer.recovery.cases import AGAIN, NOT_ACCEPTED, Case, open_case
from sri_sdk.steer.recovery.rounds import Rounds, Tried
from sri_sdk.steer.recovery.spans import PHRASES, RefusalFinder, refuse_opening
from sri_sdk.steer.recovery.steering import Steer
from sri_sdk.text import in_short

log = logging.getLogger("sri_sdk.recovery")


class Recovery(Recoverer):
    """What `drive` is given where the policy says `flagged: recover`.

        recovery = sri_sdk.Recovery.open(policy, judge)
        batch = sri_sdk.drive(hook, loaded, sampler, prompts, settings, recovery=recovery)
        for step in batch:
            ...
        print(batch.responses, batch.recoveries)

    May serve many batches of the same model, one after the other.
    """

    def __init__(self, policy: Policy, judge: Judge, directions: Mapping[Path, Direction]) -> None:
        """Takes what `open` reads.

        Args:
            policy: says `flagged: recover`.
            judge: reads new responses.
            directions: by the paths that the policy names.

        Raises:
            ConfigError: the policy recovers nothing, a direction is missing, or the audit log cannot be written.
        """
        if not policy.recovers:
            raise ConfigError(f"recovery: the policy says flagged: {policy.flagged}; there is nothing to recover.")
        named = [step.direction for step in policy.recovery if step.direction is not None]
        if missing := [path for path in named if path not in directions]:
            raise ConfigError(f"recovery: no direction for {missing[0]}, which the policy names. Use Recovery.open.")
        self.policy, self._judge = policy, judge
        self._directions = {path: directions[path] for path in named}
        self._finder = RefusalFinder(judge)
        self._audit = None if policy.audit is None else AuditLog(policy.audit.path)
        self._checked: weakref.WeakSet[Any] = weakref.WeakSet()

    @classmethod
    def open(cls, policy: Policy, judge: Judge | None = None) -> Self:
        """Reads the directions that a policy names.

        Args:
            policy: says `flagged: recover`.
            judge: reads new responses; None = the judge of refusal phrases.

        Raises:
            BundleError: a file is missing, damaged, or no direction.
            ConfigError: see the class.
        """
        found: Judge = registry.build("judges", PHRASES, {}) if judge is None else judge
        directions: dict[Path, Direction] = {}
        for number, step in enumerate(policy.recovery):
            if step.direction is not None and step.direction not in directions:
                try:
                    directions[step.direction] = load_direction(step.direction)
                except BundleError as err:
                    raise BundleError(f"policy.recovery.{number}.direction: {err}") from err
        return cls(policy, found, directions)

    def check(self, hook: Hook, sampler: Sampler, system_prompt: str | None = None) -> None:
        """Whether family, sampler and directions suit what is listed.

        Raises:
            ConfigError: the family or the sampler cannot do it.
            ModelMismatch: a direction was made with another model.
        """
        blocks = hook.block_length() is not None
        if found := list(unsuited(self.policy, hook.scheme, type(hook).__name__, sampler, blocks=blocks)):
            raise ConfigError("; ".join(found), found)
        if hook.model in self._checked:
            return
        for path, direction in self._directions.items():
            if other := check_model(direction, hook, system_prompt):
                log.warning("%s: made under another %s; it may fit less well", path, ", ".join(other))
        for step in self.policy.recovery:
            if step.direction is not None and step.steers is not None:
                Steer(hook, self._directions[step.direction], step.steers)
        self._checked.add(hook.model)

    def refuse_opening(
        self, hook: Hook, loaded: LoadedModel, prompts: Sequence[Prompt], step: SamplerStep, opened: torch.Tensor
    ) -> None:
        """Refuses to open positions, [B, P] bool, that hold the words of a refusal.

        Raises:
            RecoveryError: they do.
        """
        refuse_opening(self._finder, hook, loaded.tokenizer, prompts, step, opened)

    def recover(self, batch: DrivenBatch) -> Recovered:
        """Answers in place of every flagged response; rows that were not flagged are not touched."""
        scorer, policy = batch.settings.scorer, self.policy
        assert scorer is not None, "without a guard nothing is flagged"
        cases = [
            open_case(row, decision, batch.traces[row].reasons, scorer, policy.budget)
            for row, decision in enumerate(batch.decisions)
            if policy.to_recover(decision)
        ]
        rounds = Rounds(batch, scorer, self._judge, self._finder, self._directions)
        try:
            answers = self._answers(rounds, cases)
        finally:
            # Also of a recovery that somebody breaks off: what was done was done.
            actions = tuple(action for case in cases for action in case.actions)
            if self._audit is not None:
                self._audit.add(actions)
        return Recovered(answers, actions)

    def _answers(self, rounds: Rounds, cases: Sequence[Case]) -> dict[int, Answer]:
        """Row -> what answers; the actions that led there are noted in the cases."""
        plan, answers = self.policy.recovery, dict[int, Answer]()
        for number, step in enumerate(plan, 1):
            if step.action == "refuse":
                break
            ready = [case for case in cases if case.row not in answers and self._due(rounds, case, step)]
            for case, tried in zip(ready, self._try(rounds, number, step, ready), strict=True):
                self._note(case, number, step, tried)
                if tried.accepted and tried.text is not None:
                    answers[case.row] = Answer(tried.text, step.action, tried.verdict, tried.sigma)
        stated = plan[-1].action == "refuse"
        last = plan[-1] if stated else RecoveryStep(action="refuse", text=REFUSAL)
        for case in cases:
            if case.row not in answers:
                self._note(case, len(plan) + (not stated), last, Tried(True, "refused", text=last.text))
                answers[case.row] = Answer(last.text, "refuse")
        return answers

    def _due(self, rounds: Rounds, case: Case, step: RecoveryStep) -> bool:
        """Whether an action makes sense for a case, and its budget has room; else the case says what was spent."""
        if step.action not in case.may:
            return False
        if (code := case.spent(step.action, forwards=rounds.least(case, step))) is not None:
            case.why = code
        return code is None

    def _try(self, rounds: Rounds, number: int, step: RecoveryStep, cases: Sequence[Case]) -> Iterable[Tried]:
        """One round. What raises in it costs the round and nothing else."""
        if not cases:
            return []
        began = time.monotonic()
        try:
            return rounds.take(number, step, cases)
        except (Exception, SystemExit) as err:  # The flagged responses must not be lost, nor given out.
            detail = in_short(err, rounds.texts())
            log.warning("recovery: round %d (%s) failed: %s", number, step.action, detail)
            return [Tried(False, "failed", seconds=time.monotonic() - began, detail=detail)] * len(cases)

    def _note(self, case: Case, number: int, step: RecoveryStep, tried: Tried) -> None:
        """Writes down what was done, and what it cost."""
        texts = self.policy.audit is not None and self.policy.audit.texts
        case.actions.append(
            RecoveryAction(
                request_id=case.decision.request_id, round=number, action=step.action, why=case.why,
                result=tried.result, accepted=tried.accepted, forwards=tried.forwards,
                seconds=round(tried.seconds, 6), opened=tried.opened, before=case.decision.verdict.to_dict(),
                after=None if tried.verdict is None else tried.verdict.to_dict(), outcome=tried.outcome,
                detail=tried.detail, text=tried.text if texts else None,
            )
        )  # fmt: skip
        case.rounds += step.action in AGAIN
        case.forwards += tried.forwards
        case.seconds += tried.seconds
        if not tried.accepted:
            case.why = tried.result if tried.result.startswith("budget_") else NOT_ACCEPTED
