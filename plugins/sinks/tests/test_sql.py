"""The sink `sql`: the verdict store, as a monitor writes it."""

import sqlite3
import time
from contextlib import closing

import pytest
from sri_plugin_sinks.sql import SqlSink

import sri_sdk
from sri_sdk.errors import ConfigError, SinkRejected
from sri_sdk.observation import Observation, Pulse, Running
from sri_sdk.records import Verdict
from sri_sdk.testing import sink_checks


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/verdicts.db"


@pytest.fixture
def sink(url):
    made = sink_at(url)
    yield made
    made.close()


def sink_at(url, **options):
    return SqlSink(SqlSink.Config(url=url, **options))


def observation(request_id, **more):
    return Observation(Verdict(request_id, "clear", score=0.5), 1_790_000_000_000, **more)


@pytest.mark.parametrize("check", sink_checks(SqlSink.example), ids=str)
def test_it_keeps_the_promises_of_a_sink(check):
    check()


def test_an_observation_is_read_back_as_it_was(sink, url):
    full = observation(
        "a", kind="canary", consequence="withheld", prompt="p", response="r", drafts=("x",), audited=True
    )
    sink.deliver([full, observation("b")])
    with sri_sdk.VerdictStore.open(url) as store:
        assert store.observation(full.id).observation == full
        # A canary speaks for no request.
        assert store.find(None, "a") is None and store.find(None, "b").verdicts == 1


def test_what_runs_and_how_the_monitor_is_take_the_place_of_what_was_said_before(sink, url):
    now = 1_790_000_000_000
    for step in (1, 2):
        sink.show([Running("a", "chat", now, step, 8)])
        sink.pulse(Pulse("chat", now, now, 1, "observe", generated=step))
        sink._shown.result(10)
        sink._pulsed.result(10)
    with sri_sdk.VerdictStore.open(url) as store:
        assert [each.step for each in store.running()] == [2]
        assert [each.generated for each in store.pulses()] == [2]
        sink.show([])
        sink._shown.result(10)
        assert store.running() == ()


def test_a_database_that_comes_later_gets_all_of_it(tmp_path, url):
    file = tmp_path / "verdicts.db"
    file.write_bytes(b"not a database yet " * 100)
    sink = sink_at(url)
    sink.show([])
    for _ in range(2):
        with pytest.raises(sri_sdk.errors.SriError, match="is not a database, or is damaged"):
            sink.deliver([observation("a")])
    file.unlink()
    sink.deliver([observation("a")])
    sink.close()
    with sri_sdk.VerdictStore.open(url) as store:
        assert store.totals()[0] == 1


def test_a_database_that_is_locked_takes_it_later(sink, tmp_path, url):
    sink.deliver([observation("a")])
    late = observation("b")
    with closing(sqlite3.connect(tmp_path / "verdicts.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sri_sdk.errors.SriError, match="lock"):
            sink.deliver([late])
        other.execute("ROLLBACK")
    sink.deliver([late])
    sink.deliver([late])
    with sri_sdk.VerdictStore.open(url) as store:
        assert store.totals()[0] == 2


def test_one_that_can_never_be_stored_costs_no_other(sink, url):
    bad = observation("\0")
    with pytest.raises(SinkRejected) as caught:
        sink.deliver([observation("a"), bad, observation("b")])
    assert caught.value.ids == {bad.id}
    with sri_sdk.VerdictStore.open(url) as store:
        assert store.totals()[0] == 2


def test_request_ids_may_be_kept_as_hashes(tmp_path, url):
    key = tmp_path / "key"
    sink = sink_at(url, hash_key=key)
    sink.deliver([observation("secret-id")])
    sink.close()
    with sri_sdk.VerdictStore.open(url, secret=key) as store:
        assert store.find(None, "secret-id").row.key != "secret-id"
    with pytest.raises(ConfigError, match="keeps request ids as hashes"):
        sink_at(url)


@pytest.mark.parametrize("url", ["mysql://host/x", "not a url", "sqlite://"])
def test_an_address_that_is_none_is_refused_before_anything_runs(url):
    with pytest.raises(ConfigError, match="allowed: sqlite"):
        sink_at(url)


def test_old_verdicts_go_as_the_options_say(url):
    sink = sink_at(url, keep_rows=3)
    sink.deliver([observation(str(each)) for each in range(10)])
    assert sink._store.prune() == 7
    sink.close()


def test_a_pulse_opens_the_database_that_was_not_there_when_the_sink_began(url, tmp_path):
    sri_sdk.VerdictStore.open(url).close()
    with closing(sqlite3.connect(tmp_path / "verdicts.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        sink = sink_at(url)
        other.execute("COMMIT")
    now = 1_790_000_000_000
    sink.pulse(Pulse("chat", now, now, 1, "observe"))
    sink._opener.join(20)
    sink._pulsed.result(10)
    with sri_sdk.VerdictStore.open(url) as store:
        assert [each.deployment for each in store.pulses()] == ["chat"]
    sink.close()
    sink.pulse(Pulse("chat", now + 1, now, 1, "observe"))
    assert sink._store is None, "one that is closed opens nothing"


def test_two_monitors_of_one_process_show_each_their_own(url):
    first, second = sink_at(url), sink_at(url)
    now = int(time.time() * 1000)
    for sink, name in ((first, "a"), (second, "b")):
        sink.show([Running(name, name, now, 1, 8)])
        sink._shown.result(10)
    with sri_sdk.VerdictStore.open(url) as store:
        assert sorted(each.request_id for each in store.running()) == ["a", "b"]
    first.close()
    second.close()
