"""Guardrails AI: a validator that looks the verdict up, under the id in the metadata of the call.

    guard = Guard().use(SriVerdict(gate, on_fail="exception"))
    guard.validate(text, metadata={"sri_request_id": request_id})

A stream is judged at its first piece, so it passes only where the verdict was there before: let the model's process
hold its response until then.

`on_fail="noop"` and `"custom"` leave it to you what becomes of a withheld response; `"fix"` puts the gate's message in
its place.
"""

from __future__ import annotations

from typing import Any

from guardrails.validator_base import FailResult, PassResult, ValidationResult, Validator, register_validator

from .gate import Gate

ID_KEY = "sri_request_id"
"""The key of the metadata."""


@register_validator(name="sri/verdict", data_type="string")
class SriVerdict(Validator):  # type: ignore[misc]  # mypy does not see the package
    """Fails what the gate withholds. It does not read the text.

    A call without the key is refused by the framework; one whose id nobody knows is unmonitored.

    Args:
        gate: decides.
        on_fail: as for every validator; `exception` where it is left out.
    """

    required_metadata_keys = [ID_KEY]  # noqa: RUF012  # The framework's own form.

    def __init__(self, gate: Gate, on_fail: Any = None) -> None:
        super().__init__(on_fail=on_fail)
        self._gate = gate

    def _validate(self, value: Any, metadata: dict[str, Any]) -> ValidationResult:
        decision = self._gate.decide(metadata.get(ID_KEY))
        if decision.withheld:
            return FailResult(
                error_message=f"{self._gate.message} ({decision.verdict.status})", fix_value=self._gate.message
            )
        return PassResult()

    def _chunking_function(self, chunk: str) -> list[str]:
        """Every piece of a stream as it comes: the framework passes on what a validator has not judged yet."""
        return [chunk, ""]
