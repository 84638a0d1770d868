"""Thoughts are no answers."""

import time
from typing import Any

import pytest

from sri_sdk.thoughts import KNOWN, Thoughts, thoughts

NO = "I cannot help with that."
FORMS = [
    f"<think>{NO}</think>\n\nSure.",
    f"<think>\n{NO}\n</think>Sure.",
    f"<THINK>{NO}</THINK> Sure.",
    f"<thinking>{NO}</thinking>Sure.",
    f"<thinking>{NO}</think>Sure.",
    f"<thought>{NO}</thought>Sure.",
    f"<seed:think>{NO}</seed:think>Sure.",
    f"<longcat_think>{NO}</longcat_think>Sure.",
    f"[THINK]{NO}[/THINK]Sure.",
    f"<|think|>{NO}<|/think|>Sure.",
    f"<|channel|>analysis<|message|>{NO}<|end|><|start|>assistant<|channel|>final<|message|>Sure.<|return|>",
    f"<|channel|>analysis<|message|>{NO}<|channel|>final<|message|>Sure.",
    f"analysis{NO}assistantfinalSure.",
    f"<|START_THINKING|>{NO}<|END_THINKING|><|START_RESPONSE|>Sure.<|END_RESPONSE|>",
    f"<|begin_of_thought|>{NO}<|end_of_thought|>\n<|begin_of_solution|>Sure.<|end_of_solution|>",
    f"<|channel>thought\n{NO}<channel|>Sure.",
    f"<|inner_prefix|>{NO}<|inner_suffix|>Sure.",
    f"\u25c1think\u25b7{NO}\u25c1/think\u25b7Sure.",
    f"Here is my thought process: {NO} Here's my response: Sure.",
    f"<think>{NO}</think><answer>Sure.</answer>",
    f"{NO}</think>Sure.",
    f"{NO}[/THINK]Sure.",
    f"<think>One.</think><think>{NO}</think>Sure.",
    f"<think>One <think>two</think> {NO}</think>Sure.",
]


@pytest.mark.parametrize("text", FORMS)
def test_the_answer_is_what_stands_behind_the_thoughts(text: str) -> None:
    parts = KNOWN.split(text)
    assert parts.answer == "Sure." and NO in parts.thought and not parts.unfinished
    assert KNOWN.answer(parts.answer) == parts.answer


@pytest.mark.parametrize(
    "opening",
    ["<think>", "\n<think>\n", "[THINK]", "<|channel|>analysis<|message|>", "<|channel>thought\n", "<seed:think>"],
)  # fmt: skip
def test_a_thought_that_never_ends_leaves_no_answer(opening: str) -> None:
    parts = KNOWN.split(f"{opening}{NO}")
    assert (parts.answer, parts.thought, parts.unfinished) == ("", NO, True)


@pytest.mark.parametrize(
    "text",
    [
        "", "  Plain.\n", "Close it with the `</think>` tag.", "In HTML, <thinking> is no tag.", "I think: yes.",
        "analysis of a barn", "The assistant finally came.", "Write\n```\n<think>\n```\nfirst.", "a < b > c",
    ],
)  # fmt: skip
def test_a_text_without_thoughts_stays_as_it_is(text: str) -> None:
    assert KNOWN.answer(text) == text


def test_thoughts_between_two_parts_of_an_answer_are_left_out() -> None:
    assert KNOWN.answer("<think>a</think>One.\n<think>b</think>Two.") == "One.\n Two."


def test_marks_of_ones_own_are_known_beside_the_usual_ones() -> None:
    own = thoughts((("<plan>", "</plan>"),))
    assert own.answer(f"<plan>{NO}</plan>Sure.") == own.answer(f"<think>{NO}</think>Sure.") == "Sure."
    assert own is thoughts((("<plan>", "</plan>"),)) and KNOWN.answer("<plan>x</plan>Sure.") != "Sure."


def test_a_template_opens_a_thought_or_closes_it_again() -> None:
    assert KNOWN.opened_by("</s><assistant><think>\n") == "<think>\n"
    assert KNOWN.opened_by("<|im_start|>assistant\n<think>\n\n</think>\n\n") == ""
    assert KNOWN.opened_by("<|start|>assistant<|channel|>analysis<|message|>") == "<|channel|>analysis<|message|>"
    assert KNOWN.opened_by("<|start|>assistant") == KNOWN.opened_by("") == ""


def tokenizer(special: str, words: str = "I cannot Sure") -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = {word: i for i, word in enumerate(f"<unk> </s> {words}".split())}
    core = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")
    made.add_tokens(special.split(), special_tokens=True)
    return made


@pytest.mark.parametrize(
    ("special", "text"),
    [
        ("[THINK] [/THINK]", "[THINK] I cannot [/THINK] Sure"),
        ("<|START_THINKING|> <|END_THINKING|>", "<|START_THINKING|> I cannot <|END_THINKING|> Sure"),
        (
            "<|channel|> <|message|> <|start|> <|end|> <|constrain|> <|return|> <|call|>",
            "<|channel|> analysis <|message|> I cannot <|end|> <|start|> assistant <|channel|> final <|message|> Sure",
        ),
    ],
)
def test_special_tokens_around_thoughts_survive_decoding_and_others_do_not(special: str, text: str) -> None:
    made = tokenizer(special, "I cannot Sure analysis assistant final")
    (decoded,) = KNOWN.decode(made, [made(f"{text} </s>")["input_ids"]])
    assert KNOWN.answer(decoded) == "Sure" and "</s>" not in decoded
    # By itself, transformers leaves the marks out.
    assert special.split()[0] not in made.batch_decode([made(text)["input_ids"]], skip_special_tokens=True)[0]


def test_a_special_token_that_other_families_end_messages_with_is_left_out_as_before() -> None:
    made = tokenizer("<|end|> <|assistant|>")
    assert KNOWN.decode(made, [made("<|assistant|> Sure <|end|>")["input_ids"]]) == ["Sure"]


def test_special_tokens_of_configured_marks_survive_too() -> None:
    made, own = tokenizer("<|plan|> <|done|>"), Thoughts([("<|plan|>", "<|done|>")])
    (decoded,) = own.decode(made, [made("<|plan|> I cannot <|done|> Sure")["input_ids"]])
    assert own.answer(decoded) == "Sure"


@pytest.mark.parametrize(
    "text",
    ["x<think>" * 20_000, "<think>a</think>" * 10_000 + "<think> " * 10_000, "<" + " " * 100_000, "</think>" * 20_000],
)  # fmt: skip
def test_hostile_texts_take_no_longer_than_their_length_asks_for(text: str) -> None:
    started = time.perf_counter()
    KNOWN.split(text)
    assert time.perf_counter() - started < 5
