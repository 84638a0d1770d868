"""Which observations no database will ever take, told before one tries: tried again, they would fail for ever."""

from __future__ import annotations

import math
import re

from sri_sdk.observation import Observation
from sri_sdk.strict_json import is_text

_ID = re.compile(r"[0-9a-f]{32}")
_LARGEST = 2**53 - 1


def why_not(observation: Observation) -> str | None:
    """Why it can never be stored, in words that quote nothing of it; None = it can."""
    verdict = observation.verdict
    if not _ID.fullmatch(observation.id):
        return "an id that is not 32 hexadecimal characters in lower case"
    if type(observation.at) is not int or not 0 <= observation.at <= _LARGEST:
        return "a time that is not milliseconds since 1970"
    texts = [verdict.request_id, observation.tenant, observation.deployment, observation.model, verdict.bundle or ""]
    texts += [*verdict.reasons, *verdict.accepted, verdict.group or ""]
    texts += [text for part in verdict.parts for text in (part.name, part.reason or "")]
    if any("\0" in text or not is_text(text) for text in texts):
        return "a name or an id with a zero byte, or with half of a character"
    numbers = [verdict.score, verdict.threshold, verdict.p_value, observation.generation_s, observation.scoring_s]
    numbers += [observation.audit_rate]
    numbers += [number for part in verdict.parts for number in (part.score, part.threshold, part.p_value)]
    if not all(number is None or math.isfinite(number) for number in numbers):
        return "a number that is not finite"
    return None
