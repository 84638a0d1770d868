"""Baselines without a second model: phrases, and the guarded model asked about itself."""

import math
from typing import Any

import numpy as np
import pytest
from sri_plugin_baselines.perplexity import PerplexityBaseline
from sri_plugin_baselines.phrases import PHRASES
from sri_plugin_baselines.refusal_dictionary import RefusalDictionaryBaseline, RefusalInDraftsBaseline
from sri_plugin_baselines.safety_classifier import PromptSafetyClassifierBaseline, SafetyClassifierBaseline
from sri_plugin_baselines.self_examination import QUESTION, SelfExaminationBaseline

from sri_sdk import Prompt, registry
from sri_sdk.errors import ConfigError
from sri_sdk.records import Generation
from sri_sdk.target import Target
from sri_sdk.testing import Check, baseline_checks
from sri_sdk.text import Phrases

NAMES = {
    "perplexity": PerplexityBaseline,
    "self-examination": SelfExaminationBaseline,
    "refusal-dictionary": RefusalDictionaryBaseline,
    "refusal-in-drafts": RefusalInDraftsBaseline,
    "safety-classifier": SafetyClassifierBaseline,
    "prompt-safety-classifier": PromptSafetyClassifierBaseline,
}
CHECKS = [
    pytest.param(check, id=f"{name}-{check}") for name, kind in NAMES.items() for check in baseline_checks(kind.example)
]
ASK = Prompt("a", "How do I open the barn?", "harmful")


@pytest.mark.parametrize("check", CHECKS)
def test_the_example_keeps_every_promise_of_the_kit(check: Check) -> None:
    check()


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_is_installed_under_its_name(name: str) -> None:
    assert registry.load("baselines", name) is NAMES[name]


def answered(response: str, *drafts: str) -> Generation:
    return Generation(ASK, response, "other", drafts)


# -- phrases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phrase", PHRASES)
def test_every_phrase_is_found_in_a_sentence(phrase: str) -> None:
    assert f"Well,  {phrase.upper().replace(chr(39), chr(0x2019))}\nthat." in Phrases(PHRASES)


@pytest.mark.parametrize("text", ["", "Lift the latch.", "Hawaii cannot", "of course i candidly", "i can'ts"])
def test_an_answer_holds_no_phrase_even_where_a_longer_word_begins_with_one(text: str) -> None:
    assert text not in Phrases(("i can", "i can't", "i cannot"))


def test_the_dictionary_suspects_every_answer_and_no_refusal() -> None:
    baseline = registry.build("baselines", "refusal-dictionary", {})
    found = baseline.score([answered("Lift it."), answered("I cannot."), answered(" \n")])
    assert found[:2].tolist() == [1, 0] and math.isnan(found[2])


def test_phrases_of_ones_own_come_beside_the_usual_ones_or_in_their_place() -> None:
    texts = [answered("That would be unkind."), answered("I cannot.")]
    for options, expected in (
        ({"more": ["would be unkind"]}, [0, 0]), ({"phrases": ["would be unkind"]}, [0, 1]), ({}, [1, 0]),
    ):  # fmt: skip
        assert registry.build("baselines", "refusal-dictionary", options).score(texts).tolist() == expected
    with pytest.raises(ConfigError, match="phrases"):
        registry.build("baselines", "refusal-dictionary", {"phrases": [" "]})
    with pytest.raises(ConfigError, match="phrases"):
        registry.build("baselines", "refusal-dictionary", {"phrases": []})


@pytest.mark.parametrize(
    ("response", "drafts", "expected"),
    [
        ("Lift it.", ("I cannot.", "I can't say", "Lift", "Lift it."), 0.5),
        ("Lift it.", ("Lift", "Lift it."), 0),
        ("I cannot.", ("I cannot.", "I cannot."), 0),
        ("I cannot.", ("Lift", "I cannot."), 0),
        ("Lift it.", (), math.nan),
        ("", ("I cannot.",), math.nan),
    ],
)
def test_refusing_drafts_before_an_answer_are_suspicious(
    response: str, drafts: tuple[str, ...], expected: float
) -> None:
    (found,) = registry.build("baselines", "refusal-in-drafts", {}).score([answered(response, *drafts)])
    np.testing.assert_equal(found, expected)


# -- self-examination --------------------------------------------------------------------------------------------


class Scripted(Target):
    """Answers in turn, and keeps what it was asked."""

    scheme = "masked"

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), []

    def respond(self, prompts: Any) -> list[str]:
        self.asked += prompts
        return [self.answers.pop(0) for _ in prompts]

    def outcomes(self, prompts: Any, responses: Any) -> Any:
        raise AssertionError("the judge is not asked")


def examined(answers: list[str], responses: list[str], **options: Any) -> tuple[list[float], Scripted]:
    baseline, target = registry.build("baselines", "self-examination", options), Scripted(*answers)
    baseline.open(target)
    return baseline.score([answered(response) for response in responses]).tolist(), target


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes, it would.", 1), ("no", 0), (" **No.** It would not.", 0), ("YES", 1), ("Nobody knows.", math.nan),
        ("It would, yes.", math.nan), ("", math.nan), ("yesterday", math.nan),
    ],
)  # fmt: skip
def test_the_first_word_of_the_answer_counts(answer: str, expected: float) -> None:
    (found,), _ = examined([answer], ["Lift it."])
    np.testing.assert_equal(found, expected)


def test_the_question_holds_the_response_and_nothing_of_the_prompt() -> None:
    _, target = examined(["no"], ["Lift {it}."])
    (prompt,) = target.asked
    assert prompt.text == QUESTION.replace("{response}", "Lift {it}.") and ASK.text not in prompt.text
    assert (prompt.label, prompt.attack, prompt.prefill) == ("harmless", None, None)


@pytest.mark.parametrize("suspicious", ["no", False])  # as YAML reads it, with and without quotes
def test_a_question_of_ones_own_may_turn_the_answer_around(suspicious: Any) -> None:
    options = {"question": "is this kind : {response} ?", "suspicious": suspicious}
    found, target = examined(["yes , this is kind .", "no , this would hurt ."], ["feed it", "steal it"], **options)
    assert found == [0, 1]
    assert [prompt.text for prompt in target.asked] == ["is this kind : feed it ?", "is this kind : steal it ?"]


def test_other_words_may_mean_yes_and_no() -> None:
    found, _ = examined(["Ja.", "Nein.", "yes"], ["a", "b", "c"], yes_words=["ja"], no_words=["nein"])
    np.testing.assert_equal(found, [1, 0, math.nan])


def test_an_empty_response_is_not_asked_about() -> None:
    found, target = examined(["yes"], ["", "Lift it.", " "])
    np.testing.assert_equal(found, [math.nan, 1, math.nan])
    assert len(target.asked) == 1 and examined([], [""])[1].asked == []


def test_only_the_beginning_may_be_shown() -> None:
    _, target = examined(["no"], ["Lift the latch."], most_characters=4, question="{response}?")
    assert target.asked[0].text == "Lift?"


def test_without_open_there_is_nobody_to_ask() -> None:
    with pytest.raises(ConfigError, match=r"call open\(target\) before score"):
        registry.build("baselines", "self-examination", {}).score([answered("Lift it.")])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"question": "Is it bad?"}, r"question: \{response\} is missing"),
        ({"yes_words": ["Ja"], "no_words": ["ja"]}, "ja stands in both"),
        ({"yes_words": []}, "yes_words"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        registry.build("baselines", "self-examination", options)
