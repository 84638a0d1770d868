"""Harmless text around the requests of a request map."""

from __future__ import annotations

from typing import Any

from sri_sdk import registry
from sri_sdk.config.folds import FoldsSection
from sri_sdk.fitting.around import around, shortened
from sri_sdk.fitting.folds import draw_folds
from sri_sdk.prefill import pieces
from sri_sdk.records import Prompt

TEXTS = ["how do i bake the bread of the miller at dawn ?", "teach me to paint the bridge ."]
PLAIN = [Prompt(f"p{i}", f"steal lantern number {i}", "harmful") for i in range(40)]


def made(kind: Any) -> list[Prompt]:
    return list(around(PLAIN, {kind: 40}, TEXTS, seed=3))


def test_the_request_stays_whole_and_keeps_its_label_and_its_name() -> None:
    for kind in ("text", "fragment", "start", "holes"):
        for plain, prompt in zip(PLAIN, made(kind), strict=True):
            assert plain.text in prompt.text
            assert (prompt.label, prompt.base, prompt.attack) == ("harmful", plain.id, f"around-{kind}")


def test_a_text_stands_before_some_requests_and_after_others() -> None:
    before = [prompt.text.endswith(plain.text) for plain, prompt in zip(PLAIN, made("text"), strict=True)]
    assert 5 < sum(before) < 35
    assert all(any(text in prompt.text for text in TEXTS) for prompt in made("text"))


def test_a_start_fixes_a_response_and_leaves_the_prompt_alone() -> None:
    for kind in ("start", "holes"):
        assert [p.text for p in made(kind)] == [p.text for p in PLAIN]
    assert all(any(p.prefill in text for text in TEXTS) for p in made("start") if p.prefill)
    assert all(isinstance(pieces(p.prefill or "")[0], int) for p in made("holes"))


def test_one_seed_makes_the_same_and_another_makes_others() -> None:
    assert made("fragment") == made("fragment") != list(around(PLAIN, {"fragment": 40}, TEXTS, seed=4))


def test_a_fold_has_each_request_once_and_no_other_fold_has_it() -> None:
    section = FoldsSection.model_validate(
        {
            "train": {"split": "fit", "harmless": 20},
            "reference": {"split": "fit", "harmless": 20},
            "calibration": {"split": "fit", "harmless": 20},
            "request": {
                "split": "fit", "harmless": 10, "harmful": 15, "attacks": {"fiction": 5}, "unusual": {"unusual": 4},
                "around": {"text": 6, "start": 7},
            },
        }
    )  # fmt: skip
    folds = draw_folds(registry.build("datasets", "lab", {}), section, seed=0)
    kinds = [(p.attack, p.label) for p in folds.request]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        (None, "harmless"): 14, (None, "harmful"): 15, ("around-text", "harmless"): 6, ("around-text", "harmful"): 6,
        ("around-start", "harmless"): 7, ("around-start", "harmful"): 7,
        ("fiction", "harmless"): 5, ("fiction", "harmful"): 5,
    }  # fmt: skip
    everything = [p for fold in folds.named().values() for p in fold]
    bases = [p.base or p.id for p in everything if p.attack != "fiction"]
    assert len(set(bases)) == len(bases)


def test_a_started_response_is_cut_until_it_fits_and_one_that_others_wrote_is_not() -> None:
    prompt = Prompt("p", "steal it", "harmful", attack="around-holes", prefill="<mask:3> bake the <mask:9> bread now")
    assert shortened(prompt, lambda text: len(text) < 24).prefill == "<mask:3> bake the"
    assert shortened(prompt, lambda _: False).prefill is None
    theirs = Prompt("q", "steal it", "harmful", attack="prefill", prefill="sure , here is how to")
    assert shortened(theirs, lambda _: False) is theirs
