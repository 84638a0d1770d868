"""NeMo Guardrails: an action for an output rail, which looks the verdict up under the id in the context.

    rails.register_action(verdict_action(gate), "sri_verdict")
    rails.generate(messages=[{"role": "context", "content": {"sri_request_id": request_id}}, ...])

docs/gateways.md has the flow that calls it. Under streaming, keep `rails.output.streaming.enabled` false: its chunks
are judged while the generation runs, when there is no verdict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nemoguardrails.actions import action
from nemoguardrails.actions.rail_outcome import RailOutcome

from .gate import Gate

ID_KEY = "sri_request_id"
"""The variable of the context."""


def verdict_action(gate: Gate) -> Callable[..., Awaitable[Any]]:
    """The action `sri_verdict` of one gate.

    Returns:
        An action whose outcome is blocked where the gate withholds, also where the context has no id. The reason is the
        verdict's status, and the metadata hold the id.
    """

    @action(is_system_action=True, name="sri_verdict")  # type: ignore[misc,untyped-decorator,unused-ignore]
    async def sri_verdict(context: Mapping[str, Any] | None = None) -> Any:
        decision = await gate.decide_async((context or {}).get(ID_KEY))
        make = RailOutcome.block if decision.withheld else RailOutcome.allow
        return make(reason=decision.verdict.status, metadata={ID_KEY: decision.request_id})

    made: Callable[..., Awaitable[Any]] = sri_verdict
    return made
