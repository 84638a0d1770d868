"""From a request id to the decision whether its response may be passed on: what all gateways share."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

import sri_sdk
from sri_sdk.errors import ConfigError
from sri_sdk.records import Rule

log = logging.getLogger("sri_sdk.gateways")

WITHHELD = "This response was withheld."
"""What users read in place of a response. It names no score and no reason: both would help an attacker."""
REQUEST_HEADER = "x-request-id"
"""The header by which the model's process learns under which id somebody will ask for the verdict."""


class Lookup(Protocol):
    """What a gate asks: `sri_sdk.VerdictClient`, or anything that answers like it."""

    def lookup(self, request_id: str, *, wait_s: float = ..., rule: Rule | None = ...) -> sri_sdk.Verdict:
        """The verdict on a request, waiting up to `wait_s` seconds for it; `unmonitored` where there is none. With a
        rule, it waits for a verdict of that rule, or one that flags.
        """
        ...


class Gate:
    """Says of each request whether its response is withheld.

    Args:
        verdicts: where verdicts are looked up.
        policy: what follows from them. Only `flagged`, `unmonitored`, `own_refusal` and `tampered` matter here, as the
            generation is over. There is no default: `unmonitored: abort` passes nothing that nobody judged (fail
            closed), `report` passes it (fail open).
        wait_s: most seconds to wait for a verdict that is not there yet. A verdict is posted when a generation ends,
            which may be a moment after its response has reached the gateway.
        rule: of the verdict that is waited for, where a request has several: by `request` before the generation and by
            `final` behind it, say. None = the first one that is there decides.
        message: what users read in place of a withheld response.

    Raises:
        ConfigError: a policy that recovers, which no gateway can do; or a wait below 0.
    """

    def __init__(
        self, verdicts: Lookup, policy: sri_sdk.Policy, *, wait_s: float = 1.0, rule: Rule | None = None,
        message: str = WITHHELD,
    ) -> None:  # fmt: skip
        if policy.recovers:
            raise ConfigError(
                "gate: policy.flagged is 'recover', and a gateway runs no model; allowed: abort, report. "
                "Recover where the model runs, and let the gate abort."
            )
        if not 0 <= wait_s < float("inf"):
            raise ConfigError(f"gate: wait_s is {wait_s}; allowed: 0 or more seconds. Try 1.0.")
        self.policy = policy
        self.message = message
        self._verdicts, self._wait_s, self._rule = verdicts, wait_s, rule

    def decide(self, request_id: object) -> sri_sdk.Decision:
        """The decision on one request.

        Args:
            request_id: its id, as the framework has it; anything but a text that is not empty counts as no verdict.

        Returns:
            The decision; `withheld` is the answer. It never raises: who cannot be asked has judged nothing.
        """
        return self.policy.decide([self._verdict(request_id)])[0]

    async def decide_async(self, request_id: object) -> sri_sdk.Decision:
        """`decide` for event loops: the wait is in a thread."""
        return await asyncio.to_thread(self.decide, request_id)

    def _verdict(self, request_id: object) -> sri_sdk.Verdict:
        if not isinstance(request_id, str) or not request_id:
            log.warning("gate: a response came without a request id; it counts as unmonitored")
            return _nobody_judged("")
        try:
            found = self._verdicts.lookup(request_id, wait_s=self._wait_s, rule=self._rule)
            if found.request_id == request_id:
                return found
            log.error("gate: a look-up answered with another request's verdict; it counts as unmonitored")
        except Exception as err:
            # Whatever it was: a gate that raised would be a framework's to interpret, and some pass on errors.
            log.error("gate: look-up failed with %s; the response counts as unmonitored", type(err).__name__)
        return _nobody_judged(request_id)


def _nobody_judged(request_id: str) -> sri_sdk.Verdict:
    return sri_sdk.Verdict(request_id, "unmonitored", ("no_verdict",))
