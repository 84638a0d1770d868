"""Attacks that start the response, as text and on a small model."""

import pytest

from sri_sdk import Prompt, StepGrid, drive, registry
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.errors import ConfigError
from sri_sdk.prefill import pieces

STARTED = ("prefill", "mask-infilling", "parallel-decoding")
REQUESTS = [Prompt(f"q{i}", f"how do i bake bread {i} ?", "harmful") for i in range(40)]


def started(name: str, **options) -> list[str]:
    return [p.prefill for p in registry.build("attacks", name, options).apply(REQUESTS, {})]


def holes(text: str) -> int:
    return sum(piece for piece in pieces(text) if isinstance(piece, int))


@pytest.mark.parametrize("name", STARTED)
def test_the_prompt_stays_as_it_was(name: str) -> None:
    made = registry.build("attacks", name, {}).apply(REQUESTS, {})
    assert [p.text for p in made] == [r.text for r in REQUESTS] and all(p.prefill for p in made)


@pytest.mark.parametrize("name", STARTED)
def test_a_response_that_is_started_already_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="the response to 'q' is started already, with 'yes'"):
        registry.build("attacks", name, {}).apply([Prompt("q", "how ?", "harmful", prefill="yes")], {})


def test_prefill_suits_every_model_and_the_others_masked_ones_alone() -> None:
    schemes = {name: registry.load("attacks", name).schemes for name in STARTED}
    assert schemes == {"prefill": None, "mask-infilling": {"masked"}, "parallel-decoding": {"masked"}}
    assert holes(started("prefill")[0]) == 0


def test_prefill_may_repeat_the_request() -> None:
    assert started("prefill", text="sure , {request}")[3] == "sure , how do i bake bread 3 ?"


def test_every_frame_is_used_and_a_request_always_takes_the_same() -> None:
    frames = ["one <mask:4> .", "two <mask:5> .", "three <mask:6> , {request}"]
    made = started("mask-infilling", starts=frames)
    assert made == started("mask-infilling", starts=frames)
    assert {text.split()[0] for text in made} == {"one", "two", "three"}
    alone = registry.build("attacks", "mask-infilling", {"starts": frames}).apply(REQUESTS[7:8], {})
    assert alone[0].prefill == made[7]


def test_our_frames_leave_room_in_a_response_of_128_tokens() -> None:
    for text in set(started("mask-infilling")):
        assert 54 <= holes(text) <= 56
        words = " ".join(piece for piece in pieces(text) if isinstance(piece, str))
        assert len([w for w in words.replace(":", " : ").replace(".", " . ").split()]) < 40


def test_connectors_stand_as_far_apart_as_asked() -> None:
    made = started("parallel-decoding", connectors=["first", "then", "last"], first=5, gap=9, before=" ")
    assert pieces(made[0]) == [5, " first", 9, " then", 9, " last"]
    assert pieces(started("parallel-decoding", connectors=["first"], first=0)[0]) == ["first"]


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("prefill", {"text": "sure <mask:x>"}, "found '<mask:x>'"),
        ("mask-infilling", {"starts": ["sure <mask:0>"]}, "found '<mask:0>'"),
        ("mask-infilling", {"starts": []}, "starts: must hold at least 1"),
        ("parallel-decoding", {"connectors": ["first", " "]}, "' ' is no text"),
        ("parallel-decoding", {"connectors": ["a <mask:3>"]}, "'a <mask:3>' is no text"),
        ("parallel-decoding", {"gap": 0}, "gap: "),
    ],
)
def test_what_cannot_start_a_response_is_refused(name: str, options: dict, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        registry.build("attacks", name, options)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("name", "options", "kept"),
    [
        ("prefill", {"text": "ab"}, "ab"),
        ("mask-infilling", {"starts": ["a<mask:2>b"]}, "a__b"),
        ("parallel-decoding", {"connectors": ["x", "y"], "first": 1, "gap": 2, "before": ""}, "_x__y"),
    ],
)
def test_a_small_masked_model_generates_around_what_was_started(name: str, options: dict, kept: str) -> None:
    family = registry.load("hooks", "toy")
    loaded = family.load(family.Config())
    settings = WatchSettings("response", grid=StepGrid(8, "step", 8), keep_states=True)
    prompts = registry.build("attacks", name, options).apply(REQUESTS[:3], {})
    batch = drive(family(loaded.model), loaded, registry.build("samplers", "toy", {}), prompts, settings)
    steps = list(batch)
    assert len(steps) == 8 - len(kept.replace("_", ""))
    assert [t.reasons for t in batch.run.traces] == [()] * 3
    for text in batch.texts:
        assert len(text) == 8 and all(k in ("_", t) for k, t in zip(kept, text, strict=False))
