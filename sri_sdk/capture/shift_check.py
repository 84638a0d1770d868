"""Which row predicted the committed tokens: the sampler's word against the plan's.

Row i predicts token i in some families and token i + 1 in others, and a sampler may be set otherwise than the model's
config says. Then phi is the mean of the wrong rows, and nothing else shows it. What runs does: a token that was filled
in between two passes is likely by the row that predicted it. For each of the two rows before and at a position, this
module asks how likely the tokens are, at the temperature that suits them best. If the row that the plan does not name
explains them better, by far, the run is not trusted.

It costs little: per step, up to `PER_STEP` positions' states are copied on the device; where a pass shows hardly more,
as a block does, all of them are, and which count is found out for many passes at once. At the end a few are
compared with some words of the vocabulary, spread over it, besides the tokens themselves. That settles it where the
plan is right and the model is sure of something. Else more are, with more words, and then `MOST` with the whole matrix
of the head, 4 x MOST x D x V floating-point operations (0.07 * 10^12 for 8 billion parameters, a few hundredths of one
pass over 256 tokens). Two numbers leave the device each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from sri_sdk.capture.later import active_in
from sri_sdk.hook import Hook
from sri_sdk.records import StepPlan

PER_STEP = 16
"""Positions looked at per step, over all requests; at least one per request."""
KEPT = 256
"""Positions kept per generation, filled or not; then no more are looked at."""
MOST = 32
"""Positions compared at the end."""
LOOKS = ((8, 128), (MOST, 1024))
"""Positions, and words of the vocabulary that they are compared with, in the looks before the last one, which is at all
of both; a vocabulary that has hardly more words is compared as a whole."""
SETTLED = 6.0
"""Nats. By so much the plan's rows must lead in a look for there to be no other one. Were the other rows the true ones,
they would in about one of e^6 = 403 generations, and in one of 200 over both looks."""
STEP = 3
TEMPERATURES = tuple(0.003 * STEP**k for k in range(8))
"""In units of the distance from an ordinary word to the likeliest one, from greedy to nearly uniform: samplers do not
say theirs, and models scale their logits."""
MOST_WEIGHTS = 2**20
"""Words times positions times temperatures looked at in one operation: 4 MiB."""
FOREIGN = 0.01
"""Share of tokens that neither row predicts, as those that somebody else wrote."""
DECISIVE = 8.0
"""Nats. With tokens drawn from the plan's rows, the others led by more than 6 once in 18,000 simulated generations made
to be hard (4 or 32 tokens, rows alike, greedy or hot), then by 8.0; on the families' models they never led."""


@dataclass(slots=True)
class _Pass:
    """A step whose tokens will show in the next pass."""

    ids: torch.Tensor
    plan: StepPlan
    states: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two steps next to each other that are looked at later, with others alike; nobody writes into their tensors."""

    shown: torch.Tensor
    """[B, L] int64 tensor, tokens of the first."""
    states: torch.Tensor
    """[B, L, D], its states."""
    plan: StepPlan
    now: torch.Tensor
    """[B, L] int64 tensor, tokens of the second."""
    after: StepPlan

    def alike(self, other: _Pair) -> bool:
        """Whether both can be looked at at once."""
        return self.plan.rows is other.plan.rows and all(
            mine.shape == theirs.shape for mine, theirs in zip(self._sized(), other._sized(), strict=True)
        ) and (self.plan.shift, self.states.dtype, self.states.device, *self._active_in()) == (
            other.plan.shift, other.states.dtype, other.states.device, *other._active_in(),
        )  # fmt: skip

    def _sized(self) -> tuple[torch.Tensor, ...]:
        return self.shown, self.states, self.plan.positions, self.after.positions

    def _active_in(self) -> tuple[bool, bool]:
        return self.plan.active is not None, self.after.active is not None


class ShiftCheck:
    """Collects tokens that one generation fills in, with the states of the two rows that may have predicted them.

    Attributes:
        compared: tokens compared; known after `contradicted`. 0 = there was nothing to compare, or no head.
    """

    def __init__(self, hook: Hook) -> None:
        self.compared = 0
        self._hook = hook
        self._mask: int | None = None
        self._head: tuple[torch.Tensor, torch.Tensor | None] | None = None
        self._asked = False
        self._before: _Pass | None = None
        self._found: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self._waiting: list[_Pair] = []
        self._kept = 0
        self._shift = 0

    def begins(self, input_ids: torch.Tensor, plan: StepPlan | None) -> None:
        """A pass over [B, L] int64 ids begins; what it shows in place of masks, the step before has filled in."""
        before, self._before = self._before, None
        if plan is not None and not self._asked:
            self._asked = True
            self._mask = self._hook.mask_id() if self._hook.scheme == "masked" else None
            self._head = None if self._mask is None else matrix_of_head(self._hook)
        if plan is None or self._head is None or self._kept >= KEPT:
            return
        ids = input_ids.clone()  # Samplers write into their canvas.
        if before is not None and before.states is not None and before.ids.shape == ids.shape:
            self._collect_later(before, ids, plan)
        self._before = _Pass(ids, plan)

    def steps_wanted(self, input_ids: torch.Tensor, requests: int) -> int:
        """How many more steps over [B, L] int64 ids are looked at, of `requests` requests; 0 = none."""
        if self._head is None or self._before is None or self._kept >= KEPT:
            return 0
        return math.ceil((KEPT - self._kept) / (requests * _per_request(requests, input_ids.shape[1])))

    def begins_steady(
        self, input_ids: torch.Tensor, plan: StepPlan, active: torch.Tensor | None, states: Sequence[torch.Tensor]
    ) -> None:
        """Takes S steps at once, whose rows are those of `plan`, the last one that began.

        Args:
            input_ids: [1 + S, B, L] int64 tensor, tokens of that step and of those behind it.
            plan: of that step.
            active: [S, R] bool, requests still generating in those behind it; None = all.
            states: those of the first of the S steps, as many as `steps_wanted` says, each [B, L, D].
        """
        self._look()
        before = self._before
        if before is None or before.states is None or self._head is None:
            return
        requests = len(plan.positions if plan.rows is None else plan.rows)
        count = min(len(input_ids) - 1, 1 + len(states), self.steps_wanted(input_ids[0], requests))
        before_each = [before.states, *states][:count]
        if count:
            known = None
            if active is not None:
                first = before.plan.active
                first = torch.ones_like(active[:1]) if first is None else first[None].to(active.device)
                known = torch.cat([first, active])
            places = plan.positions[None]
            self._collect(
                input_ids[:count], before_each, plan, input_ids[1 : count + 1], (places, places),
                () if known is None else (known[:count], known[1 : count + 1]),
            )  # fmt: skip
            self._kept += self._size_of(input_ids[0], requests) * count
        self._before = _Pass(input_ids[-1], plan if active is None else replace(plan, active=active[-1]))
        if len(states) >= len(input_ids) - 1:
            self._before.states = states[len(input_ids) - 2]

    def begins_later(
        self, input_ids: torch.Tensor, plans: Sequence[StepPlan | None], states: Sequence[torch.Tensor]
    ) -> None:
        """Takes S passes at once, of which some may be no steps, and whose rows may move.

        Args:
            input_ids: [1 + S, B, L] int64 tensor, tokens of the last pass that began, and of those behind it.
            plans: 1 + S of them; None = that pass is no step.
            states: those of the first of the S passes, each [B, L, D].
        """
        self._look()
        before, self._before = self._before, self._before if self._head is None else None
        if before is None or self._head is None:
            return
        requests = len(before.plan.positions if before.plan.rows is None else before.plan.rows)
        size, each = self._size_of(input_ids[0], requests), [before.states, *states]
        pairs = [
            (index, plan, after, mine)
            for index, (plan, after, mine) in enumerate(zip(plans, plans[1:], each, strict=False))
            if plan is not None and after is not None and mine is not None
        ][: math.ceil((KEPT - self._kept) / size)]
        if pairs:
            indices, shown, after, mine = zip(*pairs, strict=True)
            at = torch.tensor(indices, device=input_ids.device)
            places = tuple(torch.stack([plan.positions for plan in step]) for step in (shown, after))
            self._collect(
                input_ids[at], mine, shown[0], input_ids[at + 1], (places[0], places[1]),
                _known(active_in(shown), active_in(after)),
            )  # fmt: skip
            self._kept += size * len(pairs)
        if (last := plans[-1]) is not None and self._kept < KEPT:
            self._before = _Pass(input_ids[-1], last, each[-1] if len(each) == len(plans) else None)

    @property
    def last_states(self) -> torch.Tensor | None:
        """[B, L, D] of the last step; None = they are not needed."""
        return None if self._before is None else self._before.states

    def ran(self, states: torch.Tensor) -> None:
        """The step's states after the last norm, [B, L, D], without their graph."""
        if self._before is not None:
            self._before.states = states

    def ends(self, tokens: torch.Tensor) -> None:
        """Takes what the call returned, [R, L] int64: the last step's tokens, if it shows the columns of that pass."""
        self._look()
        before, self._before = self._before, None
        if before is None or before.states is None or self._kept >= KEPT:
            return
        rows = slice(len(tokens)) if before.plan.rows is None else before.plan.rows
        if before.ids[rows].shape != tokens.shape:
            return
        now = before.ids.clone()
        now[rows] = tokens.to(now.device)
        self._collect_one(before.ids, before.states, before.plan, now, replace(before.plan, active=None))
        self._kept += self._size_of(before.ids, len(tokens))

    def contradicted(self) -> bool:
        """Whether the tokens come from the row that the plan does not name. Waits for the device: ask once."""
        self._look()
        if not self._found or self._head is None:
            return False
        rows, tokens, filled = (torch.cat(part) for part in zip(*self._found, strict=True))
        chosen = filled.nonzero()[:MOST, 0]
        self.forget()
        self.compared = len(chosen)
        if not self.compared:
            return False
        rows, tokens = rows[chosen.to(rows.device)], tokens[chosen]
        for positions, words in LOOKS:
            if positions >= self.compared and len(self._head[0]) < 2 * words:
                break
            # Spread over all: a loop may begin otherwise than it goes on.
            step = max(self.compared // positions, 1)
            some, its = rows[::step][:positions], tokens[::step][:positions]
            if self._lead(self._at_first(some, its, words)) < -SETTLED:
                return False
        return self._lead(self._likelihoods(rows, tokens)) > DECISIVE

    def _lead(self, likelihoods: tuple[float, float]) -> float:
        """Nats by which the rows lead that the plan does not name."""
        at, before = likelihoods
        return at - before if self._shift else before - at

    def forget(self) -> None:
        """Lets go of tensors."""
        self._found, self._before, self._waiting = [], None, []

    def _size_of(self, shown: torch.Tensor, requests: int) -> int:
        """Positions that one step over [B, L] ids adds."""
        return requests * _per_request(requests, shown.shape[1])

    def _collect_later(self, before: _Pass, now: torch.Tensor, after: StepPlan) -> None:
        """Takes the step `before`, whose tokens show in `now` [B, L]; at once where keeping all of it is too much."""
        assert before.states is not None
        shown, plan = before.ids, before.plan
        requests = len(plan.positions if plan.rows is None else plan.rows)
        size = self._size_of(shown, requests)
        self._kept += size
        # Of each position that is kept, two rows are. A copy: some models write into states that they gave out.
        if plan.rows is not after.rows or shown.numel() > 2 * size:
            self._look()
            self._collect_one(shown, before.states, plan, now, after)
            return
        pair = _Pair(shown, before.states.clone(), plan, now, after)
        if self._waiting and not self._waiting[0].alike(pair):
            self._look()
        self._waiting.append(pair)
        if self._kept >= KEPT:
            self._look()

    def _look(self) -> None:
        """Looks at what waits, at once."""
        pairs, self._waiting = self._waiting, []
        if not pairs:
            return
        if len(pairs) == 1:
            self._collect_one(pairs[0].shown, pairs[0].states, pairs[0].plan, pairs[0].now, pairs[0].after)
            return
        active = [
            torch.stack(each)
            for each in zip(*(_known(pair.plan.active, pair.after.active) for pair in pairs), strict=True)
        ]
        places = torch.stack([pair.plan.positions for pair in pairs])
        next_places = torch.stack([pair.after.positions for pair in pairs])
        self._collect(
            torch.stack([pair.shown for pair in pairs]), [pair.states for pair in pairs], pairs[0].plan,
            torch.stack([pair.now for pair in pairs]), (places, next_places), active,
        )  # fmt: skip

    def _collect_one(
        self, shown: torch.Tensor, states: torch.Tensor, plan: StepPlan, now: torch.Tensor, after: StepPlan
    ) -> None:
        """Takes one step: `shown` and `now` [B, L], `states` [B, L, D]; see `_collect`."""
        active = [each[None] for each in _known(plan.active, after.active)]
        places = plan.positions[None], after.positions[None]
        self._collect(shown[None], [states], plan, now[None], places, active)

    def _collect(
        self, shown: torch.Tensor, states: Sequence[torch.Tensor], plan: StepPlan, now: torch.Tensor,
        positions: tuple[torch.Tensor, torch.Tensor], active: Sequence[torch.Tensor],
    ) -> None:  # fmt: skip
        """Keeps the leftmost positions of each request that were masks in `shown` and are tokens in `now`.

        Args:
            shown: [S, B, L] int64 tensor, tokens of S passes.
            states: S of [B, L, D], theirs.
            plan: says which of their rows are requests, and which token they predict.
            now: [S, B, L] int64 tensor, tokens of the pass behind each.
            positions: what their rows are, and what those of the pass behind are, [S, B, L] or [1, B, L] each.
            active: [S, R] bool tensors; only requests that are in all of them count.
        """
        places, next_places = positions
        if plan.rows is None:
            rows = torch.arange(shown.shape[1], device=shown.device)
        else:
            rows = plan.rows
            shown, now, places, next_places = (each[:, rows] for each in (shown, now, places, next_places))
        filled = (shown == self._mask) & (now != self._mask) & ((places == next_places) & (places > 0))
        # The first one has no row before it in this pass, or one of another place.
        filled[:, :, 1:] &= places[..., :-1] == places[..., 1:] - 1
        filled[:, :, 0] = False
        ends = self._hook.eos_ids()
        if ends:
            # Some samplers fill up what is behind an end token, and no row predicted that.
            at_end = torch.isin(now, torch.tensor(ends, device=now.device)) & (shown == self._mask)
            filled &= at_end.cumsum(2) == 0
        for each in active:
            filled &= each.to(filled.device)[:, :, None]
        requests, length = filled.shape[1:]
        count = _per_request(requests, length)
        order = filled * torch.arange(length, 0, -1, device=filled.device)
        value, at = order.topk(count, dim=2)
        pairs = torch.stack([at, (at - 1).clamp(min=0)], dim=3).flatten(2)
        home, width = states[0].device, states[0].shape[2]
        # As rows of all requests together: nothing else is copied.
        wanted = (pairs + (rows.to(pairs.device) * states[0].shape[1])[:, None]).flatten(1).to(home)
        picked = [each.flatten(0, 1).index_select(0, at_once) for each, at_once in zip(states, wanted, strict=True)]
        self._found.append(
            (torch.cat(picked).reshape(-1, 2, width), now.gather(2, at).flatten(), (value > 0).flatten())
        )
        self._shift = plan.shift

    def _likelihoods(self, rows: torch.Tensor, tokens: torch.Tensor) -> tuple[float, float]:
        """Log-likelihood of tokens [M] by the row at each position and by the one before it, `rows` [M, 2, D]."""
        logits = self._logits(rows)
        at, before = likelihoods(logits, tokens.to(logits.device)).tolist()
        return at, before

    def _at_first(self, rows: torch.Tensor, tokens: torch.Tensor, count: int) -> tuple[float, float]:
        """As `_likelihoods`, `rows` [M, 2, D] and tokens [M], as if there were `count` words and these tokens alone."""
        assert self._head is not None
        weight = self._head[0]
        if len(weight) < 2 * count:
            return self._likelihoods(rows, tokens)
        spread = torch.arange(count, device=weight.device) * (len(weight) // count)
        words = torch.cat([spread, tokens.to(weight.device).clamp(max=len(weight) - 1)])
        places = torch.arange(count, len(words), device=weight.device)
        at, before = likelihoods(self._logits(rows, words), places).tolist()
        return at, before

    def _logits(self, rows: torch.Tensor, words: torch.Tensor | None = None) -> torch.Tensor:
        """[M, 2, V] float32 of `rows` [M, 2, D], for `words` [V] of the vocabulary or all; the mask is never likely."""
        assert self._head is not None and self._mask is not None
        weight, bias = self._head
        if words is not None:
            weight, bias = weight[words], None if bias is None else bias[words]
        logits = torch.nn.functional.linear(rows.to(weight.device, weight.dtype), weight, bias).float()
        if words is None:
            logits[..., self._mask] = -torch.inf
            return logits
        return logits.masked_fill_(words == self._mask, -torch.inf)


def likelihoods(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """How well each of C rows explains tokens, each at the temperature that suits it best.

    Args:
        logits: [M, C, V] float32 tensor; it is overwritten.
        tokens: [M] int64 tensor.

    Returns:
        [C] float64 tensor, log-likelihoods in nats.
    """
    logits -= logits.amax(-1, keepdim=True)
    # Not the standard deviation: some models rule out words with a huge negative bias.
    logits /= -logits.median(-1).values.median().clamp(min=-1e30, max=-1e-12)
    tokens = tokens.clamp(max=logits.shape[-1] - 1)
    words = logits.gather(-1, tokens[:, None, None].expand(-1, logits.shape[1], 1))[..., 0]
    foreign = torch.full_like(words, math.log(FOREIGN / logits.shape[-1]))

    def of(temperatures: torch.Tensor) -> torch.Tensor:
        """[T, C] likelihoods at `temperatures` [T, C], of each of C rows."""
        found = []
        # As many at once as memory allows: where there are few words, calls cost more than the arithmetic.
        for some in torch.split(temperatures, max(MOST_WEIGHTS // logits.numel(), 1)):
            normalisers = (logits / some[:, None, :, None]).exp_().sum(-1).log_()
            each = words / some[:, None] - normalisers
            found.append(torch.logaddexp(each + math.log1p(-FOREIGN), foreign).double().sum(1))
        return torch.cat(found)

    grid = torch.tensor(TEMPERATURES, device=logits.device)[:, None].expand(-1, logits.shape[1])
    coarse = of(grid)
    # Then around each row's own best: else that row wins whose temperature happens to be on the grid.
    parts = torch.tensor([STEP ** (part / 4) for part in (-3, -2, -1, 1, 2, 3)], device=logits.device)[:, None]
    fine = of(grid.gather(0, coarse.argmax(0, keepdim=True)) * parts)
    return torch.cat([coarse, fine]).amax(0)


def _known(*masks: torch.Tensor | None) -> list[torch.Tensor]:
    """Those of the tensors [R] that are there."""
    return [each for each in masks if each is not None]


def _per_request(requests: int, length: int) -> int:
    """Positions looked at per request in one step over `length` tokens."""
    return min(max(PER_STEP // requests, 1), length)


def matrix_of_head(hook: Hook) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """The matrix [V, D] and the bias [V] that make logits of the tapped states; None = out of reach.

    Weights in few bits, on no device, or spread over processes are out of reach.
    """
    try:
        head = hook.head()
    except Exception:  # Some models' get_output_embeddings() raises where others' returns None.
        return None
    if not isinstance(head, torch.nn.Linear | torch.nn.Embedding):
        return None
    weight, bias = head.weight, getattr(head, "bias", None)
    whole = type(weight) in (torch.Tensor, torch.nn.Parameter) and weight.is_floating_point() and not weight.is_meta
    if not whole or weight.dim() != 2 or weight.shape[1] != hook.hidden_size():
        return None
    return weight.detach(), None if bias is None else bias.detach()
