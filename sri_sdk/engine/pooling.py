"""The sums of a pass, on the device: one vector per step and request, and those of the requests' own tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from sri_sdk.capture.conclude import INCOMPLETE, SILENT, TWICE
from sri_sdk.capture.settings import Layers
from sri_sdk.engine.ledger import PassPlan


@dataclass(frozen=True, slots=True)
class Pooled:
    """What one pass gave. Nobody writes into its tensors afterwards."""

    steps: tuple[str, ...]
    """The request of each row of `vectors`."""
    vectors: torch.Tensor | None
    """[R, C, D] float32 tensor, the states that predict a token; None = no step in this pass."""
    requests: tuple[tuple[str, int, bool], ...]
    """(request, tokens of it, whether all were seen) of each request whose prompt this pass ended."""
    means: torch.Tensor | None
    """[those, C, D] float32 tensor, the mean states of their tokens; None = nobody reads requests, or none ended."""
    failed: Mapping[str, str]
    """Request -> code of why nothing of this pass, nor of those behind it, can be trusted."""
    whole: bool = True
    """Whether the plan was carried out: all states came, and every sum was made."""
    marks: torch.Tensor | None = None
    """[R, 3] int64 tensor of passes over canvases: what `CanvasBook.take` wants of each row; None = rows are steps."""


class PassPool:
    """Takes the states of one pass after another.

    Call `begin` before a pass, `state` for every tapped module that ran, and `end` behind it.
    """

    def __init__(self, layers: Layers, request_layers: Layers, blocks: int) -> None:
        """Takes what is read of the steps and of the requests, and how many sums of blocks are kept."""
        self._layers, self._request_layers = layers, request_layers
        self._blocks = blocks
        self._plan: PassPlan | None = None
        self._vectors: dict[str | int, torch.Tensor] = {}
        self._added: dict[str | int, torch.Tensor] = {}
        self._wanted: set[str | int] = set()
        self._twice = False
        self._index: tuple[torch.device, torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._slots: torch.Tensor | None = None
        self._sums: torch.Tensor | None = None

    @property
    def open(self) -> bool:
        """Whether a pass has begun whose end nobody has told."""
        return self._plan is not None

    @property
    def requests(self) -> tuple[str, ...]:
        """The requests of the pass that has begun."""
        return () if self._plan is None else self._plan.requests

    def begin(self, plan: PassPlan) -> None:
        """A pass with this plan is about to run."""
        self._plan, self._index = plan, None
        self._vectors, self._added, self._twice = {}, {}, False
        steps = bool(plan.steps or plan.canvases)
        self._wanted = {*(self._layers if steps else ()), *(self._request_layers if plan.additions else ())}

    def state(self, layer: str | int, states: torch.Tensor) -> None:
        """A tapped module gave [N, D], N at least as many as the pass has rows; it may be overwritten afterwards."""
        plan = self._plan
        if plan is None or layer not in self._wanted:
            return
        if layer in self._vectors or layer in self._added:
            self._twice = True
            return
        steps, rows, owner = self._indices(plan, states.device)
        if plan.steps and layer in self._layers:
            self._vectors[layer] = states.index_select(0, steps).float()
        if plan.canvases and layer in self._layers:
            self._vectors[layer] = torch.stack([
                states[start:stop].sum(0, dtype=torch.float32) / (stop - start) for _, start, stop in plan.canvases
            ])  # fmt: skip
        if plan.additions and layer in self._request_layers:
            added = torch.zeros(len(plan.additions), states.shape[-1], dtype=torch.float32, device=states.device)
            self._added[layer] = added.index_add_(0, owner, states.index_select(0, rows).float())

    def end(self, slots: int) -> Pooled:
        """The pass is over; `slots` = sums of requests there must be room for.

        Raises:
            RuntimeError: no pass had begun.
        """
        plan, self._plan = self._plan, None
        if plan is None:
            raise RuntimeError("PassPool.end() without begin()")
        missed = [layer for layer in self._wanted if layer not in self._vectors and layer not in self._added]
        why = TWICE if self._twice else SILENT if missed else None
        steps = tuple(request for request, *_ in plan.canvases or plan.steps)
        vectors = means = None
        if why is None:
            if steps and self._layers:
                vectors = torch.stack([self._vectors[layer] for layer in self._layers], dim=1)
            if self._request_layers:
                means = self._requests(plan, slots)
        failed = dict.fromkeys(plan.gaps, INCOMPLETE) if why is None else dict.fromkeys(plan.requests, why)
        read = tuple((request, tokens, whole) for request, _, tokens, whole in plan.read)
        self._vectors, self._added = {}, {}
        return Pooled(steps, vectors, read, means, failed, why is None)

    def _indices(self, plan: PassPlan, home: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[R] rows of the steps, [N] rows that are added up, and [N] to which addition each belongs; all int64."""
        if self._index is None or self._index[0] != home:
            rows = [row for each in plan.additions for row in range(each.start, each.stop)]
            owner = [place for place, each in enumerate(plan.additions) for _ in range(each.start, each.stop)]
            lists = ([row for _, row in plan.steps], rows, owner)
            # Together, since each transfer to a device costs as much as all of them.
            flat = torch.tensor([number for each in lists for number in each], dtype=torch.int64)
            flat = flat.to(home, non_blocking=True)
            parts = torch.split(flat, [len(each) for each in lists])
            self._index = home, parts[0], parts[1], parts[2]
        return self._index[1:]

    def _requests(self, plan: PassPlan, slots: int) -> torch.Tensor | None:
        """Adds up, and returns the means of the requests whose prompts end here, [those, C, D] float32."""
        if plan.additions:
            added = torch.stack([self._added[layer] for layer in self._request_layers], dim=1)
            self._make_room(slots, added)
        elif self._sums is not None:
            # A request may have all of its tokens from the sums of blocks, and needs a slot all the same.
            self._make_room(slots, self._sums)
        if self._slots is None or self._sums is None:
            return None
        if plan.cleared:
            self._slots[plan.cleared] = 0
        if plan.fresh:
            self._sums[plan.fresh] = 0
        if plan.additions:
            self._add(self._slots, [each.slot for each in plan.additions], added)
            self._add(self._sums, [each.block for each in plan.additions], added)
        if plan.recalled:
            slot, block = (self._long(column) for column in zip(*plan.recalled, strict=True))
            self._slots.index_add_(0, slot, self._sums.index_select(0, block))
        if not plan.read:
            return None
        slot = self._long([0 if each[1] is None else each[1] for each in plan.read])
        count = torch.tensor([max(tokens, 1) for _, _, tokens, _ in plan.read], dtype=torch.float32)
        return self._slots.index_select(0, slot) / count.to(self._slots.device)[:, None, None]

    def _add(self, into: torch.Tensor, rows: Sequence[int | None], added: torch.Tensor) -> None:
        """Adds [G, C, D] to the rows [M, C, D] that are named, one per part; None = to none."""
        kept = [place for place, row in enumerate(rows) if row is not None]
        if not kept:
            return
        index = self._long([row for row in rows if row is not None])
        into.index_add_(0, index, added if len(kept) == len(rows) else added.index_select(0, self._long(kept)))

    def _long(self, numbers: Sequence[int]) -> torch.Tensor:
        """[N] int64 on the device of the sums."""
        assert self._slots is not None
        return torch.tensor(list(numbers), dtype=torch.int64).to(self._slots.device, non_blocking=True)

    def _make_room(self, slots: int, like: torch.Tensor) -> None:
        """Room for `slots` sums of requests and for those of the blocks, each [C, D] as `like` [G, C, D]."""
        with torch.inference_mode(False):
            if self._sums is None:
                self._sums = like.new_zeros((self._blocks, *like.shape[1:]))
            if self._slots is None or len(self._slots) < slots:
                room = like.new_zeros((max(2 * slots, 16), *like.shape[1:]))
                if self._slots is not None:
                    room[: len(self._slots)] = self._slots
                self._slots = room
