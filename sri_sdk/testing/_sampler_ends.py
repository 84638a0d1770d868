"""Checks of what a sampler fills, and when it ends: by what the model predicts, which the kit plants."""

from __future__ import annotations

import warnings
from typing import Any, get_args

import torch

from sri_sdk import registry
from sri_sdk.errors import ConformanceError, SriError
from sri_sdk.hook import Scheme
from sri_sdk.records import ForwardOutput, SamplerStep
from sri_sdk.testing._sampler_bent import SURE, Edit, answering, favouring, predicting, sharp, words
from sri_sdk.testing._sampler_case import SamplerCase, run, subject
from sri_sdk.testing.planted import NotChecked

SCHEMES = frozenset(get_args(Scheme))
OURS = ("toy", "lab-causal")
"""Hooks of this distribution with small models: what else is installed should not decide what a sampler is tried on."""


def fills_the_canvas(case: SamplerCase) -> None:
    """At the end every position is filled, or its row has ended; nothing that is filled is a mask."""
    _filled(case, run(case), "")
    mask = case.hook.mask_id()
    if case.hook.scheme == "masked" and mask is not None:
        with predicting(case, favouring(mask)):
            _filled(case, run(case), " where the mask token is the likeliest everywhere")


def _filled(case: SamplerCase, made: list[SamplerStep], when: str) -> None:
    mask, ends, last = case.hook.mask_id(), set(case.hook.eos_ids()), made[-1]
    for step in made:
        holes = torch.zeros_like(step.committed) if mask is None else step.draft == mask
        if holes.any():
            what = "commits" if (holes & step.committed).any() else "shows in its draft"
            raise ConformanceError(
                f"{subject(case)}.steps(): {what} the mask token {mask} at {int(holes.sum())} positions of step "
                f"{step.index}{when}. A mask is no word: leave it out of what is chosen from."
            )
    for row in range(len(case.prompt_ids)):
        over = bool(ends & set(last.draft[row][last.committed[row]].tolist()))
        if not over and not last.committed[row].all():
            raise ConformanceError(
                f"{subject(case)}.steps(): ends after {len(made)} of {case.sampler.budget()} steps with "
                f"{int((~last.committed[row]).sum())} of {last.committed.shape[1]} positions of row {row} open, and no "
                f"end token committed{when}. The budget must do for the whole canvas."
            )


def fixed_takes_its_budget(case: SamplerCase) -> None:
    """Where is_fixed() says so, every row takes budget() steps, whatever the model says."""
    fixed, budget = case.sampler.is_fixed(), case.sampler.budget()
    if fixed is False:
        return
    if fixed is not True:
        raise ConformanceError(f"{subject(case)}.is_fixed(): says {fixed!r}, must be True or False.")
    ways: dict[str, tuple[Edit, tuple[int, ...]]] = {"": (lambda ids, logits: logits, case.hook.eos_ids())}
    if case.hook.scheme in ("masked", "autoregressive"):
        end = (case.hook.eos_ids() or (words(case)[0],))[0]
        ways[" where the model has no doubt"] = (sharp, case.hook.eos_ids())
        ways[" where every token is an end of sequence"] = (favouring(end), (end,))
    for when, (edit, ends) in ways.items():
        with predicting(case, edit, eos_ids=lambda ends=ends: ends):
            taken = torch.stack([step.active for step in run(case)]).sum(0).tolist()
        for row, steps in enumerate(taken):
            if steps != budget:
                raise ConformanceError(
                    f"{subject(case)}.is_fixed(): says True, and row {row} takes {steps} of {budget} steps{when}. Go "
                    "on to the budget, or say False: coverage is counted against it."
                )


def padding_is_not_text(case: SamplerCase) -> None:
    """The first pass says which columns of the prompts are padding."""
    given, seen, inner = case.encoded.attention_mask, list[Any](), case.hook.forward

    def forward(input_ids: torch.Tensor, attention_mask: Any = None, *args: Any, **options: Any) -> ForwardOutput:
        seen.append(attention_mask)
        return inner(input_ids, attention_mask, *args, **options)

    if case.hook.scheme not in ("masked", "autoregressive") or given.all():
        return
    with answering(case.hook, forward=forward):
        run(case)
    # Under guidance there are twice as many rows, the prompts' own first.
    if not seen:
        return  # `commits-what-is-predicted` says that the hook is not asked.
    if seen[0] is None or not torch.equal(seen[0][: len(given), : given.shape[1]].to(given.dtype), given):
        raise ConformanceError(
            f"{subject(case)}.steps(): the attention mask of the first pass is not that of the prompts, which have "
            f"{int((given == 0).sum())} columns of padding. Pass prompts.attention_mask, and 1 for the response."
        )


def commits_what_is_predicted(case: SamplerCase) -> None:
    """Each position gets the token that the row for it predicts, whichever row that is and whatever the mask is."""
    if case.hook.scheme == "autoregressive":
        _decodes(case)
    elif case.hook.scheme == "masked":
        for shift in (case.hook.shift(), 1 - case.hook.shift()):
            _fills(case, shift)


def _decodes(case: SamplerCase) -> None:
    spare, passes = words(case), [0]

    def edit(_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        logits[:, -1, spare[passes[0] % len(spare)]] = SURE
        passes[0] += 1
        return logits

    with predicting(case, edit):
        made = run(case)
    for step in made:
        wanted, found = spare[step.index % len(spare)], step.draft[step.active, step.index].tolist()
        if set(found) - {wanted}:
            raise ConformanceError(
                f"{subject(case)}.steps(): token {wanted} was planted as the prediction of step {step.index}, and "
                f"{found} were committed. The last row of hook.forward's logits predicts the next token."
            )


def _fills(case: SamplerCase, shift: int) -> None:
    *spare, other = words(case)
    width, first, mask, shown = case.sampler.canvas(), case.encoded.input_ids.shape[1], case.hook.mask_id(), []

    def translate(ids: torch.Tensor) -> torch.Tensor:
        """The model's own mask token for the one that the sampler was told of, and the reverse."""
        shown.append(ids)
        return ids if mask is None else torch.where(ids == other, mask, torch.where(ids == mask, other, ids))

    def edit(_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        for position in range(width):
            if 0 <= (row := first + position - shift) < logits.shape[1]:
                logits[:, row, spare[position % len(spare)]] = SURE
        return logits

    with predicting(case, edit, translate, shift=lambda: shift, mask_id=lambda: other):
        last = run(case)[-1]
    if not shown:
        raise ConformanceError(f"{subject(case)}.steps(): never calls hook.forward, through which the model runs.")
    strange = shown[0][:, first:]
    if (strange != other).any():
        raise ConformanceError(
            f"{subject(case)}.steps(): the first pass shows tokens {sorted(set(strange.flatten().tolist()))[:4]} where "
            f"the response is empty, and hook.mask_id() is {other}. Ask the hook, never write the number."
        )
    for row, position in last.committed.nonzero().tolist():
        wanted, found = spare[position % len(spare)], int(last.draft[row, position])
        if found != wanted:
            raise ConformanceError(
                f"{subject(case)}.steps(): token {wanted} was planted as the prediction of position {position}, with "
                f"hook.shift() {shift}, and {found} was committed in row {row}. Row i - shift of the canvas predicts "
                "position i."
            )


def ends_where_the_model_ends(case: SamplerCase) -> None:
    """Each row of an autoregressive sampler ends with its own end token, whichever of them that is."""
    if case.hook.scheme != "autoregressive":
        return
    word, one, two, *_ = words(case)
    passes = [0]

    def edit(_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        logits[:, -1, word] = SURE
        for row, end in ((0, one), (1, two)):
            if passes[0] == row + 1:
                logits[row, -1, end] = 2 * SURE
        passes[0] += 1
        return logits

    with predicting(case, edit, eos_ids=lambda: (one, two)):
        taken = torch.stack([step.active for step in run(case)]).sum(0).tolist()
    for row, (steps, wanted) in enumerate(zip(taken, (2, 3, *[case.sampler.budget()] * len(taken)), strict=False)):
        if steps != wanted:
            why = f"its end token was planted as token {wanted}" if row < 2 else "none was planted there"
            raise ConformanceError(
                f"{subject(case)}.steps(): row {row} takes {steps} steps, and {why}: must be {wanted}. A row ends with "
                "any of hook.eos_ids() that it says itself, and no other row ends with it."
            )


def drives_its_schemes(case: SamplerCase) -> None:
    """Every scheme that it states is one that hooks have, and one that it can drive."""
    stated = case.sampler.schemes
    if unknown := sorted(set(stated) - SCHEMES):
        raise ConformanceError(
            f"{subject(case)}.schemes: {', '.join(unknown)}, which no hook has; allowed: {', '.join(sorted(SCHEMES))}."
        )
    for scheme in sorted(set(stated) - {case.hook.scheme}):
        other = _example(case, scheme)
        if other is None:
            warnings.warn(f"scheme {scheme!r} not tried: no installed hook has an example", NotChecked, stacklevel=2)
            continue
        try:
            fills_the_canvas(other)
        except Exception as err:
            raise ConformanceError(
                f"{subject(case)}.schemes: states {scheme!r}, and on {type(other.hook).__name__} it fails: "
                f"{type(err).__name__}: {str(err).rstrip('.')}. State what it can drive."
            ) from err


def _example(case: SamplerCase, scheme: str) -> SamplerCase | None:
    """The sampler on an installed hook of another scheme."""
    for info in sorted(registry.installed("hooks"), key=lambda info: info.name not in OURS):
        try:
            family = registry.load("hooks", info.name)
            if family.scheme != scheme:
                continue
            with registry.blamed("hooks", info.name, "its example()"):
                made = family.example()
        except SriError:
            continue  # Another plugin's matter.
        ids = [f"check-{row}" for row in range(len(made.encoded.input_ids))]
        return SamplerCase(case.sampler, made.hook, made.encoded, ids)
    return None
