"""Started responses as text: what is a hole, and what is a mistake."""

import pytest
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import MASK, ToyTokenizer, build

from sri_sdk.errors import ConfigError
from sri_sdk.prefill import holes, pieces


def test_text_and_holes_come_in_their_order() -> None:
    assert pieces("sure , <mask:7> then <mask:2>") == ["sure , ", 7, " then ", 2]
    assert pieces("<mask:1><mask:2>x") == [1, 2, "x"]
    assert pieces("no holes < 7 > here") == ["no holes < 7 > here"] and pieces("") == []


def test_a_mark_is_written_as_it_is_read() -> None:
    assert pieces(holes(12)) == [12]
    with pytest.raises(ValueError, match="0 holes"):
        holes(0)


@pytest.mark.parametrize(
    "mark",
    ["<mask>", "<mask:>", "<mask:0>", "<mask:07>", "<mask:-3>", "<mask: 7>", "<mask:7", "<MASK:7>", "< mask:7>",
     "<mask:seven>", "</mask>", "<mask:1234567>"],
)  # fmt: skip
def test_what_is_nearly_a_mark_is_refused_with_the_form_that_is_allowed(mark: str) -> None:
    with pytest.raises(ConfigError, match=r"prompt 'p7': found '<.*allowed: <mask:7>"):
        pieces(f"sure {mark} then", subject="prompt 'p7'")


def test_a_word_that_begins_with_mask_is_text() -> None:
    assert pieces("<masking tape>") == ["<masking tape>"]


def test_rows_of_unequal_length_are_open_behind_their_end() -> None:
    hook, letters = ToyHook(build(0)), ToyTokenizer()
    found = hook.start(letters, ["ab<mask:2>c", None, "d"])
    a, b, c, d = letters.encode("abcd")
    assert found.tolist() == [[a, b, MASK, MASK, c], [MASK] * 5, [d, *[MASK] * 4]]
    assert found.dtype == torch.int64
    assert hook.start(letters, [None, ""]).shape == (2, 0)


def test_a_family_without_a_mask_has_no_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyHook, "mask_id", lambda self: None)
    with pytest.raises(ConfigError, match="no mask token"):
        ToyHook(build(0)).start(ToyTokenizer(), ["a<mask:2>"])
