"""A SQLite store of many make-believe observations, written past the SDK: a thousand times as many a second."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sri_sdk import VerdictStore
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.latency import bucket_of

FOREVER = Retention(keep_days=None, keep_rows=None, keep_counts_days=None)
SPAN_MS = 90 * 24 * 3_600_000
"""The observations are spread over so many milliseconds."""
END_MS = 1_750_000_000_000
RARE = "rare-deployment"
RARELY = 1e-5
"""Share of the observations that are of this deployment."""
TENANTS = 50
PATTERNS = 2_000
_STATUSES = (
    ("clear", (), 0.90), ("flagged", ("score_above_threshold",), 0.02), ("unmonitored", ("tap_silent",), 0.02),
    ("unmonitored", ("non_finite_signal",), 0.01), ("not_sampled", ("not_sampled",), 0.05),
)  # fmt: skip


def made(number: int, chance: random.Random, at: int) -> Observation:
    """One observation, as a deployment with three guards over time has them."""
    status, reasons, _ = chance.choices(_STATUSES, [share for *_, share in _STATUSES])[0]
    kind = chance.choices(("traffic", "canary", "shadow"), (0.9, 0.01, 0.09))[0]
    drawn = {"clear": 0.01, "flagged": 1.0}.get(status, 0.0) if kind == "traffic" else 0.0
    score = None if status in ("unmonitored", "not_sampled") else chance.gauss(0.0, 1.0)
    flagged = status == "flagged"
    verdict = Verdict(
        f"chat-{number:08d}", status, reasons=reasons, score=score, threshold=2.5, p_value=0.5 if score else None,
        steps_seen=64, steps_expected=64, bundle=chance.choice("abc") * 64,
    )  # fmt: skip
    return Observation(
        verdict, at, kind=kind, consequence="would_withhold" if flagged and kind == "traffic" else "released",
        deployment=RARE if number == 0 else chance.choice(("chat", "code", "search")), model="model-8b",
        audit_rate=drawn, audited=chance.random() < drawn, generation_s=chance.lognormvariate(0.5, 0.5),
        scoring_s=chance.lognormvariate(-6, 0.7),
    )  # fmt: skip


def fill(file: Path, rows: int, *, labelled: float = 0.5) -> None:
    """Makes a store of `rows` observations; `labelled` = share of the drawn ones that somebody has labelled.

    Two thousand of them go in through the SDK, and are then copied with ids, tenants and times of their own.
    """
    chance = random.Random(0)
    begin = END_MS - SPAN_MS
    with VerdictStore.open(f"sqlite:///{file}", kept=FOREVER, clock=lambda: begin / 1000) as store:
        store.observe([made(number, chance, begin) for number in range(PATTERNS)])
    raw = sqlite3.connect(file, isolation_level=None)
    raw.row_factory = sqlite3.Row
    raw.executescript("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144")
    patterns = [dict(row) for row in raw.execute("SELECT * FROM sri_verdicts")]
    indexes = list(
        raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%ON sri_verdicts%'")
    )
    raw.execute("BEGIN")
    for name, _ in indexes:
        raw.execute(f"DROP INDEX {name}")
    for table in ("sri_verdicts", "sri_counts", "sri_latencies"):
        raw.execute(f"DELETE FROM {table}")
    counts: dict[tuple[int, int, int], list[int]] = {}
    latencies: Counter[tuple[int, int, str, int]] = Counter()
    _insert(raw, "sri_verdicts", patterns[0], _copies(patterns, rows, chance, labelled, counts, latencies))
    _insert(raw, "sri_counts", range(10), ([*key, *each] for key, each in counts.items()))
    _insert(raw, "sri_latencies", range(5), ([*key, count] for key, count in latencies.items()))
    raw.execute("UPDATE sri_series SET last_seq = (SELECT max(last_seq) FROM sri_counts WHERE series = sri_series.id)")
    raw.execute("UPDATE sri_totals SET rows = ?, size = (SELECT sum(size) FROM sri_verdicts)", (rows,))
    for _, sql in indexes:
        raw.execute(sql)
    raw.execute("COMMIT")
    raw.close()


def _insert(raw: sqlite3.Connection, table: str, columns: Collection[Any], rows: Iterable[Sequence[Any]]) -> None:
    raw.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(columns))})", rows)


def _copies(
    patterns: list[dict[str, Any]], rows: int, chance: random.Random, labelled: float,
    counts: dict[tuple[int, int, int], list[int]], latencies: Counter[tuple[int, int, str, int]],
) -> Iterator[list[Any]]:  # fmt: skip
    """Rows of the store, and their counts into the two tables of counts."""
    for seq in range(1, rows + 1):
        row = dict(patterns[0 if chance.random() < RARELY else chance.randrange(1, len(patterns))])
        old, new = row["key"], f"chat-{seq:08d}"
        at = END_MS - SPAN_MS + SPAN_MS * seq // rows
        row["seq"], row["key"], row["at"], row["received_at"] = seq, new, at, at + 40
        row["tenant"] = "" if chance.random() < 0.5 else f"tenant-{chance.randrange(TENANTS)}"
        row["verdict"] = row["verdict"].replace(old, new)
        row["digest"] = chance.randbytes(16)
        if row["audited"] and chance.random() < labelled:
            row["label"] = int(chance.random() < (0.7 if row["status"] == "flagged" else 0.01))
        hour = at // 3_600_000
        for span in (1, 24):
            count = counts.setdefault((span, hour - hour % span, row["series"]), [0, 0, 0, 0, 0, seq, seq])
            count[0] += 1
            count[1] += row["audited"] or 0
            if row["label"] is not None:
                count[2 + row["label"]] += 1
            count[6] = seq
            if row["severity"] >= 0:
                latencies[span, hour - hour % span, row["source"], bucket_of(row["scoring_s"])] += 1
        yield list(row.values())
