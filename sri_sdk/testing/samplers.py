"""Promises of `sri.samplers`.

@pytest.mark.parametrize("check", sampler_checks(make_case), ids=str)
def test_my_sampler_keeps_its_promises(check):
    check()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, zip_longest

import torch

from sri_sdk.capture.watch import watch
from sri_sdk.errors import ConformanceError, SriError
from sri_sdk.records import Encoded, Intervention, SamplerStep
from sri_sdk.testing import _sampler_draws as draws
from sri_sdk.testing import _sampler_ends as ends
from sri_sdk.testing._lazy import Promise, checks_of_cases
from sri_sdk.testing._sampler_case import SEED, SamplerCase, kept, rows_of, run, same, subject, walk
from sri_sdk.testing.check import Check

__all__ = ["SamplerCase", "sampler_checks"]

Make = Callable[[], SamplerCase]


def sampler_checks(make: Make, known: Mapping[str, str] | None = None, *, lazy: bool = False) -> list[Check]:
    """The promises of a sampler as checks, each on a case of its own.

    Args:
        make: builds a fresh case.
        known: check -> why it is known to fail. Strict: a marked check that passes is an error.
        lazy: build no case before a check is called. For tests whose collection should not build models.

    Raises:
        ConformanceError: the case cannot be checked, or a mark names no check.
    """
    return checks_of_cases(_PROMISES, lambda: _admitted(make), make, known, lazy=lazy)


def _admitted(make: Make) -> SamplerCase:
    case = make()
    budget, rows = case.sampler.budget(), len(case.encoded.input_ids)
    if budget < 4 or rows < 2 or case.hook.scheme not in case.sampler.schemes:
        raise ConformanceError(
            f"{subject(case)}: a case with budget {budget}, {rows} prompts and a hook of scheme {case.hook.scheme}; "
            f"needed are at least 4 steps, 2 prompts and one of {', '.join(sorted(case.sampler.schemes))}."
        )
    return case


def _steps_rise_by_one(case: SamplerCase) -> None:
    found = [step.index for step in run(case)]
    for number, index in enumerate(found):
        if index != number:
            raise ConformanceError(f"{subject(case)}.steps(): step {number} calls itself {index}; count from 0 by 1.")


def _stops_at_budget(case: SamplerCase) -> None:
    budget, made = case.sampler.budget(), run(case)
    _shaped(case, made)
    runs = {"": made}
    if _remasks(case):
        # Opening positions again must not buy more steps: the step grid is built on the budget.
        everything = Intervention(remask=torch.ones_like(made[0].committed))
        runs[" when every position is opened again half way"] = run(case, interventions={budget // 2: everything})
    for how, steps in runs.items():
        if len(steps) > budget:
            raise ConformanceError(f"{subject(case)}.steps(): goes on after its budget of {budget} steps{how}.")


def _shaped(case: SamplerCase, made: Sequence[SamplerStep]) -> None:
    """Fails where a step is not the tensors that it should be."""
    rows, width = len(case.prompt_ids), case.sampler.canvas()
    wanted = {
        "draft": (torch.int64, [rows, width]), "committed": (torch.bool, [rows, width]), "active": (torch.bool, [rows]),
    }  # fmt: skip
    for step in made:
        for name, (dtype, shape) in wanted.items():
            tensor = getattr(step, name)
            if tensor.dtype != dtype or list(tensor.shape) != shape:
                raise ConformanceError(
                    f"{subject(case)}.steps(): {name} of step {step.index} is {tensor.dtype} {list(tensor.shape)}, "
                    f"must be {dtype} {shape}; the width is canvas()."
                )


def _watched_equals_unwatched(case: SamplerCase) -> None:
    free = run(case)
    with watch(case.hook.model, hook=case.hook, request_ids=list(case.prompt_ids)) as observed:
        watched = run(case)
    same(case, free, watched, "a watch changes the tokens")
    taken = torch.stack([step.active for step in watched]).sum(0).tolist()
    counted = [trace.steps for trace in observed.traces]
    if counted != taken:
        raise ConformanceError(
            f"{subject(case)}.steps(): rows were active in {taken} steps, the tap saw {counted}: "
            "run the model through hook.forward, once per step."
        )


def _committed_is_final(case: SamplerCase) -> None:
    if not case.sampler.keeps_commits:
        return
    for before, after in pairwise(run(case)):
        kept(case, before, after, slice(None), "with nothing opened again")


def _honours_abort(case: SamplerCase) -> None:
    free, row = run(case), len(case.prompt_ids) - 1
    made = run(case, interventions={1: Intervention(abort=(row,))})
    for step in made[2:]:
        if step.active[row]:
            raise ConformanceError(f"{subject(case)}.steps(): row {row}, aborted after step 1, active at {step.index}.")
        if not torch.equal(step.committed[row], made[1].committed[row]):
            raise ConformanceError(
                f"{subject(case)}.steps(): row {row}, aborted after step 1 with {int(made[1].committed[row].sum())} "
                f"positions committed, has {int(step.committed[row].sum())} at step {step.index}."
            )
        kept(case, made[1], step, slice(row, row + 1), "after an abort")
    others = [rows_of(step, slice(0, row)) for step in free]
    needed = sum(bool(step.active.any()) for step in others)
    if len(made) < needed:
        raise ConformanceError(
            f"{subject(case)}.steps(): row {row} aborted after step 1, and all stop after {len(made)} steps; "
            f"the other rows had something to generate in {needed}."
        )
    left = [rows_of(step, slice(0, row)) for step in made]
    same(case, others[: len(left)], left, "an abort changes other rows")
    stopped = run(case, interventions={1: Intervention(abort=tuple(range(row + 1)))})
    if len(stopped) > 2:
        raise ConformanceError(
            f"{subject(case)}.steps(): every row aborted after step 1, and {len(stopped) - 2} more steps were run."
        )


def _two_runs_coexist(case: SamplerCase) -> None:
    row = len(case.prompt_ids) - 1
    alone = [run(case), run(case, rows=[row], seed=SEED + 1)]
    mixed: list[list[SamplerStep]] = [[], []]
    with torch.inference_mode():
        walks = [walk(case), walk(case, rows=[row], seed=SEED + 1)]
        for steps in zip_longest(*walks):
            for made, step in zip(mixed, steps, strict=True):
                made += [step[0]] if step else []
    for wanted, found in zip(alone, mixed, strict=True):
        same(case, wanted, found, "two generations in turns differ from each alone: keep nothing of a run on self")


def _gives_new_tensors(case: SamplerCase) -> None:
    given = case.encoded
    before = Encoded(given.input_ids.clone(), given.attention_mask.clone())
    with torch.inference_mode():
        made = list(walk(case))
    for copy, step in made:
        for name in ("draft", "committed", "active"):
            if not torch.equal(getattr(copy, name), getattr(step, name)):
                raise ConformanceError(
                    f"{subject(case)}.steps(): {name} of step {copy.index} changes after it was yielded. Yield new "
                    "tensors, never one that is written to again: the caller may keep them."
                )
    for name in ("input_ids", "attention_mask"):
        if not torch.equal(getattr(before, name), getattr(given, name)):
            raise ConformanceError(f"{subject(case)}.steps(): writes into {name} of its prompts. Copy them first.")


def _remasks(case: SamplerCase) -> bool:
    """Whether the sampler can open positions again; one that cannot says so."""
    size, device = (len(case.prompt_ids), case.sampler.canvas()), case.encoded.input_ids.device
    nothing = torch.zeros(size, dtype=torch.bool, device=device)
    try:
        run(case, interventions={0: Intervention(remask=nothing)})
    except SriError:
        return False
    return True


def _honours_remask(case: SamplerCase) -> None:
    if not _remasks(case):
        return
    free, half = run(case), case.sampler.budget() // 2 - 1
    half = min(half, len(free) - 2)
    if half < 0 or free[0].committed.shape[1] != case.sampler.canvas():
        # Too short to open anything, or of a width that `stops-at-budget` reports.
        return
    opened = torch.zeros_like(free[half].committed)
    opened[0] = free[half].committed[0]
    made = run(case, interventions={half: Intervention(remask=opened)})
    count = int(opened.sum())
    left = int((made[half + 1].committed & opened).sum()) if len(made) > half + 1 else count
    if count > 1 and left >= count:
        raise ConformanceError(
            f"{subject(case)}.steps(): {count} positions of row 0 opened again after step {half}; after the next step "
            f"{left} of them are committed. Open them, or raise SriError and say that it cannot be done."
        )
    # A row that was stopped keeps its canvas, whatever else is asked for.
    everything = torch.ones_like(opened)
    stopped = run(case, interventions={0: Intervention(abort=(0,)), 1: Intervention(remask=everything)})
    for step in stopped[2:]:
        kept(case, stopped[0], step, slice(0, 1), "although its row was aborted, when all positions are opened again")
    # A row opened again may go on longer than any did before.
    before, after = ([rows_of(step, slice(1, None)) for step in steps[: len(free)]] for steps in (free, made))
    same(case, before, after, "opening positions of row 0 changes other rows")


def _active_is_truthful(case: SamplerCase) -> None:
    made, ends = run(case), set(case.hook.eos_ids())
    if not made[0].active.all():
        raise ConformanceError(f"{subject(case)}.steps(): step 0 has rows that are not active: {made[0].active}.")
    for before, after in pairwise(made):
        for row in range(len(case.prompt_ids)):
            where = f"{subject(case)}.steps(): row {row} at step {after.index}"
            done = bool(before.committed[row].all())
            ended = bool(ends & set(before.draft[row][before.committed[row]].tolist()))
            if after.active[row] and done:
                raise ConformanceError(f"{where} is active, but all {before.committed.shape[1]} positions were fixed.")
            if after.active[row] and not before.active[row]:
                raise ConformanceError(f"{where} is active again, after a step in which it was not.")
            if not after.active[row] and not (done or ended):
                raise ConformanceError(
                    f"{where} is not active, but only {int(before.committed[row].sum())} of "
                    f"{before.committed.shape[1]} positions were fixed, none of them an end of sequence."
                )


def _keeps_what_was_started(case: SamplerCase) -> None:
    mask, width = case.hook.mask_id(), case.sampler.canvas()
    if not case.sampler.prefills or case.hook.scheme == "autoregressive" or mask is None:
        return
    last = run(case)[-1]
    _shaped(case, [last])
    # Tokens the model said itself are sure to be words: those of row 0, at every second position of another row.
    fixed = torch.zeros_like(last.committed)
    fixed[-1, ::2] = last.committed[0, ::2]
    response = torch.full_like(last.draft, mask).masked_scatter(fixed, last.draft[0].expand_as(last.draft)[fixed])
    made = run(case, response=response)
    # A response that is shorter than the canvas: it begins where the canvas does.
    short = fixed & (torch.arange(width, device=fixed.device) < (width + 1) // 2)
    for step in run(case, response=response[:, : (width + 1) // 2]):
        if (lost := short & ~(step.committed & (step.draft == response))).any():
            row, position = lost.nonzero()[0].tolist()
            raise ConformanceError(
                f"{subject(case)}.steps(): a response of {(width + 1) // 2} positions on a canvas of {width} is not "
                f"committed as it was given at step {step.index}, first position {position} of row {row}. It begins at "
                "position 0; what lies behind it is open."
            )
    for step in made:
        lost = fixed & ~(step.committed & (step.draft == response))
        if lost.any():
            row, position = lost.nonzero()[0].tolist()
            raise ConformanceError(
                f"{subject(case)}.steps(): {int(lost.sum())} of {int(fixed.sum())} started positions are not committed "
                f"as they were given at step {step.index}, first position {position} of row {row}. Begin with "
                "Encoded.response, or set prefills = False."
            )
    if last.committed.all() and not made[-1].committed.all():
        raise ConformanceError(
            f"{subject(case)}.steps(): of {width} positions, with every second one of a row started, "
            f"{int((~made[-1].committed).sum())} are open at the end; from an empty canvas it fills all."
        )


# In the order in which a new sampler is best mended.
_PROMISES: tuple[Promise[SamplerCase], ...] = (
    Promise("steps-rise-by-one", "Steps are counted from 0 and rise by one.", _steps_rise_by_one),
    Promise(
        "stops-at-budget",
        "It never takes more steps than budget() says, also when positions are opened again; the canvas is canvas().",
        _stops_at_budget,
    ),
    Promise(
        "drives-its-schemes",
        "Every scheme in `schemes` is one that hooks have, and one that it can drive.",
        ends.drives_its_schemes,
    ),
    Promise(
        "commits-what-is-predicted",
        "A position gets the token that the model predicts for it, whatever hook.shift() and hook.mask_id() are.",
        ends.commits_what_is_predicted,
    ),
    Promise(
        "fills-the-canvas",
        "The budget does for the whole canvas, and no mask token is committed or shown in a draft.",
        ends.fills_the_canvas,
    ),
    Promise(
        "fixed-takes-its-budget",
        "Where is_fixed() is True every generation takes budget() steps, whatever the model predicts.",
        ends.fixed_takes_its_budget,
    ),
    Promise(
        "ends-where-the-model-ends",
        "An autoregressive row ends with any of hook.eos_ids(), and only with its own.",
        ends.ends_where_the_model_ends,
    ),
    Promise(
        "same-seed-same-tokens",
        "The seed decides, no other random state does, and none but its own is changed.",
        draws.same_seed_same_tokens,
    ),
    Promise(
        "seed-and-id-decide",
        "Another seed or another prompt id draws other numbers; the same two draw the same, in every run and process.",
        draws.seed_and_id_decide,
        builds_its_own=True,
    ),
    Promise(
        "rows-independent",
        "A row gives the same tokens alone and in company.",
        draws.rows_independent,
    ),
    Promise(
        "padding-is-not-text",
        "The model is told which columns of the prompts are padding.",
        ends.padding_is_not_text,
    ),
    Promise(
        "two-runs-coexist",
        "Two generations of one sampler, step by step in turns, are each as if alone.",
        _two_runs_coexist,
    ),
    Promise(
        "gives-new-tensors",
        "What it yielded does not change afterwards, and neither do the prompts it was given.",
        _gives_new_tensors,
    ),
    Promise(
        "watched-equals-unwatched",
        "A watch changes no token, and hears one pass per step of each row.",
        _watched_equals_unwatched,
    ),
    Promise(
        "committed-is-final",
        "What is committed stays, unless somebody asks to open it again, or keeps_commits is False.",
        _committed_is_final,
    ),
    Promise(
        "honours-abort",
        "An aborted row stops and keeps its canvas, the others go on as before, and with none left the model rests.",
        _honours_abort,
    ),
    Promise(
        "honours-remask",
        "Positions opened again are open at the next step, other rows are untouched; or SriError says it cannot be.",
        _honours_remask,
    ),
    Promise(
        "active-is-truthful",
        "`active` names the rows that still had something to generate. Steps are counted and expected by it.",
        _active_is_truthful,
    ),
    Promise(
        "keeps-what-was-started",
        "With `prefills`, a started response is committed from the first step on, stays, and what it leaves is filled.",
        _keeps_what_was_started,
    ),
)
