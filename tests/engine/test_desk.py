"""Where vectors wait: heartbeats, ends that come in any order, memory that is bounded."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import sri_sdk
from sri_sdk.engine import desk as module
from sri_sdk.engine.conclude import TOGETHER, Ended, batches
from sri_sdk.engine.desk import Begun, Desk, End
from sri_sdk.engine.pooling import Pooled
from tests.engine.conftest import World


class Client(sri_sdk.Sink):
    """Writes down what is announced and what arrives."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.over: list[str] = []
        self.verdicts: list[sri_sdk.Verdict] = []

    @contextmanager
    def generation(self, *ids: str) -> Any:
        self.begun += ids
        yield list(ids)
        self.over += ids

    def emit(self, verdict: sri_sdk.Verdict) -> None:
        self.verdicts.append(verdict)


def step(world: World, *names: str, value: float = 1.0) -> Pooled:
    width = world.guarded.hook.hidden_size()
    return Pooled(names, torch.full((len(names), 1, width), value), (), None, {})


def test_a_generation_is_announced_while_it_runs_so_that_one_without_a_verdict_shows(world: World) -> None:
    client: Any = Client()
    desk = Desk(world.guarded.settings, client=client)
    desk.begin(Begun("k1", "r1"))
    desk.begin(Begun("k2", "r2"))
    assert desk.flush(30)
    assert (client.begun, client.over) == (["r1", "r2"], [])
    desk.end(End("k1", 0, ended=False, interrupted=True))
    assert desk.flush(30)
    assert client.over == ["r1"]
    assert [verdict.request_id for verdict in client.verdicts] == ["r1"]
    desk.close()
    assert sorted(client.over) == ["r1", "r2"]


def test_no_more_vectors_are_kept_than_the_guard_looks_at(world: World) -> None:
    desk = Desk(world.guarded.settings)
    desk.begin(Begun("k", "r"))
    for _ in range(200):
        desk.passed(step(world, "k"))
    assert desk.flush(30)
    entry = desk._open["k"]
    assert entry.seen == 200
    assert entry.room is not None
    assert len(entry.room) == world.guarded.settings.budget
    desk.close()


def test_a_request_longer_than_the_guards_profile_is_over_budget(world: World) -> None:
    told: list[Any] = []
    desk = Desk(world.guarded.settings)
    desk.told = told.append
    desk.begin(Begun("k", "r"))
    for _ in range(100):
        desk.passed(step(world, "k"))
    desk.end(End("k", 100, ended=True, interrupted=False))
    assert desk.flush(30)
    (verdict,) = told[0].verdicts
    assert "over_budget" in verdict.reasons
    assert verdict.steps_seen == 100
    desk.close()


def test_an_end_of_an_unknown_request_and_a_second_end_are_left_aside(world: World) -> None:
    told: list[Any] = []
    desk = Desk(world.guarded.settings)
    desk.told = told.append
    desk.begin(Begun("k", "r"))
    for key in ("stranger", "k", "k"):
        desk.end(End(key, 0, ended=False, interrupted=True))
    assert desk.flush(30)
    assert sum(len(found.verdicts) for found in told) == 1
    desk.close()


def test_counts_say_what_became_of_everything(world: World) -> None:
    desk = Desk(world.guarded.settings)
    desk.begin(Begun("a", "a"))
    desk.begin(Begun("b", "b"))
    desk.passed(step(world, "a", "b"))
    desk.end(End("a", 1, ended=False, interrupted=True))
    assert desk.flush(30)
    counts = desk.counts
    assert (counts.begun, counts.concluded, counts.running, counts.passes) == (2, 1, 1, 1)
    assert counts.unmonitored + counts.flagged == 1
    desk.close()


def test_a_request_that_cannot_be_concluded_costs_none_of_its_neighbours(world: World) -> None:
    engine = world.engine
    for name in ("r0", "r1"):
        engine.admit(name)
    engine.run([(name, len(engine.prompts[name])) for name in ("r0", "r1")])
    while engine.at["r1"] < engine.length("r1"):
        engine.run([("r1", 1)])
    desk = engine.tap.desk
    assert desk.flush(30)
    # States of another width, which no batch holds beside the others.
    desk._open["r0"].room = np.ones((16, 1, 3), np.float32)
    with desk._changed:
        engine.end("r0", interrupted=True, tokens=1)
        engine.end("r1")
    found = world.flush().verdicts
    assert found["r0"].status == "unmonitored"
    assert found["r1"].status == world.verdicts["r1"].status


class Watched:
    """A desk and what it told."""

    def __init__(self, world: World) -> None:
        self.desk, self.found = Desk(world.guarded.settings), list[sri_sdk.Verdict]()
        self.desk.told = lambda found: self.found.extend(found.verdicts)

    def serve(self, key: str) -> None:
        self.desk.begin(Begun(key, key))
        self.desk.end(End(key, 0, ended=False, interrupted=True))
        assert self.desk.flush(30)


def test_verdicts_that_cannot_be_handed_on_cost_no_later_request(world: World, monkeypatch: Any, caplog: Any) -> None:
    watched, real = Watched(world), Desk(world.guarded.settings)._emitter.emit
    answers: list[Any] = [RuntimeError("a secret"), None]

    def emit(verdicts: Any) -> None:
        answer = answers.pop(0) if answers else None
        if answer is not None:
            raise answer
        real(verdicts)

    monkeypatch.setattr(watched.desk._emitter, "emit", emit)
    for key in ("a", "b"):
        watched.serve(key)
    assert [(v.request_id, v.status, v.reasons) for v in watched.found[:1]] == [
        ("a", "unmonitored", ("scorer_failed",))
    ]
    assert [v.request_id for v in watched.found] == ["a", "b"]
    assert watched.desk.counts.concluded == 2
    assert "secret" not in caplog.text
    watched.desk.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced_and_what_ran_then_is_not_trusted(world: World, monkeypatch: Any) -> None:
    watched = Watched(world)
    desk = watched.desk
    desk.begin(Begun("ran", "ran"))
    desk.passed(step(world, "ran"))
    assert desk.flush(30)
    first = desk._thread
    assert first is not None
    with monkeypatch.context() as patched:

        def dies(*_: object) -> None:
            raise SystemExit

        patched.setattr(desk, "_take", dies)
        desk.passed(step(world, "ran"))
        desk.flush(0)
        first.join(30)
    assert not first.is_alive()
    desk.passed(step(world, "ran"))
    desk.end(End("ran", 3, ended=True, interrupted=False))
    assert desk.flush(30)
    (verdict,) = watched.found
    assert (verdict.status, verdict.reasons[0], verdict.steps_seen) == ("unmonitored", "hook_failed", 1)
    assert desk._waiting == 0
    watched.serve("next")
    assert [v.request_id for v in watched.found] == ["ran", "next"]
    desk.close()


def test_passes_that_find_no_room_cost_their_requests_and_no_others(world: World, monkeypatch: Any) -> None:
    told: dict[str, sri_sdk.Verdict] = {}
    desk = Desk(world.guarded.settings)
    desk.told = lambda found: told.update({verdict.request_id: verdict for verdict in found.verdicts})
    width = world.guarded.hook.hidden_size()
    monkeypatch.setattr(module, "WAITING_BYTES", 4 * (module.PASS_BYTES + 4 * width))
    with desk._changed:
        # The thread takes nothing meanwhile.
        for key in ("early", "late"):
            desk.begin(Begun(key, key))
        for _ in range(3):
            desk.passed(step(world, "early"))
        for _ in range(50):
            desk.passed(step(world, "late"))
        assert len(desk._inbox) == 2 + 4 + 1
        assert desk._waiting <= module.WAITING_BYTES
        for key, tokens in (("early", 3), ("late", 50)):
            desk.end(End(key, tokens, ended=True, interrupted=False))
    assert desk.flush(30)
    assert "hook_failed" not in told["early"].reasons
    assert (told["late"].status, told["late"].reasons[0], told["late"].steps_seen) == ("unmonitored", "hook_failed", 1)
    assert desk._waiting == 0
    desk.close()


def test_vectors_of_a_pass_that_was_lost_are_not_made_up_for_by_later_ones(world: World) -> None:
    desk = Desk(world.guarded.settings)
    desk.begin(Begun("k", "r"))
    desk.passed(step(world, "k"))
    desk.passed(Pooled(("k",), None, (), None, {"k": "tap_silent"}, whole=False))
    desk.passed(step(world, "k", value=7.0))
    assert desk.flush(30)
    entry = desk._open["k"]
    assert (entry.seen, entry.kept, entry.failed) == (1, 1, ["tap_silent"])
    desk.close()


def ended(name: str, steps: int) -> Ended:
    return Ended(name, torch.zeros(steps, 1, 2**10), steps, steps, ended=True)


def test_requests_are_concluded_together_as_far_as_the_longest_of_them_leaves_room() -> None:
    # 4 kB a step: one of 8,192 steps is half of what is held at once.
    found = batches([ended("a", 1), ended("b", 8192), ended("c", 1), ended("d", 1), ended("e", 20_000), ended("f", 1)])
    assert [[each.request_id for each in batch] for batch in found] == [["a", "b"], ["c", "d"], ["e"], ["f"]]


def test_many_short_requests_are_concluded_together_and_no_id_twice() -> None:
    many = [ended(str(number), 1) for number in range(TOGETHER + 1)]
    assert [len(batch) for batch in batches(many)] == [TOGETHER, 1]
    assert [len(batch) for batch in batches([ended("a", 1), ended("a", 2), ended("b", 1)])] == [1, 2]
    assert batches([]) == []
