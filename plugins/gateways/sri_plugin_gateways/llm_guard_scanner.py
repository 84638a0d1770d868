"""LLM Guard: an output scanner that looks the verdict up. It imports nothing of the package.

    scanner = VerdictScanner(gate, request_id=current_id.get)
    text, valid, risk = scan_output([scanner], prompt, output)

A scanner is handed two texts and no id, so it asks a function of yours; with threads or tasks, let that be the `get` of
a `contextvars.ContextVar`.
"""

from __future__ import annotations

from collections.abc import Callable

from .gate import Gate

RISKS = {"flagged": 1.0, "unmonitored": 0.5, "not_sampled": 0.5, "clear": 0.0}
"""On LLM Guard's scale, 0 = no risk, 1 = high. A guard's score is in its detector's own unit and fits no such scale."""


class VerdictScanner:
    """Output scanner: `(text, valid, risk)`, with the gate's message as the text where it withholds.

    Args:
        gate: decides.
        request_id: called once per scan, in its thread; the id under which the response was generated.
    """

    def __init__(self, gate: Gate, request_id: Callable[[], str | None]) -> None:
        self._gate, self._request_id = gate, request_id

    def scan(self, prompt: str, output: str) -> tuple[str, bool, float]:
        """Judges the response of the current request; neither text is read."""
        decision = self._gate.decide(self._request_id())
        said = self._gate.message if decision.withheld else output
        return said, not decision.withheld, RISKS[decision.verdict.status]
