"""Questions within a budget: no answer is never clear, and never costs more time than was allowed."""

import time

import numpy as np
import pytest

from sri_sdk.client.circuit import Circuit
from sri_sdk.errors import ConfigError
from sri_sdk.policy import Policy
from sri_sdk.records import Signals, Verdict
from sri_sdk.signal import sigmoid
from tests.client.stub import HANG_UP

FAIL_CLOSED = Policy(rule="final", flagged="abort", unmonitored="abort")


def signals(*ids, **more):
    logit = np.linspace(-3, 3, len(ids) * 4, dtype=np.float32).reshape(len(ids), 4, 1)
    return Signals(ids, sigmoid(logit), logit, **more)


def timed(call):
    start = time.perf_counter()
    found = call()
    return found, time.perf_counter() - start


# -- score ---------------------------------------------------------------------------------------------------


def test_scores_come_back_in_order(stub, client_of):
    found = client_of(source="chat-1").score(signals("a", "b"), bundle="lab", budget_s=20)
    assert [(v.request_id, v.status) for v in found] == [("a", "clear"), ("b", "clear")]
    (method, path, headers) = stub.requests[-1]
    assert (method, path) == ("POST", "/v1/signals?bundle=lab&rule=final&source=chat-1")
    assert headers["content-type"] == "application/jsonl"


def test_a_scorer_that_hangs_costs_the_budget_and_no_more(stub, client_of):
    stub.hold()
    client = client_of()
    found, seconds = timed(lambda: client.score(signals("a", "b"), bundle="lab", budget_s=0.1))
    assert [v.reasons for v in found] == [("scorer_late",)] * 2
    assert all(v.status == "unmonitored" for v in found)
    # A busy machine may be late, but not by the 30 s for which the stub hangs.
    assert 0.1 <= seconds < 3
    assert client.counts.late == 1


def test_a_scorer_that_trickles_costs_the_budget_and_no_more(client_of):
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def trickle():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not done.wait(0.02):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        client = client_of(url=f"http://127.0.0.1:{server.getsockname()[1]}")
        found, seconds = timed(lambda: client.score(signals("a"), bundle="lab", budget_s=0.2))
        done.set()
        thread.join()
    assert found[0].reasons == ("scorer_late",) and seconds < 3


def test_a_scorer_that_is_down_is_unavailable_at_once(down, client_of):
    client = client_of(url=down)
    (found,), seconds = timed(lambda: client.score(signals("a"), bundle="lab", budget_s=20))
    assert (found.status, found.reasons) == ("unmonitored", ("scorer_unavailable",)) and seconds < 10
    assert client.counts.unavailable == 1


@pytest.mark.parametrize("trouble", [400, 401, 404, 409, 429, 500, 503, HANG_UP], ids=str)
def test_whatever_is_no_score_is_unmonitored(stub, client_of, trouble):
    stub.answer(trouble)
    (found,) = client_of().score(signals("a"), bundle="lab", budget_s=20)
    assert (found.status, found.reasons) == ("unmonitored", ("scorer_unavailable",))


@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        [],
        {"verdicts": []},
        {"verdicts": [{"request_id": "b", "status": "clear"}]},
        {"verdicts": [{"request_id": "a", "status": "fine"}]},
        {"verdicts": [{"request_id": "a", "status": "clear", "score": "low"}]},
        {"verdicts": [{"request_id": "a"}]},
        {"verdicts": [{"request_id": "a", "status": "clear", "reasons": "none"}]},
        {"verdicts": [{"request_id": "a", "status": "clear", "parts": [{"name": "p"}]}]},
    ],
    ids=str,
)
def test_an_answer_that_is_not_what_was_asked_is_never_clear(stub, client_of, answer):
    stub.scores = lambda lines: answer
    (found,) = client_of().score(signals("a"), bundle="lab", budget_s=20)
    assert (found.status, found.reasons) == ("unmonitored", ("scorer_unavailable",))


def test_a_generation_that_nobody_scored_has_no_verdict_and_the_store_learns_of_it(stub, client_of):
    client = client_of(grace_s=0.01)
    with client.generation("a"), client.generation("b"):
        pass
    stub.answer(503)
    client.score(signals("a"), bundle="lab", budget_s=20)
    stub.answer(200)
    client.score(signals("b"), bundle="lab", budget_s=20)
    assert stub.wait(lambda: client.counts.without_verdict == 1)
    assert client.known("a").reasons == ("scorer_unavailable",)


def test_the_policy_decides_when_the_scorer_is_down(down, client_of):
    found = client_of(url=down).score(signals("a"), bundle="lab")
    assert FAIL_CLOSED.decide(found)[0].withheld
    assert not Policy(rule="final", flagged="abort", unmonitored="report").decide(found)[0].withheld


def test_signals_are_the_same_on_the_other_side(stub, client_of):
    import io

    from sri_sdk.scoring.signal_lines import read_lines
    from sri_sdk.scoring.signal_text import signal_lines

    sent = signals("a", "ü/«b»", lengths=np.array([4, 2]), groups=("en", None))
    sent.logit[1, 2] = np.nan
    found = read_lines(io.BytesIO(signal_lines(sent)), "sent", "logit")
    assert found.ids == sent.ids and found.groups == sent.groups and list(found.lengths) == [4, 2]
    assert np.array_equal(found.logit, sent.logit, equal_nan=True) and np.array_equal(found.sigma, sent.sigma)


def test_signals_that_cannot_be_written_are_the_callers_fault(client_of):
    with pytest.raises(ConfigError, match="score: the signals cannot be written"):
        client_of().score(signals("half \ud800"), bundle="lab")


# -- lookup --------------------------------------------------------------------------------------------------


def test_a_lookup_finds_what_was_sent(stub, client_of):
    client, sent = client_of(), Verdict("a/b ü", "flagged", ("score_above_threshold",), 0.9, 0.5, 0.01)
    client.emit(sent)
    assert client.flush(20)
    assert client.lookup("a/b ü", budget_s=20) == sent


@pytest.mark.parametrize("rule", ["final", "online", "request"])
def test_a_lookup_says_which_rule_it_waits_for(stub, client_of, rule):
    found = client_of().lookup("a", rule=rule, budget_s=20)
    assert found == Verdict("a", "unmonitored", ("no_verdict",), rule=rule)
    assert stub.requests[-1][1] == f"/v1/verdicts/a?wait_ms=0&rule={rule}"


def test_a_lookup_waits_for_a_verdict_that_is_on_its_way(stub, client_of):
    from threading import Timer

    client = client_of()
    timer = Timer(0.1, client.emit, [Verdict("r1", "clear")])
    timer.start()
    assert client.lookup("r1", wait_s=20).status == "clear"
    timer.join()


@pytest.mark.parametrize("name", ["never-seen", "", "a\nb", "x" * 513])
def test_what_nobody_judged_is_unmonitored(stub, client_of, name):
    assert client_of().lookup(name, budget_s=20) == Verdict(name, "unmonitored", ("no_verdict",))


def test_a_verdict_on_another_request_is_no_answer(stub, client_of):
    stub.found = {"id": "b", "verdict": {"request_id": "b", "status": "clear", "reasons": []}}
    assert client_of().lookup("a", budget_s=20).reasons == ("scorer_unavailable",)


def test_a_store_that_hashes_ids_answers_under_the_one_that_was_asked(stub, client_of):
    stub.found = {"id": "a", "verdict": {"request_id": "5f2c", "status": "clear", "reasons": []}}
    assert client_of().lookup("a", budget_s=20) == Verdict("a", "clear")


@pytest.mark.parametrize("found", [{"id": "a"}, {"id": "a", "verdict": "clear"}, {"id": "a", "verdict": {}}, "clear"])
def test_an_answer_without_a_verdict_is_never_clear(stub, client_of, found):
    stub.found = found
    assert client_of().lookup("a", budget_s=20).reasons == ("scorer_unavailable",)


def test_a_404_of_something_else_is_no_word_on_the_request(stub, client_of):
    stub.answer(404)
    assert client_of().lookup("a", budget_s=20).reasons == ("scorer_unavailable",)


def test_a_connection_that_went_stale_is_opened_again(stub, client_of):
    client = client_of()
    client.lookup("a", budget_s=20)
    stub.script = [HANG_UP]
    assert client.lookup("a", budget_s=20).reasons == ("no_verdict",)


def test_more_calls_than_allowed_are_not_made(stub, client_of):
    stub.hold()
    client = client_of(calls=1)
    client.lookup("a", budget_s=0.05)
    # Its thread may still be on its way back.
    found = [client.lookup("a", budget_s=0.05).reasons for _ in range(3)]
    assert all(each in (("scorer_late",), ("scorer_unavailable",)) for each in found)
    assert client.counts.late + client.counts.unavailable == client.counts.calls == 4


def test_a_closed_client_answers_unavailable(stub, client_of):
    client = client_of()
    client.close()
    assert client.lookup("a").reasons == ("scorer_unavailable",)


# -- the circuit ---------------------------------------------------------------------------------------------


def test_the_circuit_opens_after_failures_and_closes_again(stub, client_of):
    stub.answer(503)
    client = client_of(failures=3, pause_s=0.05)
    for _ in range(3):
        client.lookup("a", budget_s=20)
    assert client.counts.circuit in ("open", "half_open") and client.counts.opened == 1
    stub.answer(200)
    assert stub.wait(lambda: client.lookup("a", budget_s=20).reasons == ("no_verdict",))
    assert client.counts.circuit == "closed"


def test_an_open_circuit_asks_nothing(stub, client_of):
    stub.answer(503)
    client = client_of(failures=2, pause_s=60.0)
    for _ in range(10):
        assert client.lookup("a", budget_s=20).reasons == ("scorer_unavailable",)
    assert len(stub.requests) == 2 and client.counts.circuit == "open"


def test_an_open_circuit_keeps_no_verdict_from_being_delivered(stub, client_of):
    stub.script = [503, 503]
    client = client_of(failures=2, pause_s=60.0)
    for _ in range(2):
        client.lookup("a", budget_s=20)
    client.emit(Verdict("r1", "clear"))
    assert client.flush(20) and stub.ids == ["r1"]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_pause_doubles_while_the_trials_fail_and_is_reset_by_a_success():
    clock = Clock()
    circuit = Circuit(1, 1.0, clock)
    pauses = []
    for _ in range(7):
        assert circuit.admits()
        circuit.failed()
        pauses.append(circuit.wait_s())
        assert not circuit.admits()
        clock.now += circuit.wait_s()
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert circuit.state == "half_open" and circuit.admits() and not circuit.admits()
    circuit.succeeded()
    assert circuit.state == "closed" and circuit.opened == 1
    circuit.failed()
    assert circuit.wait_s() == 1


def test_a_trial_that_was_given_up_leaves_room_for_another():
    clock = Clock()
    circuit = Circuit(1, 1.0, clock)
    circuit.failed()
    clock.now = 1.0
    assert circuit.admits()
    circuit.unknown()
    assert circuit.admits()


# -- who is asked, and with what -----------------------------------------------------------------------------


def test_tenant_and_trace_travel_with_a_question(stub, client_of):
    client, trace = client_of(tenant="acme"), "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    client.lookup("a", budget_s=20)
    with client.generation("r1", tenant="bürö", traceparent=trace):
        client.lookup("a", budget_s=20)
    (_, _, outside), (_, _, inside) = stub.requests
    assert outside["sri-tenant"] == "acme" and "traceparent" not in outside
    assert inside["sri-tenant"] == "b%C3%BCr%C3%B6" and inside["traceparent"] == trace
