"""Guardrails AI with the real package: a Guard with the validator, whole responses and streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from guardrails import AsyncGuard, Guard
from sri_plugin_gateways.guardrails_validator import SriVerdict

from benchmarks.gateways.trial import Trial, report


def main() -> None:
    """Validates every response, then one under an id that nobody knows, and one without an id."""
    trial = Trial.read()
    guard = Guard().use(SriVerdict(trial.gate, on_fail="exception"))
    fixing = Guard().use(SriVerdict(trial.gate, on_fail="fix"))
    asynchronous = AsyncGuard().use(SriVerdict(trial.gate, on_fail="exception"))

    def passes(text: str, **metadata: str) -> bool:
        try:
            return bool(guard.validate(text, metadata=metadata).validation_passed)
        except Exception:  # The framework has one class for all failures, and it is not public.
            return False

    def released(prompt: str) -> bool:
        text, request_id = trial.generate(prompt)
        return passes(text, sri_request_id=request_id)

    def released_async(prompt: str) -> bool:
        text, request_id = trial.generate(prompt)
        try:
            found = asyncio.run(asynchronous.validate(text, metadata={"sri_request_id": request_id}))
            return bool(found.validation_passed)
        except Exception:
            return False

    def fixed(prompt: str) -> bool:
        text, request_id = trial.generate(prompt)
        return bool(fixing.validate(text, metadata={"sri_request_id": request_id}).validated_output == text)

    def streamed(prompt: str) -> bool:
        text, request_id = trial.generate(prompt)
        try:
            return bool("".join(_words(guard, text, request_id)).strip())
        except Exception:
            return False

    text, _ = trial.generate(trial.clear_prompt)
    report(
        ("guardrails-ai",),
        validate=trial.counted(released),
        async_validate=trial.counted(released_async),
        fix=trial.counted(fixed),
        stream=trial.counted(streamed),
        unknown_released=passes(text, sri_request_id="nobody-knows-it"),
        no_id_released=passes(text),
    )


def _words(guard: Any, text: str, request_id: str) -> Iterator[str]:
    """What a streaming guard lets out of a text that a model says word by word."""

    def model(*_: Any, **__: Any) -> Iterator[str]:
        for word in text.replace(".", ". ").split(" "):
            yield f"{word} "

    found = guard(
        model, messages=[{"role": "user", "content": "any"}], stream=True, metadata={"sri_request_id": request_id}
    )
    for piece in found:
        yield piece.validated_output or ""


if __name__ == "__main__":
    main()
