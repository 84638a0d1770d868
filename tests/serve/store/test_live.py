"""What runs right now, and how monitors are."""

import threading

from sri_sdk.observation import Pulse, Running, SinkState
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import FOREVER
from tests.serve.store.observed import NOW


def running(request_id: str, step: int = 1, **more) -> Running:
    return Running(request_id, "chat", **{"started_at": NOW, "step": step, "steps": 64, **more})


PULSE = Pulse(
    "chat", NOW, NOW - 1000, 7, "observe", model="small", bundle="b" * 64, promised=0.05, generated=4, clear=1,
    flagged=1, unmonitored=1, not_sampled=1, canaries=1, canary_missed="clear", drift="map", reload_failed="no",
    scorer="scorer_late", sinks=(SinkState("sql", 4, 3, 0, 0, 1, None), SinkState("jsonl", 4, 4, 0, 0, 0, "down")),
    canary_at=NOW - 700, canary_every_s=600.0, canaries_since=NOW - 900, canaries_wanted=3,
    canaries_proven=(3, 5), drift_looked=12, looks=("a",),
)  # fmt: skip


def test_what_runs_comes_back_as_it_was(store):
    full = running("a", 3, sigma=(0.25, 1.0), cells=32, draft="as far as \u202e it is", tenant="t")
    later = running("b", started_at=NOW + 1, steps=None)
    store.show([later, full], "chat").result()
    assert store.running() == (full, later) and store.running("t") == (full,) and store.running("other") == ()


def test_one_that_is_no_text_keeps_none_of_the_others_from_being_shown(store):
    odd = [running("x\ud800"), running("y", draft="\udfff"), running("z", tenant="\ud800")]
    store.show([running("a"), *odd, running("b")], "chat").result()
    assert [each.request_id for each in store.running()] == ["a", "b"]


def test_what_is_not_shown_again_has_ended(store):
    store.show([running("a"), running("b")], "chat").result()
    store.show([running("c")], "code").result()
    store.show([running("b", 2)], "chat").result()
    assert [(each.request_id, each.step) for each in store.running()] == [("b", 2), ("c", 1)]
    store.show([], "chat").result()
    assert [each.request_id for each in store.running()] == ["c"]


def test_a_monitor_that_has_gone_shows_nothing_after_a_moment_and_is_forgotten(store, clock):
    store.show([running("a")], "chat").result()
    clock.now += 15
    assert store.running()
    clock.now += 1
    assert store.running() == ()
    clock.now += 60
    store.prune()
    with store._engines.reading.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sri_running").scalar() == 0


def test_a_clock_that_is_set_back_hides_what_ran_and_not_what_runs(store, clock):
    store.show([running("old")], "gone").result()
    store.show([running("a")], "chat").result()
    clock.now -= 3600
    store.show([running("a", 2)], "chat").result()
    assert [(each.request_id, each.step) for each in store.running()] == [("a", 2)]


def test_a_pulse_comes_back_as_it_was_and_the_last_one_counts(store):
    store.pulse(Pulse("other", NOW, NOW, 8, "enforce")).result()
    store.pulse(Pulse("chat", NOW - 5, NOW - 1000, 7, "observe")).result()
    store.pulse(PULSE).result()
    assert store.pulses() == store.all_pulses() == (PULSE, Pulse("other", NOW, NOW, 8, "enforce"))


def test_a_healthy_replica_hides_no_blind_one(store, clock):
    blind = Pulse("chat", NOW, NOW - 1000, 1, "observe", canary_missed="clear")
    healthy = Pulse("chat", NOW, NOW - 1000, 2, "observe")
    sink = SinkState("sql", 1, 0, 0, 0, 1, "down")
    stuck = Pulse("chat", NOW, NOW, 3, "observe", drift="map", reload_failed="no", sinks=(sink,))
    for order in ((healthy, stuck, blind), (blind, stuck, healthy)):
        for each in order:
            store.pulse(each).result()
        assert store.pulses() == (blind,) and store.all_pulses() == (blind, healthy, stuck)
    clock.now += 61
    store.pulse(healthy).result(), store.pulse(stuck).result()
    assert store.pulses() == (stuck,), "one that is silent speaks for nobody while others do"
    assert store.all_pulses() == (blind, healthy, stuck)


def test_a_process_that_was_replaced_is_left_out_after_an_hour_and_forgotten(store, clock):
    first, second = (Pulse("chat", NOW, started, 7, "observe") for started in (NOW - 2, NOW - 1))
    store.pulse(first).result(), store.pulse(second).result()
    clock.now += 3600
    assert store.all_pulses() == (first, second) and store.pulses() == (second,)
    clock.now += 1
    assert store.all_pulses() == (second,), "however old the last one is"
    store.prune()
    clock.now -= 3601
    assert store.all_pulses() == (second,)


def test_a_monitor_that_is_silent_is_still_shown_until_its_verdicts_are_old(url, clock):
    with VerdictStore.open(url, kept=Retention(keep_days=2), clock=clock) as store:
        store.pulse(PULSE).result()
        clock.now += 86_400
        store.prune()
        assert store.pulses() == (PULSE,)
        clock.now += 2 * 86_400
        store.prune()
        assert store.pulses() == ()


def test_what_is_erased_is_not_shown_either(store):
    store.show([running("a", tenant="x"), running("a", tenant="y"), running("b", tenant="x")], "chat").result()
    store.erase("y", "a")
    assert [(each.request_id, each.tenant) for each in store.running()] == [("a", "x"), ("b", "x")]
    store.erase(None, "a")
    assert [each.request_id for each in store.running()] == ["b"]
    store.erase_tenant("x")
    assert store.running() == ()


def test_only_the_newest_is_written_where_the_database_is_slow(sqlite_url):
    go = threading.Event()
    with VerdictStore.open(sqlite_url, kept=FOREVER, clock=lambda: NOW / 1000) as store:
        store._writer.do(lambda connection: go.wait(60))
        waiting = [store.show([running("a", step)], "chat") for step in range(50)]
        other = store.show([running("b")], "code")
        assert len(set(map(id, waiting))) == 1 and other is not waiting[0]
        go.set()
        waiting[0].result(60), other.result(60)
        assert [(each.request_id, each.step) for each in store.running()] == [("a", 49), ("b", 1)]
        store.show([running("a", 50)], "chat").result(60)
        assert store.running()[0].step == 50
