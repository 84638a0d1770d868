"""A few flagged rows, generated again by the sampler that made them, under a run of their own, within their budget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.drive import Drive
from sri_sdk.capture.recoverer import DrivenBatch
from sri_sdk.hook import Hook
from sri_sdk.records import Intervention, Prompt, SamplerStep, Verdict
from sri_sdk.steer.recovery.cases import Case
from sri_sdk.steer.recovery.passes import Course, Passes
from sri_sdk.steer.recovery.steering import Steer


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What came of one row."""

    text: str
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why its run cannot be trusted; empty = it can."""
    forwards: int
    seconds: float
    ended: str | None
    """Code of the part of the budget that ended it; None = it came to its own end."""
    undecodable: str | None
    sigma: NDArray[np.float32] | None = None
    """[T] in [0, 1], as `Signals.drawn`: what the guard saw of it."""


def generate_again(
    batch: DrivenBatch, cases: Sequence[Case], *, seed: int, prompts: Sequence[Prompt], courses: Sequence[Course],
    steer: Steer | None = None, canvas: torch.Tensor | None = None, spent: int = 0, since: float | None = None,
) -> list[Made]:  # fmt: skip
    """Generates the rows of some cases again.

    The policy's rule judges them, nothing follows from it, and their verdicts reach no sink. A row whose budget is
    spent is ended; the others go on.

    Args:
        batch: where they come from.
        cases: of the rows.
        seed: of this generation.
        prompts: one per case.
        courses: one per case.
        steer: what steers; None = nothing does.
        canvas: [B, P] int64 tensor to begin with; None = an empty response.
        spent: forward passes that this round has taken of each row already.
        since: when the round began, as `time.monotonic` says; None = now.

    Returns:
        One per case.
    """
    settings = replace(batch.settings, policy=batch.settings.policy.while_recovering(), emitter=None, live=False)
    passes = Passes(batch.hook, list(courses), steer)
    driven = Drive(
        batch.hook, batch.loaded, batch.sampler, prompts, settings, seed=seed, system_prompt=batch.system_prompt,
        canvas=canvas, around=lambda _: cast(Hook, passes),
    )  # fmt: skip
    began = time.monotonic() if since is None else since
    forwards, seconds = [spent] * len(cases), [0.0] * len(cases)
    ended: list[str | None] = [None] * len(cases)
    before = 0
    for step in driven:
        now, calls, before = time.monotonic() - began, passes.calls - before, passes.calls
        for at in _active(step):
            forwards[at] += calls * passes.cost(at)
            seconds[at] = now
        passes.step = step.index + 1
        over: list[int] = []
        for at, case in enumerate(cases):
            if ended[at] is None and _goes_on(batch.hook, step, at):
                ended[at] = _over(case, forwards[at] + passes.cost(at), now)
                over += [at] if ended[at] is not None else []
        if over:
            driven.intervene(Intervention(abort=tuple(over)))
    texts, signals = driven.texts, driven.run.signals
    return [
        Made(
            texts[at], driven.run.verdicts[at], driven.run.traces[at].reasons, forwards[at], seconds[at], ended[at],
            driven.undecoded.get(at), None if signals is None else signals.drawn[at],
        )
        for at in range(len(cases))
    ]  # fmt: skip


def _active(step: SamplerStep) -> list[int]:
    active: list[int] = step.active.nonzero()[:, 0].tolist()
    return active


def _goes_on(hook: Hook, step: SamplerStep, row: int) -> bool:
    """Whether a row has something left to generate, as far as its canvas tells."""
    if not bool(step.active[row]) or bool(step.committed[row].all()):
        return False
    # Of these models the last token says whether it was the end.
    last = int(step.committed[row].sum()) - 1
    return hook.scheme != "autoregressive" or int(step.draft[row, last]) not in hook.eos_ids()


def _over(case: Case, forwards: int, seconds: float) -> str | None:
    """The part of the budget that the next step would exceed, with so many passes and seconds of this round."""
    if case.forwards + forwards > case.budget.forwards:
        return "budget_forwards"
    return "budget_seconds" if case.seconds + seconds >= case.budget.seconds else None
