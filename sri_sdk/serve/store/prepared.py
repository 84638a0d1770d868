"""What is known of a row before its transaction begins: made by whoever hands it in, not by the thread that writes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sri_sdk.files import canonical_json
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from sri_sdk.serve.store import details
from sri_sdk.serve.store.keys import Keys
from sri_sdk.serve.store.rows import SEVERITY, Delivered
from sri_sdk.serve.store.series import Series, reason_of
from sri_sdk.strict_json import LARGEST, is_text

SPEAKS_NOT = -1
"""Severity of what never answers for its request: canaries and shadows."""
DETAILS = ("trajectory", "texts")
"""Names of what goes into tables of its own."""
LONGEST_KEY, LONGEST_NAME = 512, 128
"""Characters of a key and of a name, as the server's routes take them: PostgreSQL's indexes have no room for more."""
_ID = re.compile(r"[0-9a-f]{32}")


class Unstorable(ValueError):
    """No database will ever take it. The message says why, and quotes nothing of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One row; only when it was received is not in it, and its series is not a number yet."""

    values: Mapping[str, Any]


Given = Delivered | Prepared
"""What a writer takes."""


def prepare_delivered(given: Delivered, keys: Keys) -> Prepared:
    """A row of a verdict that somebody posted."""
    values = _values(given.verdict, given.tenant, given.source, keys)
    digest = sha256(canonical_json(given.tenant) + b"\n" + values["verdict"].encode()).digest()
    series = _series(given.verdict, given.source, "", "traffic", "released", 0.0)
    return Prepared(
        {
            **values, "digest": digest, "series": series, "severity": SEVERITY[given.verdict.status],
            "at": None, "audited": None, "generation_s": None, "scoring_s": None,
        }
    )  # fmt: skip


def prepare_observation(given: Observation, keys: Keys) -> Prepared:
    """A row of an observation.

    Raises:
        Unstorable: tried again, it would fail again.
    """
    try:
        if (why := _why_not(given)) is not None:
            raise Unstorable(why)
        verdict = given.verdict
        if len(keys.key_of(verdict.request_id)) > LONGEST_KEY:
            raise Unstorable(f"a request id of more than {LONGEST_KEY} characters")
        trajectory = None if given.trajectory is None else details.trajectory_row(given.trajectory)
        more = {"trajectory": trajectory, "texts": details.texts_row(given)}
        values = _values(verdict, given.tenant, given.deployment, keys)
        series = _series(verdict, given.deployment, given.model, given.kind, given.consequence, float(given.audit_rate))
        return Prepared(
            {
                **values, **more, "digest": bytes.fromhex(given.id), "series": series,
                "severity": SEVERITY[verdict.status] if given.kind == "traffic" else SPEAKS_NOT,
                "size": values["size"] + sum(_size(each) for each in more.values() if each),
                "at": given.at, "audited": 1 if given.audited else None,
                "generation_s": given.generation_s, "scoring_s": given.scoring_s,
            }
        )  # fmt: skip
    except Unstorable:
        raise
    except (TypeError, AttributeError, KeyError, ValueError) as err:
        raise Unstorable("a field of another type than it should be") from err


def _values(verdict: Verdict, tenant: str, source: str, keys: Keys) -> dict[str, Any]:
    key = keys.key_of(verdict.request_id)
    written = canonical_json({**verdict.to_dict(), "request_id": key})
    return {
        "tenant": tenant, "key": key, "source": source, "status": verdict.status, "rule": verdict.rule,
        "bundle": verdict.bundle, "score": verdict.score, "p_value": verdict.p_value, "verdict": written.decode(),
        "size": len(written) + len(key) + len(tenant) + len(source),
    }  # fmt: skip


def _series(verdict: Verdict, source: str, model: str, kind: str, consequence: str, audit_rate: float) -> Series:
    reason = reason_of(verdict.reasons)
    return Series(source, verdict.bundle or "", model, kind, verdict.status, reason, consequence, audit_rate)


def _size(found: Mapping[str, Any]) -> int:
    return sum(len(value) for value in found.values() if not isinstance(value, int))


def _why_not(given: Observation) -> str | None:
    """Why it can never be stored: PostgreSQL takes no zero byte, JSON neither half a character nor infinity."""
    verdict = given.verdict
    if not _ID.fullmatch(given.id):
        return "an id that is not 32 hexadecimal characters in lower case"
    if type(given.at) is not int or not 0 <= given.at <= LARGEST:
        return "a time that is not milliseconds since 1970"
    texts = [verdict.request_id, given.tenant, given.deployment, given.model, verdict.bundle or ""]
    texts += [*verdict.reasons, *verdict.accepted, verdict.group or ""]
    texts += [text for part in verdict.parts for text in (part.name, part.reason or "")]
    if any("\0" in text or not is_text(text) for text in texts):
        return "a name or an id with a zero byte, or with half of a character"
    if max(len(given.tenant), len(given.deployment)) > LONGEST_NAME:
        return f"a tenant or a deployment of more than {LONGEST_NAME} characters"
    numbers = [verdict.score, verdict.threshold, verdict.p_value, given.generation_s, given.scoring_s, given.audit_rate]
    numbers += [number for part in verdict.parts for number in (part.score, part.threshold, part.p_value)]
    if not all(number is None or math.isfinite(number) for number in numbers):
        return "a number that is not finite"
    return None
