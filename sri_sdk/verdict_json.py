"""Verdicts read back from JSON, as strictly as a file: what is not a verdict never reads as clear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from sri_sdk.records import Ended, PartVerdict, Rule, Status, Verdict


class NotAVerdict(ValueError):
    """Not what `Verdict.to_dict()` writes. The message quotes nothing of it."""


def read_verdict(value: Mapping[str, Any]) -> Verdict:
    """The inverse of `Verdict.to_dict()`. Fields that this release does not know are left out.

    Raises:
        NotAVerdict: a field has another type, or a word that means nothing here.
    """
    known = {name: value[name] for name in Verdict.__slots__ if name in value}
    for name in ("reasons", "accepted"):
        if name in known:
            known[name] = _texts(known[name], name)
    if "parts" in known:
        if not isinstance(known["parts"], list):
            raise NotAVerdict("parts is not a list")
        known["parts"] = tuple(_part(each) for each in known["parts"])
    for name, found in known.items():
        if name not in ("reasons", "accepted", "parts") and not _fits(name, found):
            raise NotAVerdict(f"{name} is not what it should be")
    try:
        verdict = Verdict(**known)
    except TypeError as err:
        raise NotAVerdict("a verdict without an id or a status") from err
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
    if not isinstance(value, dict):
        raise NotAVerdict("a part is not an object")
    found: dict[str, Any] = {name: value.get(name) for name in PartVerdict.__slots__}
    if not all(_fits(name, each) for name, each in found.items()) or found["threshold"] is None:
        raise NotAVerdict("a part is not what it should be")
    return PartVerdict(**found)


def _texts(found: Any, name: str) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise NotAVerdict(f"{name} is not a list of texts")
    return tuple(found)
