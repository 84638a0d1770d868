"""Since when each thing has been wrong with a monitor."""

from __future__ import annotations

import threading
from collections.abc import Mapping


class Since:
    """Remembers when each trouble was first said. Any thread may ask: each sink has a pulse of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[str, int] = {}

    def of(self, wrong: Mapping[str, object | None], now_ms: int) -> dict[str, int | None]:
        """Since when each is there; one that has gone begins anew when it comes back.

        Args:
            wrong: name of a field of `Pulse` -> what it says; None = nothing is wrong.
            now_ms: milliseconds since 1970, by the clock of the pulse.

        Returns:
            The fields that say since when: NAME_since.
        """
        with self._lock:
            for name, what in wrong.items():
                if what is None:
                    self._begun.pop(name, None)
                else:
                    self._begun.setdefault(name, now_ms)
            return {f"{name}_since": self._begun.get(name) for name in wrong}
