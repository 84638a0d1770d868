"""Requests of an engine get the signals and verdicts that `watch` gives them under transformers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from sri_sdk.records import Verdict
from tests.engine.conftest import World

CLOSE = 1e-4


def same(found: Mapping[str, Verdict], wanted: Mapping[str, Verdict]) -> None:
    for name, verdict in wanted.items():
        other = found[name]
        assert (other.status, other.reasons) == (verdict.status, verdict.reasons)
        assert (other.steps_seen, other.steps_expected) == (verdict.steps_seen, verdict.steps_expected)
        assert [part.status for part in other.parts] == [part.status for part in verdict.parts]
        assert other.score == pytest.approx(verdict.score, abs=1e-3)
        assert other.bundle == verdict.bundle


def close(world: World, name: str) -> Any:
    return np.testing.assert_allclose(world.told.logits[name], world.logit(name), atol=CLOSE, rtol=0)


@pytest.mark.parametrize("width", [3, 7, 1000])
def test_signals_and_verdicts_are_those_of_watch_whatever_the_chunks(world: World, width: int) -> None:
    for name in world.engine.prompts:
        world.engine.serve(name, width=width)
    same(world.flush().verdicts, world.verdicts)
    for name in world.engine.prompts:
        close(world, name)


@pytest.mark.parametrize("seed", range(6))
def test_signals_and_verdicts_are_those_of_watch_in_flat_batches_with_preemption(world: World, seed: int) -> None:
    world.engine.serve_all(random.Random(seed))
    same(world.flush().verdicts, world.verdicts)
    for name in world.engine.prompts:
        close(world, name)


def test_a_prefix_hit_reads_the_request_from_the_sums_of_its_blocks(world: World) -> None:
    engine = world.engine
    engine.serve("r0")
    full = (len(engine.prompts["r0"]) - 1) // engine.size * engine.size
    engine.serve("r0", computed=full)
    same(world.flush().verdicts, {"r0": world.verdicts["r0"]})
    close(world, "r0")
    assert world.told.missing["r0"] is None


def test_a_prefix_hit_on_a_block_that_was_evicted_costs_its_part_and_no_other(world: World) -> None:
    engine = world.engine
    engine.serve("r0")
    world.flush()
    engine.tap.evicted(engine.hashes("r0"))
    full = (len(engine.prompts["r0"]) - 1) // engine.size * engine.size
    engine.serve("r0", computed=full)
    assert world.flush().missing["r0"] == "prompt_not_seen"
    parts = {part.name: part for part in world.told.verdicts["r0"].parts}
    wanted = {part.name: part for part in world.verdicts["r0"].parts}
    assert parts["asked"].status == "unmonitored"
    assert parts["behaviour"].status == wanted["behaviour"].status
    assert parts["behaviour"].score == pytest.approx(wanted["behaviour"].score, abs=1e-3)


def test_a_cache_that_was_emptied_has_no_sums(world: World) -> None:
    world.engine.serve("r0")
    assert world.engine.tap.blocks
    world.engine.tap.cleared()
    assert not world.engine.tap.blocks


def test_an_aborted_request_is_unmonitored_and_its_neighbours_are_not(world: World) -> None:
    engine = world.engine
    for name in ("r0", "r1"):
        engine.admit(name)
    engine.run([(name, len(engine.prompts[name])) for name in ("r0", "r1")])
    engine.run([("r0", 1), ("r1", 1)])
    engine.end("r0", interrupted=True, tokens=2)
    while engine.at["r1"] < engine.length("r1"):
        engine.run([("r1", 1)])
    engine.end("r1")
    verdict = world.flush().verdicts["r0"]
    if verdict.status != "flagged":  # What its request says may be an alarm already.
        assert (verdict.status, verdict.reasons[0]) == ("unmonitored", "interrupted")
    assert verdict.steps_seen == 2
    same(world.told.verdicts, {"r1": world.verdicts["r1"]})


def test_a_tap_that_falls_silent_is_never_clear(world: World) -> None:
    engine = world.engine
    engine.admit("r1")
    engine.run([("r1", len(engine.prompts["r1"]))])
    while engine.at["r1"] < engine.length("r1"):
        engine.run([("r1", 1)], silent=["final"])
    engine.end("r1")
    verdict = world.flush().verdicts["r1"]
    assert verdict.status == "unmonitored"
    assert "tap_silent" in verdict.reasons


def test_a_tap_that_never_fired_is_unmonitored(world: World) -> None:
    engine = world.engine
    engine.admit("r1")
    engine.run([("r1", len(engine.prompts["r1"]))], silent=["final", 1])
    engine.end("r1", tokens=1)
    verdict = world.flush().verdicts["r1"]
    assert (verdict.status, verdict.reasons[0]) == ("unmonitored", "tap_silent")


def test_a_step_beyond_the_end_is_not_counted(world: World) -> None:
    """An engine that runs ahead learns of the end token one pass late."""
    engine = world.engine
    engine.admit("r1")
    engine.run([("r1", len(engine.prompts["r1"]))])
    while engine.at["r1"] < engine.length("r1"):
        engine.run([("r1", 1)])
    engine.run([("r1", 1)])
    engine.end("r1")
    same(world.flush().verdicts, {"r1": world.verdicts["r1"]})
    close(world, "r1")


def test_a_request_that_is_never_run_and_aborted_has_a_verdict(world: World) -> None:
    world.engine.admit("r2")
    world.engine.tap.ended("r2", tokens=0, ended=False, interrupted=True)
    verdict = world.flush().verdicts["r2"]
    assert verdict.status == "unmonitored"
    assert verdict.reasons


def test_a_reason_that_the_engine_gives_is_the_verdicts(world: World) -> None:
    engine = world.engine
    engine.admit("r1", reasons=("other_code",))
    engine.run([("r1", len(engine.prompts["r1"]))])
    while engine.at["r1"] < engine.length("r1"):
        engine.run([("r1", 1)])
    engine.end("r1")
    assert "other_code" in world.flush().verdicts["r1"].reasons
    assert world.told.verdicts["r1"].status == "unmonitored"


def test_requests_that_still_run_when_the_engine_ends_are_unmonitored(world: World) -> None:
    engine = world.engine
    engine.admit("r1")
    engine.run([("r1", len(engine.prompts["r1"]))])
    engine.tap.desk.close()
    assert world.told.verdicts["r1"].status == "unmonitored"
    assert "interrupted" in world.told.verdicts["r1"].reasons


def test_a_failure_of_the_tap_costs_verdicts_and_raises_nothing(world: World, monkeypatch: Any) -> None:
    engine = world.engine
    engine.admit("r1")

    def broken(*_: object) -> None:
        raise RuntimeError("made up")

    monkeypatch.setattr(engine.tap._pool, "_indices", broken)
    engine.run([("r1", len(engine.prompts["r1"]))])
    engine.end("r1", tokens=1)
    assert world.flush().verdicts["r1"].status == "unmonitored"
