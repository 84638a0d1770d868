"""How a source is, as its heartbeats, verdicts and canaries have it."""

import pytest

from sri_sdk.serve.store.rows import Heartbeat
from tests.serve.store.conftest import rows


def state(store):
    (source,) = store.sources()
    return source.state, source.why


def beat(store, clock, seconds=10.0, **more):
    clock.now += seconds
    store.heartbeat(Heartbeat("gpu-1", pid=7, **more))


def test_a_source_whose_verdicts_arrive_is_alive(store, clock):
    store.add(rows("a"))
    beat(store, clock, sent=1)
    assert state(store) == ("alive", None)
    (source,) = store.sources()
    assert (source.pid, source.sent, source.verdicts, source.heartbeat_at) == (7, 1, 1, int(clock.now * 1000))


def test_a_source_that_only_says_it_lives_is_quiet(store, clock):
    beat(store, clock)
    assert state(store) == ("quiet", None)


def test_a_source_that_says_nothing_is_silent(store, clock):
    store.add(rows("a"))
    clock.now += 31
    assert state(store) == ("silent", None)


def test_a_source_without_heartbeats_is_alive_while_verdicts_arrive(store):
    store.add(rows("a"))
    assert state(store) == ("alive", None)


def test_a_source_that_generates_without_verdicts_has_no_tap(store, clock):
    beat(store, clock, generations=5, without_verdict=0)
    assert state(store) == ("quiet", None)
    beat(store, clock, generations=9, without_verdict=4)
    beat(store, clock, generations=9, without_verdict=4)
    assert state(store) == ("tap_missing", "generations_without_verdicts")
    beat(store, clock, generations=12, without_verdict=5, sent=1)
    assert state(store)[0] == "tap_missing", "some have verdicts, others still have none"
    beat(store, clock, generations=13, without_verdict=5, sent=2)
    assert state(store) == ("quiet", None)


def test_a_source_that_began_again_is_not_compared_with_its_former_process(store, clock):
    store.heartbeat(Heartbeat("gpu-1", pid=7, generations=100, without_verdict=9))
    store.heartbeat(Heartbeat("gpu-1", pid=7, ended=True))
    store.heartbeat(Heartbeat("gpu-1", pid=8, generations=0, without_verdict=0))
    assert state(store) == ("quiet", None)
    store.heartbeat(Heartbeat("gpu-1", pid=9, generations=3, without_verdict=3))
    assert state(store)[0] == "tap_missing"


# -- processes of one source ---------------------------------------------------------------------------------


def test_a_worker_that_lives_does_not_hide_one_whose_tap_is_gone(store, clock):
    for _ in range(3):
        store.add(rows("a"))
        beat(store, clock, generations=5, without_verdict=5)
        store.heartbeat(Heartbeat("gpu-1", pid=8, sent=9, generations=9, without_verdict=0))
    assert state(store) == ("tap_missing", "generations_without_verdicts")
    (source,) = store.sources()
    assert (source.pid, source.processes, source.generations, source.without_verdict) == (7, 2, 14, 5)


def test_a_worker_that_fell_silent_shows_until_it_is_forgotten(store, clock):
    beat(store, clock)
    clock.now += 31
    store.heartbeat(Heartbeat("gpu-1", pid=8))
    store.add(rows("a"))
    assert state(store) == ("silent", None) and store.sources()[0].pid == 7
    clock.now += 600
    store.heartbeat(Heartbeat("gpu-1", pid=8))
    assert state(store) == ("quiet", None) and store.sources()[0].processes == 1


def test_a_process_that_says_that_it_ends_is_not_missed(store, clock):
    beat(store, clock, without_verdict=3)
    store.heartbeat(Heartbeat("gpu-1", pid=8))
    store.heartbeat(Heartbeat("gpu-1", pid=7, ended=True))
    assert state(store) == ("quiet", None)
    store.heartbeat(Heartbeat("gpu-1", pid=8, ended=True))
    clock.now += 3600
    assert state(store) == ("ended", None)
    store.heartbeat(Heartbeat("gpu-1", pid=9))
    assert state(store) == ("quiet", None)
    clock.now += 3600
    assert state(store) == ("silent", None)


def of(store, tenant):
    return {(each.tenant, each.source): each.state for each in store.sources(tenant)}


def test_a_process_that_serves_tenants_is_one_source_in_one_state(store, clock):
    store.heartbeat(Heartbeat("gpu-1", pid=7))
    store.add(rows("a", tenant="x"))
    clock.now += 31
    # Nothing for x meanwhile, though the process lives: x is idle.
    store.heartbeat(Heartbeat("gpu-1", pid=7))
    assert of(store, None) == {("", "gpu-1"): "quiet", ("x", "gpu-1"): "quiet"}
    assert of(store, "x") == {("x", "gpu-1"): "quiet"}
    assert [(each.pid, each.generations, each.processes) for each in store.sources("x")] == [(None, None, 0)]
    clock.now += 31
    assert of(store, "x") == {("x", "gpu-1"): "silent"}
    store.heartbeat(Heartbeat("gpu-1", pid=7, ended=True))
    assert set(of(store, None).values()) == {"ended"}


def test_another_tenants_heartbeats_say_nothing_of_this_one(store, clock):
    store.add(rows("a", tenant="x"))
    clock.now += 31
    store.heartbeat(Heartbeat("gpu-1", tenant="y", pid=7))
    assert of(store, "x") == {("x", "gpu-1"): "silent"}


def test_a_source_can_be_removed_and_comes_back_if_it_lives(store, clock):
    store.heartbeat(Heartbeat("gpu-1", pid=7))
    store.heartbeat(Heartbeat("gpu-2", pid=7))
    store.add(rows("a", tenant="x"))
    assert store.forget_source("gpu-1", "y") == 0
    assert store.forget_source("gpu-1") == 2 and [each.source for each in store.sources()] == ["gpu-2"]
    store.heartbeat(Heartbeat("gpu-1", pid=8))
    assert [each.processes for each in store.sources()] == [1, 1]
    store.erase_tenant("")
    assert store.sources() == ()


@pytest.mark.parametrize("status", ["clear", "unmonitored", None])
def test_a_canary_that_is_not_flagged_shows_that_the_tap_is_missing(store, clock, status):
    beat(store, clock, canary={"status": status})
    assert state(store) == ("tap_missing", "canary_not_flagged")
    beat(store, clock)
    assert state(store)[0] == "tap_missing", "a heartbeat without a canary changes nothing"
    beat(store, clock, canary={"status": "flagged", "request_id": "c"})
    assert state(store) == ("quiet", None)


def test_sources_of_other_tenants_are_not_shown(store, clock):
    store.heartbeat(Heartbeat("a", tenant="x"))
    store.heartbeat(Heartbeat("a", tenant="y"))
    assert len(store.sources()) == 2 and [source.tenant for source in store.sources("x")] == ["x"]
