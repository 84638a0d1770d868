"""The row map proven by cause: a token planted in the row that predicts a position must come out there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from sri_sdk.errors import ConformanceError
from sri_sdk.testing._hook_case import (
    Edit,
    Generate,
    HookCase,
    Observed,
    batch_row,
    is_active,
    module_name,
    observe,
    subject,
    targets,
)  # fmt: skip

GAP = 100.0
"""By how many logits the planted token leads: no sampler doubts it, and nothing else a pass says matters there."""


@dataclass(frozen=True, slots=True)
class Aim:
    """One claim of a plan that can be tried."""

    at: tuple[int, ...]
    """Passes to plant in: the one that decides the position, or all that predict it where nobody can tell which."""
    step: int
    request: int
    batch_row: int
    row: int
    position: int
    decided: tuple[int, ...]
    """Other positions of the request that are fixed once this step is done."""


def check_rows(case: HookCase, generate: Generate | None = None) -> None:
    """Plants a token in a few (step, row) and looks where it comes out.

    Raises:
        ConformanceError: it comes out elsewhere than the plan said, or nowhere.
    """
    seen = observe(case, generate)
    chosen = _choose(_aims(seen), len(case.encoded.input_ids))
    if not chosen:
        raise ConformanceError(
            f"{subject(case)}.plan(): {len(seen.passes)} passes through `{module_name(case.hook)}`, and in none does "
            "any row predict an open canvas position. Look at `positions`, `shift`, `canvas` and `committed`."
        )
    token, vector = _plant(case, seen)
    for aim in chosen:
        tried = observe(case, generate, edit=_edit(aim, vector, aim.at)).tokens
        found = _found(tried, token)
        stray = [p for p in aim.decided if (aim.request, p) in found]
        width = min(tried.shape[1], seen.tokens.shape[1])
        others = [
            row for row in range(len(tried))
            if row != aim.request and not torch.equal(tried[row, :width], seen.tokens[row, :width])
        ]  # fmt: skip
        if (aim.request, aim.position) in found and not stray and not others:
            continue
        raise ConformanceError(
            _message(case, aim, token, found, others) + _hint(case, generate, aim, vector, token, found)
        )


def _hint(
    case: HookCase, generate: Generate | None, aim: Aim, vector: torch.Tensor, token: int, found: list[tuple[int, int]]
) -> str:
    """What the map may have got wrong: tries the rows next to the one it named, with the planted `vector` [D]."""
    expected = (aim.request, aim.position)
    if expected in found:
        return " Other positions must not hang on this row."
    for away in (-1, 1):
        if (aim.request, aim.position + away) in found:
            return f" Shifted by one: `positions` or `shift` is {-away:+d} off."

    def comes_out(beside: Aim) -> bool:
        return expected in _found(observe(case, generate, edit=_edit(beside, vector, aim.at)).tokens, token)

    for away in (-1, 1):
        if aim.row + away >= 0 and comes_out(replace(aim, row=aim.row + away)):
            return (
                f" Planted in row {aim.row + away} it comes out at position {aim.position}: shifted by one, "
                f"`positions` or `shift` is {away:+d} off."
            )
    # Twice as many under guidance.
    for other in range(2 * len(case.encoded.input_ids)):
        if other != aim.batch_row and comes_out(replace(aim, batch_row=other)):
            return f" Planted in batch row {other} it comes out there: `rows` should name that one."
    return " Look at `positions`, `shift`, `rows` and `committed`."


def _aims(seen: Observed) -> list[Aim]:
    steps = seen.steps()
    made: list[Aim] = []
    for step, (index, plan) in enumerate(steps):
        after = steps[step + 1][1] if step + 1 < len(steps) else None
        if plan.committed is not None and after is not None and steps[step + 1][0] != index + 1:
            # A pass between that is no step may be why: what this step decided cannot be told from the next one's word.
            continue
        for request in range(seen.tokens.shape[0]):
            if not is_active(plan, request):
                continue
            for row, position in targets(plan, request):
                decided: tuple[int, ...] = tuple(range(position))
                at: tuple[int, ...] = (index,)
                if plan.committed is not None:
                    fixed = torch.ones_like(plan.committed[request])
                    if after is not None and after.committed is not None:
                        fixed = after.committed[request]
                    # A canvas that grows: what lay beyond it before this pass was open.
                    before = position < plan.committed.shape[1] and bool(plan.committed[request, position])
                    if position >= len(fixed) or before or not fixed[position]:
                        continue
                    decided = tuple(p for p in fixed.nonzero()[:, 0].tolist() if p != position)
                elif plan.canvas is not None:
                    at, decided = tuple(later for later, _ in steps[step:]), ()
                if position < seen.tokens.shape[1]:
                    made.append(Aim(at, step, request, batch_row(plan, request), row, position, decided))
    return made


def _choose(aims: list[Aim], requests: int) -> list[Aim]:
    """A few of them: every request once, spread over the steps, and the first and the last step."""
    chosen: list[Aim] = []
    for request in range(requests):
        mine = [aim for aim in aims if aim.request == request]
        if mine:
            chosen.append(mine[(len(mine) - 1) * request // max(requests - 1, 1)])
    return list(dict.fromkeys([*aims[:1], *chosen, *aims[-1:]]))


def unembedding(case: HookCase) -> torch.Tensor:
    """[V, D] weight of the head.

    Raises:
        ConformanceError: nobody says where it is.
    """
    if case.unembedding is not None:
        return case.unembedding().detach().float()
    head = head_of(case)
    if head is None:
        raise ConformanceError(
            f"{subject(case)}: {type(case.hook.model).__name__} has neither `get_output_embeddings()` nor `head`. "
            "Return the head in `head()` of the hook; where it is no module of its own, give the case `unembedding`, a "
            "function that returns its weight [V, D]."
        )
    weight: torch.Tensor = head.weight  # type: ignore[assignment]
    return weight.detach().float()


def head_of(case: HookCase) -> torch.nn.Module | None:
    """The head, where it is a module of its own."""
    head = case.hook.head() or getattr(case.hook.model, "head", None)
    return head if isinstance(head, torch.nn.Module) and hasattr(head, "weight") else None


def _plant(case: HookCase, seen: Observed) -> tuple[int, torch.Tensor]:
    """A token that no generation holds so far, and the state [D] that makes the head say it."""
    weight = unembedding(case)
    taken = {*case.encoded.input_ids.flatten().tolist(), *seen.tokens.flatten().tolist(), *case.hook.eos_ids()}
    config = getattr(case.hook.model, "config", None)
    taken |= {case.hook.mask_id(), *(getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "mask"))}
    free = [token for token in range(len(weight)) if token not in taken][-1024:]
    if not free:
        raise ConformanceError(f"{subject(case)}: all {len(weight)} tokens occur in the case; shorten its prompts.")
    candidates = torch.tensor(free, device=weight.device)
    direction = torch.nn.functional.normalize(weight[candidates], dim=1)
    said = direction @ weight.T
    own = said.gather(1, candidates[:, None])[:, 0]
    lead = own - said.scatter(1, candidates[:, None], -torch.inf).max(1).values
    best = int(lead.argmax())
    if lead[best] <= 0:
        raise ConformanceError(f"{subject(case)}: no free token leads along its own row of the unembedding.")
    return free[best], direction[best] * (GAP / lead[best])


def _edit(aim: Aim, vector: torch.Tensor, at: tuple[int, ...]) -> Edit:
    def edit(index: int, states: torch.Tensor) -> torch.Tensor | None:
        if index not in at or aim.batch_row >= states.shape[0] or aim.row >= states.shape[1]:
            return None
        changed = states.clone()
        changed[aim.batch_row, aim.row] = vector.to(states)
        return changed

    return edit


def _found(tokens: torch.Tensor, token: int) -> list[tuple[int, int]]:
    return [(int(row), int(position)) for row, position in (tokens == token).nonzero().tolist()]


def _message(case: HookCase, aim: Aim, token: int, found: list[tuple[int, int]], others: list[int]) -> str:
    places = ", ".join(f"position {position} of request {request}" for request, position in found[:4]) or "no position"
    changed = f" It changed request {', '.join(map(str, others))} too." if others else ""
    return (
        f"{subject(case)}.plan(): step {aim.step}, module `{module_name(case.hook)}`: row {aim.row} of batch row "
        f"{aim.batch_row} should predict position {aim.position} of request {aim.request}; "
        f"token {token} planted there came out at {places}.{changed}"
    )
