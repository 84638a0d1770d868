"""What the store learns of a source that says nothing: heartbeats, canaries, generations without a verdict, forks."""

import os
import subprocess
import sys
import threading

import pytest

import sri_sdk
from sri_sdk.client.carried import Carried, carried
from sri_sdk.client.generations import Generations
from sri_sdk.errors import ConfigError, GenerationAborted
from sri_sdk.policy import Policy
from sri_sdk.records import Verdict

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


# -- heartbeats and canaries ---------------------------------------------------------------------------------


def test_a_heartbeat_says_what_became_of_everything(stub, client_of):
    client = client_of(heartbeat_s=0.05, source="chat-1", tenant="acme")
    with client.generation("r1"):
        client.emit(Verdict("r1", "clear"))
    assert stub.wait(lambda: stub.beats and stub.beats[-1]["sent"] == 1)
    assert stub.beats[-1] == {
        "source": "chat-1", "pid": os.getpid(), "sent": 1, "dropped": 0, "waiting": 0, "generations": 1,
        "without_verdict": 0,
    }  # fmt: skip
    beat = next(headers for method, path, headers in stub.requests if path == "/v1/heartbeats")
    assert "sri-tenant" not in beat, "it is about the process, whomever it serves"


def test_a_service_that_generates_nothing_is_heard_of_all_the_same(stub, client_of):
    client_of(heartbeat_s=0.02)
    assert stub.wait(lambda: len(stub.beats) > 2)


def test_heartbeats_go_on_once_the_store_is_back(stub, client_of):
    stub.answer(503)
    client = client_of(heartbeat_s=0.02)
    assert stub.wait(lambda: len(stub.requests) > 1)
    stub.answer(200)
    assert stub.wait(lambda: stub.beats) and stub.wait(lambda: client.counts.heartbeats)


def test_heartbeats_end_with_the_client(stub, client_of):
    client = client_of(heartbeat_s=0.02)
    assert stub.wait(lambda: stub.beats)
    client.close()
    assert not [each for each in threading.enumerate() if each.name == "sri-client"]


@pytest.mark.parametrize("status", ["flagged", "clear", "unmonitored"])
def test_a_canary_is_reported_once_with_what_the_guard_said(stub, client_of, status):
    client = client_of(heartbeat_s=0.02)
    with client.canary() as (canary,):
        client.emit(Verdict(canary, status))
    assert stub.wait(lambda: [beat for beat in stub.beats if "canary" in beat])
    (news,) = [beat["canary"] for beat in stub.beats if "canary" in beat]
    assert news["status"] == status and news["found"] == (status == "flagged") and news["request_id"] == canary
    assert canary.startswith("sri-canary-") and client.counts.generations == 0


def test_a_canary_without_a_verdict_shows_that_the_tap_is_missing(stub, client_of):
    client = client_of(heartbeat_s=0.02, grace_s=0.1)
    with client.canary():
        pass
    assert stub.wait(lambda: [beat for beat in stub.beats if "canary" in beat])
    (news,) = [beat["canary"] for beat in stub.beats if "canary" in beat]
    assert news["status"] is None and not news["found"]


def test_a_canary_that_the_store_has_not_heard_of_is_told_again(stub, client_of):
    client = client_of(heartbeat_s=0.02)
    stub.answer(503)
    with client.canary() as (canary,):
        client.emit(Verdict(canary, "flagged"))
    assert stub.wait(lambda: client.counts.retried or len(stub.requests) > 1)
    stub.answer(200)
    assert stub.wait(lambda: [beat for beat in stub.beats if "canary" in beat])


# -- generations ---------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_generation_without_a_verdict_is_counted_when_its_time_is_over():
    clock = Clock()
    found = Generations(10.0, clock)
    for name in ("judged", "silent", "running"):
        found.begin(name, Carried(name))
    for name in ("judged", "silent"):
        found.end(name)
    found.judged("judged")
    assert (found.begun, found.ended, found.without_verdict) == (3, 2, 0)
    clock.now = 10.0
    assert found.without_verdict == 1
    clock.now = 99.0
    assert found.without_verdict == 1


def test_what_is_remembered_of_generations_is_bounded(monkeypatch):
    monkeypatch.setattr("sri_sdk.client.generations.REMEMBERED", 3)
    found = Generations(10.0, Clock())
    for i in range(10):
        found.begin(f"r{i}", Carried(f"r{i}"))
    assert len(found._carried) == len(found._waiting) == 3 and found.without_verdict == 7


def test_a_client_that_is_closed_says_so_after_its_last_verdict_and_under_no_tenant(stub, client_of):
    client = client_of(heartbeat_s=3600, tenant="acme")
    with client.generation("r1"):
        pass
    assert stub.wait(lambda: client.counts.heartbeats == 1)
    client.emit(Verdict("r1", "clear"))
    client.close()
    assert [each.get("ended", False) for each in stub.beats] == [False, True] and stub.beats[1]["sent"] == 1
    sent = [(path, headers.get("sri-tenant")) for _, path, headers in stub.requests]
    assert sent == [("/v1/heartbeats", None), ("/v1/verdicts", "acme"), ("/v1/heartbeats", None)]


def test_a_client_that_was_never_heard_of_takes_no_leave(stub, client_of):
    client = client_of(heartbeat_s=0)
    client.emit(Verdict("r1", "clear"))
    client.close()
    assert stub.beats == []


def test_a_verdict_carries_the_tenant_of_its_request_and_no_trace(stub, client_of):
    stub.hold()
    client = client_of(tenant="own")
    client.emit(Verdict("plain", "clear"))
    with client.generation("r1", tenant="acme", traceparent=TRACE):
        pass
    # Later and elsewhere, as the thread of a sink does it.
    thread = threading.Thread(target=client.emit, args=[Verdict("r1", "clear")])
    thread.start()
    thread.join()
    stub.go_on()
    assert client.flush(20)
    sent = {post["verdicts"][0]["request_id"]: post for post in stub.posts}
    assert sent.keys() == {"r1", "plain"} and all(post.keys() == {"source", "verdicts"} for post in stub.posts)
    tenants = {headers["sri-tenant"]: "traceparent" in headers for _, _, headers in stub.requests}
    # A post is of many requests, so it belongs to the trace of none.
    assert tenants == {"own": False, "acme": False}


def test_a_post_is_of_one_tenant(stub, client_of):
    stub.hold()
    client = client_of(tenant="own")
    client.emit(Verdict("first", "clear"))
    assert stub.wait(lambda: stub.requests)
    for name, tenant in (("a", "acme"), ("b", "acme"), ("c", None), ("d", "acme")):
        with client.generation(name, tenant=tenant):
            client.emit(Verdict(name, "clear"))
    stub.go_on()
    assert client.flush(20)
    tenants = [headers.get("sri-tenant") for _, path, headers in stub.requests if path == "/v1/verdicts"]
    sent = [[verdict["request_id"] for verdict in post["verdicts"]] for post in stub.posts]
    assert list(zip(tenants, sent, strict=True)) == [
        ("own", ["first"]), ("acme", ["a", "b"]), ("own", ["c"]), ("acme", ["d"]),
    ]  # fmt: skip


def test_a_generation_without_ids_gets_one_that_nobody_guesses(client_of):
    client = client_of()
    with client.generation() as (one,), client.generation() as (inner,):
        assert inner == one and len(one) == 32
    with client.generation() as (two,):
        assert two != one
    assert carried() == Carried()


@pytest.mark.parametrize("wrong", [{"tenant": "a\nb"}, {"tenant": "x" * 129}, {"request_id": "x" * 513}], ids=str)
def test_what_the_store_would_refuse_is_refused_before_anything_runs(client_of, wrong):
    with (
        pytest.raises(ConfigError, match="cannot be stored, and is not shown here"),
        client_of().generation(wrong.get("request_id", "r1"), tenant=wrong.get("tenant")),
    ):
        pass


@pytest.mark.parametrize("header", ["nonsense", TRACE + "\r\nx: y", "00-" + "a" * 500])
def test_a_trace_that_is_none_is_not_handed_on(client_of, header):
    with client_of().generation("r1", traceparent=header):
        assert carried().traceparent is None


def test_the_verdicts_of_a_watch_arrive_and_are_known_here(stub, client_of, watched):
    model, guard, inputs = watched
    client = client_of()
    with client.generation("r1", "r2") as ids, sri_sdk.watch(model, guard, request_ids=ids, sinks=[client]) as run:
        model.generate(**inputs)
    assert client.flush(20)
    arrived = [verdict for post in stub.posts for verdict in post["verdicts"]]
    assert arrived == [verdict.to_dict() for verdict in run.verdicts]
    assert client.known("r1") == run.verdicts[0] == client.lookup("r1", budget_s=20)
    assert client.counts.generations == 2 and client.counts.without_verdict == 0


def test_a_generation_goes_on_while_the_store_hangs(stub, client_of, watched):
    model, guard, inputs = watched
    stub.hold()
    client = client_of()
    with client.generation("r1", "r2") as ids, sri_sdk.watch(model, guard, request_ids=ids, sinks=[client]) as run:
        model.generate(**inputs)
    # The stub answers nothing, and here we are with tokens and verdicts.
    assert len(run.verdicts) == 2 and client.known("r2", wait_s=20) == run.verdicts[1]
    assert client.counts.sent == 0


def test_an_aborted_generation_is_judged_in_the_store_too(stub, client_of, watched):
    model, guard, _ = watched
    client = client_of()
    policy = Policy(rule="online", flagged="abort", unmonitored="abort")
    with (
        pytest.raises(GenerationAborted),
        client.generation("r1", "r2") as ids,
        sri_sdk.watch(model, guard, request_ids=ids, policy=policy, sinks=[client]),
    ):
        raise GenerationAborted(("r1",), 0)
    assert client.flush(20) and sorted(stub.ids) == ["r1", "r2"]


# -- forks ---------------------------------------------------------------------------------------------------

FORKS = """
import os, sys, sri_sdk
from sri_sdk.records import Verdict
client = sri_sdk.VerdictClient(sys.argv[1], heartbeat_s=0.05, source="parent-and-child")
emitter = sri_sdk.Emitter([client])
emitter.emit([Verdict("before", "clear")])
assert client.flush(20)
assert client.lookup("before", budget_s=20).status == "clear"
if sys.argv[2] == "waiting":
    client.emit(Verdict("waits", "clear"))
child = os.fork()
if child == 0:
    emitter.emit([Verdict("child", "clear")])
    assert client.counts.accepted <= 1
    assert client.lookup("before", budget_s=20).status == "clear"
    sys.exit(0)  # and delivers what it accepted
assert os.waitpid(child, 0)[1] == 0
emitter.emit([Verdict("parent", "clear")])
client.close()
assert client.counts.sent == (3 if sys.argv[2] == "waiting" else 2), client.counts
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("state", ["idle", "waiting"])
def test_a_forked_process_has_a_thread_and_a_queue_of_its_own(stub, state):
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, stub.url, state], check=True, timeout=120)
    assert sorted(stub.ids) == sorted(["before", "child", "parent", *(["waits"] if state == "waiting" else [])])
    assert len({beat["pid"] for beat in stub.beats}) == 2


def test_a_process_that_ends_delivers_what_it_accepted(stub):
    code = (
        "import sys, sri_sdk; from sri_sdk.records import Verdict\n"
        "client = sri_sdk.VerdictClient(sys.argv[1])\n"
        "sri_sdk.Emitter([client]).emit([Verdict(f'r{i}', 'clear') for i in range(300)])\n"
    )
    subprocess.run([sys.executable, "-c", code, stub.url], check=True, timeout=120)
    assert len(stub.ids) == 300
