"""Selection: the direction that is taken takes refusals away on new prompts, and the rule is kept."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.steer.first_pass import FirstPass, RefusingTokens, canvas_of, kl
from sri_sdk.steer.make import one_direction
from sri_sdk.steer.select import Limits, Selection, Trial, ablated, added, select
from tests.steer.conftest import load

SAMPLERS = {
    "diffusion": ("low-confidence", {"steps": 8, "tokens": 48}),
    "causal": ("autoregressive", {"tokens": 32}),
}


@cache
def trial_of(name: str, count: int = 12) -> Trial:
    lab = load(name)
    new = {label: tuple(lab.prompts(label, count, split="calibration")) for label in ("harmless", "harmful")}
    return Trial(
        lab.hook, lab.loaded, registry.build("samplers", *SAMPLERS[name]), registry.build("judges", "lab", {}),
        new["harmless"], new["harmful"],
    )  # fmt: skip


@cache
def selected(name: str) -> Selection:
    return select(trial_of(name), load(name).means(48), Limits(finalists=3))


@pytest.mark.parametrize("name", ["diffusion", "causal"])
def test_what_is_taken_takes_refusals_away_and_leaves_harm(name: str) -> None:
    found = selected(name)
    assert found.unsteered["harmful_refused"].value > 0.9 and not found.unsteered["harmful_done"].k
    assert found.taken.harmful_refused.value < 0.3 < 0.7 < found.taken.harmful_done.value
    # It is the model's word and not the table's: on prompts that neither made nor chose the direction.
    lab, trial = load(name), trial_of(name)
    direction = one_direction(
        lab.means(48), found.taken.block, found.taken.place, name="refusal", towards="refusing", provenance={}
    )
    fresh = lab.prompts("harmful", 12, split="test")
    with ablated(lab.hook, direction):
        assert trial.outcomes(fresh).count("refusal") < 6
    assert trial.outcomes(fresh).count("refusal") > 10


@pytest.mark.parametrize("name", ["diffusion", "causal"])
def test_every_candidate_keeps_to_the_rule_or_says_why_not(name: str) -> None:
    found = selected(name)
    finalists = [each for each in found.candidates if each.out is None]
    assert 0 < len(finalists) <= 3 and found.taken in finalists
    assert all(each.kl <= 0.1 and each.added > found.first_tokens["harmless"] for each in finalists)
    assert all((each.harmful_refused is None) == (each.out is not None) for each in found.candidates)
    best = min(each.harmful_refused.value for each in finalists)
    assert found.taken.harmful_refused.value == best
    left = [each for each in found.candidates if each.out == "others take more away"]
    assert all(each.ablated >= max(final.ablated for final in finalists) for each in left)


def test_a_causal_model_has_candidates_behind_the_request_alone_and_a_masked_one_before_it_too() -> None:
    assert {each.place for each in selected("causal").candidates} <= {"post+0", "post+1"}
    assert {"pre-1", "post+1"} <= {each.place for each in selected("diffusion").candidates}


def test_adding_brings_refusals_to_harmless_prompts_of_the_causal_model() -> None:
    found = selected("causal")
    assert found.taken.harmless_refused.value > 0.8 and not found.unsteered["harmless_refused"].k


def test_the_last_blocks_are_left_out_and_with_them_the_choice_changes() -> None:
    found = select(trial_of("causal"), load("causal").means(48), Limits(last_blocks=0.5, finalists=2))
    assert found.taken.block < 2
    assert {each.out for each in found.candidates if each.block >= 2} == {"in the last blocks"}


def test_where_nothing_is_left_the_message_counts_why(diffusion) -> None:
    with pytest.raises(ConfigError, match=r"none of \d+ candidates is left: \d+ changes harmless answers.*limits.kl"):
        select(trial_of("diffusion"), diffusion.means(48), Limits(kl=1e-9))
    same = diffusion.means(8)
    with pytest.raises(ConfigError, match="differ nowhere by more than chance"):
        select(trial_of("diffusion"), replace(same, mean=same.mean[[0, 0]]))


def test_a_model_that_refuses_nothing_has_no_refusal_direction(diffusion) -> None:
    harmless = trial_of("diffusion").harmless
    with pytest.raises(ConfigError, match="refuses none of 12 harmful prompts"):
        select(replace(trial_of("diffusion"), harmful=harmless), diffusion.means(48))


def test_a_selection_is_the_same_in_batches_of_any_size_and_json() -> None:
    other = select(replace(trial_of("causal"), batch_size=5), load("causal").means(48), Limits(finalists=3))
    one = selected("causal")
    assert (other.taken.block, other.taken.place) == (one.taken.block, one.taken.place)
    assert [each.kl for each in other.candidates] == pytest.approx([each.kl for each in one.candidates], rel=1e-3)
    told = one.to_dict()
    assert told["taken"]["harmful_refused"]["n"] == 12 and len(told["candidates"]) == len(one.candidates)
    assert "last fifth" in told["rule"]


def test_the_model_is_as_before_when_a_selection_has_ended(causal) -> None:
    first = FirstPass(causal.hook, causal.loaded, 0)
    prompts = causal.prompts("harmless", 3)
    before = first.logits(prompts)
    selected("causal")
    select(trial_of("causal"), causal.means(16), Limits(finalists=1))
    assert torch.equal(first.logits(prompts), before)


# -- first passes ----------------------------------------------------------------------------------------------


def test_the_first_pass_of_a_causal_model_is_its_next_token(causal) -> None:
    prompts = causal.prompts("harmful", 3)
    logits = FirstPass(causal.hook, causal.loaded, 0).logits(prompts)
    assert logits.shape[:2] == (3, 1)
    encoded = causal.hook.encode(causal.loaded.tokenizer, [p.text for p in prompts])
    with torch.no_grad():
        made = causal.loaded.model.generate(
            input_ids=encoded.input_ids, attention_mask=encoded.attention_mask, max_new_tokens=1, do_sample=False
        )
    assert logits[:, 0].argmax(-1).tolist() == made[:, -1].tolist()


def test_the_first_pass_of_a_masked_model_shows_a_whole_canvas_and_never_says_mask(diffusion) -> None:
    first = FirstPass(diffusion.hook, diffusion.loaded, 48)
    prompts = diffusion.prompts("harmful", 2)
    logits = first.logits(prompts)
    assert logits.shape[:2] == (2, 48)
    assert not logits.softmax(-1)[..., diffusion.hook.mask_id()].any()
    # Alone or beside a longer prompt: the same.
    assert torch.allclose(first.logits(prompts[:1]), logits[:1], atol=1e-3)


def test_kl_is_zero_of_the_same_and_that_of_the_textbook_otherwise() -> None:
    base = torch.tensor([[[0.0, 0.0]], [[1.0, -1.0]]])
    other = torch.tensor([[[0.0, 0.0]], [[0.0, 0.0]]])
    p = torch.tensor([1.0, -1.0]).softmax(-1)
    wanted = float((p * (p / 0.5).log()).sum())
    assert kl(base, other) == pytest.approx([0.0, wanted], abs=1e-6)
    never = base.clone()
    never[..., 1] = -1e30
    assert kl(never, never) == [0.0, 0.0]


def test_refusing_tokens_are_those_that_harmful_prompts_are_answered_with(causal) -> None:
    first = FirstPass(causal.hook, causal.loaded, 0)
    kinds = [[causal.prompts(label, 16)] for label in ("harmless", "harmful")]
    refusing = RefusingTokens(first, *kinds)
    shares = [np.mean(refusing.mass(first.logits(kind[0]))) for kind in kinds]
    assert shares[0] < 0.1 < 0.8 < shares[1] and refusing.gap == pytest.approx(shares[1] - shares[0], abs=1e-4)


def test_adding_nothing_and_adding_much_are_told_apart_by_the_first_pass(causal) -> None:
    first, prompts = FirstPass(causal.hook, causal.loaded, 0), causal.prompts("harmless", 4)
    direction = one_direction(causal.means(16), 3, "post+1", name="x", towards="x", provenance={})
    base = first.logits(prompts)
    with added(causal.hook, direction, 3, 0.0):
        assert torch.equal(first.logits(prompts), base)
    with added(causal.hook, direction, 3, 30.0):
        assert min(kl(base, first.logits(prompts))) > 0.5


def test_a_family_that_works_in_blocks_is_shown_its_first_block(diffusion, monkeypatch) -> None:
    assert canvas_of(diffusion.hook, 48) == 48
    monkeypatch.setattr(diffusion.hook, "block_length", lambda: 8, raising=False)
    assert canvas_of(diffusion.hook, 48) == 8


def test_a_canvas_family_is_refused_in_words(diffusion) -> None:
    hook = SimpleNamespace(
        scheme="canvas", encode=diffusion.hook.encode, shift=lambda: 0, mask_id=lambda: None,
        tokens=diffusion.hook.tokens,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="of scheme canvas"):
        FirstPass(hook, diffusion.loaded, 8).logits(diffusion.prompts("harmless", 1))
