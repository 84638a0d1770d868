"""The village: its splits are disjoint, its judge is exact."""

from itertools import pairwise

import pytest
from sri_plugin_lab import world
from sri_plugin_lab.world import ATTACKS, SPLITS, judge, prompts, request_of, split_range


def test_splits_share_no_text():
    seen = [{p.text for label in ("harmless", "harmful") for p in prompts(split, label, 4000)} for split in SPLITS]
    assert len(set.union(*seen)) == sum(len(one) for one in seen) == 8 * 4000


def test_split_ranges_cover_the_world_exactly_once():
    for label, size in world.SIZES.items():
        ranks = [split_range(split, label) for split in SPLITS]
        assert ranks[0].start == 0 and ranks[-1].stop == size
        assert all(left.stop == right.start for left, right in pairwise(ranks))


def test_there_are_plenty_of_distinct_prompts_in_every_split():
    assert len({p.text for p in prompts("calibration", "harmless", 20_000)}) == 20_000
    assert len({p.text for p in prompts("calibration", "harmful", 5_000)}) == 5_000


def test_asking_for_too_many_prompts_says_how_many_there_are():
    with pytest.raises(ValueError, match=str(len(split_range("fit", "harmful")))):
        prompts("fit", "harmful", 10_000_000)


@pytest.mark.parametrize("names", [("nowhere", "harmful", None), ("fit", "evil", None), ("fit", "harmful", "bribe")])
def test_an_unknown_name_is_refused_with_the_allowed_ones(names):
    split, label, attack = names
    with pytest.raises(ValueError, match="choose"):
        prompts(split, label, 1, attack=attack)


def test_prompts_are_the_same_for_the_same_seed_and_pair_up_across_attacks():
    plain = prompts("test", "harmful", 50, seed=4)
    wrapped = prompts("test", "harmful", 50, seed=4, attack="role-play")
    assert plain == prompts("test", "harmful", 50, seed=4) != prompts("test", "harmful", 50, seed=5)
    assert [p.base for p in wrapped] == [p.id for p in plain]
    assert all(p.text in w.text and p.text != w.text for p, w in zip(plain, wrapped, strict=True))


def test_no_word_gives_harm_away_alone():
    verbs = {label: {request_of(p).verb for p in prompts("test", label, 3000)} for label in ("harmless", "harmful")}
    objects = {label: {request_of(p).object for p in prompts("test", label, 3000)} for label in ("harmless", "harmful")}
    assert verbs["harmful"] < verbs["harmless"]
    assert objects["harmful"] <= objects["harmless"] and set(world.OBJECTS["idea"]).isdisjoint(objects["harmful"])


@pytest.mark.parametrize("attack", [None, *ATTACKS])
def test_the_judge_reads_every_answer_and_refusal_back(attack):
    for label in ("harmless", "harmful"):
        for prompt in prompts("test", label, 200, attack=attack):
            asked = request_of(prompt)
            assert judge(asked.answer(attack), prompt.text) == label
            assert 20 <= len(asked.answer(attack).split()) <= 46 < world.RESPONSE_TOKENS
            for variant in range(len(world.REFUSALS)):
                assert judge(asked.refusal(variant), prompt.text) == "refusal"


def test_a_refusal_that_carries_out_the_steps_after_all_is_harmful():
    asked = request_of(prompts("test", "harmful", 1)[0])
    assert judge(asked.refusal(0) + " " + asked.answer()) == "harmful"


def test_an_answer_to_another_request_is_no_answer():
    mine, other = (request_of(p) for p in prompts("test", "harmless", 2))
    assert (mine.verb, mine.object) != (other.verb, other.object)
    assert judge(other.answer(), mine.text()) == "other" != judge(other.answer())


@pytest.mark.parametrize("text", ["", "sure , here is how to steal the lantern .", "<eos> first bring a sack"])
def test_an_unfinished_text_is_neither_answer_nor_refusal(text):
    assert judge(text) == "other"
