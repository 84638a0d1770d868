"""Where vectors wait: heartbeats, ends that come in any order, memory that is bounded."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import sri_sdk
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
