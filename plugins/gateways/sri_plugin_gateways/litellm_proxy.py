"""LiteLLM's proxy: gives the model's process the id under which the proxy will ask for the verdict.

The proxy asks `sri serve` by its own guardrail `generic_guardrail_api`, with its `litellm_call_id`. It does not tell
the model's process that id. In its YAML file:

    litellm_settings:
      callbacks: [sri_plugin_gateways.litellm_proxy.carry_request_id]

docs/gateways.md has the whole file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

from litellm.integrations.custom_logger import CustomLogger

from .gate import REQUEST_HEADER, WITHHELD

CALL_ID_HEADER = "x-litellm-call-id"
"""A caller who sends it chooses the proxy's id."""
NOT_GENERATING = frozenset({"embedding", "aembedding", "rerank", "arerank", "moderation", "amoderation"})
"""Calls that generate nothing; further headers would only surprise who serves them."""


class CarryRequestId(CustomLogger):  # type: ignore[misc]  # mypy does not see the package
    """Sends the proxy's call id to the model, and holds back the responses that no guardrail is asked about.

    Args:
        header: name of the header that carries the id.
        callers_choose_ids: whether requests may bring an id of their own. Somebody who can choose ids can reuse the id
            of a request that was clear, so only say True where everybody who can reach the proxy is yours.
    """

    def __init__(self, header: str = REQUEST_HEADER, *, callers_choose_ids: bool = False) -> None:
        super().__init__()
        self.header = header.lower()
        self.callers_choose_ids = callers_choose_ids

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Puts the id in the headers of the call to the model, in place of one that the caller sent."""
        sent = (data.get("proxy_server_request") or {}).get("headers") or {}
        if not self.callers_choose_ids and _names(sent, CALL_ID_HEADER):
            _refuse(f"{CALL_ID_HEADER}: ids of callers are not accepted here. Leave the header out.")
        if call_type in NOT_GENERATING:
            return data
        for kind in ("headers", "extra_headers"):
            if data.get(kind):
                data[kind] = {name: value for name, value in data[kind].items() if name.lower() != self.header}
        data["extra_headers"] = {**(data.get("extra_headers") or {}), self.header: data["litellm_call_id"]}
        return data

    async def async_post_call_success_hook(self, data: dict[str, Any], user_api_key_dict: Any, response: Any) -> Any:
        """Withholds a response of thoughts alone: the proxy asks guardrails about texts and tool calls only."""
        messages = [getattr(choice, "message", None) for choice in getattr(response, "choices", None) or ()]
        if any(_thinks(each) for each in messages) and not any(_is_asked_about(each) for each in messages):
            _refuse(WITHHELD)
        return response

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: AsyncIterator[Any], request_data: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """Holds a stream back until it has something that guardrails are asked about, and for ever if it has not."""
        held: list[Any] | None = []
        async for chunk in response:
            if held is None:
                yield chunk
                continue
            held.append(chunk)
            if any(_is_asked_about(getattr(c, "delta", None)) for c in getattr(chunk, "choices", None) or ()):
                for each in held:
                    yield each
                held = None
        if held and any(_thinks(getattr(c, "delta", None)) for x in held for c in getattr(x, "choices", None) or ()):
            _refuse(WITHHELD)
        for each in held or ():
            yield each


def _names(headers: Mapping[str, Any], name: str) -> bool:
    return any(each.lower() == name for each in headers)


def _is_asked_about(message: Any) -> bool:
    return bool(getattr(message, "content", None) or getattr(message, "tool_calls", None))


def _thinks(message: Any) -> bool:
    return bool(getattr(message, "reasoning_content", None) or getattr(message, "thinking_blocks", None))


def _refuse(message: str) -> NoReturn:
    from fastapi import HTTPException

    raise HTTPException(status_code=400, detail={"error": message})


carry_request_id = CarryRequestId()
"""With its defaults, for `callbacks`."""
