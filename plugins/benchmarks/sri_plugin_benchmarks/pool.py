"""From the rows of a set to prompts: every text once, in an order and in splits that only its own hash decides."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sri_sdk import Prompt
from sri_sdk import text as texts
from sri_sdk.records import Label

Sort = tuple[str, Label, str | None]
"""Split, label and attack."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one row of a set asks."""

    text: str
    label: Label
    attack: str | None = None
    """Name of what it was wrapped with; None = plain."""
    base: str | None = None
    """Text of the plain request, where there is an attack; None = the set does not say it."""
    split: str | None = None
    """Split of the set's own; None = shared out by hash."""
    group: str | None = None
    """What is hashed to find its split; None = the text of the plain request."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Every prompt of a set, and what was left out."""

    prompts: Mapping[Sort, tuple[Prompt, ...]]
    """In the order in which they are drawn."""
    repeated: int
    """Requests left out because an earlier row asks the same; a plain request counts again with each attack on it."""
    contradicting: int
    """Texts that the set calls both harmless and harmful: none of them is drawn."""


def pooled(name: str, requests: Iterable[Request], shares: Mapping[str, float]) -> Pool:
    """Prompts of a set by split, label and attack.

    The split of a request is decided by a hash of its text, that of an attacked one by its plain request's: so both
    lie in one split, and a row added elsewhere moves nothing. The order within a split is that of another hash.

    Args:
        name: leads every id.
        requests: the rows, in order; of two with one text the first stays. A split of its own beats the shares.
        shares: split -> share of the requests, in an order that matters: the shares are laid end to end on [0, 1),
            and what is left over is not drawn.
    """
    first: dict[str, Request] = {}
    repeated, contradicting = 0, set()
    for request in requests:
        key = texts.normal(request.text)
        other = first.setdefault(key, request)
        if other is not request:
            repeated += 1
            if other.label != request.label:
                contradicting.add(key)
    found: dict[Sort, list[Prompt]] = {}
    for key, request in first.items():
        if key in contradicting:
            continue
        base = None
        if request.attack is not None:
            base = identity(name, f"request of {request.text}" if request.base is None else request.base)
        plain = request.text if request.base is None else request.base
        split = request.split or split_of(request.group or plain, shares)
        if split is not None:
            prompt = Prompt(identity(name, request.text), request.text, request.label, request.attack, base)
            found.setdefault((split, request.label, request.attack), []).append(prompt)
    # By a hash: as good as random, the same on every machine, and independent of the hash that decides splits.
    for some in found.values():
        some.sort(key=lambda prompt: _digest("order", prompt.id))
    return Pool({sort: tuple(some) for sort, some in found.items()}, repeated, len(contradicting))


def identity(name: str, text: str) -> str:
    """Id of a prompt: the same for the same text, up to case, width and spacing, in every release of a set."""
    return f"{name}-{_digest('id', normal(text)).hex()[:16]}"


def split_of(text: str, shares: Mapping[str, float]) -> str | None:
    """Split of a request; None = it lies beyond the last share."""
    place = int.from_bytes(_digest("split", normal(text))[:8]) / 2**64
    end = 0.0
    for split, share in shares.items():
        end += share
        # Shares of 0.7, 0.2 and 0.1 add up to a little less than 1.
        if place < end + 1e-9:
            return split
    return None


def normal(text: str) -> str:
    """A text without case, width and spacing. Ids and splits are hashes of it, so it never changes;
    `sri_sdk.text.normal` is what decides whether two requests are the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _digest(purpose: str, text: str) -> bytes:
    # Half a character, which JSON can hold, is no reason to fail.
    return hashlib.sha256(f"{purpose} {text}".encode("utf-8", "surrogatepass")).digest()
