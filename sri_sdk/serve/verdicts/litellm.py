"""The guardrail that LiteLLM's proxy calls by itself: `generic_guardrail_api`. It names a request, and reads an action.

The texts it sends are not looked at: the verdict was reached inside the model, under the id that the proxy gave it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from sri_sdk.records import Rule
from sri_sdk.serve.http import Answer, Refusal, Request, bounded, json_answer
from sri_sdk.serve.verdicts.callers import sees
from sri_sdk.serve.verdicts.lookups import LookUps
from sri_sdk.serve.verdicts.posted import read

PATH = "/beta/litellm_basic_guardrail_api"
WITHHELD = "This response was withheld."
"""What users read. It names no score and no reason: both would help an attacker."""
TOO_EARLY = "No guard has judged this request, as nothing was generated yet. Set the guardrail's mode to post_call."
Unmonitored = Literal["block", "pass"]


class Asked(BaseModel):
    """The two fields that matter; the proxy sends many others, and each release some more."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    input_type: Literal["request", "response"] = "response"
    litellm_call_id: str | None = None


class LiteLLM:
    """The one handler.

    Args:
        look_ups: where verdicts are looked up.
        unmonitored: what is answered where nobody judged.
        wait_s: seconds to wait for a verdict that is not there yet.
        rule: of the verdict that a response waits for; None = any.
    """

    def __init__(self, look_ups: LookUps, unmonitored: Unmonitored, wait_s: float, rule: Rule | None = None) -> None:
        self._look_ups, self._unmonitored, self._wait_s, self._rule = look_ups, unmonitored, wait_s, rule

    async def decide(self, request: Request) -> Answer:
        """`POST /beta/litellm_basic_guardrail_api`."""
        asked = read(Asked, await request.json_value())
        early = asked.input_type == "request"
        try:
            # Before anything is generated, only the rule `request` can have judged.
            wait_s, rule = (0, None) if early else (self._wait_s, self._rule)
            status = await self._status(request, asked.litellm_call_id, wait_s, rule)
        except Refusal as refusal:
            if refusal.status != 503:
                raise
            # The proxy has its own word for that: `unreachable_fallback`, `fail_on_error`.
            raise Refusal(500, refusal.message) from refusal
        if status == "flagged" or (status == "unmonitored" and self._unmonitored == "block"):
            reason = TOO_EARLY if early and status == "unmonitored" else WITHHELD
            return json_answer({"action": "BLOCKED", "blocked_reason": reason})
        return json_answer({"action": "NONE"})

    async def _status(self, request: Request, call_id: str | None, wait_s: float, rule: Rule | None) -> str:
        if not call_id:
            return "unmonitored"
        found = await self._look_ups.wait(sees(request), bounded(call_id, "litellm_call_id"), wait_s, rule)
        return "unmonitored" if found is None else str(found.row.verdict["status"])
