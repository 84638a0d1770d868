"""A SQLite store of many make-believe observations, written past the SDK: a thousand times as many a second."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from sri_sdk import VerdictStore
from sri_sdk.observation import Kind, Observation
from sri_sdk.records import Status, Verdict
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.latency import bucket_of

FOREVER = Retention(keep_days=None, keep_rows=None, keep_counts_days=None)
SPAN_MS = 90 * 24 * 3_600_000
"""The observations are spread over so many milliseconds."""
END_MS = 1_750_000_000_000
RARE = "rare-deployment"
RARE_EVERY = 100_000
"""One of so many observations is of this deployment."""
TENANTS = 50
PATTERNS = 2_000
_KINDS: tuple[Kind, ...] = ("traffic", "canary", "shadow")
_STATUSES: tuple[tuple[Status, tuple[str, ...], float], ...] = (
    ("clear", (), 0.90), ("flagged", ("score_above_threshold",), 0.02), ("unmonitored", ("tap_silent",), 0.02),
    ("unmonitored", ("non_finite_signal",), 0.01), ("not_sampled", ("not_sampled",), 0.05),
)  # fmt: skip


def made(number: int, chance: random.Random, at: int) -> Observation:
    """One observation, as a deployment with three guards over time has them."""
    status, reasons, _ = chance.choices(_STATUSES, [share for *_, share in _STATUSES])[0]
    kind = chance.choices(_KINDS, (0.9, 0.01, 0.09))[0]
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


def fill(file: Path, rows: int) -> None:
    """Makes a store of `rows` observations, half of the drawn ones labelled.

    Two thousand of them go in through the SDK, and are then copied with ids, tenants and times of their own.
    """
    chance, begin = random.Random(0), END_MS - SPAN_MS
    with VerdictStore.open(f"sqlite:///{file}", kept=FOREVER, clock=lambda: begin / 1000) as store:
        store.observe([made(number, chance, begin) for number in range(PATTERNS)])
    raw = sqlite3.connect(file, isolation_level=None)
    raw.create_function("bucket_of", 1, bucket_of, deterministic=True)
    raw.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144")
    raw.execute("CREATE TEMP TABLE patterns AS SELECT *, bucket_of(scoring_s) AS bucket FROM sri_verdicts")
    raw.execute("CREATE INDEX temp.by_time ON patterns (scoring_s, bucket)")
    indexes = list(
        raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%ON sri_verdicts%'")
    )
    for name, _ in indexes:
        raw.execute(f"DROP INDEX {name}")
    for table in ("sri_verdicts", "sri_counts", "sri_latencies"):
        raw.execute(f"DELETE FROM {table}")
    names = [name for _, name, *_ in raw.execute("PRAGMA table_info(sri_verdicts)")]
    values = ", ".join(_COPIED.get(name, f"p.{name}") for name in names)
    settings = {"rows": rows, "begin": begin, "span": SPAN_MS, "rare": RARE_EVERY, "others": PATTERNS - 1}
    raw.execute(_COPY.format(values=values), settings | {"tenants": TENANTS})
    for statement in _COUNT:
        raw.execute(statement)
    for _, sql in indexes:
        raw.execute(sql)
    raw.close()


# The first pattern is the rare deployment's. Multiplied by a large prime, the others come in no order.
_COPY = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows)
INSERT INTO sri_verdicts SELECT {values} FROM numbers CROSS JOIN patterns AS p ON p.rowid =
    CASE WHEN n % :rare = 7 THEN 1 ELSE 2 + n * 2654435761 % 4294967296 % :others END
"""
_AT = "(:begin + :span * n / :rows)"
_COPIED = {
    "seq": "n",
    "key": "printf('chat-%08d', n)",
    "verdict": "replace(p.verdict, p.key, printf('chat-%08d', n))",
    "at": _AT,
    "received_at": f"{_AT} + 40",
    "digest": "randomblob(16)",
    "tenant": "CASE WHEN random() % 2 THEN '' ELSE 'tenant-' || abs(random() % :tenants) END",
    "label": "CASE WHEN p.audited AND random() % 2 "
    "THEN abs(random() % 100) < CASE p.status WHEN 'clear' THEN 1 ELSE 70 END END",
}
_COUNT = (
    "INSERT INTO sri_counts SELECT 1, at / 3600000, series, count(*), count(audited), total(label = 0), "
    "total(label = 1), 0, min(seq), max(seq) FROM sri_verdicts GROUP BY 2, 3",
    "INSERT INTO sri_counts SELECT 24, hour - hour % 24, series, sum(generations), sum(drawn), sum(benign), "
    "sum(attack), 0, min(first_seq), max(last_seq) FROM sri_counts GROUP BY 2, 3",
    "INSERT INTO sri_latencies SELECT 1, v.at / 3600000, v.source, p.bucket, count(*) FROM sri_verdicts AS v "
    "CROSS JOIN patterns AS p ON p.scoring_s = v.scoring_s WHERE v.severity >= 0 GROUP BY 2, 3, 4",
    "INSERT INTO sri_latencies SELECT 24, hour - hour % 24, source, bucket, sum(generations) FROM sri_latencies "
    "GROUP BY 2, 3, 4",
    "UPDATE sri_series SET last_seq = COALESCE((SELECT max(last_seq) FROM sri_counts WHERE series = sri_series.id), 0)",
    "UPDATE sri_totals SET (rows, size) = (SELECT count(*), sum(size) FROM sri_verdicts)",
)
