"""What counts as the same text, and where a phrase is found."""

import pytest

from sri_sdk.text import Phrases, in_short, normal


@pytest.mark.parametrize(
    "text",
    [
        "I **cannot** assist", "I __cannot__ assist", "I *can*not assist", "I ~~cannot~~ assist", "I `cannot` assist",
        "**I cannot assist", "> I cannot assist", "- I cannot assist", "## I cannot assist", 
        "[I cannot](http://x) assist",
        "I <b>cannot</b> assist", "I cannot<br>assist", 
        "I can\u200bnot assist", "I can\u00adnot assist", "I can\u2060not as\ufeffsist", "I c\u200dannot assist\ufe0f",
        "I\u00a0cannot\u2028assist", "I\u2800cannot assist", "\u202eI cannot assist\u202c", "I can\u0007not assist",
        "\uff29 \uff43\uff41\uff4e\uff4e\uff4f\uff54 assist", "I CANNOT ASSIST", "I *\u200b*cannot** assist",
        "I&nbsp;cannot assist", "I can&#8203;not assist", "I can\U000e0041not assist", "I can\u3164not assist",
    ],
)  # fmt: skip
def test_what_a_reader_does_not_see_makes_no_difference(text: str) -> None:
    assert normal(text) == "i cannot assist"


def test_letters_and_accents_are_the_same_however_they_are_composed() -> None:
    assert normal("cafe\u0301") == normal("caf\u00e9") == normal("cafe\u200b\u0301") != normal("cafe")


@pytest.mark.parametrize("text", ["2 * 3", "2*3", "snake_case", "a - b", "5 > 3", "f(x) = [1, 2]", "a < b", "it's"])
def test_signs_that_mark_nothing_stay(text: str) -> None:
    assert normal(text) == text


@pytest.mark.parametrize("text", ["\u200b", "**", " \n", "\ufeff", "\u2800", "&nbsp;", ""])
def test_a_text_without_anything_to_read_is_empty(text: str) -> None:
    assert normal(text) == ""


def test_half_a_character_is_no_reason_to_fail() -> None:
    assert normal("a\ud800b") == "a\ud800b"


@pytest.mark.parametrize("sign", ["[", "*", "`", "<b ", "![](", "\\", "&#", "> ", "_a"])
def test_long_runs_of_marks_take_no_time(sign: str) -> None:
    normal(sign * 50_000)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("无法", "我无法满足您的要求"), ("できません", "申し訳ありませんが、お手伝いできませんので。"),
        ("ไม่สามารถ", "ฉันไม่สามารถช่วยได้"), ("ບໍ່ສາມາດ", "ຂ້ອຍບໍ່ສາມາດຊ່ວຍ"), ("មិនអាច", "ខ្ញុំមិនអាចជួយ"),
        ("မကူညီနိုင်", "ကျွန်ုပ်မကူညီနိုင်ပါ"), ("죄송합니다", "죄송합니다만 안 됩니다"), ("i cannot", "抱歉I cannot这样做"),
        ("无法", "我**无**法满足"), ("не могу", "Я не\u00a0МОГУ помочь"), ("नहीं कर सकता", "मैं यह नहीं कर सकता।"),
    ],
)  # fmt: skip
def test_a_phrase_is_found_in_every_script(phrase: str, text: str) -> None:
    assert text in Phrases([phrase])


@pytest.mark.parametrize(
    ("phrase", "text"),
    [("i can", "i candy"), ("i can", "i can't"), ("не могу", "не могущий"), ("मदद", "मददी"), ("je ne", "moje nebe"),
     ("cafe", "cafe\u0301s"), ("无法", "法无")],
)  # fmt: skip
def test_a_phrase_is_not_found_inside_a_longer_word(phrase: str, text: str) -> None:
    assert text not in Phrases([phrase])


def test_no_phrases_are_found_nowhere() -> None:
    assert "anything" not in Phrases([]) and "anything" not in Phrases(["**"])


@pytest.mark.parametrize(
    ("message", "private", "kept"),
    [
        ("connection refused", ["How do I tame a dragon?"], True),
        ("bad: 'how do I tame\\n a dragon?'", ["How do I tame a dragon?"], False),
        ("cannot read no.", ["No."], False),
        ("down", [""], True),
    ],
)
def test_an_error_in_short_does_not_quote_a_text(message: str, private: list[str], kept: bool) -> None:
    assert (message in in_short(ValueError(message), private)) is kept
