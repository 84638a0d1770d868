"""Prompts of like length are generated together, and results come back in the order they were asked for."""

from sri_sdk.fitting.by_length import SHORT, longest_first, places
from sri_sdk.records import Prompt

TEXTS = ["a", "b" * (SHORT + 5), "c", "d" * (SHORT + 9), "e" * (SHORT + 5)]
PROMPTS = [Prompt(text[0], text, "harmless") for text in TEXTS]


def test_long_prompts_come_first_and_short_ones_keep_their_order():
    assert "".join(PROMPTS[at].id for at in longest_first(PROMPTS)) == "dbeac"
    short = [Prompt(str(n), "x" * n, "harmless") for n in range(1, 40)]
    assert longest_first(short) == list(range(39))


def test_a_started_response_counts_as_much_as_its_prompt():
    started = [PROMPTS[0], Prompt("f", "f", "harmful", prefill="g" * SHORT)]
    assert longest_first(started) == [1, 0]


def test_results_come_back_in_the_order_of_the_prompts():
    order = longest_first(PROMPTS)
    made = [PROMPTS[at].id for at in order]
    assert [made[at] for at in places(order)] == [p.id for p in PROMPTS]
