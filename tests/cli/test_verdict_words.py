"""Verdicts in words: the reason first, each part with its own numbers, and how it ended."""

from dataclasses import replace

import pytest

from sri_sdk.cli.verdict_words import words
from sri_sdk.records import WITH_PARTS, PartVerdict, Verdict

BEHAVIOUR = PartVerdict("behaviour", "flagged", 398.9, 0.0365, 0.0025, "score_above_threshold")
ASKED = PartVerdict("asked", "flagged", 6.64, -4.09, 0.0025, "request_harmful")
BOTH = Verdict(
    "a", "flagged", ("score_above_threshold", "request_harmful", "unknown_group"), score=398.9, threshold=0.0365,
    p_value=0.005, ended="refusing", parts=(BEHAVIOUR, ASKED), schema=WITH_PARTS,
)  # fmt: skip


def test_it_says_why_what_each_part_found_and_how_it_ended():
    assert words(BOTH) == (
        "FLAGGED; the signal left the harmless range; the request reads as harmful; behaviour flagged: 398.9, "
        "threshold 0.0365; asked flagged: 6.64, threshold -4.09; p = 0.005; ended refusing; of no group that the guard "
        "knows, so the largest threshold counted"
    )


def test_a_part_that_was_not_judged_says_why():
    blind = replace(ASKED, status="unmonitored", score=None, p_value=None, reason="prompt_not_seen")
    said = words(replace(BOTH, status="unmonitored", reasons=("prompt_not_seen",), parts=(blind,), p_value=None))
    assert said == "UNMONITORED; asked unmonitored: prompt_not_seen; ended refusing; prompt_not_seen"


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict("a", "clear", (), 0.5, 1.0, 0.3), "CLEAR; score 0.5, threshold 1; p = 0.3"),
        (
            Verdict("a", "flagged", ("score_above_threshold",), 2.0, 1.0, 0.01, 3),
            "FLAGGED; the signal left the harmless range; score 2, threshold 1; p = 0.01; first alarm after step 3",
        ),
        (Verdict("a", "unmonitored", ("tap_silent",)), "UNMONITORED; tap_silent"),
        (Verdict("a", "clear", (), 0.5, 1.0, 0.3, steps_seen=40, judged_steps=32),
         "CLEAR; score 0.5, threshold 1; p = 0.3; judged on the first 32 of 40 steps"),
    ],
)  # fmt: skip
def test_a_guard_with_one_score_gives_that(verdict, said):
    assert words(verdict) == said
