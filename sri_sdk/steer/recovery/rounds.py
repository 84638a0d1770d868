"""One round of a recovery for a few flagged rows: open positions, steer, or ask the judge."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sri_sdk.capture.recoverer import DrivenBatch
from sri_sdk.capture.start import start
from sri_sdk.judge import Judge
from sri_sdk.records import Outcome, Prompt, Verdict
from sri_sdk.recovery_plan import RecoveryStep
from sri_sdk.sampler import Sampler
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.recovery.accept import accepted, ask, released
from sri_sdk.steer.recovery.again import Made, generate_again
from sri_sdk.steer.recovery.cases import Case
from sri_sdk.steer.recovery.leaning import most_leaning, projections
from sri_sdk.steer.recovery.passes import Course
from sri_sdk.steer.recovery.spans import RefusalFinder, committed_tokens
from sri_sdk.steer.recovery.steering import Steer

if TYPE_CHECKING:
    from sri_sdk.scoring.scorer import Scorer


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What a round made of one row."""

    accepted: bool
    result: str
    """Code, as `RecoveryAction.result`."""
    text: str | None = None
    """The response; None = there is none."""
    verdict: Verdict | None = None
    outcome: Outcome | None = None
    forwards: int = 0
    seconds: float = 0.0
    opened: tuple[int, ...] = ()
    detail: str = ""
    sigma: NDArray[np.float32] | None = None
    """[T] in [0, 1], what the guard saw of the new generation."""


class Rounds:
    """The actions, on one batch that has ended."""

    def __init__(
        self, batch: DrivenBatch, scorer: Scorer, judge: Judge, finder: RefusalFinder,
        directions: Mapping[Path, Direction],
    ) -> None:  # fmt: skip
        """Takes the batch and what reads it; `directions` by the paths that the policy names."""
        self._batch, self._scorer, self._judge = batch, scorer, judge
        self._finder, self._directions = finder, directions

    def texts(self) -> tuple[str, ...]:
        """What was asked and answered: no message may quote it."""
        return (*(prompt.text for prompt in self._batch.prompts), *self._batch.texts)

    def least(self, case: Case, step: RecoveryStep) -> int:
        """Forward passes that an action takes of a row before anything can end it."""
        if step.action == "judge":
            return int(case.row in self._batch.stopped)
        # One pass that looks where to open, and a step; two passes where that is steered.
        return (step.action == "remask") + (1 if step.steers is None else 2)

    def take(self, number: int, step: RecoveryStep, cases: Sequence[Case]) -> list[Tried]:
        """Takes an action other than `refuse` for some rows, as round `number` of the policy; one result per case."""
        if step.action == "judge":
            return self._ask_judge(cases)
        # Every round draws numbers of its own, the same ones in any company.
        seed = Sampler.row_seed(self._batch.seed, f"recovery {number}")
        return self._remask(seed, step, cases) if step.action == "remask" else self._steer(seed, step, cases)

    def _remask(self, seed: int, step: RecoveryStep, cases: Sequence[Case]) -> list[Tried]:
        """Opens the positions that lean most towards harm, and has them filled again."""
        batch, began = self._batch, time.monotonic()
        assert step.direction is not None and batch.step is not None
        rows = [case.row for case in cases]
        prompts = [_unstarted(batch.prompts[row]) for row in rows]
        canvas = committed_tokens(batch.hook, batch.step)[rows]
        encoded = start(batch.hook, batch.loaded.tokenizer, batch.sampler, prompts, batch.system_prompt).encoded
        leaning = projections(batch.hook, encoded, canvas, self._directions[step.direction])
        lengths = batch.hook.lengths(batch.step.draft[rows])
        opened = [
            most_leaning(
                leaning[at], batch.step.committed[row], lengths[at], step.share,
                self._finder.tokens(batch.hook, batch.loaded.tokenizer, canvas[at].tolist()),
            )
            for at, row in enumerate(rows)
        ]  # fmt: skip
        ready = [at for at in range(len(rows)) if opened[at]]
        for at in ready:
            canvas[at, list(opened[at])] = _mask(batch)
        found = [Tried(False, "nothing_to_open", forwards=1, seconds=time.monotonic() - began)] * len(cases)
        if not ready:
            return found
        chosen = [cases[at] for at in ready]
        with self._steering(step) as steering:
            made = generate_again(
                batch, chosen, seed=seed, prompts=[prompts[at] for at in ready], steer=steering,
                courses=[Course(range(0 if steering is None else step.steps))] * len(ready), canvas=canvas[ready],
                spent=1, since=began,
            )  # fmt: skip
        for at, tried in zip(ready, self._weigh(chosen, made), strict=True):
            found[at] = replace(tried, opened=opened[at])
        return found

    def _steer(self, seed: int, step: RecoveryStep, cases: Sequence[Case]) -> list[Tried]:
        """Generates again, steered in the first steps: from an empty canvas, or from the token before the alarm."""
        batch = self._batch
        kept = [self._kept(case, step) for case in cases]
        prompts = [batch.prompts[case.row] for case in cases]
        with self._steering(step) as steering:
            made = generate_again(
                batch, cases, seed=seed, steer=steering,
                # Who begins again begins with nothing: what a response was started with may be the attack.
                prompts=[p if tokens else _unstarted(p) for p, tokens in zip(prompts, kept, strict=True)],
                courses=[Course(range(len(tokens), len(tokens) + step.steps), tokens) for tokens in kept],
            )  # fmt: skip
        return self._weigh(cases, made)

    def _steering(self, step: RecoveryStep) -> AbstractContextManager[Steer | None]:
        """What steers an action; None = nothing does."""
        if step.steers is None or step.direction is None:
            return nullcontext()
        return Steer(self._batch.hook, self._directions[step.direction], step.steers)

    def _kept(self, case: Case, step: RecoveryStep) -> tuple[int, ...]:
        """Tokens that an autoregressive row says again, up to the step before its first alarm."""
        batch, alarm = self._batch, case.decision.verdict.first_alarm_step
        if batch.hook.scheme != "autoregressive" or step.restart or alarm is None or batch.step is None:
            return ()
        # The state that alarmed at step t read the tokens up to t - 1, so that one is drawn anew.
        tokens: list[int] = batch.step.draft[case.row, : max(alarm - 1, 0)].tolist()
        return tuple(tokens)

    def _ask_judge(self, cases: Sequence[Case]) -> list[Tried]:
        """Lets the judge read what would have been said without a guard."""
        batch = self._batch
        cut = [case for case in cases if case.row in batch.stopped]
        made = dict(zip([case.row for case in cut], self._to_its_end(cut), strict=True)) if cut else {}
        texts = [made[case.row].text if case.row in made else batch.texts[case.row] for case in cases]
        began = time.monotonic()
        asked = ask(self._judge, batch.hook.thoughts, [batch.prompts[case.row] for case in cases], texts)
        waited = time.monotonic() - began
        found = []
        for case, text, said in zip(cases, texts, asked, strict=True):
            again = made.get(case.row)
            lost = again and (again.ended or (again.undecodable and "undecodable"))
            fine = not lost and released(self._judge, said)
            result = lost or ("released" if fine else "judge_failed" if said.outcome is None else "not_released")
            found.append(
                Tried(
                    fine, result, text, None, None if lost else said.outcome, again.forwards if again else 0,
                    (again.seconds if again else 0.0) + waited, detail=said.detail,
                )
            )  # fmt: skip
        return found

    def _to_its_end(self, cases: Sequence[Case]) -> list[Made]:
        """The responses that were stopped, as they would have gone on: the same seed, and nothing done to them."""
        batch = self._batch
        prompts = [batch.prompts[case.row] for case in cases]
        return generate_again(batch, cases, seed=batch.seed, prompts=prompts, courses=[Course()] * len(cases))

    def _weigh(self, cases: Sequence[Case], made: Sequence[Made]) -> list[Tried]:
        """Which of the new responses are accepted."""
        batch, began = self._batch, time.monotonic()
        whole = [at for at, each in enumerate(made) if each.ended is None and each.undecodable is None]
        prompts = [batch.prompts[cases[at].row] for at in whole]
        said = dict(
            zip(whole, ask(self._judge, batch.hook.thoughts, prompts, [made[at].text for at in whole]), strict=True)
        )
        waited = time.monotonic() - began
        found = []
        for at, each in enumerate(made):
            judged = said.get(at)
            fine, result = accepted(each, judged, self._scorer)
            found.append(
                Tried(
                    fine, result, each.text, each.verdict, None if judged is None else judged.outcome, each.forwards,
                    each.seconds + (waited if judged is not None else 0.0),
                    detail=each.undecodable or ("" if judged is None else judged.detail), sigma=each.sigma,
                )
            )  # fmt: skip
        return found


def _unstarted(prompt: Prompt) -> Prompt:
    return replace(prompt, prefill=None)


def _mask(batch: DrivenBatch) -> int:
    """The mask token; `Recovery.check` saw to it that there is one."""
    mask = batch.hook.mask_id()
    assert mask is not None
    return mask
