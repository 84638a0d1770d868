"""What the store keeps, answers and deletes; each test runs on SQLite and on PostgreSQL."""

import random
import threading
import time

import pytest

from sri_sdk.errors import ConfigError
from sri_sdk.records import PartVerdict
from sri_sdk.serve.store import retention
from sri_sdk.serve.store import store as store_module
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.rows import Added, Delivered
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import FOREVER, rows, verdict


def test_a_verdict_comes_back_as_it_was(store, clock):
    part = PartVerdict("map", "flagged", 1.5, 1.0, 0.01, "request_harmful")
    given = verdict("a", "flagged", 1.25, reasons=("score_above_threshold",), schema=2, parts=(part,), p_value=1e-300)
    assert store.add([Delivered(given, "t", "gpu-1")]) == Added(1, 0)
    found = store.find("t", "a")
    assert found.row.verdict == given.to_dict()
    assert (found.row.received_at, found.row.source, found.verdicts) == (int(clock.now * 1000), "gpu-1", 1)


def test_an_unknown_id_is_not_found(store):
    store.add(rows("a"))
    assert store.find("", "A") is None and store.find("other", "a") is None


def test_a_verdict_delivered_again_is_known(store):
    assert store.add(rows("a", "b", "a")) == Added(2, 1)
    assert store.add(rows("b", "c")) == Added(1, 1)
    assert store.totals()[0] == 3


def test_the_same_verdict_of_another_tenant_is_another_verdict(store):
    store.add(rows("a", tenant="x"))
    assert store.add(rows("a", tenant="y")) == Added(1, 0)
    assert store.find(None, "a").verdicts == 2 and store.find("x", "a").verdicts == 1


@pytest.mark.parametrize(
    ("statuses", "answer"),
    [
        (("clear", "flagged", "unmonitored"), "flagged"),
        (("clear", "unmonitored", "not_sampled"), "unmonitored"),
        (("clear", "not_sampled"), "not_sampled"),
    ],
)
def test_the_most_severe_of_several_verdicts_is_answered(store, statuses, answer):
    for status in statuses:
        store.add(rows("a", status=status))
    found = store.find("", "a")
    assert (found.row.verdict["status"], found.verdicts) == (answer, len(statuses))


def test_among_equally_severe_verdicts_the_latest_is_answered(store):
    store.add([Delivered(verdict("a", score=1.0)), Delivered(verdict("a", score=2.0))])
    assert store.find("", "a").row.verdict["score"] == 2.0


def test_pages_go_on_where_the_last_one_ended(store):
    ids = [f"r{number:03d}" for number in range(25)]
    store.add(rows(*ids))
    seen, after = [], 0
    while (page := store.page(after, 10)).rows:
        seen += [row.key for row in page.rows]
        after = page.next
    assert seen == ids and page.next == after


def test_a_page_has_only_what_was_asked_for(store):
    store.add(rows("a", "b", tenant="x") + rows("c", tenant="x", status="flagged") + rows("d", status="flagged"))
    assert [row.key for row in store.page(tenant="x").rows] == ["a", "b", "c"]
    assert [row.key for row in store.page(tenant="x", status="flagged").rows] == ["c"]
    assert [row.key for row in store.page(status="flagged", limit=1).rows] == ["c"]


def test_a_page_looks_at_a_bounded_number_of_rows_and_goes_on(store, monkeypatch):
    monkeypatch.setattr("sri_sdk.serve.store.reading.SCANNED", 5)
    store.add(rows(*map(str, range(12)), status="clear") + rows("last", status="flagged"))
    first = store.page(status="flagged")
    assert not first.rows and first.next > 0
    second = store.page(first.next, status="flagged")
    assert [row.key for row in store.page(second.next, status="flagged").rows] == ["last"]


def test_numbers_rise_and_are_never_used_again(store):
    store.add(rows("a", "b"))
    last = store.page().next
    store.erase(None, "b")
    store.add(rows("c"))
    assert store.find("", "c").row.seq > last


def test_erasing_a_request_takes_all_its_verdicts_and_no_other(store):
    store.add(rows("a", "b") + rows("a", status="flagged") + rows("a", tenant="x"))
    assert store.erase("", "a") == 2
    assert store.find("", "a") is None and store.find("x", "a") and store.find("", "b")
    assert store.erase(None, "a") == 1 and store.erase(None, "a") == 0


def test_erasing_a_tenant_takes_its_verdicts_and_sources(store):
    store.add(rows("a", "b", tenant="x") + rows("c", tenant="y"))
    assert store.erase_tenant("x") == 2
    assert store.totals()[0] == 1 and [source.tenant for source in store.sources()] == ["y"]


def test_erasing_goes_on_beyond_one_round(store, monkeypatch):
    monkeypatch.setattr("sri_sdk.serve.store.retention.AT_ONCE", 10)
    store.add([Delivered(verdict("a", score=float(n)), "x") for n in range(25)] + rows("b", tenant="x"))
    assert store.erase("x", "a") == 25 and store.erase_tenant("x") == 1 and store.totals() == (0, 0)


def test_old_verdicts_are_deleted(url, clock):
    with VerdictStore.open(url, kept=Retention(keep_days=2), clock=clock) as store:
        store.add(rows("old"))
        clock.now += 86_400 * 1.5
        store.add(rows("new", source="gpu-2"))
        assert store.prune() == 0
        assert store.prune(clock.now + 86_400) == 1
        assert store.find("", "old") is None and store.find("", "new")
        assert [source.source for source in store.sources()] == ["gpu-2"]


def test_a_clock_that_ran_ahead_does_not_keep_later_verdicts_alive(url, clock):
    with VerdictStore.open(url, kept=Retention(keep_days=2), clock=clock) as store:
        start, clock.now = clock.now, clock.now + 10 * 86_400
        store.add(rows("ahead"))
        clock.now = start
        store.add(rows("right"))
        assert store.prune(start + 3 * 86_400) == 1 and store.find("", "right") is None


@pytest.mark.parametrize("kept", [{"keep_rows": 30}, {"keep_bytes": 15_000}])
def test_the_oldest_verdicts_go_where_there_are_too_many(url, clock, monkeypatch, kept):
    monkeypatch.setattr("sri_sdk.serve.store.retention.AT_ONCE", 20)
    with VerdictStore.open(url, kept=Retention(keep_days=None, **{"keep_rows": None, **kept}), clock=clock) as store:
        store.add(rows(*map(str, range(100))))
        deleted = store.prune()
        left, size = store.totals()
        assert left + deleted == 100 and (left == 30 if "keep_rows" in kept else 14_000 < size <= 15_000)
        assert store.find("", str(deleted - 1)) is None and store.find("", str(deleted)) and store.prune() == 0


def test_totals_are_what_is_there_after_everything(store):
    chance = random.Random(0)
    for _ in range(40):
        some = [str(chance.randrange(30)) for _ in range(5)]
        store.add(rows(*some, tenant=chance.choice("xy"), status=chance.choice(["clear", "flagged"])))
        store.erase(None, str(chance.randrange(30)))
    assert store.totals()[0] == len(store.page(limit=1000).rows)
    store.erase_tenant("x"), store.erase_tenant("y")
    assert store.totals() == (0, 0)


def test_threads_that_deliver_at_once_all_get_their_own_answer(store):
    answers = []

    def deliver(name):
        answers.extend(store.add(rows(f"{name}-{number}", "shared")) for number in range(10))

    threads = [threading.Thread(target=deliver, args=(name,)) for name in range(8)]
    [each.start() for each in threads], [each.join() for each in threads]
    assert sum(each.stored for each in answers) == store.totals()[0] == 81
    assert sum(each.known for each in answers) == 79


def test_two_processes_on_one_database_store_each_verdict_once(url, store, clock):
    with VerdictStore.open(url, kept=FOREVER, clock=clock) as second:
        store.add(rows("a"))
        assert second.add(rows("a", "b")) == Added(1, 1)
        assert store.find("", "b") and store.totals()[0] == 2


def test_a_listener_hears_what_was_committed(store):
    heard = threading.Event()
    stop = store.listen(heard.set)
    store.add(rows("a"))
    assert heard.wait(60)
    stop(), heard.clear()
    store.add(rows("b"))
    store.prune()  # Waits for the writer.
    assert not heard.is_set()


HOSTILE = [
    "'; DROP TABLE sri_verdicts; --",
    "%",
    "_",
    "..",
    "../../etc/passwd",
    "a/b",
    "é",
    "e\u0301",
    "𝄞" * 512,
    "\u202e",
    "0",
]


def test_hostile_ids_are_only_ids(store):
    store.add(rows(*HOSTILE, tenant="𝄞" * 128))
    assert all(store.find("𝄞" * 128, each).row.key == each for each in HOSTILE)
    assert store.erase(None, "%") == 1 and store.erase(None, "_") == 1 and store.totals()[0] == len(HOSTILE) - 2


def test_hashed_ids_stand_nowhere_and_are_found_all_the_same(url, clock):
    secret = b"k" * 32
    with VerdictStore.open(url, kept=FOREVER, secret=secret, clock=clock) as store:
        store.add(rows("patient-7"))
        assert "patient-7" not in repr(store.page())
        assert store.find("", "patient-7").row.verdict["request_id"] == "patient-7"
        assert store.erase("", "patient-7") == 1


@pytest.mark.parametrize(("first", "then"), [(None, b"k" * 32), (b"k" * 32, None), (b"k" * 32, b"l" * 32)])
def test_a_store_is_not_opened_with_ids_kept_another_way(url, first, then):
    VerdictStore.open(url, secret=first).close()
    with pytest.raises(ConfigError, match="keeps request ids"):
        VerdictStore.open(url, secret=then)
    VerdictStore.open(url, secret=first).close()


@pytest.mark.parametrize("kept", [Retention(keep_days=None, keep_rows=1), Retention(keep_days=1, keep_rows=None)])
def test_a_flagged_request_is_never_clear_because_its_flag_grew_old(url, clock, kept):
    with VerdictStore.open(url, kept=kept, clock=clock) as store:
        store.add(rows("a", status="flagged"))
        clock.now += 86_400 - 1
        store.add(rows("a"))
        clock.now += 2
        store.prune()
        found = store.find(None, "a")
        assert found is None or found.row.verdict["status"] == "flagged"
        assert store.totals()[0] == (0 if found is None else found.verdicts)


def seen_between(store, monkeypatch):
    """What a look-up of request `a` finds after each transaction from now on; a list that grows."""
    seen = []
    real = store._writer.do

    def spied(work):
        found = real(work)
        found.result()
        seen.append(store.find(None, "a"))
        return found

    monkeypatch.setattr(store._writer, "do", spied)
    return seen


def test_while_a_request_is_erased_it_is_never_clear(store, monkeypatch):
    monkeypatch.setattr("sri_sdk.serve.store.retention.AT_ONCE", 1)
    store.add(rows("a", status="flagged", tenant="x") + rows("b", tenant="x") + rows("a", tenant="x"))
    seen = seen_between(store, monkeypatch)
    store.erase("x", "a")
    assert [each and each.row.verdict["status"] for each in seen if each] == ["flagged"]


def test_while_a_tenant_is_erased_nothing_flagged_is_clear(store, monkeypatch):
    monkeypatch.setattr("sri_sdk.serve.store.retention.WINDOW", 1)
    store.add(rows("a", status="flagged", tenant="x") + rows("b", tenant="x") + rows("a", tenant="x"))
    seen = seen_between(store, monkeypatch)
    assert store.erase_tenant("x") == 3 and store.totals() == (0, 0)
    assert {each.row.verdict["status"] for each in seen if each} <= {"flagged"}


def test_a_delivery_waits_for_one_round_of_upkeep_and_not_for_all(url, monkeypatch):
    opened, seen, delivered = threading.Event(), [], []

    def prune(connection, kept, now_ms):
        opened.wait(30)
        seen.append(bool(delivered) and delivered[0].done())
        if not delivered:
            delivered.append(store.deliver(rows("new")))
        return retention.AT_ONCE if len(seen) < 3 else 0

    monkeypatch.setattr(retention, "prune_some", prune)
    monkeypatch.setattr(store_module, "UPKEEP_S", 0.01)
    with VerdictStore.open(url) as store:
        opened.set()
        until = time.monotonic() + 30
        while len(seen) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert seen[:3] == [False, True, True]
