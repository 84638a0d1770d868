"""What runs right now, and how monitors are."""

import threading
from dataclasses import asdict, fields, replace

from sqlalchemy import update

from sri_sdk.files import canonical_json
from sri_sdk.observation import LOSS_MS, Pulse, Running, SinkState
from sri_sdk.report import troubles
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.store.tables import PULSES
from tests.serve.store.conftest import FOREVER
from tests.serve.store.observed import NOW


def running(request_id: str, step: int = 1, **more) -> Running:
    return Running(request_id, "chat", **{"started_at": NOW, "step": step, "steps": 64, **more})


PULSE = Pulse(
    "chat", NOW, NOW - 1000, 7, "observe", model="small", bundle="b" * 64, promised=0.05, generated=4, clear=1,
    flagged=1, unmonitored=1, not_sampled=1, canaries=1, canary_missed="clear", drift="map", reload_failed="no",
    scorer="scorer_late",
    sinks=(SinkState("sql", 4, 3, 0, 0, 1, None, 5, 6, 7, 8, 9), SinkState("jsonl", 4, 4, 0, 0, 0, "down")),
    canary_at=NOW - 700, canary_every_s=600.0, canaries_since=NOW - 900, canaries_wanted=3,
    canaries_proven=(3, 5), drift_looked=12, looks=("a",), canary_missed_since=NOW - 5, drift_since=NOW - 6,
    reload_failed_since=NOW - 7, scorer_since=NOW - 8, looks_since=NOW - 9, scoring="local",
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


def going_on(store, clock, *pulses, seconds=61):
    """Time passes, and only these still speak."""
    clock.now += seconds
    later = [replace(each, at=int(clock.now * 1000)) for each in pulses]
    for each in later:
        store.pulse(each).result()
    return later


def missing(store):
    return [each.pulse.pid for each in store.processes() if each.missing]


def test_a_replica_that_falls_silent_beside_another_is_missing(store, clock):
    first, second = (Pulse("chat", NOW, NOW - 1000, pid, "observe") for pid in (1, 2))
    for each in (first, second):
        store.pulse(each).result()
    kept = store.heard()["chat"]
    assert missing(store) == []
    (second,) = going_on(store, clock, second)
    assert store.pulses() == (second,) and missing(store) == [1], "the living speak, and somebody is missing"
    (process, _) = store.processes()
    assert process == (kept, first, True)
    assert "Process 1 of chat is silent" in troubles.missing(first, kept).what
    (second,) = going_on(store, clock, second, seconds=86_400)
    assert missing(store) == [], "nobody misses it any more"


def test_one_that_ended_or_was_replaced_is_not_missed(store, clock):
    ended, crashed, stays = (Pulse("chat", NOW, NOW - 1000, pid, "observe") for pid in (1, 2, 3))
    for each in (replace(ended, ended=True), crashed, stays):
        store.pulse(each).result()
    again = Pulse("chat", NOW, NOW + 5_000, 4, "observe")
    going_on(store, clock, again)
    once_more = Pulse("chat", NOW, int(clock.now * 1000) + 5_000, 5, "observe")
    stays, once_more = going_on(store, clock, stays, once_more)
    assert missing(store) == [], "each was replaced by the next"
    (once_more,) = going_on(store, clock, once_more)
    assert missing(store) == [3], "nobody was started for the third one"


def test_a_replica_whose_canaries_have_stopped_is_not_hidden(store):
    well = Pulse("chat", NOW, NOW - 10, 2, "observe", drift="map", canary_every_s=1.0, canary_at=NOW)
    stopped = replace(well, pid=1, started_at=NOW - 9_000, canary_at=NOW - 4_000, drift=None)
    lost = SinkState("sql", 9, 5, 0, 4, 0, dropped_since=NOW - 2 * LOSS_MS, dropped_at=NOW - 2 * LOSS_MS)
    for each in (well, stopped, replace(well, pid=3, started_at=NOW, drift=None, sinks=(lost,))):
        store.pulse(each).result()
    assert stopped.canary_stopped == NOW - 4_000 and store.pulses() == (stopped,)
    store.pulse(replace(stopped, canary_at=NOW)).result()
    assert store.pulses() == (well,), "drift now is worse than what was lost long ago"


def test_a_pulse_of_the_release_before_is_read(store):
    store.pulse(PULSE).result()
    new = {each.name for each in fields(Pulse) if each.name.endswith("_since") and each.name != "canaries_since"}
    of_sinks = {"failing_since", "dropped_since", "dropped_at", "rejected_since", "rejected_at"}
    old = {name: each for name, each in asdict(PULSE).items() if name not in {*new, "scoring"}}
    old["sinks"] = [{name: each for name, each in sink.items() if name not in of_sinks} for sink in old["sinks"]]
    with store._engines.writing.begin() as connection:
        connection.execute(update(PULSES).values(content=canonical_json(old).decode()))
    (found,) = store.pulses()
    assert len(new) == 5 and replace(found, **{name: getattr(PULSE, name) for name in new}, scoring="local",
                                     sinks=PULSE.sinks) == PULSE  # fmt: skip
    assert found.drift_since is None and found.sinks[0].dropped_at is None


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
