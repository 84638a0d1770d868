"""The batches of one stage: found, made here, or made by another process that works on the same stage.

Start the same command a second time, on the same folder, and both share the work. A batch depends on its prompts
and its seed alone, so it is the same whoever makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sri_sdk.fitting.packed import Batch
from sri_sdk.fitting.store import Store
from sri_sdk.records import Prompt


@dataclass(frozen=True, slots=True)
class Batches:
    """N prompts, cut into batches that are made one after the other, as far as nobody else is at them."""

    store: Store
    prompts: Sequence[Prompt]
    size: int
    """Prompts of each batch; the last may have fewer."""
    make: Callable[[tuple[Prompt, ...]], Batch]
    """Generates one."""
    order: Sequence[int] | None = None
    """Where each batch begins among the prompts, in the order to make them; None = from the first on."""

    @property
    def starts(self) -> Sequence[int]:
        """Where each batch begins among the prompts, in the order in which they are made."""
        return range(0, len(self.prompts), self.size) if self.order is None else self.order

    def prompts_at(self, start: int) -> tuple[Prompt, ...]:
        """The prompts of a batch."""
        return tuple(self.prompts[start : start + self.size])

    def at(self, start: int) -> Batch:
        """One batch: found, or made. While another process makes it, later ones are made here.

        Returns:
            Arrays [...] of any shape and dtype by name, and notes, as `make` gave them.
        """
        name = batch_name(start)
        if (found := self.store.load(name)) is not None:
            return found
        with self.store.claim(name) as ours:
            if ours:
                return self._found_or_made(start)
        for later in self.starts[self.starts.index(start) + 1 :]:
            if not self.store.has(batch_name(later)):
                with self.store.claim(batch_name(later)) as ours:
                    if ours:
                        self._found_or_made(later)
            if (found := self.store.load(name)) is not None:
                return found
        with self.store.alone(name):
            return self._found_or_made(start)

    def _found_or_made(self, start: int) -> Batch:
        # Under a claim: the process that had it before may have finished since, or ended without.
        if (found := self.store.load(batch_name(start))) is None:
            found = self.make(self.prompts_at(start))
            self.store.save(batch_name(start), *found)
        return found


def batch_name(start: int) -> str:
    """Of the batch that begins there."""
    return f"{start:08d}"
