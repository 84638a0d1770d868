"""LangChain agents: each call of the model gets an id of its own, and its message is judged before anything acts on it.

    agent = create_agent(model, tools, middleware=[VerdictAgentMiddleware(gate)])

Tokens that an agent streams (`stream_mode="messages"`) are out before there is a verdict; stream `updates` instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from langchain.agents.middleware import AgentMiddleware, ModelResponse
from langchain.messages import AIMessage

import sri_sdk

from .gate import REQUEST_HEADER, Gate


def in_extra_headers(settings: dict[str, Any], request_id: str) -> dict[str, Any]:
    """A call's settings with the id in a header, in place of one that was there; as `ChatOpenAI` takes them."""
    headers = settings.get("extra_headers") or {}
    kept = {name: value for name, value in headers.items() if name.lower() != REQUEST_HEADER}
    return {**settings, "extra_headers": {**kept, REQUEST_HEADER: request_id}}


class VerdictAgentMiddleware(AgentMiddleware):  # type: ignore[misc]  # mypy does not see the package
    """Puts a message of the gate's in place of what it withholds, without the tool calls of the model's message.

    Put it last in the list of middleware: then one that asks the model again gets a new id, and its own verdict.

    Args:
        gate: decides.
        carry: gives the id to the model's process: from a call's settings and the id to the new settings. The default
            suits `ChatOpenAI` and what is made after it.
    """

    def __init__(
        self, gate: Gate, *, carry: Callable[[dict[str, Any], str], dict[str, Any]] = in_extra_headers
    ) -> None:
        super().__init__()
        self._gate, self._carry = gate, carry

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Asks the model, then the gate."""
        request_id = str(uuid4())
        response = handler(self._named(request, request_id))
        return self._judged(response, self._gate.decide(request_id))

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """The same on an event loop."""
        request_id = str(uuid4())
        response = await handler(self._named(request, request_id))
        return self._judged(response, await self._gate.decide_async(request_id))

    def _named(self, request: Any, request_id: str) -> Any:
        return request.override(model_settings=self._carry(request.model_settings, request_id))

    def _judged(self, response: Any, decision: sri_sdk.Decision) -> Any:
        if not decision.withheld:
            return response
        told = {"sri_request_id": decision.request_id, "sri_status": decision.verdict.status}
        return ModelResponse(result=[AIMessage(content=self._gate.message, response_metadata=told)])
