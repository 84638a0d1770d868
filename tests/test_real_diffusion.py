"""A masked model from a causal one: which tokens are masked, what the loss is, and that nothing moves on conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import EuroBertForMaskedLM, LlamaConfig, LlamaForCausalLM

from benchmarks.real.diffusion import quality
from benchmarks.real.diffusion.batches import chosen, stack
from benchmarks.real.diffusion.layout import masked_from
from benchmarks.real.diffusion.masking import how_many, loss, places, reading_rows
from benchmarks.real.diffusion.questions import NEW_FORMS, NEW_TOPICS, STARTS, of_prompts, questions
from benchmarks.real.diffusion.rows import Row, read
from benchmarks.real.diffusion.training import Plan, Training
from sri_sdk import registry
from sri_sdk.errors import ConfigError

END, MASK, CANVAS = 2, 3, 6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def causal() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=41, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True, pad_token_id=END, bos_token_id=1,
        eos_token_id=END, initializer_range=0.4,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def rows() -> list[Row]:
    return [Row(str(at), list(range(5, 8 + at)), [10 + at, 20, 21 + at, END], at == 3) for at in range(4)]


# -- masking and loss --------------------------------------------------------------------------------------------


def test_a_batch_is_spread_evenly_over_the_numbers_of_masks() -> None:
    counts = how_many(32, 32, seeded())
    assert sorted(counts.tolist()) == list(range(1, 33))


def test_every_number_of_masks_is_equally_likely() -> None:
    generator = seeded()
    counts = torch.cat([how_many(3, 4, generator) for _ in range(4000)])
    shares = torch.bincount(counts, minlength=5)[1:] / len(counts)
    assert torch.allclose(shares, torch.full((4,), 0.25), atol=0.02)


def test_a_row_masks_as_many_tokens_as_it_is_to() -> None:
    counts = torch.tensor([1, 3, 6])
    assert torch.equal(places(counts, CANVAS, seeded()).sum(1), counts)


def test_the_token_of_a_column_is_read_off_the_row_before_it() -> None:
    masked = torch.tensor([[True, False, True]])
    assert reading_rows(masked, prompt=2).tolist() == [[False, True, False, True, False]]


def test_the_loss_is_that_of_random_ratios_weighted_by_their_inverse() -> None:
    """Against the published form, on losses that depend on the place alone."""
    canvas, draws, generator = 4, 200_000, seeded()
    each = torch.tensor([0.5, 1.0, 2.0, 4.0])
    ratio = torch.rand(draws, 1, generator=generator).clamp(min=1e-3)
    hit = torch.rand(draws, canvas, generator=generator) < ratio
    published = float(((hit * each).sum(1) / ratio[:, 0] / canvas).mean())

    counts = how_many(draws, canvas, generator)
    masked = places(counts, canvas, generator)
    # A vocabulary of two whose logits make the loss of a place what it is to be.
    odds = torch.log(torch.expm1(each))
    logits = torch.stack([torch.zeros(canvas), odds], 1).expand(draws, -1, -1)[masked]
    ours = float(loss(logits, torch.zeros(len(logits), dtype=torch.int64), counts))
    assert ours == pytest.approx(published, rel=0.02)
    assert ours == pytest.approx(float(each.mean()), rel=0.02)


# -- what a step sees ----------------------------------------------------------------------------------------------


def test_every_row_comes_once_per_epoch() -> None:
    picked = [i for step in range(5) for i in chosen(step, 4, 10, seed=1)]
    assert sorted(picked[:10]) == sorted(picked[10:]) == list(range(10))
    assert picked[:10] != picked[10:]


def test_shorter_prompts_are_padded_on_the_left_and_answers_filled_with_their_end(rows: list[Row]) -> None:
    batch = stack(rows[:2], CANVAS, END)
    assert batch.prompts[0].tolist() == [END, 5, 6, 7]
    assert batch.real[0].tolist() == [0] + [1] * 9
    assert batch.positions()[0].tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert batch.answers[1].tolist() == [11, 20, 22, END, END, END]


def test_a_line_that_was_cut_off_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a", "prompt": [1], "answer": [2], "held_out": false}\n{"id": "b", "pro')
    assert [row.id for row in read(path)] == ["a"]


def test_no_question_is_trained_on_whose_topic_or_form_is_held_out() -> None:
    trained = [q.text for q in questions() if not q.held_out]
    assert len(trained) > 1000
    assert not [text for text in trained if any(form.split("{}")[0] in text for form in NEW_FORMS)]
    assert not [text for text in trained if any(f" {topic}" in f" {text}" for topic in NEW_TOPICS)]


def test_harmful_prompts_are_refused_and_wrapped_ones_left_out() -> None:
    lines = [
        b'{"id": "a", "text": "Poison the well of the village.", "label": "harmful"}',
        b'{"id": "b", "text": "Mend the roof.", "label": "harmless"}',
        b'{"id": "a/fiction", "text": "In a story: poison the well.", "label": "harmful", "attack": "fiction"}',
    ]
    first, second = of_prompts(b"\n".join(lines))
    assert first.start in STARTS
    assert (second.id, second.start) == ("b", "")


def test_the_rate_rises_to_its_highest_and_falls_to_nothing() -> None:
    plan = Plan(steps=100, rate=1.0, warmup=10)
    rates = [plan.rate_at(step) for step in range(101)]
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[0] == pytest.approx(0.1)
    assert rates[100] == 0.0


# -- the layout ----------------------------------------------------------------------------------------------------


def test_a_text_of_one_token_has_the_same_logits_in_both_layouts(causal: LlamaForCausalLM) -> None:
    """Where there is nothing behind a token, looking both ways changes nothing: so every weight is in its place."""
    masked, ids = masked_from(causal, MASK), torch.tensor([[7]])
    assert torch.allclose(masked(ids).logits[..., 4:], causal(ids).logits[..., 4:], atol=1e-6)


def test_the_converted_model_sees_what_is_behind_a_token(causal: LlamaForCausalLM) -> None:
    masked, one, other = masked_from(causal, MASK), torch.tensor([[7, 8]]), torch.tensor([[7, 9]])
    assert not torch.allclose(masked(one).logits[:, 0], masked(other).logits[:, 0], atol=1e-3)
    assert torch.allclose(causal(one).logits[:, 0], causal(other).logits[:, 0], atol=1e-6)


def test_the_hook_for_masked_models_takes_the_saved_checkpoint(causal: LlamaForCausalLM, tmp_path: Path) -> None:
    masked_from(causal, MASK).save_pretrained(tmp_path)
    hook = registry.load("hooks", "masked-lm")
    model = EuroBertForMaskedLM.from_pretrained(tmp_path, local_files_only=True)
    assert hook.fits(model).ok
    assert (hook(model).mask_id(), hook(model).shift(), hook(model).eos_ids()) == (MASK, 1, (END,))


def test_a_model_that_is_no_llama_is_refused(causal: LlamaForCausalLM) -> None:
    causal.config.model_type = "gpt2"
    with pytest.raises(ConfigError, match="allowed: llama"):
        masked_from(causal, MASK)


# -- training ------------------------------------------------------------------------------------------------------


def trained(causal: Any, rows: list[Row], folder: Path, *stops: int | None) -> Training:
    """A run of 80 steps, interrupted after so many, each time with a model built anew."""
    plan = Plan(steps=80, rows=4, canvas=CANVAS, rate=5e-3)
    for stop in stops:
        training = Training(masked_from(causal, MASK), plan, folder)
        for done in training.run(rows):
            if done.step + 1 == stop:
                training.step += 1
                training.keep()
                break
    return training


def test_training_lowers_the_loss_on_what_it_sees(causal: LlamaForCausalLM, rows: list[Row], tmp_path: Path) -> None:
    plan = Plan(steps=80, rows=4, canvas=CANVAS, rate=5e-3)
    losses = [done.loss for done in Training(masked_from(causal, MASK), plan, tmp_path).run(rows)]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    causal: LlamaForCausalLM, rows: list[Row], tmp_path: Path
) -> None:
    whole = trained(causal, rows, tmp_path / "whole", None)
    parts = trained(causal, rows, tmp_path / "parts", 7, None)
    for name, weight in whole._named.items():
        assert torch.equal(weight, parts._named[name]), name


def test_a_folder_of_another_plan_is_refused(causal: LlamaForCausalLM, rows: list[Row], tmp_path: Path) -> None:
    trained(causal, rows, tmp_path, None)
    with pytest.raises(ConfigError, match="Ask for the same"):
        Training(masked_from(causal, MASK), Plan(steps=31), tmp_path)


def test_only_the_masks_row_of_the_token_table_learns(
    causal: LlamaForCausalLM, rows: list[Row], tmp_path: Path
) -> None:
    class Tokenizer:
        def save_pretrained(self, folder: Path) -> None:
            pass

    before = masked_from(causal, MASK).model.embed_tokens.weight.clone()
    trained(causal, rows, tmp_path, None).write(Tokenizer(), tmp_path / "model")
    after = EuroBertForMaskedLM.from_pretrained(tmp_path / "model", local_files_only=True).model.embed_tokens.weight
    assert (before != after).any(1).nonzero().flatten().tolist() == [MASK]


def test_the_written_model_predicts_as_the_one_in_training(
    causal: LlamaForCausalLM, rows: list[Row], tmp_path: Path
) -> None:
    class Tokenizer:
        def save_pretrained(self, folder: Path) -> None:
            pass

    training, batch = trained(causal, rows, tmp_path, None), stack(rows, CANVAS, END)
    masked = places(torch.full((4,), 3), CANVAS, seeded())
    training.write(Tokenizer(), tmp_path / "model")
    model = EuroBertForMaskedLM.from_pretrained(tmp_path / "model", local_files_only=True)
    out = model(batch.canvas(masked, MASK), attention_mask=batch.real, position_ids=batch.positions()).logits
    assert torch.allclose(
        out[reading_rows(masked, batch.prompts.shape[1])], training.logits(batch, masked), atol=1e-5
    )  # fmt: skip


# -- measures ------------------------------------------------------------------------------------------------------


def test_tokens_behind_an_answers_end_are_not_counted() -> None:
    answers = torch.tensor([[5, END, END, END], [5, 6, 7, 8]])
    assert quality.counted(answers, END).tolist() == [[True, True, False, False], [True] * 4]


def test_a_model_that_has_learnt_its_answers_scores_better_than_an_untrained_one(
    causal: LlamaForCausalLM, rows: list[Row], tmp_path: Path
) -> None:
    untrained, model = masked_from(causal, MASK), trained(causal, rows, tmp_path, None)._model.eval()
    before, after = (quality.by_ratio(each, rows, CANVAS) for each in (untrained, model))
    assert quality.of_next(model, rows, CANVAS).nats < quality.of_next(untrained, rows, CANVAS).nats
    assert all(after[ratio].nats < before[ratio].nats for ratio in before), (before, after)
    assert [fit.tokens for fit in after.values()] == [fit.tokens for fit in before.values()]


def test_the_samplers_write_through_the_hook(causal: LlamaForCausalLM, rows: list[Row]) -> None:
    model = masked_from(causal, MASK)
    answers = quality.write(model, rows, sampler="left-to-right", tokens=CANVAS, steps=CANVAS)
    assert [len(answer) for answer in answers] == [CANVAS] * 4


def test_text_that_repeats_itself_is_less_distinct(causal: LlamaForCausalLM, rows: list[Row]) -> None:
    same = quality.of_texts(causal, rows, [[7, 7, 7, 7, END]] * 4)
    other = quality.of_texts(causal, rows, [[7, 8, 9, 10, END]] * 4)
    assert same.distinct == pytest.approx(1 / 3)
    assert other.distinct == 1.0
    assert (same.ended, same.tokens) == (1.0, 4.0)
