"""What `sri serve` answers, read as strictly as a file: a wrong answer is no answer, and never reads as clear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sri_sdk.records import Verdict
from sri_sdk.strict_json import JsonError, parse
from sri_sdk.verdict_json import NotAVerdict, read_verdict


class WrongAnswer(ValueError):
    """Not what the contract says. The message quotes nothing of it."""


def status_words(status: int, right: str) -> str:
    """A status that is no answer, for a log: with what to look for where the token is the reason.

    Args:
        status: of HTTP.
        right: that the token needs for this call, such as `read`.
    """
    if status == 401:
        return "status 401: the token is missing, or unknown there"
    if status == 403:
        return f"status 403: the token lacks the right `{right}`, or belongs to another tenant"
    return f"status {status}"


def stored_of(content: bytes, count: int) -> tuple[int, int] | None:
    """(new, known before) of `count` verdicts that were acknowledged; None = the answer does not say so of all of them,
    so something else than the store may have given it."""
    try:
        found = _object(content)
    except WrongAnswer:
        return None
    stored, known = found.get("stored"), found.get("known")
    if type(stored) is int and type(known) is int and stored >= 0 <= known and stored + known == count:
        return stored, known
    return None


def noted(content: bytes) -> bool:
    """Whether an answer to a heartbeat is the store's: an empty object."""
    try:
        return _object(content) == {}
    except WrongAnswer:
        return False


def found_verdict(content: bytes, request_id: str) -> Verdict:
    """The verdict in an answer to a look-up.

    Raises:
        WrongAnswer: there is none, or it is about another request.
    """
    value = _object(content)
    if value.get("id") != request_id:
        raise WrongAnswer("a verdict on another request")
    # A store that hashes ids has the hash inside; the id outside is the one that was asked for.
    return verdict_of({**_mapping(value.get("verdict")), "request_id": request_id})


def knows_none(content: bytes) -> bool:
    """Whether a 404 is the store's word on a request, not that of something else at this address."""
    try:
        return isinstance(_object(content).get("verdict"), dict)
    except WrongAnswer:
        return False


def scored_verdicts(content: bytes, ids: Sequence[str]) -> list[Verdict]:
    """The verdicts in an answer to a score, in the order of `ids`.

    Raises:
        WrongAnswer: there is not one for each of them, in their order.
    """
    listed = _object(content).get("verdicts")
    if not isinstance(listed, list):
        raise WrongAnswer("no list of verdicts")
    verdicts = [verdict_of(_mapping(each)) for each in listed]
    if [verdict.request_id for verdict in verdicts] != list(ids):
        raise WrongAnswer("verdicts on other requests")
    return verdicts


def verdict_of(value: dict[str, Any]) -> Verdict:
    """A verdict in an answer.

    Raises:
        WrongAnswer: it is none.
    """
    try:
        return read_verdict(value)
    except NotAVerdict as err:
        raise WrongAnswer(str(err)) from err


def _object(content: bytes) -> dict[str, Any]:
    try:
        return _mapping(parse(content))
    except JsonError as err:
        raise WrongAnswer("not JSON") from err


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongAnswer("not an object")
    return value
