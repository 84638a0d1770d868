"""Extraction: one pass per prompt, states where the template has them, and differences that are more than chance."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sri_sdk.capture.encoded import encode
from sri_sdk.capture.locate import unpadded
from sri_sdk.errors import CaptureError, ConfigError
from sri_sdk.steer.extract import extract_means, states_of
from sri_sdk.steer.make import direction_per_block, extract_directions, one_direction, refuse_overlap
from sri_sdk.steer.template import Places, shared_places


def test_places_are_the_template_s_tokens_around_the_request(diffusion) -> None:
    means = diffusion.means(8)
    assert means.places.names == ("pre-3", "pre-2", "pre-1", "post+0", "post+1")
    words = diffusion.loaded.tokenizer.convert_ids_to_tokens(list(means.places.tokens))
    assert words == ["<bos>", "user", ":", "assistant", ":"]


def test_a_token_that_one_prompt_lacks_is_no_place_of_any(diffusion) -> None:
    rows = unpadded(encode(diffusion.hook, diffusion.loaded.tokenizer, diffusion.prompts("harmless", 4), None))
    rows[2] = [*rows[2][:2], 99, *rows[2][3:]]
    places = shared_places(diffusion.hook, diffusion.loaded.tokenizer, rows, None)
    # Counted from where the shared part ends: the token right before what differs is pre-1.
    assert places.names == ("pre-2", "pre-1", "post+0", "post+1")


def test_of_a_long_template_the_tokens_nearest_to_the_request_are_kept(diffusion) -> None:
    encoded = encode(diffusion.hook, diffusion.loaded.tokenizer, diffusion.prompts("harmless", 4), None)
    places = shared_places(diffusion.hook, diffusion.loaded.tokenizer, unpadded(encoded), None, most=1)
    assert places.names == ("pre-1", "post+0", "post+1")
    whole = shared_places(diffusion.hook, diffusion.loaded.tokenizer, unpadded(encoded), None)
    assert torch.equal(places.columns(encoded.attention_mask), whole.columns(encoded.attention_mask)[:, 2:])
    assert torch.equal(
        places.only(["post+1"]).columns(encoded.attention_mask), whole.columns(encoded.attention_mask)[:, 4:]
    )


def test_an_unknown_place_is_named_with_those_there_are(diffusion) -> None:
    with pytest.raises(ConfigError, match=r"found post\+7; the template of this model has: pre-3.*Did you mean"):
        diffusion.means(8, places=["post+7"])


@pytest.mark.parametrize("name", ["diffusion", "causal"])
def test_means_are_those_of_hidden_states_read_prompt_by_prompt(lab_of, name) -> None:
    # A model of its own: transformers leaves module hooks behind where it was asked for states.
    lab = lab_of.__wrapped__(name)
    kinds = lab.prompts("harmless", 7), lab.prompts("harmful", 6)
    means = extract_means(lab.hook, lab.loaded.tokenizer, *kinds, batch_size=3)
    at = [0, 1, 2, -2, -1]
    for kind, prompts in enumerate(kinds):
        rows = []
        for prompt in prompts:
            ids = encode(lab.hook, lab.loaded.tokenizer, [prompt], None).input_ids
            with torch.no_grad():
                states = lab.loaded.model.model(input_ids=ids, **_bidirectional(lab, ids), output_hidden_states=True)
            # The last entry is behind the last norm; the last block's own is not among them.
            rows.append(np.stack([each[0, at].numpy() for each in states.hidden_states[1:-1]]))
        wanted = np.stack(rows).astype(np.float64)
        scale = np.abs(wanted).max()
        assert np.abs(means.mean[kind, :-1] - wanted.mean(0)).max() < 2e-6 * scale
        assert np.abs(means.halves[kind, 0, :-1] - wanted[::2].mean(0)).max() < 2e-6 * scale
        assert np.abs(means.halves[kind, 1, :-1] - wanted[1::2].mean(0)).max() < 2e-6 * scale


def _bidirectional(lab, ids: torch.Tensor) -> dict:
    # The lab's diffusion model makes its own mask in the class around this one.
    return {"attention_mask": torch.zeros(1, 1, ids.shape[1], ids.shape[1])} if lab.hook.scheme == "masked" else {}


def test_neither_batches_nor_the_order_within_a_kind_show_in_the_means(diffusion) -> None:
    one, other = diffusion.means(12, batch_size=12), diffusion.means(12, batch_size=5)
    assert np.abs(one.mean - other.mean).max() < 1e-5 * np.abs(one.mean).max()
    assert np.abs(one.halves - other.halves).max() < 1e-5 * np.abs(one.mean).max()


def test_every_prompt_goes_through_the_model_once(diffusion) -> None:
    seen = []
    model, told = diffusion.hook.model, []
    before = [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules()]
    handle = diffusion.hook.layers()[2].register_forward_hook(lambda _m, args, _o: seen.append(len(args[0])))
    try:
        diffusion.means(10, batch_size=4, advance=lambda done, of: told.append((done, of)))
    finally:
        handle.remove()
    assert sum(seen) == 20 and told[-1] == (20, 20)
    assert [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules()] == before


def test_hooks_are_gone_after_an_error_too(diffusion, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(diffusion.hook, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        diffusion.means(4)
    assert not any(block._forward_hooks for block in diffusion.hook.layers())


def test_a_request_shows_before_itself_in_a_masked_model_and_not_in_a_causal_one(diffusion, causal) -> None:
    masked, left_to_right = diffusion.means(64), causal.means(64)
    before = [masked.place(name) for name in ("pre-3", "pre-2", "pre-1")]
    assert masked.found[2:, before].all()
    assert not left_to_right.found[:, before].any() and not left_to_right.over_chance[:, before].any()
    assert left_to_right.found[:, left_to_right.place("post+1")].all()
    with pytest.raises(ConfigError, match="sees nothing of a request before it"):
        one_direction(left_to_right, 3, "pre-1", name="refusal", towards="refusing", provenance={})


@pytest.mark.parametrize("seed", range(3))
def test_two_halves_of_one_kind_differ_by_chance(diffusion, seed) -> None:
    prompts = diffusion.prompts("harmless", 96)
    order = np.random.default_rng(seed).permutation(96)
    kinds = [prompts[i] for i in order[:48]], [prompts[i] for i in order[48:]]
    means = extract_means(diffusion.hook, diffusion.loaded.tokenizer, *kinds)
    assert 0.5 < np.median(means.over_chance) < 1.5
    assert means.found.mean() < 0.1


def test_one_direction_is_the_difference_with_length_1_and_its_means_are_projections(diffusion) -> None:
    means = diffusion.means(32)
    made = one_direction(means, 2, "post+1", name="refusal", towards="refusing", provenance={"n": 32})
    difference = means.mean[1, 2, 4] - means.mean[0, 2, 4]
    assert np.abs(made.vectors[0] * np.linalg.norm(difference) - difference).max() < 1e-5
    assert made.means.shape == (2, 4) and made.provenance["n"] == 32
    gap = made.means[1, 2] - made.means[0, 2]
    assert gap == pytest.approx(np.linalg.norm(difference), rel=1e-5) == made.provenance["length"]


def test_a_direction_per_block_comes_from_contrastive_prompts_alone(diffusion) -> None:
    plain = diffusion.prompts("harmless", 24)
    second = diffusion.prompts("harmless", 60, attack="second-language")
    made = extract_directions(diffusion.hook, diffusion.loaded.tokenizer, plain, second[24:48], name="second language")
    assert made.vectors.shape == (4, 128) and made.towards == "second language"
    assert made.provenance["place"] == "post+1" and made.provenance["weak_blocks"] == []
    # It tells other prompts of the two kinds apart.
    places = diffusion.means(4).places
    for prompts, side in ((diffusion.prompts("harmless", 40)[30:], False), (second[50:], True)):
        states = states_of(diffusion.hook, diffusion.loaded.tokenizer, prompts, places, 3, "post+1")
        middle = made.means[:, 3].mean()
        assert ((states @ made.vector(3) > middle) == side).mean() > 0.9


def test_where_no_block_tells_two_kinds_apart_there_is_no_direction(causal) -> None:
    with pytest.raises(ConfigError, match="do not differ there by more than chance"):
        direction_per_block(causal.means(16), "pre-1", name="x", towards="x", provenance={})


def test_prompts_that_cannot_be_compared_are_refused(diffusion) -> None:
    some, others = diffusion.prompts("harmless", 6), diffusion.prompts("harmful", 6)
    extract = lambda a, b: extract_means(diffusion.hook, diffusion.loaded.tokenizer, a, b)  # noqa: E731
    with pytest.raises(ConfigError, match="3 prompts with the attribute; at least 4"):
        extract(some, others[:3])
    with pytest.raises(ConfigError, match="among those with and those without"):
        extract(some, [*others, some[0]])
    with pytest.raises(ConfigError, match=r"has the text of one before it \(2 such prompts without"):
        extract([*some, some[1], replace(some[2], id="other")], others)
    with pytest.raises(ConfigError, match="has a started response"):
        extract([*some[1:], replace(some[0], prefill="sure")], others)
    for size in (0, -1):
        with pytest.raises(ConfigError, match=f"batch_size {size}; at least 1"):
            extract_means(diffusion.hook, diffusion.loaded.tokenizer, some, others, batch_size=size)


def test_validation_prompts_are_new_by_text_and_by_what_they_were_made_of(diffusion) -> None:
    first, *rest = diffusion.prompts("harmful", 4)
    refuse_overlap(rest, [first])
    with pytest.raises(ConfigError, match="among those that the directions are made of"):
        refuse_overlap([first, *rest], [replace(first, id="other", text=f"  {first.text.upper()} ")])
    with pytest.raises(ConfigError, match="1 such prompts"):
        refuse_overlap([first, *rest], [replace(first, id="a1", text="something else", base=first.id)])


def test_states_that_are_not_finite_are_an_error_that_names_the_block(diffusion) -> None:
    spoil = diffusion.hook.layers()[1].register_forward_hook(lambda _m, _a, out: _infinite(out))
    try:
        with pytest.raises(CaptureError, match="block 1: a state of a prompt is NaN or infinite"):
            diffusion.means(4)
    finally:
        spoil.remove()


def _infinite(output):
    return (output[0] * torch.inf, *output[1:]) if isinstance(output, tuple) else output * torch.inf


def test_a_pass_over_other_tokens_than_the_prompts_is_an_error(diffusion, monkeypatch) -> None:
    honest = type(diffusion.hook).forward
    monkeypatch.setattr(diffusion.hook, "forward", lambda ids, mask: honest(diffusion.hook, ids.flip(1), mask))
    with pytest.raises(CaptureError, match="received other tokens than the prompts"):
        diffusion.means(4)


def test_rows_that_a_family_moves_to_the_left_are_read_where_they_are(diffusion, monkeypatch) -> None:
    wanted, honest = diffusion.means(6, batch_size=3), type(diffusion.hook).forward

    def aligned(ids: torch.Tensor, mask: torch.Tensor):
        width = ids.shape[1]
        order = (torch.arange(width)[None] + (width - mask.sum(1))[:, None]) % width
        return honest(diffusion.hook, ids.gather(1, order), mask.gather(1, order))

    monkeypatch.setattr(diffusion.hook, "forward", aligned)
    found = diffusion.means(6, batch_size=3)
    assert np.abs(found.mean - wanted.mean).max() < 1e-5 * np.abs(wanted.mean).max()


def test_a_compiled_model_is_refused_in_words(diffusion, monkeypatch) -> None:
    monkeypatch.setattr(diffusion.hook.layers()[1], "_compiled_call_impl", lambda *_: None)
    with pytest.raises(ConfigError, match="is compiled"):
        diffusion.means(4)


def test_a_prompt_under_another_template_is_not_read_at_wrong_places(diffusion) -> None:
    places = Places((1, 2, 3), (4, 5))
    with pytest.raises(ConfigError, match="not those of the template"):
        states_of(
            diffusion.hook, diffusion.loaded.tokenizer, diffusion.prompts("harmless", 2), places, 0, "post+0"
        )  # fmt: skip


def test_blocks_that_share_a_module_are_read_in_turn(monkeypatch, lab_of) -> None:
    lab = lab_of.__wrapped__("diffusion")
    blocks = lab.loaded.model.model.layers
    blocks[2] = blocks[1]
    shown = []
    handle = blocks[1].register_forward_hook(
        lambda _m, _a, out: shown.append(out[0] if isinstance(out, tuple) else out)
    )
    means = lab.means(4, batch_size=8)
    handle.remove()
    for block, states in ((1, shown[0]), (2, shown[1])):
        assert np.allclose(means.mean[0, block, 4], states[:, -1].double().mean(0), atol=1e-4)


def test_means_at_some_places_are_those_of_all_in_the_order_of_the_text(diffusion):
    means = diffusion.means(16)
    last, first = means.places.names[-1], means.places.names[0]
    some = means.only([last, first])
    assert some.places.names == (first, last)
    assert np.array_equal(some.length, means.length[:, [0, -1]])
    assert np.array_equal(some.over_chance, means.over_chance[:, [0, -1]])
    assert np.array_equal(some.unit(2, last), means.unit(2, last))
    with pytest.raises(ConfigError, match="pre-99"):
        means.only(["pre-99"])
