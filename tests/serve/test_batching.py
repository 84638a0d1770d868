"""Calls that take long run together in a thread; cheap ones never go there."""

import asyncio
import threading

import numpy as np
import pytest

from sri_sdk.errors import BundleError
from sri_sdk.serve import batching as module
from sri_sdk.serve.batching import Batching
from sri_sdk.serve.http import Refusal
from tests.serve.asgi import call, call_async
from tests.serve.oip_bodies import outputs_of, request_of


class Slow:
    """A model whose first call waits until it may go on."""

    bundle, name = "slow", "slow_signal"

    def __init__(self):
        self.calls, self.begun, self.may_go_on = [], threading.Event(), threading.Event()

    def run(self, inputs):
        self.calls.append(len(inputs["signals"]))
        self.begun.set()
        assert self.may_go_on.wait(30)
        if np.isnan(inputs["signals"]).any():
            raise BundleError("fails")
        return inputs["signals"][:, 0] * 2, inputs["signals"][:, 0] > 0


@pytest.fixture
def slow():
    return Slow()


@pytest.fixture
def batching():
    found = Batching(most_waiting=100)
    yield found
    found.close()


def rows(*values):
    return {"signals": np.array(values, np.float32)[:, None]}


async def begin(batching, slow, *batches):
    """Starts a request for each batch, the first of which is being computed once this returns."""
    tasks = [asyncio.create_task(batching.run(slow, rows(*batches[0]), len(batches[0])))]
    await asyncio.to_thread(slow.begun.wait, 30)
    tasks += [asyncio.create_task(batching.run(slow, rows(*each), len(each))) for each in batches[1:]]
    await asyncio.sleep(0)
    return tasks


def test_what_waits_is_computed_in_one_call_and_everybody_gets_their_own(batching, slow):
    async def go():
        tasks = await begin(batching, slow, [1], *([number, -number] for number in range(2, 22)))
        slow.may_go_on.set()
        return await asyncio.gather(*tasks)

    found = asyncio.run(go())
    assert slow.calls == [1, 40]
    assert [score.tolist() for score, _ in found] == [[2], *([2 * n, -2 * n] for n in range(2, 22))]
    assert found[5][1].tolist() == [True, False]
    assert batching.sizes == {("slow", 1): 1, ("slow", 64): 1}


def test_one_call_does_not_take_more_rows_than_allowed(batching, slow, monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 4)

    async def go():
        tasks = await begin(batching, slow, [1], [1, 2, 3], [4, 5], [6, 7])
        slow.may_go_on.set()
        return await asyncio.gather(*tasks)

    asyncio.run(go())
    assert slow.calls == [1, 3, 4]


def test_a_call_that_fails_fails_for_whoever_asked_and_the_thread_goes_on(batching, slow):
    slow.may_go_on.set()

    async def go():
        with pytest.raises(BundleError):
            await batching.run(slow, rows(float("nan")), 1)
        return await batching.run(slow, rows(3), 1)

    assert asyncio.run(go())[0].tolist() == [6]


def test_a_request_that_fails_in_a_call_of_several_fails_alone(batching, slow):
    async def go():
        tasks = await begin(batching, slow, [1], [2, 3], [float("nan")], [4])
        slow.may_go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, before, wrong, behind = asyncio.run(go())
    assert isinstance(wrong, BundleError) and slow.calls == [1, 4, 2, 1, 1]
    assert [score.tolist() for score, _ in (first, before, behind)] == [[2], [4, 6], [8]]


def test_too_many_waiting_rows_are_turned_away(batching, slow):
    async def go():
        tasks = await begin(batching, slow, [1], [1] * 99)
        with pytest.raises(Refusal, match="100 rows wait") as refusal:
            await batching.run(slow, rows(1), 1)
        slow.may_go_on.set()
        await asyncio.gather(*tasks)
        return refusal.value

    refusal = asyncio.run(go())
    assert refusal.status == 503 and refusal.answer().headers == ((b"retry-after", b"1"),)
    assert batching.refused == 1


def test_a_request_that_was_given_up_does_not_stop_the_others(batching, slow):
    async def go():
        first, second, third = await begin(batching, slow, [1], [2], [3])
        second.cancel()
        slow.may_go_on.set()
        return await asyncio.gather(first, third)

    assert [score.tolist() for score, _ in asyncio.run(go())] == [[2], [6]]


def test_threads_wait_for_the_same_call_as_event_loops(batching, slow):
    slow.may_go_on.set()
    assert batching.run_now(slow, rows(4), 1)[0].tolist() == [8]


def test_an_idle_thread_ends_and_comes_back(batching, slow, monkeypatch):
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    slow.may_go_on.set()
    batching.run_now(slow, rows(1), 1)
    for thread in [each for each in threading.enumerate() if each.name == "sri-slow_signal"]:
        thread.join(10)
        assert not thread.is_alive()
    assert batching.run_now(slow, rows(2), 1)[0].tolist() == [4]


def test_a_cheap_bundle_is_scored_without_a_thread(build, scorer):
    built = build()
    signals = np.full((3, 32, 1), 0.5, np.float32)
    assert call(built.app, "POST", "/v2/models/sri_signal/infer", *request_of({"signals": signals})).status == 200
    assert built.inference.batching.sizes == {}


def test_a_slow_bundle_answers_what_the_scorer_says(build, scorer, make_signals):
    built = build()
    for model in built.shelf.models():
        object.__setattr__(model, "call_seconds", 1.0)
    signals = make_signals(40, 3).sigma

    async def go():
        asked = [request_of({"signals": signals[n : n + 2]}) for n in range(0, 40, 2)]
        return await asyncio.gather(*(call_async(built.app, "POST", "/v2/models/sri_signal/infer", *a) for a in asked))

    found = np.concatenate([outputs_of(got)["score"][:, 0] for got in asyncio.run(go())])
    expected, spread = scorer.score_final(signals)[0], scorer.thresholds["final"].tolerance
    assert np.abs(found - expected).max() <= spread
    assert sum(built.inference.batching.sizes.values()) < 20
    built.inference.batching.close()


def test_the_time_of_a_large_batch_counts(scorer, monkeypatch):
    from sri_sdk.serve.oip import model as module
    from sri_sdk.serve.oip.model import Model

    # Measured, both may be the same on a busy machine.
    monkeypatch.setattr(module, "_measured", lambda _, rows: 1e-5 + 1e-6 * rows)
    model = Model("sri", "sri_signal", "1", "signal", scorer)
    assert model.seconds(4096) > model.seconds(1) > 0
