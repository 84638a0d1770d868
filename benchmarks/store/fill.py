"""A SQLite store of many make-believe observations, written past the SDK: a thousand times as many a second."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from sri_sdk import VerdictStore
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.latency import bucket_of
from sri_sdk.serve.store.tables import VERDICTS

FOREVER = Retention(keep_days=None, keep_rows=None, keep_counts_days=None)
SPAN_MS = 90 * 24 * 3_600_000
"""The observations are spread over so many milliseconds."""
END_MS = 1_750_000_000_000
RARE = "rare-deployment"
RARELY = 1e-5
"""Share of the observations that are of this deployment."""
TENANTS = 50
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
        tenant="" if chance.random() < 0.5 else f"tenant-{chance.randrange(TENANTS)}", audit_rate=drawn,
        audited=chance.random() < drawn, generation_s=chance.lognormvariate(0.5, 0.5),
        scoring_s=chance.lognormvariate(-6, 0.7),
    )  # fmt: skip


def fill(file: Path, rows: int, *, labelled: float = 0.5) -> None:
    """Makes a store of `rows` observations; `labelled` = share of the drawn ones that somebody has labelled.

    Two thousand of them go in through the SDK, and are then copied with ids, keys and times of their own.
    """
    chance = random.Random(0)
    patterns = 2_000
    url = f"sqlite:///{file}"
    with VerdictStore.open(url, kept=FOREVER, clock=lambda: END_MS / 1000 - SPAN_MS / 1000) as store:
        store.observe([made(number, chance, END_MS - SPAN_MS) for number in range(patterns)])
    raw = sqlite3.connect(file, isolation_level=None)
    raw.row_factory = sqlite3.Row
    raw.executescript("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144")
    patterns_of = [dict(row) for row in raw.execute("SELECT * FROM sri_verdicts")]
    raw.executescript("".join(f"DROP INDEX {index.name};" for index in VERDICTS.indexes) + "DELETE FROM sri_verdicts;")
    raw.executescript("DELETE FROM sri_hours; DELETE FROM sri_latencies; DELETE FROM sqlite_sequence;")
    hours: dict[tuple[int, int], list[int]] = {}
    latencies: Counter[tuple[int, str, int]] = Counter()
    names = list(patterns_of[0])
    raw.execute("BEGIN")
    marks = ",".join("?" * len(names))
    copies = _copies(patterns_of, rows, chance, labelled, hours, latencies)
    raw.executemany(f"INSERT INTO sri_verdicts ({','.join(names)}) VALUES ({marks})", copies)
    raw.executemany(
        "INSERT INTO sri_hours VALUES (?,?,?,?,?,?,?,?,?)", ([*key, *counts] for key, counts in hours.items())
    )
    raw.executemany("INSERT INTO sri_latencies VALUES (?,?,?,?)", ([*key, count] for key, count in latencies.items()))
    raw.execute("UPDATE sri_series SET last_seq = (SELECT max(last_seq) FROM sri_hours WHERE series = sri_series.id)")
    raw.execute("UPDATE sri_totals SET rows = ?, size = (SELECT sum(size) FROM sri_verdicts)", (rows,))
    raw.execute("COMMIT")
    raw.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        for index in VERDICTS.indexes:
            index.create(connection)
    engine.dispose()


def _copies(
    patterns: list[dict[str, Any]], rows: int, chance: random.Random, labelled: float,
    hours: dict[tuple[int, int], list[int]], latencies: Counter[tuple[int, str, int]],
) -> Iterator[list[Any]]:  # fmt: skip
    """Rows of the store, and their counts into the two tables of counts."""
    for seq in range(1, rows + 1):
        row = dict(patterns[0 if chance.random() < RARELY else chance.randrange(1, len(patterns))])
        old, new = row["key"], f"chat-{seq:08d}"
        at = END_MS - SPAN_MS + SPAN_MS * seq // rows
        hour = at // 3_600_000
        counts = hours.setdefault((hour, row["series"]), [0, 0, 0, 0, 0, seq, seq])
        counts[0] += 1
        counts[6] = seq
        if row["audited"]:
            counts[1] += 1
            if chance.random() < labelled:
                row["label"] = 0 if row["status"] == "clear" else 1
                counts[2 + row["label"]] += 1
        if row["severity"] >= 0:
            latencies[hour, row["source"], bucket_of(row["scoring_s"])] += 1
        row["seq"], row["key"], row["at"], row["received_at"] = seq, new, at, at + 40
        row["verdict"] = row["verdict"].replace(old, new)
        row["digest"] = chance.randbytes(16)
        yield list(row.values())
