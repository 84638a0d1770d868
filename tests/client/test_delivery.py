"""Verdicts on their way: all of them arrive, or are counted, and nobody waits for them."""

import time

import pytest

import sri_sdk
from sri_sdk.client.settings import ClientSettings
from sri_sdk.records import Verdict
from sri_sdk.testing import SinkCase, sink_checks
from tests.client.stub import HANG_UP, Stub


def verdicts(count, start=0):
    return [Verdict(f"r{i}", "clear", (), 0.1, 0.5, 0.7) for i in range(start, start + count)]


def emit(client, found):
    for verdict in found:
        client.emit(verdict)


def balanced(counts):
    return counts.accepted == counts.sent + counts.waiting + sum(counts.dropped.values())


def case():
    """The kit closes its sinks, and looks at what arrived afterwards."""
    stub = Stub()
    client = sri_sdk.VerdictClient(stub.url, heartbeat_s=0.0)
    close = client.close

    def close_both():
        close()
        if stub._thread.is_alive():
            stub.stop()

    client.close = close_both
    dead = "http://127.0.0.1:9"
    return SinkCase(
        client, delivered=lambda: stub.ids, dead=lambda: sri_sdk.VerdictClient(dead, close_s=0.2, heartbeat_s=0.1)
    )


@pytest.mark.parametrize("check", sink_checks(case), ids=str)
def test_it_keeps_the_promises_of_a_sink(check):
    check()


def test_the_example_of_the_kit_is_a_client_that_can_be_closed():
    sri_sdk.VerdictClient.example().close()


def test_a_verdict_arrives_as_it_was_with_the_source(stub, client_of):
    client, verdict = client_of(source="chat-1"), Verdict("r1", "flagged", ("score_above_threshold",), 0.9, 0.5, 0.01)
    client.emit(verdict)
    assert client.flush(20)
    assert stub.posts == [{"verdicts": [verdict.to_dict()], "source": "chat-1"}]


def test_what_waits_goes_in_batches(stub, client_of):
    stub.hold()
    client = client_of(batch=100)
    emit(client, verdicts(1))
    assert stub.wait(lambda: stub.requests)
    emit(client, verdicts(250, 1))
    stub.go_on()
    assert client.flush(20)
    assert [len(post["verdicts"]) for post in stub.posts] == [1, 100, 100, 50]
    assert client.counts.sent == client.counts.stored == 251


def test_a_generation_never_waits_for_a_store_that_hangs(stub, client_of):
    stub.hold()
    client = client_of()
    start = time.perf_counter()
    emit(client, verdicts(1000))
    # Far below the 5 s that the post takes; far above what a busy machine needs.
    assert time.perf_counter() - start < 2
    assert client.counts.waiting == 1000


def test_the_queue_is_bounded_and_each_drop_counted(stub, client_of):
    stub.hold()
    client = client_of(capacity=10)
    emit(client, verdicts(25))
    counts = client.counts
    assert counts.waiting == 10 and counts.dropped["queue_full"] == 15 and balanced(counts)
    stub.go_on()
    assert client.flush(20)
    assert stub.ids == [f"r{i}" for i in range(10)]


@pytest.mark.parametrize("trouble", [500, 503, 429, 401, HANG_UP], ids=str)
def test_a_post_that_fails_is_made_again(stub, client_of, trouble):
    stub.script = [trouble]
    client = client_of()
    emit(client, verdicts(3))
    assert client.flush(20)
    assert stub.ids == ["r0", "r1", "r2"]
    assert client.counts.sent == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"<html>Please log in</html>", {}, {"stored": 2, "known": 0}, {"stored": True, "known": 0},
        {"stored": "1", "known": 0}, [1, 0],
    ],
    ids=["nothing", "html", "empty", "too-many", "bool", "text", "list"],
)  # fmt: skip
def test_an_answer_that_does_not_say_that_it_stored_is_none(stub, client_of, caplog, answer):
    stub.instead = [answer]
    client = client_of()
    client.emit(Verdict("r1", "clear"))
    assert client.flush(20) and stub.ids == ["r1"]
    assert (client.counts.sent, client.counts.retried, client.counts.stored) == (1, 1, 1)
    assert "an answer that no `sri serve` gives" in caplog.text


def test_a_redirect_costs_no_verdict(stub, client_of):
    stub.script = [301]
    client = client_of()
    client.emit(Verdict("r1", "clear"))
    assert client.flush(20) and stub.ids == ["r1"] and not sum(client.counts.dropped.values())


def test_a_heartbeat_that_something_else_answers_is_none(stub, client_of):
    stub.instead = [b"<html>Please log in</html>"]
    client = client_of(heartbeat_s=3600)
    with client.generation("r1"):
        pass
    assert stub.wait(lambda: not stub.instead)
    client.close()
    assert client.counts.heartbeats == 0


def test_the_log_says_which_right_a_token_lacks(stub, client_of, caplog):
    client = client_of()
    stub.script = [403, 403, 401]
    client.lookup("r1", budget_s=20)
    client.emit(Verdict("r1", "clear"))
    assert client.flush(20)
    assert "lacks the right `read`" in caplog.text and "lacks the right `write`" in caplog.text


def test_verdicts_wait_for_a_store_that_is_down_and_arrive_in_order(down, client_of, tmp_path):
    client = client_of(url=f"unix:{tmp_path}/store.sock")
    emit(client, verdicts(5))
    assert not client.flush(0.1)
    late = Stub(tmp_path / "store.sock")
    try:
        assert client.flush(30)
        assert late.ids == [f"r{i}" for i in range(5)]
        assert client.counts.retried > 0
    finally:
        client.close()
        late.stop()


def test_an_answer_that_is_lost_makes_no_second_verdict(stub, client_of):
    client = client_of()
    emit(client, verdicts(1))
    assert client.flush(20)
    emit(client, verdicts(1))
    assert client.flush(20)
    counts = client.counts
    assert (counts.sent, counts.stored, counts.known) == (2, 1, 1)


def test_a_verdict_that_the_store_refuses_costs_no_other(stub, client_of):
    stub.hold()
    stub.refuse = lambda verdict: verdict["request_id"] == "r13"
    client = client_of()
    emit(client, verdicts(50))
    stub.go_on()
    assert client.flush(20)
    assert sorted(stub.ids) == sorted(f"r{i}" for i in range(50) if i != 13)
    assert client.counts.dropped["refused"] == 1 and balanced(client.counts)


def test_a_verdict_that_is_no_json_costs_no_other(stub, client_of):
    client = client_of()
    emit(client, [Verdict("a", "clear"), Verdict("half \ud800", "clear"), Verdict("b", "clear")])
    assert client.flush(20)
    assert stub.ids == ["a", "b"] and client.counts.dropped["refused"] == 1


def test_a_verdict_that_cannot_be_written_costs_no_other(stub, client_of):
    client = client_of()
    emit(
        client,
        [Verdict("a", "clear"), Verdict("b", "clear", score=float("nan")), Verdict("c", "clear", reasons={1: 2})],
    )
    emit(client, [Verdict("d", "clear")])
    assert client.flush(20)
    assert stub.ids == ["a", "d"] and client.counts.dropped["refused"] == 2


def test_a_listener_that_raises_costs_nobody_a_verdict(stub, client_of, caplog):
    client, heard = client_of(), []

    def raises(verdict):
        raise ValueError("not for a log")

    client.listen("r0", raises)
    client.listen("r0", heard.append)
    emit(client, verdicts(1))
    assert client.flush(20) and stub.ids == ["r0"] and heard == verdicts(1)
    assert "raised ValueError" in caplog.text and "not for a log" not in caplog.text


def test_a_store_that_says_how_long_to_wait_is_believed(stub, client_of):
    stub.script, stub.headers = [429], {"Retry-After": "0"}
    client = client_of()
    emit(client, verdicts(1))
    assert client.flush(20) and client.counts.retried == 1


def test_close_delivers_what_waits(stub, client_of):
    stub.hold()
    client = client_of(close_s=20.0)
    emit(client, verdicts(300))
    stub.go_on()
    client.close()
    assert len(stub.ids) == 300 and client.counts.sent == 300


def test_close_gives_up_in_time_and_counts_what_is_lost(stub, client_of, caplog):
    stub.hold()
    client = client_of(close_s=0.2)
    emit(client, verdicts(7))
    start = time.perf_counter()
    client.close()
    assert time.perf_counter() - start < 4
    assert client.counts.dropped["closed"] == 7 and balanced(client.counts)
    assert "7 verdicts dropped" in caplog.text


def test_what_comes_after_close_is_counted(stub, client_of):
    client = client_of()
    client.close()
    emit(client, verdicts(2))
    assert client.counts.dropped["closed"] == 2 and balanced(client.counts)


def test_close_delivers_what_watch_has_not_handed_over_yet(stub, client_of):
    client = client_of()
    sri_sdk.Emitter([client]).emit(verdicts(200))
    client.close()
    assert len(stub.ids) == 200


def test_an_emitter_closes_it_like_any_sink(stub, client_of):
    client = client_of()
    with sri_sdk.Emitter([client]) as emitter:
        emitter.emit(verdicts(20))
    assert len(stub.ids) == 20 and emitter.deliveries[0].delivered == 20


def test_a_unix_socket_carries_them_as_well(tmp_path, client_of):
    stub = Stub(tmp_path / "sri.sock")
    try:
        client = client_of(url=stub.url)
        emit(client, verdicts(3))
        client.close()
        assert stub.ids == ["r0", "r1", "r2"]
    finally:
        stub.stop()


def test_a_whole_config_makes_the_same_client(stub):
    with sri_sdk.VerdictClient(ClientSettings(url=stub.url, heartbeat_s=0.0)) as client:
        emit(client, verdicts(1))
    assert stub.ids == ["r0"]
