"""Whose rows a flat batch holds: from what an engine schedules to the rows that are steps and those of requests.

An engine puts tokens of many requests behind each other in one pass: a piece of a prompt, one token, or text that it
computes a second time after it took a request's memory away. All of it is told apart by positions: the row at position
p of a request predicts its token p + 1, so the row at `prompt - 1 + t` is step t, and counts once, whenever it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sri_sdk.engine.blocks import BlockBook, Piece

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that the engine runs for the first time."""

    request_id: str
    prompt: int
    """Tokens of its prompt."""
    span: Span | None = None
    """Positions [start, stop) of the request within the prompt; None = not located, or nobody reads it."""
    hashes: Sequence[bytes] = ()
    """The engine's hashes of the full cache blocks of the prompt, in order."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of one request in a pass, next to each other."""

    request_id: str
    start: int
    """Position of the first one: how many tokens the engine had computed before."""
    count: int
    canvas: bool = False
    """Whether it is a canvas that the sampler works on, and no text that is read."""


@dataclass(frozen=True, slots=True)
class Addition:
    """Rows of a pass that are added up together."""

    start: int
    """First row, counted in the whole batch."""
    stop: int
    """Behind the last."""
    slot: int | None
    """Where the sum of their request is; None = it has them already."""
    block: int | None
    """Row of the block sums that they belong to; None = none."""


@dataclass(slots=True)
class PassPlan:
    """What the rows of one pass are."""

    tokens: int
    """Rows of the batch."""
    requests: tuple[str, ...]
    """All requests in it."""
    steps: list[tuple[str, int]] = field(default_factory=list)
    """(request, row) of each step, in order."""
    canvases: list[tuple[str, int, int]] = field(default_factory=list)
    """(request, first row, row behind the last) of each canvas."""
    additions: list[Addition] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)
    """Rows of the block sums that begin anew."""
    cleared: list[int] = field(default_factory=list)
    """Slots that begin anew."""
    recalled: list[tuple[int, int]] = field(default_factory=list)
    """(slot, row of the block sums): what a prefix cache spared; read once all additions are made."""
    read: list[tuple[str, int | None, int, bool]] = field(default_factory=list)
    """(request, slot, tokens of it, whether all of them were seen) of each request whose prompt this pass ends; the
    slot is free afterwards. None = no token of it was seen."""
    gaps: list[str] = field(default_factory=list)
    """Requests of which the engine ran a step that nobody was told of: steps from here on are not the next ones."""
    published: list[tuple[Piece, int]] = field(default_factory=list)
    """(piece, row of the block sums) that this pass completes: others read them only if it does."""


@dataclass(slots=True)
class _Entry:
    request_id: str
    prompt: int
    span: Span | None
    hashes: Sequence[bytes]
    next: int
    """Position of the row that is the next step."""
    steps: int = 0
    read: int = 0
    """Tokens of the prompt that are in the sum, or were found missing."""
    slot: int | None = None
    missing: bool = False
    told: bool = False
    open: tuple[Piece, int, int] | None = None
    """(piece, row, position behind what it has) of a block whose sum is not complete."""


class Ledger:
    """The requests that run, and what was seen of each.

    Attributes:
        blocks: sums of cache blocks.
    """

    def __init__(self, *, reads: bool, block_size: int, blocks: int = 0, canvas: bool = False) -> None:
        """Takes what is read.

        Args:
            reads: whether the requests' own tokens are wanted.
            block_size: tokens of a cache block that the engine has one hash for.
            blocks: sums of cache blocks that may be kept.
            canvas: whether the model works on canvases: rows of text then predict nothing.
        """
        self._reads, self._size, self._canvas = reads, block_size, canvas
        self.blocks = BlockBook(blocks)
        self._entries: dict[str, _Entry] = {}
        self._slots: list[int] = []
        self._next = 0
        self._pending: tuple[PassPlan, list[_Entry]] | None = None

    @property
    def slots(self) -> int:
        """Slots that were ever in use at once: so many sums of requests there must be room for."""
        return self._next

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._entries

    def admit(self, request: Admitted) -> None:
        """Takes a request; one of the same id that was not ended counts as ended."""
        self.end(request.request_id)
        span = request.span if self._reads else None
        self._entries[request.request_id] = _Entry(
            request.request_id, request.prompt, span, tuple(request.hashes), request.prompt - 1
        )  # fmt: skip

    def end(self, request_id: str) -> int | None:
        """A request has ended. Returns the steps that were seen of it; None = it is not known."""
        entry = self._entries.pop(request_id, None)
        if entry is None:
            return None
        self._close(entry)
        if entry.slot is not None:
            self._slots.append(entry.slot)
        return entry.steps

    def evicted(self, hashes: Iterable[bytes]) -> None:
        """The engine has dropped these blocks from its cache."""
        for each in hashes:
            self.blocks.evict(each)

    def plan(self, chunks: Sequence[Chunk]) -> PassPlan:
        """What the rows of a pass are, in the order of the batch. Requests that were never admitted are left out.

        The pass must run, and the plan be carried out, before the next one is made. Say so by `carried_out`: what is
        not said to be counts as lost.
        """
        self.lost()
        self.blocks.begin()
        known = [chunk for chunk in chunks if chunk.request_id in self._entries]
        plan = PassPlan(sum(chunk.count for chunk in chunks), tuple(chunk.request_id for chunk in known))
        # Before the first sum: a plan that is never finished is lost as well.
        self._pending = plan, [self._entries[each] for each in plan.requests]
        row, spared = 0, list[tuple[_Entry, int, int]]()
        for chunk in chunks:
            entry = self._entries.get(chunk.request_id)
            if entry is not None and chunk.canvas:
                plan.canvases.append((chunk.request_id, row, row + chunk.count))
            elif entry is not None:
                if entry.span is not None and chunk.start > entry.read < entry.prompt:
                    spared.append((entry, entry.read, min(chunk.start, entry.prompt)))
                    entry.read = min(chunk.start, entry.prompt)
                self._read(entry, chunk, row, plan)
                if not self._canvas:
                    self._step(entry, chunk, row, plan)
            row += chunk.count
        # An engine may find blocks in its cache that the same pass computes for a neighbour.
        for entry, start, stop in spared:
            self._recall(entry, start, stop, plan)
        self._finish(known, plan)
        return plan

    def carried_out(self) -> None:
        """The last plan was carried out: its sums are there."""
        self._pending = None

    def lost(self) -> None:
        """The last plan was not carried out, or not all of it: nobody reads what it was to add up."""
        if self._pending is None:
            return
        (plan, entries), self._pending = self._pending, None
        for piece, row in plan.published:
            self.blocks.withdraw(piece, row)
        for entry in entries:
            self._close(entry)
            entry.missing = True

    def _step(self, entry: _Entry, chunk: Chunk, row: int, plan: PassPlan) -> None:
        """The rows that predict tokens nobody has seen predicted."""
        stop = chunk.start + chunk.count
        if chunk.start > entry.next:
            plan.gaps.append(entry.request_id)
        for position in range(max(chunk.start, entry.next), stop):
            plan.steps.append((entry.request_id, row + position - chunk.start))
            entry.steps += 1
        entry.next = max(entry.next, stop)

    def _read(self, entry: _Entry, chunk: Chunk, row: int, plan: PassPlan) -> None:
        """The rows that are tokens of the request itself."""
        if entry.span is None or chunk.start >= entry.prompt:
            return
        stop = min(chunk.start + chunk.count, entry.prompt)
        seen, entry.read = entry.read, max(entry.read, stop)
        for start, end, piece in self._pieces(entry, chunk.start, stop):
            block = None if piece is None else self._sum_of(entry, piece, start, end, plan)
            first = row - chunk.start
            # What was computed a second time is in the request's sum already, but perhaps not in the block's.
            if block is not None and start < seen:
                plan.additions.append(Addition(first + start, first + min(end, seen), None, block))
            if end > seen:
                plan.additions.append(Addition(first + max(start, seen), first + end, self._slot(entry, plan), block))

    def _pieces(self, entry: _Entry, start: int, stop: int) -> Iterator[tuple[int, int, Piece | None]]:
        """(start, stop, the piece of a block that it is a part of) of the request's tokens in [start, stop)."""
        assert entry.span is not None
        start, stop = max(start, entry.span[0]), min(stop, entry.span[1])
        while start < stop:
            block = start // self._size
            end = min((block + 1) * self._size, stop)
            yield start, end, self._piece(entry, block)
            start = end

    def _piece(self, entry: _Entry, block: int) -> Piece | None:
        """The part of a block that is the request's; None = the engine has no hash of it."""
        if block >= len(entry.hashes):
            return None
        assert entry.span is not None
        first = block * self._size
        return Piece(
            entry.hashes[block], max(entry.span[0] - first, 0), min(entry.span[1] - first, self._size)
        )  # fmt: skip

    def _sum_of(self, entry: _Entry, piece: Piece, start: int, stop: int, plan: PassPlan) -> int | None:
        """Where the rows of [start, stop) are added up for others; None = nowhere."""
        first = start // self._size * self._size
        ends = stop == first + piece.stop
        if entry.open is not None and entry.open[0] == piece and entry.open[2] == start:
            row = entry.open[1]
            entry.open = None if ends else (piece, row, stop)
        else:
            self._close(entry)
            if start != first + piece.start or piece in self.blocks:
                return None
            reserved = self.blocks.reserve()
            if reserved is None:
                return None
            row = reserved
            plan.fresh.append(row)
            entry.open = None if ends else (piece, row, stop)
        if ends:
            self.blocks.publish(piece, row)
            plan.published.append((piece, row))
        return row

    def _recall(self, entry: _Entry, start: int, stop: int, plan: PassPlan) -> None:
        """Adds what the engine had in its cache, or notes that nobody knows it."""
        for begin, end, piece in self._pieces(entry, start, stop):
            first = begin // self._size * self._size
            whole = piece is not None and (begin, end) == (first + piece.start, first + piece.stop)
            row = self.blocks.find(piece) if piece is not None and whole else None
            if row is None:
                entry.missing = True
            else:
                plan.recalled.append((self._slot(entry, plan), row))

    def _finish(self, chunks: Sequence[Chunk], plan: PassPlan) -> None:
        for chunk in chunks:
            entry = self._entries[chunk.request_id]
            if entry.told or not self._reads or chunk.start + chunk.count < entry.prompt:
                continue
            entry.told = True
            length = 0 if entry.span is None else entry.span[1] - entry.span[0]
            plan.read.append((entry.request_id, entry.slot, length, not entry.missing and entry.slot is not None))
            if entry.slot is not None:
                self._slots.append(entry.slot)
                entry.slot = None

    def _slot(self, entry: _Entry, plan: PassPlan) -> int:
        if entry.slot is None:
            if not self._slots:
                self._slots.append(self._next)
                self._next += 1
            entry.slot = self._slots.pop()
            plan.cleared.append(entry.slot)
        return entry.slot

    def _close(self, entry: _Entry) -> None:
        """Gives up the block whose sum was begun."""
        if entry.open is not None:
            self.blocks.release(entry.open[1])
            entry.open = None
