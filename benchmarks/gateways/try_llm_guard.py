"""LLM Guard with the real package: `scan_output` with the scanner."""

from __future__ import annotations

from contextvars import ContextVar

from llm_guard import scan_output
from sri_plugin_gateways.gate import WITHHELD
from sri_plugin_gateways.llm_guard_scanner import VerdictScanner

from benchmarks.gateways.trial import Trial, report

current: ContextVar[str | None] = ContextVar("current", default=None)


def main() -> None:
    """Scans every response, then one under an id that nobody knows, and one without an id."""
    trial = Trial.read()
    scanner = VerdictScanner(trial.gate, current.get)

    def passes(prompt: str, text: str, request_id: str | None) -> bool:
        current.set(request_id)
        said, valid, _ = scan_output([scanner], prompt, text)
        assert all(valid.values()) == (said != WITHHELD)
        return said == text

    def released(prompt: str) -> bool:
        return passes(prompt, *trial.generate(prompt))

    text, _ = trial.generate(trial.clear_prompt)
    report(
        ("llm-guard",),
        scan_output=trial.counted(released),
        unknown_released=passes(trial.clear_prompt, text, "nobody-knows-it"),
        no_id_released=passes(trial.clear_prompt, text, None),
    )


if __name__ == "__main__":
    main()
