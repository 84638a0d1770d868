"""One request as it is posted, read as strictly as a file; but for unknown keys, a refusal quotes nothing of it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence

from sri_sdk.client.settings import LONGEST_ID, LONGEST_NAME, is_id, is_name
from sri_sdk.errors import did_you_mean
from sri_sdk.monitor.traffic.traffic import Answered, Asked
from sri_sdk.records import Prompt
from sri_sdk.strict_json import JsonError, parse

FIELDS = ("prompt", "id", "tenant", "group")
RESERVED = "sri-"
"""With this begin ids that the SDK makes itself, such as those of canaries."""
MOST_NAMED = 3
"""Unknown keys that a refusal shows."""
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")


class WrongRequest(Exception):
    """It cannot be read as a request; the message says why, and shows no value of it."""


def read_request(body: bytes, tenant: str, answer: Callable[[Answered], None]) -> Asked:
    """The request in a body of JSON.

    Args:
        body: `{"prompt": "...", "id": "...", "tenant": "...", "group": "..."}`; all but the prompt may be left out.
        tenant: whose it is, as its token or header says; empty = nobody said, and the body may.
        answer: called with what comes of it.

    Raises:
        WrongRequest: it is something else.
    """
    try:
        found = parse(body)
    except JsonError as err:
        raise WrongRequest(f"{err}. Send one JSON object in UTF-8.") from err
    if not isinstance(found, dict):
        raise WrongRequest(f"not a JSON object; send one of {', '.join(FIELDS)}.")
    if unknown := sorted(found.keys() - set(FIELDS)):
        raise WrongRequest(f"{_named(unknown)}; allowed: {', '.join(FIELDS)}.{_meant(unknown)} Leave out the others.")
    for name, value in found.items():
        if not isinstance(value, str):
            raise WrongRequest(f"{name}: not a text. Send a JSON string, or leave it out.")
    if not found.get("prompt"):
        raise WrongRequest("prompt: missing or empty. Send what is asked.")
    request_id = found.get("id", "") or uuid.uuid4().hex
    if not is_id(request_id) or request_id.startswith(RESERVED):
        raise WrongRequest(
            f"id: must have 1 to {LONGEST_ID} characters, none of them a control character, and not begin with "
            f"{RESERVED}. Choose another, or leave it out."
        )
    whose = found.get("tenant", "") or tenant
    if whose and (not is_name(whose) or (tenant and whose != tenant)):
        raise WrongRequest(f"tenant: not the token's or the header's, or not 1 to {LONGEST_NAME} printable characters.")
    return Asked(Prompt(request_id, found["prompt"], "harmless", group=found.get("group") or None), whose, answer)


def _named(keys: Sequence[str]) -> str:
    """Keys that are not known. Only what looks like a key is shown: something else may be what a user typed."""
    shown = [each for each in keys if _KEY.fullmatch(each)][:MOST_NAMED]
    if not shown:
        return f"{len(keys)} keys that are none"
    others = f" and {len(keys) - len(shown)} others" if len(keys) > len(shown) else ""
    return f"unknown key {', '.join(shown)}{others}"


def _meant(keys: Sequence[str]) -> str:
    return next((said for each in keys if _KEY.fullmatch(each) and (said := did_you_mean(each, FIELDS))), "")
