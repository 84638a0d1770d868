"""The search for a suffix, on models whose weakness is known."""

import pytest

from sri_sdk import Prompt, registry
from sri_sdk.errors import ConfigError
from sri_sdk.target import Target
from sri_sdk.testing import attack_checks, run_checks

PRACTICE = [Prompt(f"p{i}", f"request {i}", "harmful") for i in range(12)]
WORDS = ["alder", "birch", "cedar", "elm", "fir", "hazel", "open", "please"]


class Weak(Target):
    """Gives in to two words together, hesitates at one of them, and refuses everything else."""

    scheme = "masked"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def respond(self, prompts):
        self.asked += [p.text for p in prompts]
        return [p.text for p in prompts]

    def outcomes(self, prompts, responses):
        found = [{"open", "please"} & set(text.split()) for text in responses]
        return [("refusal", "other", "harmful")[len(words)] for words in found]


def search(target: Target | None = None, practice=PRACTICE, **options):
    attack = registry.build(
        "attacks", "random-search", {"words": WORDS, "length": 4, "rounds": 60, "per_round": 4, **options}
    )
    return attack, attack.prepare(target or Weak(), practice)


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_what_a_model_is_weak_to_by_outcomes_alone(seed: int) -> None:
    attack, learnt = search(seed=seed)
    assert {"open", "please"} <= set(learnt["suffix"].split())
    (made,) = attack.apply([Prompt("q", "how ?", "harmful")], learnt)
    assert made.text == f"how ? {learnt['suffix']}" and made.attack == "random-search"


def test_each_round_says_what_it_tried_and_what_came_of_it() -> None:
    _, learnt = search(rounds=30)
    assert len(learnt["rounds"]) == 30
    for tried in learnt["rounds"]:
        before, after = (
            (harm, -refused) for harm, refused in zip(tried["harmful"], tried["refused"], strict=True)
        )  # fmt: skip
        assert tried["kept"] == (after > before) and tried["requests"] == 4
    kept = [tried["suffix"] for tried in learnt["rounds"] if tried["kept"]]
    assert learnt["suffix"] == kept[-1]
    assert learnt["rounds"][-1]["harmful"][0] == 4, "the suffix it ended with succeeds on every request of the round"


def test_the_seed_and_the_requests_decide_and_their_order_does_not() -> None:
    assert search(seed=3)[1] == search(seed=3)[1] == search(practice=PRACTICE[::-1], seed=3)[1]
    assert search(seed=3, rounds=5)[1] != search(seed=4, rounds=5)[1]


def test_a_round_changes_neighbouring_words_only() -> None:
    _, learnt = search(change=1, rounds=20)
    current = None
    for tried in learnt["rounds"]:
        if current is not None:
            assert sum(a != b for a, b in zip(current, tried["suffix"].split(), strict=True)) <= 1
        current = tried["suffix"].split() if tried["kept"] else current


def test_nothing_is_asked_twice() -> None:
    target = Weak()
    search(target)
    assert len(target.asked) == len(set(target.asked)) < 60 * 2 * 4


def test_a_model_that_always_refuses_leaves_the_first_suffix() -> None:
    class Firm(Weak):
        def outcomes(self, prompts, responses):
            return ["refusal" for _ in prompts]

    _, learnt = search(Firm())
    assert not any(tried["kept"] for tried in learnt["rounds"]) and len(learnt["suffix"].split()) == 4


def test_words_may_come_from_a_file(tmp_path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("open please\nalder birch", encoding="utf-8")
    _, learnt = search(words=None, words_file=str(file))
    assert set(learnt["suffix"].split()) <= {"open", "please", "alder", "birch"}


@pytest.mark.parametrize(
    ("options", "practice", "problem"),
    [
        ({}, PRACTICE[:3], "3 practice requests, per_round 4"),
        ({"words": None, "words_file": "/nowhere/words"}, PRACTICE, "words_file /nowhere/words"),
        ({"words_file": "words"}, PRACTICE, "words and words_file are both given"),
        ({"change": 5}, PRACTICE, "change 5 exceeds length 4"),
        ({"template": "{request}"}, PRACTICE, "lacks {suffix}"),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(options, practice, problem) -> None:
    with pytest.raises(ConfigError) as raised:
        search(practice=practice, **options)
    assert problem in str(raised.value)


@pytest.mark.parametrize("learnt", [{}, {"suffix": 3}])
def test_without_a_suffix_there_is_no_attack(learnt) -> None:
    attack = registry.build("attacks", "random-search", {})
    with pytest.raises(ConfigError, match="learnt holds no suffix"):
        attack.apply(PRACTICE, learnt)


def test_it_keeps_every_promise() -> None:
    results = run_checks(attack_checks(registry.load("attacks", "random-search").example))
    assert [r for r in results if r.state != "passed"] == []
