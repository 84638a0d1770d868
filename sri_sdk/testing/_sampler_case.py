"""What a sampler is checked on, and what its checks share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    response: torch.Tensor | None = None, ids: Sequence[str] | None = None, seed: int = SEED,
) -> list[SamplerStep]:  # fmt: skip
    """All steps, cut off two beyond the budget.

    Args:
        case: the sampler and what it drives.
        rows: the prompts to generate for; None = all.
        interventions: step -> what is asked for after it.
        response: [B, P] int64 tensor, started responses of all prompts, as `Encoded.response`; None = all begin empty.
        ids: of the prompts; None = the case's own.
        seed: the run's seed.
    """
    with torch.inference_mode():
        made = list(walk(case, rows, interventions or {}, response, ids, seed))
    if not made:
        raise ConformanceError(f"{subject(case)}.steps(): yielded no step for {len(case.prompt_ids)} prompts.")
    # Copies: a sampler that wrote into what it yielded would rewrite history.
    return [copy for copy, _ in made]


def walk(
    case: SamplerCase, rows: Sequence[int] | None = None, interventions: Mapping[int, Intervention] | None = None,
    response: torch.Tensor | None = None, ids: Sequence[str] | None = None, seed: int = SEED,
) -> Iterator[tuple[SamplerStep, SamplerStep]]:  # fmt: skip
    """Step by step, as `run`: a copy of each, and the step itself. [B, P] `response` as there."""
    encoded, ids = replace(case.encoded, response=response), list(ids or case.prompt_ids)
    if rows is not None:
        # Alone means without padding: the columns that are padding in all the rows go.
        used = encoded.attention_mask[list(rows)].bool().any(0)
        encoded = Encoded(encoded.input_ids[list(rows)][:, used], encoded.attention_mask[list(rows)][:, used])
        ids = [ids[row] for row in rows]
    steps, count = case.sampler.steps(case.hook, encoded, ids, seed), 0
    try:
        step = next(steps)
        while True:
            count += 1
            yield SamplerStep(step.index, step.draft.clone(), step.committed.clone(), step.active.clone()), step
            if count > case.sampler.budget() + 1:
                return
            step = steps.send((interventions or {}).get(count - 1))
    except StopIteration:
        return
    finally:
        steps.close()


def at_temperature(case: SamplerCase, temperature: float) -> SamplerCase | None:
    """The case at another temperature; None = its sampler has no such option."""
    if not hasattr(case.sampler.config, "temperature"):
        return None
    config = type(case.sampler.config).model_validate({**dict(case.sampler.config), "temperature": temperature})
    return replace(case, sampler=type(case.sampler)(config))


def drawing_too(case: SamplerCase) -> list[SamplerCase]:
    """The case, and where it has a temperature of 0 the case at 1: draws are seen only there."""
    warm = at_temperature(case, 1.0) if getattr(case.sampler.config, "temperature", None) == 0 else None
    return [case] if warm is None else [case, warm]


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
