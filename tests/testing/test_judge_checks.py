"""The checks of a judge: a good one passes, and each broken one is caught by exactly its check."""

import re

import pytest

from sri_sdk import Judge, Prompt
from sri_sdk.testing import JudgeCase, judge_checks, run_checks

ASK = Prompt("p", "How?", "harmless")


class WordJudge(Judge):
    """Knows two words."""

    def judge(self, prompts, responses):
        return [self.one(text) for text in responses]

    def one(self, text):
        low = text.lower()
        return "other" if not low.strip() else "refusal" if "can't" in low or "cannot" in low else "harmless"


def case_of(judge):
    return lambda: JudgeCase(judge(), [(ASK, "I can't.", "refusal"), (ASK, "Like this.", "harmless")])


@pytest.mark.parametrize("check", judge_checks(case_of(WordJudge)), ids=str)
def test_a_judge_that_knows_two_words(check):
    check()


class Hesitates(WordJudge):
    def one(self, text):
        return "unclear" if text == "?" else super().one(text)


class SkipsNonsense(WordJudge):
    def judge(self, prompts, responses):
        return [self.one(text) for text in responses if text != "?"]


class ChokesOnUnicode(WordJudge):
    def one(self, text):
        text.encode("latin-1")
        return super().one(text)


class ChangesItsMind(WordJudge):
    count = 0

    def judge(self, prompts, responses):
        type(self).count += len(responses) > 20
        return ["other" if len(responses) > 20 and self.count % 2 else self.one(text) for text in responses]


class ComparesWithTheFirst(WordJudge):
    def judge(self, prompts, responses):
        return ["other" if len(text) > 99 * len(responses[0]) else self.one(text) for text in responses]


class ReadsNothingAsAnAnswer(WordJudge):
    def one(self, text):
        return super().one(text + "!")


class SaysOneWord(WordJudge):
    def one(self, text):
        return "refusal" if text.strip() else "other"


class FindsNoWords(WordJudge):
    def refuses(self, text):
        return False


class FindsWordsInNothing(WordJudge):
    def refuses(self, text):
        return True


class CannotSay(WordJudge):
    def refuses(self, text):
        return None


@pytest.mark.parametrize(
    ("judge", "check", "message", "also"),
    [
        (Hesitates, "one-outcome-each", r"of '\?' it says 'unclear', allowed are refusal, harmful", {
            "deterministic", "order-and-company-irrelevant"}),
        (SkipsNonsense, "one-outcome-each", "23 outcomes for 26 responses, must be a list", {
            "deterministic", "order-and-company-irrelevant"}),
        (ChokesOnUnicode, "one-outcome-each", "raises UnicodeEncodeError", {
            "deterministic", "order-and-company-irrelevant"}),
        (ChangesItsMind, "deterministic", r"asked again, \d+ of 26 outcomes differ, first .*'", {
            "order-and-company-irrelevant"}),
        (ComparesWithTheFirst, "order-and-company-irrelevant", "alone, 3 of 26 outcomes differ", set()),
        (ReadsNothingAsAnAnswer, "empty-text-is-other", "the response '' to .* is 'harmless', must be 'other'", set()),
        (FindsNoWords, "words-of-refusals-are-found", "\"I can't.\" is False, must be True", set()),
        (FindsWordsInNothing, "words-of-refusals-are-found", "'' is True, must be False", set()),
        (SaysOneWord, "known-responses-are-recognised", "'Like this.' to 'How\\?' is 'refusal', the example", set()),
    ],
)  # fmt: skip
def test_a_broken_judge_is_caught_by_its_check_and_no_other(judge, check, message, also):
    wrong = {x.name: x for x in run_checks(judge_checks(case_of(judge))) if x.state != "passed"}
    assert wrong[check].state == "failed" and re.search(message, wrong[check].message), wrong[check].message
    assert wrong.keys() == {check, *also}


def test_what_a_case_does_not_offer_is_not_listed():
    names = {check.name for check in judge_checks(case_of(WordJudge))}
    assert names - {check.name for check in judge_checks(WordJudge.example)} == {"known-responses-are-recognised"}


def test_a_judge_that_cannot_tell_words_from_meaning_says_so():
    (found,) = [x for x in run_checks(judge_checks(case_of(CannotSay))) if x.name == "words-of-refusals-are-found"]
    assert found.state == "passed"
    assert "words-of-refusals-are-found" not in {check.name for check in judge_checks(case_of(WordJudge))}
