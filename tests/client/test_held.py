"""Streamed pieces are let go when the policy lets them, and not before."""

import asyncio
import threading
import time

import pytest

import sri_sdk
from sri_sdk.policy import Policy
from sri_sdk.records import Verdict

FINAL = Policy(rule="final", flagged="abort", unmonitored="abort")
OPEN = Policy(rule="final", flagged="abort", unmonitored="report")
ONLINE = Policy(rule="online", flagged="abort", unmonitored="abort")
CLEAR, FLAGGED = Verdict("0", "clear"), Verdict("0", "flagged", ("score_above_threshold",))


def held(policy, *pieces, **options):
    found = sri_sdk.HeldTokens(policy, **options)
    for piece in pieces:
        found.put(piece)
    return found


def decided(policy, verdict):
    return policy.decide([verdict])[0]


def test_a_policy_that_only_reports_holds_nothing():
    found = held(Policy.observe(), "a", "b")
    assert found.ready() == ["a", "b"]
    found.end()
    assert list(found) == []


def test_the_final_rule_holds_everything_until_the_verdict():
    found = held(FINAL, "a", "b", "c")
    assert found.ready() == []
    found.end(decided(FINAL, CLEAR))
    assert list(found) == ["a", "b", "c"] and not found.decision.withheld


def test_what_is_flagged_is_let_go_of():
    found = held(FINAL, "a", "b")
    found.end(decided(FINAL, FLAGGED))
    assert list(found) == [] and found.decision.withheld
    found.put("late")
    assert found.ready() == []


@pytest.mark.parametrize("rule", ["online", "request"])
def test_a_piece_is_let_go_when_the_next_pass_has_judged_it(rule):
    found = held(Policy(rule=rule, flagged="abort", unmonitored="report"), "a")
    assert found.ready() == []
    found.put("b")
    assert found.ready() == ["a"]
    # The pass after "b" raised an alarm, so there is no third piece.
    found.judge(FLAGGED)
    found.end()
    assert list(found) == []


def test_a_coarse_grid_holds_as_many_pieces_as_a_cell_has_steps():
    found = held(ONLINE, *"abcdef", behind=4)
    assert found.ready() == ["a", "b"]


def test_a_policy_that_looks_seldom_holds_back_what_an_alarm_may_come_late_for():
    found = held(ONLINE.model_copy(update={"look_every": 4}), *"abcdef")
    assert found.ready() == ["a", "b"]


@pytest.mark.parametrize(("policy", "sent"), [(FINAL, []), (OPEN, ["a"])], ids=["fail-closed", "fail-open"])
def test_without_a_verdict_in_time_the_policy_decides(policy, sent):
    found = held(policy, "a", budget_s=0.05)
    start = time.perf_counter()
    found.end()
    assert list(found) == sent
    assert 0.05 <= time.perf_counter() - start < 5
    assert found.decision.verdict == Verdict("0", "unmonitored", ("no_verdict",))


def test_the_budget_begins_with_the_end_of_the_generation():
    found = held(FINAL, "a", budget_s=20)
    timer = threading.Timer(0.1, lambda: (found.end(), found.judge(CLEAR)))
    timer.start()
    assert list(found) == ["a"]
    timer.join()


def test_a_later_alarm_withholds_what_is_left():
    found = held(ONLINE, "a", "b")
    found.judge(CLEAR)
    assert found.ready() == ["a", "b"]
    found.judge(FLAGGED)
    found.put("c")
    found.end()
    assert list(found) == [] and found.decision.withheld


def test_a_clear_verdict_takes_nothing_back_that_an_alarm_said():
    found = held(FINAL, "a")
    found.judge(FLAGGED)
    found.judge(CLEAR)
    found.end()
    assert list(found) == [] and found.decision.withheld


def test_a_thread_generates_while_another_sends():
    found, sent = held(ONLINE), []

    def generate():
        for i in range(200):
            found.put(i)
        found.end(decided(ONLINE, CLEAR))

    thread = threading.Thread(target=generate)
    thread.start()
    sent.extend(found)
    thread.join()
    assert sent == list(range(200))


def test_an_event_loop_sends_what_a_thread_generates():
    found = held(ONLINE)

    def generate():
        for i in range(200):
            found.put(i)
        found.end(decided(ONLINE, CLEAR))

    async def send():
        thread = threading.Thread(target=generate)
        thread.start()
        sent = [piece async for piece in found]
        thread.join()
        return sent

    assert asyncio.run(send()) == list(range(200))


def test_an_event_loop_waits_no_longer_than_the_budget():
    found = held(FINAL, "a", budget_s=0.05)
    found.end()

    async def send():
        return [piece async for piece in found]

    assert asyncio.run(send()) == [] and found.decision.withheld


@pytest.mark.parametrize("turns", range(5))
def test_who_stops_sending_as_the_verdict_comes_is_not_made_to_go_on(turns):
    async def run():
        found = held(FINAL, "a", "b", budget_s=60.0)
        found.end()
        sends = asyncio.create_task(anext(aiter(found)))
        await asyncio.sleep(0.02)
        found.judge(CLEAR)
        for _ in range(turns):
            await asyncio.sleep(0)
        stopped = sends.cancel()
        await asyncio.wait({sends})
        return sends.cancelled() == stopped

    assert asyncio.run(run())


def test_a_client_listens_for_the_verdict(client_of):
    client, found = client_of(), held(FINAL, "a", request_id="r1", budget_s=20)
    stop = client.listen("r1", found.judge)
    found.end()
    threading.Timer(0.05, client.emit, [Verdict("r1", "clear")]).start()
    assert list(found) == ["a"]
    stop()


# -- the block of the side that generates --------------------------------------------------------------------


def read_all(found):
    """What a reader in another thread gets; None = it hangs."""
    got = []
    reader = threading.Thread(target=lambda: got.append(list(found)), daemon=True)
    reader.start()
    reader.join(20)
    return got[0] if got else None


def test_the_block_ends_the_response_by_what_its_run_decided(watched):
    model, guard, inputs = watched
    found = held(FINAL, "a", request_id="r2", budget_s=60)
    with found, sri_sdk.watch(model, guard, policy=FINAL, request_ids=["r1", "r2"]) as run:
        found.of(run)
        model.generate(**inputs)
    assert found.decision == run.decisions[1] and read_all(found) is not None


def test_a_watch_without_a_policy_leaves_its_verdict_to_that_of_the_stream(watched):
    model, guard, _ = watched
    found = held(Policy(rule="final", flagged="report", unmonitored="abort"), "a", request_id="r2", budget_s=60)
    with found, sri_sdk.watch(model, guard, request_ids=["r1", "r2"]) as run:
        found.of(run)
    assert (run.decisions[1].verdict.status, run.decisions[1].withheld) == ("unmonitored", False)
    assert found.decision.withheld and read_all(found) == []


@pytest.mark.parametrize("policy, got", [(FINAL, []), (OPEN, ["a"])], ids=["closed", "open"])
def test_a_watch_that_refuses_leaves_no_reader_hanging(watched, policy, got):
    model, guard, _ = watched
    found = held(policy, "a", request_id="r1", budget_s=600)
    with (
        pytest.raises(sri_sdk.errors.ConfigError),
        found,
        sri_sdk.watch(model, guard, policy=policy, rule="online") as run,
    ):
        found.of(run)
    assert read_all(found) == got and found.decision.verdict.reasons == ("no_verdict",)


def test_a_model_that_raises_leaves_no_reader_hanging_and_no_piece_out(watched):
    model, guard, _ = watched
    found = held(FINAL, "a", request_id="r1", budget_s=600)
    with (
        pytest.raises(ZeroDivisionError),
        found,
        sri_sdk.watch(model, guard, policy=FINAL, request_ids=["r1"]) as run,
    ):
        found.of(run)
        raise ZeroDivisionError
    assert read_all(found) == [] and found.decision.verdict.status == "unmonitored"


def test_a_run_without_this_request_is_no_verdict_on_it(watched):
    model, guard, inputs = watched
    found = held(FINAL, "a", request_id="other", budget_s=600)
    with found, sri_sdk.watch(model, guard, policy=FINAL, request_ids=["r1", "r2"]) as run:
        found.of(run)
        model.generate(**inputs)
    assert read_all(found) == [] and found.decision.verdict.reasons == ("no_verdict",)


def test_a_block_without_a_run_waits_for_a_verdict_from_elsewhere():
    found = held(FINAL, "a", budget_s=600)
    with found:
        pass
    assert found.decision is None
    found.judge(CLEAR)
    assert read_all(found) == ["a"]
