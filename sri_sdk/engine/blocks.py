"""Which cache blocks of an engine have their prompt sums kept, and where: bounded, and gone when the block goes.

An engine that finds the beginning of a prompt in its prefix cache runs no pass over it. What that pass would have added
to the request's mean is kept here, under the engine's own hash of the block, which also covers everything before it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a cache block that belongs to a request: prompts that share a block may differ in what they ask."""

    hash: bytes
    """The engine's hash of the block."""
    start: int
    """First token of the part, counted within the block."""
    stop: int
    """Behind its last."""


class BlockBook:
    """Rows of a table of sums, by piece. The one that nobody asked for longest goes first.

    Attributes:
        capacity: rows there are.
    """

    def __init__(self, capacity: int) -> None:
        """Takes the number of rows; 0 = nothing is kept, and what a cache spared was not seen."""
        self.capacity = capacity
        self._free = list(range(capacity - 1, -1, -1))
        self._rows: OrderedDict[Piece, int] = OrderedDict()
        self._pieces: dict[bytes, set[Piece]] = {}
        self._used: set[int] = set()
        self._released: list[int] = []

    def __len__(self) -> int:
        """Pieces that are kept."""
        return len(self._rows)

    def __contains__(self, piece: Piece) -> bool:
        return piece in self._rows

    def begin(self) -> None:
        """A pass begins: rows that the last one reads from may be given out again."""
        self._used.clear()
        self._free += self._released
        self._released = []

    def reserve(self) -> int | None:
        """A row to add up in; None = all are in use."""
        if self._free:
            return self._free.pop()
        oldest = next((piece for piece, row in self._rows.items() if row not in self._used), None)
        if oldest is None:
            return None
        self._drop(oldest)
        return self._free.pop()

    def release(self, row: int) -> None:
        """Gives back a row that was reserved and not published; it is free once the pass that adds to it is over."""
        self._released.append(row)

    def publish(self, piece: Piece, row: int) -> None:
        """The sum of a piece is complete once this pass has run."""
        if piece in self._rows:
            self.release(row)
            return
        self._rows[piece] = row
        self._pieces.setdefault(piece.hash, set()).add(piece)
        # Written in this pass: nobody may begin another sum in it before the pass is over.
        self._used.add(row)

    def find(self, piece: Piece) -> int | None:
        """The row with the sum of a piece, which stays until the pass is over; None = it is not kept."""
        row = self._rows.get(piece)
        if row is not None:
            self._rows.move_to_end(piece)
            self._used.add(row)
        return row

    def withdraw(self, piece: Piece, row: int) -> None:
        """Takes back what was published: the pass that was to complete the sum did not."""
        if self._rows.get(piece) == row:
            self._drop(piece)

    def evict(self, block: bytes) -> None:
        """The engine has dropped a block from its cache."""
        for piece in list(self._pieces.get(block, ())):
            self._drop(piece)

    def clear(self) -> None:
        """The engine has dropped all of them."""
        for piece in list(self._rows):
            self._drop(piece)

    def _drop(self, piece: Piece) -> None:
        self._free.append(self._rows.pop(piece))
        its = self._pieces[piece.hash]
        its.discard(piece)
        if not its:
            del self._pieces[piece.hash]
