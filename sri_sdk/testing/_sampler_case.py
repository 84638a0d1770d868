"""What a sampler is checked on, and what its checks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from sri_sdk.errors import ConformanceError
from sri_sdk.hook import Hook
from sri_sdk.records import Encoded, Intervention, SamplerStep
from sri_sdk.sampler import Sampler

SEED = 7


@dataclass(frozen=True, slots=True)
class SamplerCase:
    """A sampler with a family to drive."""

    sampler: Sampler
    """With a budget of at least 4 steps."""
    hook: Hook
    """Of a scheme the sampler drives, on a small model."""
    encoded: Encoded
    """At least two prompts, of different lengths."""
    prompt_ids: Sequence[str]
    """One per prompt."""


def subject(case: SamplerCase) -> str:
    return type(case.sampler).__name__


def run(
    case: SamplerCase, *, rows: Sequence[int] | None = None, interventions: Mapping[int, Intervention] | None = None,
    response: torch.Tensor | None = None,
) -> list[SamplerStep]:  # fmt: skip
    """All steps, cut off two beyond the budget.

    Args:
        case: the sampler and what it drives.
        rows: the prompts to generate for; None = all.
        interventions: step -> what is asked for after it.
        response: [B, P] int64 tensor, started responses of all prompts, as `Encoded.response`; None = all begin empty.
    """
    encoded, ids = replace(case.encoded, response=response), list(case.prompt_ids)
    if rows is not None:
        # Alone means without padding: the columns that are padding in all the rows go.
        used = encoded.attention_mask[list(rows)].bool().any(0)
        encoded = Encoded(encoded.input_ids[list(rows)][:, used], encoded.attention_mask[list(rows)][:, used])
        ids = [ids[row] for row in rows]
    made: list[SamplerStep] = []
    with torch.inference_mode():
        steps = case.sampler.steps(case.hook, encoded, ids, SEED)
        try:
            step = next(steps)
            while True:
                # Copies: a sampler that wrote into what it yielded would rewrite history.
                made.append(SamplerStep(step.index, step.draft.clone(), step.committed.clone(), step.active.clone()))
                if len(made) > case.sampler.budget() + 1:
                    break
                step = steps.send((interventions or {}).get(len(made) - 1))
        except StopIteration:
            pass
        finally:
            steps.close()
    if not made:
        raise ConformanceError(f"{subject(case)}.steps(): yielded no step for {len(ids)} prompts.")
    return made


def row_of(step: SamplerStep, row: int) -> SamplerStep:
    return rows_of(step, slice(row, row + 1))


def rows_of(step: SamplerStep, rows: slice) -> SamplerStep:
    return SamplerStep(step.index, step.draft[rows], step.committed[rows], step.active[rows])


def kept(case: SamplerCase, before: SamplerStep, after: SamplerStep, rows: slice, when: str) -> None:
    """What was committed stays, and stays committed."""
    fixed = before.committed[rows]
    lost = fixed & (~after.committed[rows] | (before.draft[rows] != after.draft[rows]))
    if lost.any():
        row, position = lost.nonzero()[0].tolist()
        raise ConformanceError(
            f"{subject(case)}.steps(): {int(lost.sum())} committed positions change between steps {before.index} and "
            f"{after.index} {when}, first position {position} of row {row + (rows.start or 0)}."
        )


def same(case: SamplerCase, one: Sequence[SamplerStep], two: Sequence[SamplerStep], problem: str) -> None:
    """The same committed tokens at every step; what is not committed is nobody's promise."""
    if len(one) != len(two):
        raise ConformanceError(f"{subject(case)}.steps(): {problem}. {len(one)} steps against {len(two)}.")
    for a, b in zip(one, two, strict=True):
        moved = (a.committed != b.committed) | (a.committed & (a.draft != b.draft))
        if moved.any():
            row, position = moved.nonzero()[0].tolist()
            raise ConformanceError(
                f"{subject(case)}.steps(): {problem}. Step {a.index}: {int(moved.sum())} of {moved.numel()} "
                f"positions, first position {position} of row {row}."
            )
