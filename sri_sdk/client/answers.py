"""What `sri serve` answers, read as strictly as a file: a wrong answer is no answer, and never reads as clear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from sri_sdk.records import Ended, PartVerdict, Rule, Status, Verdict
from sri_sdk.strict_json import JsonError, parse


class WrongAnswer(ValueError):
    """Not what the contract says. The message quotes nothing of it."""


def stored_of(content: bytes, count: int) -> tuple[int, int]:
    """(new, known before) of `count` verdicts that were acknowledged; an answer that does not say counts all as new."""
    try:
        found = parse(content)
    except JsonError:
        return count, 0
    stored, known = (found.get(name) if isinstance(found, dict) else None for name in ("stored", "known"))
    if type(stored) is int and type(known) is int and stored >= 0 <= known and stored + known == count:
        return stored, known
    return count, 0


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
    """The inverse of `Verdict.to_dict()`. Fields that this release does not know are left out.

    Raises:
        WrongAnswer: a field has another type, or a word that means nothing here.
    """
    known = {name: value[name] for name in Verdict.__slots__ if name in value}
    for name in ("reasons", "accepted"):
        if name in known:
            known[name] = _texts(known[name], name)
    if "parts" in known:
        known["parts"] = tuple(_part(each) for each in _list(known["parts"], "parts"))
    for name, found in known.items():
        if name not in ("reasons", "accepted", "parts") and not _fits(name, found):
            raise WrongAnswer(f"{name} is not what it should be")
    try:
        verdict = Verdict(**known)
    except TypeError as err:
        raise WrongAnswer("a verdict without an id or a status") from err
    return verdict


_TEXT, _NUMBER, _WHOLE = str, (int, float), int
_TYPES: dict[str, Any] = {
    "request_id": _TEXT, "name": _TEXT, "bundle": _TEXT, "group": _TEXT, "reason": _TEXT,
    "score": _NUMBER, "threshold": _NUMBER, "p_value": _NUMBER,
    "first_alarm_step": _WHOLE, "steps_seen": _WHOLE, "steps_expected": _WHOLE, "judged_steps": _WHOLE,
    "schema": _WHOLE,
}  # fmt: skip
_WORDS: dict[str, Any] = {"status": Status, "rule": Rule, "ended": Ended}
_NEVER_NONE = frozenset({"request_id", "name", "status", "rule", "schema"})


def _fits(name: str, found: Any) -> bool:
    if found is None:
        return name not in _NEVER_NONE
    if name in _WORDS:
        return isinstance(found, str) and found in get_args(_WORDS[name])
    return isinstance(found, _TYPES[name]) and not isinstance(found, bool)


def _part(value: Any) -> PartVerdict:
    found: dict[str, Any] = {name: _mapping(value).get(name) for name in PartVerdict.__slots__}
    if not all(_fits(name, each) for name, each in found.items()) or found["threshold"] is None:
        raise WrongAnswer("a part is not what it should be")
    return PartVerdict(**found)


def _object(content: bytes) -> dict[str, Any]:
    try:
        return _mapping(parse(content))
    except JsonError as err:
        raise WrongAnswer("not JSON") from err


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongAnswer("not an object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise WrongAnswer(f"{name} is not a list")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    found = _list(value, name)
    if not all(isinstance(each, str) for each in found):
        raise WrongAnswer(f"{name} is not a list of texts")
    return tuple(found)
