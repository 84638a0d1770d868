"""A note on a forward pass: what the code that runs it knows, and the pass itself does not show.

ROWS: PassNote[Rows] = PassNote("my_plugin.rows")

with ROWS.attached(Rows(active)):  # the sampler, or the hook's own `forward`
    model(ids)

ROWS.current()  # the hook's `plan`, which runs inside that pass; None = the pass has none
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

Value = TypeVar("Value")


class PassNote(Generic[Value]):
    """One kind of note. Threads and tasks do not see each other's, so one hook object may serve several."""

    def __init__(self, name: str) -> None:
        """Takes a name for debuggers, as package.what."""
        self._value: ContextVar[Value | None] = ContextVar(name, default=None)

    @contextmanager
    def attached(self, value: Value) -> Iterator[None]:
        """Attaches the note to the passes that run inside the block."""
        token = self._value.set(value)
        try:
            yield
        finally:
            self._value.reset(token)

    def current(self) -> Value | None:
        """The note on the pass that is running in this thread or task; None = it has none."""
        return self._value.get()
