"""Whether the books agree: what a monitor says that it generated, and what its sinks have."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from sri_sdk.serve.store.observed import StreamQuery
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.strict_json import parse

STATUSES = ("clear", "flagged", "unmonitored", "not_sampled")


def in_store(url: str) -> tuple[Counter[str], int, int]:
    """Status -> observations of traffic and canaries, how many shadows there are, and how many ids come twice."""
    statuses: Counter[str] = Counter()
    ids: set[str] = set()
    rows = shadows = 0
    with VerdictStore.open(url) as store:
        before = None
        while True:
            page = store.stream(StreamQuery(limit=1000, before=before))
            for row in page.rows:
                each = row.observation
                rows, shadows = rows + 1, shadows + (each.kind == "shadow")
                ids.add(each.id)
                if each.kind != "shadow":
                    statuses[each.verdict.status] += 1
            if page.next is None:
                return statuses, shadows, rows - len(ids)
            before = page.next


def in_lines(path: Path) -> Counter[str]:
    """Status -> ids of traffic and canaries, in a file of JSON lines and those that were put aside."""
    seen: dict[str, str] = {}
    for file in path.parent.glob(f"{path.stem}*{path.suffix}"):
        with file.open("rb") as lines:
            for line in lines:
                found: dict[str, Any] = parse(line)
                if found.get("kind") != "shadow":
                    seen[found["id"]] = found["verdict"]["status"]
    return Counter(seen.values())


def agree(counts: dict[str, Any], store: Counter[str], lines: Counter[str]) -> bool:
    """Whether clear + flagged + unmonitored + not_sampled = generated, here and there."""
    told = {status: counts[status] for status in STATUSES}
    even = sum(told.values()) == counts["generated"] == counts["begun"]
    given_up = sum(sink["rejected"] + sink["dropped"] + sink["waiting"] for sink in counts["sinks"])
    there = all({status: found[status] for status in STATUSES} == told for found in (store, lines))
    return even and there and given_up == 0
