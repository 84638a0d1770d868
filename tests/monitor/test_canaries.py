"""Which canaries are due, and what their verdicts say of a guard that is silent."""

import pytest
from pydantic import ValidationError

from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.monitor.canaries import LOST, CanarySchedule, MustFlag, must_flag
from sri_sdk.monitor.lookout_settings import CanariesSection, DriftSection, HarmfulSection
from sri_sdk.observation import CANARY_ID, Observation
from sri_sdk.records import Prompt, Verdict

from ..fitting.conftest import write_config

HARMFUL = tuple(Prompt(f"h{i}", f"harmful {i}", "harmful") for i in range(5))


def answer(schedule, due, judge):
    """Every canary runs; `judge` says status and reasons of its source's id."""
    for canary in due:
        status, *reasons = judge(canary.source.id).split()
        schedule.ran(Observation(Verdict(canary.prompt.id, status, tuple(reasons)), 1, kind="canary"))


def made(count=2, every=60.0):
    return CanarySchedule(every, MustFlag(HARMFUL, count), None)


def asked(schedule, now):
    return [canary.source.id for canary in schedule.due(now)]


def test_prompts_are_tried_at_once_until_enough_were_flagged_and_those_are_asked_from_then_on():
    schedule, flagged = made(), {"h1", "h4"}
    tried = []
    for now in (0, 1, 2):
        due = schedule.due(now)
        tried.append([canary.source.id for canary in due])
        answer(schedule, due, lambda name: "flagged" if name in flagged else "clear")
    assert tried == [["h0", "h1"], ["h2", "h3"], ["h4"]]
    assert (schedule.missed, schedule.proven) == (None, 2)
    assert [asked(schedule, now) for now in (3, 61.9, 62.0)] == [[], [], ["h1", "h4"]]


def test_it_is_a_miss_if_none_is_flagged_and_a_hit_ends_it():
    schedule = made()
    answer(schedule, schedule.due(0), lambda _: "flagged")
    for now, verdicts, missed in (
        (60, "clear", "clear"), (120, "unmonitored tap_silent", "tap_silent"), (180, "flagged", None),
        (240, "not_sampled", "not_sampled"),
    ):  # fmt: skip
        answer(schedule, schedule.due(now), lambda _, verdicts=verdicts: verdicts)
        assert schedule.missed == missed
    answer(schedule, schedule.due(300), lambda name: "flagged" if name == "h0" else "clear")
    assert schedule.missed is None, "one of two is enough: the guard works"


def test_a_guard_that_flags_nothing_is_a_miss_only_after_every_prompt_was_tried():
    schedule, seen = made(), []
    for now in range(3):
        assert schedule.missed is None, "a guard may well not flag the first ones"
        due = schedule.due(now)
        seen += [canary.source.id for canary in due]
        answer(schedule, due, lambda _: "clear")
    assert seen == [each.id for each in HARMFUL] and schedule.missed == "clear"
    assert asked(schedule, 3) == [] and asked(schedule, 62) == ["h0", "h1"], "the search begins anew, in its time"


def test_a_guard_that_sees_nothing_is_a_miss_at_once_and_uses_no_prompt_up():
    schedule = made()
    answer(schedule, schedule.due(0), lambda _: "unmonitored tap_silent")
    assert schedule.missed == "tap_silent"
    assert asked(schedule, 1) == [] and asked(schedule, 60) == ["h0", "h1"], "no hurry, and the same prompts again"


def test_canaries_that_never_ended_are_a_miss():
    schedule = made()
    answer(schedule, schedule.due(0), lambda _: "flagged")
    schedule.due(60)
    schedule.due(120)
    assert schedule.missed == LOST


def test_every_run_of_a_prompt_has_an_id_of_its_own_and_counts_once():
    schedule = made(count=1)
    (first,) = schedule.due(0)
    observation = Observation(Verdict(first.prompt.id, "flagged"), 1, kind="canary")
    assert schedule.ran(observation) == first and schedule.ran(observation) is None
    (again,) = schedule.due(60)
    assert again.source == first.source and again.prompt.id != first.prompt.id
    assert first.prompt.id.startswith(CANARY_ID) and first.prompt.base == "h0"
    stranger = Observation(Verdict("r1", "clear"), 1)
    assert schedule.ran(stranger) is None and schedule.missed is None


def test_harmless_ones_come_in_their_time_until_there_are_no_more():
    left = [Prompt(f"p{i}", f"text {i}", "harmless") for i in range(5)]
    schedule = CanarySchedule(10, None, lambda count: [left.pop(0) for _ in range(min(count, len(left)))], 2)
    assert [asked(schedule, now) for now in (0, 5, 10, 20, 30)] == [["p0", "p1"], [], ["p2", "p3"], ["p4"], []]
    assert schedule.exhausted and schedule.missed is None


class TestHarmfulPrompts:
    """Of the dataset that the config names."""

    @pytest.fixture
    def config(self, tmp_path):
        return load_config(write_config(tmp_path))

    def test_as_many_as_there_are_at_most_as_many_as_wanted(self, config):
        found = must_flag(HarmfulSection(split="test", prompts=4, count=9), config)
        assert len(found.next()) == 4 and all(each.label == "harmful" for each in found.next())

    def test_a_split_without_them_is_refused_with_its_place(self, config):
        for section in (HarmfulSection(split="nowhere"), HarmfulSection(split="test", attack="nothing")):
            with pytest.raises(ConfigError, match=r"canaries\.harmful: .*(nowhere|nothing)"):
                must_flag(section, config)


def test_a_section_without_prompts_and_rates_that_find_nothing_are_refused():
    with pytest.raises(ValidationError, match="names no prompts; allowed: harmful, harmless"):
        CanariesSection(every_s=5)
    for name, wrong in (("rate", 0.0), ("rate", 1.0), ("window", 9)):
        with pytest.raises(ValidationError, match=name):
            DriftSection(**{name: wrong})


def test_the_schedule_knows_when_one_was_flagged_last():
    schedule = made(count=1)
    for at, status in ((7, "flagged"), (9, "clear")):
        (canary,) = schedule.due(at * 100)
        schedule.ran(Observation(Verdict(canary.prompt.id, status), at, kind="canary"))
    assert schedule.flagged_at == 7


def test_a_guard_that_flags_few_of_all_that_were_tried_says_so():
    schedule = made(count=3)
    assert schedule.harmful.found is None
    while schedule.harmful.found is None:
        answer(schedule, schedule.due(0), lambda name: "flagged" if name == "h3" else "clear")
    assert schedule.harmful.found == (1, 5) and schedule.harmful.count == 3


def test_a_guard_that_flags_nothing_says_so_after_every_prompt_was_tried():
    schedule = made(count=3)
    for now in (0, 1):
        answer(schedule, schedule.due(now), lambda name: "clear")
    assert schedule.harmful.found == (0, 5) and schedule.missed == "clear"


def test_the_next_process_asks_what_this_guard_has_flagged_and_does_not_search_anew():
    before = made(count=2)
    answer(before, before.due(0), lambda name: "flagged")
    after = made(count=2)
    after.harmful.take_up(*before.harmful.memory)
    assert after.harmful.found == (2, 2)
    due = after.due(0)
    assert [canary.source.id for canary in due] == ["h0", "h1"]
    answer(after, due, lambda name: "clear")
    assert after.missed == "clear", "the others might be flagged, and nobody may be content with them"


def test_prompts_of_another_file_are_not_taken_up():
    schedule = made(count=2)
    schedule.harmful.take_up(["0" * 64], ["1" * 64])
    assert schedule.harmful.found is None and asked(schedule, 0) == ["h0", "h1"]
