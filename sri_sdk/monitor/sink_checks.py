"""Whether the sinks of a monitor could deliver, asked without opening one: what `sri monitor --check` says of each."""

from __future__ import annotations

import inspect
import threading
import time
from dataclasses import dataclass
from typing import Literal

from sri_sdk import registry
from sri_sdk.monitor.settings import MonitorSettings, SinkSection
from sri_sdk.monitor.spool.courier import words_of

CHECK_S = 10.0
"""Seconds that the sinks are given, all of them at once."""

_CANNOT_TELL = "it cannot tell without being opened; its options are understood"

Outcome = Literal["ok", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class SinkCheck:
    """What was found of one sink."""

    called: str
    """As the file of the monitor names it."""
    outcome: Outcome
    """`unknown` = it cannot tell without being opened."""
    says: str
    """What was found, in words without secrets."""

    @property
    def line(self) -> str:
        """For people."""
        words = {"ok": "ok", "failed": "cannot deliver", "unknown": "not checked"}
        return f"sink {self.called}: {words[self.outcome]}: {self.says}"


def check_sinks(settings: MonitorSettings, timeout_s: float = CHECK_S) -> tuple[SinkCheck, ...]:
    """Asks every sink at once; one that hangs is left to its thread.

    Args:
        settings: checked.
        timeout_s: seconds that all of it takes at most.
    """
    asked = [_Asked(each, timeout_s) for each in settings.sinks]
    until = time.monotonic() + timeout_s
    return tuple(each.answer(until) for each in asked)


class _Asked:
    """One sink that is asked, in a thread of its own."""

    def __init__(self, section: SinkSection, timeout_s: float) -> None:
        self._section, self._timeout_s = section, timeout_s
        self._found: SinkCheck | None = None
        self._thread = threading.Thread(target=self._ask, name=f"sri-check-{section.called}", daemon=True)
        self._thread.start()

    def answer(self, until: float) -> SinkCheck:
        """What it said until then, by the monotonic clock."""
        self._thread.join(max(until - time.monotonic(), 0.0))
        late = SinkCheck(self._section.called, "failed", f"check() has not returned within {self._timeout_s:g} s")
        return self._found or late

    def _ask(self) -> None:
        self._found = self._checked()

    def _checked(self) -> SinkCheck:
        name = self._section.called
        try:
            plugin = registry.load("sinks", self._section.name)
            # An older one may have a method of this name that means something else.
            if not inspect.ismethod(plugin.check):
                return SinkCheck(name, "unknown", _CANNOT_TELL)
            said = plugin.check(registry.configure("sinks", self._section.name, self._section.options), self._timeout_s)
        # A plugin that calls sys.exit() must not take the answer along.
        except BaseException as err:
            # Errors begin with the plugin's name, as a line about a sink does.
            return SinkCheck(name, "failed", words_of(err).removeprefix(f"sink {self._section.name}: "))
        if said is None:
            return SinkCheck(name, "unknown", _CANNOT_TELL)
        return SinkCheck(name, "ok", " ".join(str(said).split()))
