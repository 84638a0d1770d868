"""Counts per hour, latencies, and samples of scores."""

import math

import pytest
from sqlalchemy import event

from sri_sdk.observation import Observation
from sri_sdk.records import PartVerdict, Verdict
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.latency import bucket_of, limits_of
from sri_sdk.serve.store.observed import HourCount
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import rows
from tests.serve.store.observed import HOUR, NOW, observed

BEGIN = NOW - NOW % HOUR


def test_an_hour_says_what_there_was_in_it(store):
    store.observe([observed("a", "flagged", consequence="would_withhold", model="small", audit_rate=1.0, audited=True)])
    store.observe([observed("b"), observed("c"), observed("d", kind="canary"), observed("e", at=NOW + HOUR)])
    counts = store.hours(NOW, NOW + 1)
    alike, why = ("chat", "b" * 64), ("flagged", "score_above_threshold", "would_withhold")
    assert set(counts) == {
        HourCount(BEGIN, *alike, "small", "traffic", *why, 1.0, 1, 1, 0, 0, 0),
        HourCount(BEGIN, *alike, "", "traffic", "clear", "", "released", 0.0, 2, 0, 0, 0, 0),
        HourCount(BEGIN, *alike, "", "canary", "clear", "", "released", 0.0, 1, 0, 0, 0, 0),
    }  # fmt: skip
    assert len(store.hours(NOW, NOW + HOUR + 1)) == 4 and store.hours(NOW, NOW) == ()
    assert store.hours(NOW, NOW + 1, deployment="other") == () == store.hours(NOW, NOW + 1, bundle="other")
    assert store.hours(NOW, NOW + 1, deployment="chat", bundle="b" * 64) == counts


def test_hours_of_an_outage_are_counted_when_they_were(store):
    """The spool may deliver late: the verdict's own time counts."""
    store.observe([observed("a", at=NOW - 30 * HOUR)])
    assert store.hours(NOW - 30 * HOUR, NOW - 29 * HOUR)[0].generations == 1 and store.hours(NOW, NOW + 1) == ()


@pytest.mark.parametrize("together", [2, 24, 7 * 24])
def test_hours_are_counted_together_without_a_gap(store, together):
    store.observe([observed(f"r{number}", at=NOW + number * HOUR) for number in range(60)])
    since, until = NOW + 5 * HOUR, NOW + 55 * HOUR
    found = store.hours(since, until, together=together)
    assert sum(row.generations for row in found) == 50 + (1 if NOW % HOUR else 0)
    assert all(row.hour_ms % (together * HOUR) == 0 for row in found)
    assert [row.hour_ms for row in found] == sorted({row.hour_ms for row in found})


def test_a_wrong_clock_costs_nothing_but_its_own_hour(store):
    store.observe([observed("a", at=0), observed("b", at=2**52), observed("c")])
    assert sum(row.generations for row in store.hours(0, 2**53)) == 3 and len(store.hours(NOW, NOW + 1)) == 1


def test_posted_verdicts_are_counted_when_they_came(store):
    store.add(rows("a", status="flagged", source="gpu-1"))
    (found,) = store.hours(NOW, NOW + 1)
    assert (found.deployment, found.status, found.kind, found.generations) == ("gpu-1", "flagged", "traffic", 1)


def test_counts_are_deleted_by_whole_days(url, clock):
    kept = Retention(keep_days=None, keep_counts_days=10)
    with VerdictStore.open(url, kept=kept, clock=clock) as store:
        old = NOW - 11 * 24 * HOUR
        store.observe([observed("old", at=old, scoring_s=1.0), observed("new", scoring_s=1.0)])
        store.prune()
        for together in (1, 24):
            assert sum(row.generations for row in store.hours(0, NOW + HOUR, together=together)) == 1
            assert sum(row.generations for row in store.latencies(0, NOW + HOUR, together=together)) == 1
        assert store.label("old", "benign", "ann") == 1, "the row itself is there, only its hour is not"
        assert sum(row.generations for row in store.hours(0, NOW + HOUR)) == 1


def test_latencies_are_a_histogram_of_traffic(store):
    store.observe([observed(f"r{number}", scoring_s=0.004) for number in range(3)])
    store.observe([observed("s", scoring_s=2.0), observed("t"), observed("u", kind="shadow", scoring_s=9.0)])
    found = store.latencies(NOW, NOW + 1)
    assert [row.generations for row in found] == [3, 1] and {row.deployment for row in found} == {"chat"}
    assert found[0].over_s < 0.004 <= found[0].to_s and found[1].over_s < 2.0 <= found[1].to_s
    assert store.latencies(NOW, NOW + 1, deployment="other") == () and store.latencies(NOW, NOW + 1, together=24)


@pytest.mark.parametrize(
    "seconds", [0.0, -1.0, 1e-9, 1e-4, 1.0001e-4, 0.001, 0.5, 1.0, 10.0, 999.0, 1e3, 1e9, math.inf]
)
def test_a_bucket_has_the_times_between_its_limits(seconds):
    low, high = limits_of(bucket_of(seconds))
    assert (low < seconds or seconds <= 1e-4) and seconds <= high * (1 + 1e-9)
    assert high == math.inf or low == 0.0 or high / low < 1.26


def test_scores_are_of_each_part_and_of_a_bounded_number(store):
    parts = (PartVerdict("map", "flagged", 2.0, 1.0, None, None), PartVerdict("ae", "clear", 0.1, 3.0, None, None))
    made = [
        Observation(Verdict(f"p{n}", "flagged", score=2.0, schema=2, parts=parts), NOW + n, deployment="parts")
        for n in range(3)
    ]
    store.observe([*made, observed("u", "unmonitored"), observed("k", kind="canary")])
    store.observe([observed(f"r{n:04d}", at=NOW + n * 60_000) for n in range(900)])
    found = store.scores(NOW, NOW + 900 * 60_000, deployment="parts")
    assert [(row.part, row.status, row.score, row.threshold) for row in found[:2]] == [
        ("map", "flagged", 2.0, 1.0), ("ae", "clear", 0.1, 3.0),
    ]  # fmt: skip
    assert len(found) == 6
    some = store.scores(NOW, NOW + 900 * 60_000, deployment="chat", limit=100)
    assert 80 <= len(some) <= 120 and {row.part for row in some} == {""}
    assert [row.at for row in some] == sorted(row.at for row in some)
    spread = {(row.at - NOW) // (90 * 60_000) for row in some}
    assert len(spread) >= 4, "from all over the time, not from one end"
    assert all(NOW + 9 * HOUR <= row.at < NOW + 10 * HOUR for row in store.scores(NOW + 9 * HOUR, NOW + 10 * HOUR))


def test_a_commit_takes_as_few_statements_however_many_it_stores(store):
    """One for each latency would cost more than all the rest of a commit, and on PostgreSQL a way there and back."""

    def sent(first: int, count: int) -> int:
        found = []
        listening = ("before_cursor_execute", lambda *args: found.append(args[2]))
        event.listen(store._engines.writing, *listening)
        try:
            numbers = range(first, first + count)
            store.observe([observed(f"r{each}", scoring_s=1.08 ** (each % 100) / 1000) for each in numbers])
        finally:
            event.remove(store._engines.writing, *listening)
        return len(found)

    sent(0, 200)
    assert sent(200, 100) == sent(300, 3)
    assert sum(row.generations for row in store.latencies(NOW, NOW + 1)) == 303
