"""One generation as the hook sees it: canvases of many layouts, guidance, ends, wrappers, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sri_plugin_masked_lm.hook import MaskedLmHook
from sri_plugin_masked_lm.stand_ins import example
from sri_plugin_masked_lm.stand_ins import model as double

import sri_sdk
from sri_sdk import ForwardCall, RunView, registry
from sri_sdk.errors import ConfigError
from sri_sdk.records import PADDING
from sri_sdk.testing import Check, hook_checks

M = double.MASK


@pytest.mark.parametrize("check", hook_checks(MaskedLmHook.example, lazy=True), ids=str)
def test_the_example_keeps_every_promise_of_the_kit(check: Check) -> None:
    check()


@pytest.fixture
def hook() -> MaskedLmHook:
    return MaskedLmHook(double.build_bert())


def plan(hook: MaskedLmHook, run: RunView, *rows: list[int]) -> Any:
    return hook.plan(ForwardCall(torch.tensor(rows), {}), run)


# -- which models -----------------------------------------------------------------------------------------------


def test_a_masked_model_without_a_known_mask_token_says_what_to_set() -> None:
    model = double.build_bert()
    model.config.mask_token_id = None
    fit = MaskedLmHook.fits(model)
    assert not fit.ok and "model.config.mask_token_id = tokenizer.mask_token_id" in fit.why


def test_a_bert_that_looks_back_only_is_refused() -> None:
    model = double.build_bert()
    model.config.is_decoder = True
    assert "is_decoder" in MaskedLmHook.fits(model).why


def test_causal_models_and_the_models_of_other_plugins_are_theirs() -> None:
    config = transformers.LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4
    )
    assert not MaskedLmHook.fits(transformers.LlamaForCausalLM(config)).ok
    for name in ("lab-causal", "lab-diffusion", "toy"):
        other = registry.load("hooks", name)
        assert not MaskedLmHook.fits(other.load(other.Config()).model).ok


def test_blocks_that_share_one_place_are_refused_with_what_was_looked_for() -> None:
    config = transformers.AlbertConfig(
        vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        embedding_size=16, mask_token_id=M,
    )  # fmt: skip
    assert "whose parts are known" in MaskedLmHook.fits(transformers.AlbertForMaskedLM(config)).why


@pytest.mark.parametrize("build", [double.build_bert, double.build_a2d])
def test_it_is_the_one_hook_that_fits(build: Any) -> None:
    model = build()
    with sri_sdk.watch(model) as run:
        double.generate(model, example.prompts().input_ids, example.prompts().attention_mask)
    assert run.why.startswith("MaskedLmHook")
    assert not any(trace.reasons for trace in run.traces)


def test_the_states_are_those_the_matrix_reads_and_not_the_encoders(hook: MaskedLmHook) -> None:
    model, read, put_out, encoded = hook.model, [], [], []
    model.get_output_embeddings().register_forward_pre_hook(lambda _module, args: read.append(args[0]))
    hook.final_norm().register_forward_hook(lambda _module, _args, output: put_out.append(output))
    model.bert.encoder.register_forward_hook(lambda _module, _args, output: encoded.append(output[0]))
    hook.forward(torch.tensor([[5, 6, M]]))
    assert torch.equal(read[0], put_out[0])
    assert not torch.allclose(read[0], encoded[0])


# -- passes -----------------------------------------------------------------------------------------------------


def test_prompts_on_the_left_share_one_canvas(hook: MaskedLmHook) -> None:
    run = RunView(None)
    found = plan(hook, run, [0, 5, 6, M, M], [5, 6, 7, M, M])
    assert found.positions[:, 3:].tolist() == [[0, 1], [0, 1]]
    assert (found.canvas, found.span, run.prompt) == (2, (3, 5), 3)
    second = plan(hook, run, [0, 5, 6, 9, M], [5, 6, 7, M, 8])
    assert second.committed.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("filler", [double.SEP, double.PAD, 44], ids=["end token", "padding", "anything"])
def test_canvases_right_behind_their_prompts_are_found_whatever_fills_up_the_rows(
    hook: MaskedLmHook, filler: int
) -> None:
    run = RunView(None)
    found = plan(hook, run, [5, 6, M, M, filler], [5, 6, 7, M, M])
    assert found.positions.tolist() == [[-2, -1, 0, 1, PADDING], [-3, -2, -1, 0, 1]]
    assert (found.canvas, found.span, run.prompt) == (2, None, None)
    # What is filled in may be the filler itself.
    second = plan(hook, run, [5, 6, M, filler, filler], [5, 6, 7, filler, M])
    assert second.positions.tolist() == found.positions.tolist()
    assert second.committed.tolist() == [[False, True], [True, False]]


def test_a_mask_in_the_prompt_belongs_to_the_prompt(hook: MaskedLmHook) -> None:
    assert plan(hook, RunView(None), [5, M, 6, M, M]).positions.tolist() == [[-3, -2, -1, 0, 1]]


def test_under_guidance_only_the_conditional_half_counts(hook: MaskedLmHook) -> None:
    found = plan(hook, RunView(None), [5, 6, 7, M, M], [8, 9, M, M, 2], [M, M, M, M, M], [M, M, M, M, 2])
    assert found.rows.tolist() == [0, 1]
    assert found.positions.tolist()[2:] == [[PADDING] * 5] * 2


def test_guidance_that_keeps_the_end_of_the_prompt_is_known_by_the_number_of_requests(hook: MaskedLmHook) -> None:
    found = plan(hook, RunView(requests=2), [5, 6, 7, M], [8, 9, 7, M], [M, M, 7, M], [M, M, 7, M])
    assert found.rows.tolist() == [0, 1] and found.committed.shape == (2, 1)


def test_a_pass_over_finished_text_is_no_step(hook: MaskedLmHook) -> None:
    assert plan(hook, RunView(None), [5, 6, 7]) is None
    run = RunView(None)
    plan(hook, run, [5, 6, M])
    assert not plan(hook, run, [5, 6, 9]).active.any()


def test_a_pass_of_another_shape_is_another_generation(hook: MaskedLmHook) -> None:
    run = RunView(None)
    plan(hook, run, [5, 6, M])
    with pytest.raises(sri_sdk.SriError, match="1 x 4 tokens after passes of 1 x 3"):
        plan(hook, run, [5, 6, 7, M])


def test_a_pass_with_a_cache_is_no_pass_of_this_kind(hook: MaskedLmHook) -> None:
    with pytest.raises(sri_sdk.SriError, match="BD3LM"):
        hook.plan(ForwardCall(torch.tensor([[5, 6, M]]), {"use_cache": True}), RunView(None))


def test_rows_without_padding_say_how_to_load_the_model(hook: MaskedLmHook) -> None:
    with pytest.raises(sri_sdk.SriError, match="attention: sdpa"):
        hook.plan(ForwardCall(torch.tensor([5, 6, M]), {}), RunView(None))


def test_transformers_loop_from_left_to_right_is_refused_for_a_model_made_from_a_causal_one() -> None:
    model = double.build_a2d()
    with pytest.raises(ConfigError, match="from left to right"), sri_sdk.watch(model, hook=MaskedLmHook(model)):
        model.generate(torch.tensor([[5, 6]]), max_new_tokens=2)


# -- whole generations --------------------------------------------------------------------------------------------


def left_aligned(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Each canvas right behind its prompt, end tokens behind the shorter rows, as dllm lays them."""
    width = max(map(len, rows)) + double.TOKENS
    filled = [[*row, *[M] * double.TOKENS] for row in rows]
    ids = torch.tensor([[*row, *[double.SEP] * (width - len(row))] for row in filled])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in filled])


ROWS = [[5, 6], [7, 8, 9, 10, 11], [12, 13, 14]]


@pytest.mark.parametrize("shifted", [False, True], ids=["plain", "shifted"])
@pytest.mark.parametrize("cfg_scale", [0.0, 1.0], ids=["unguided", "guided"])
def test_either_layout_gives_the_same_states(shifted: bool, cfg_scale: float) -> None:
    model = double.build_a2d(right_shift_logits=shifted)
    encoded = example.prompts()
    with sri_sdk.watch(model, hook=MaskedLmHook(model), request_ids=["a", "b", "c"]) as left:
        one = double.generate(model, encoded.input_ids, encoded.attention_mask, cfg_scale=cfg_scale)
    with sri_sdk.watch(model, hook=MaskedLmHook(model), request_ids=["a", "b", "c"]) as right:
        two = double.fill(model, *left_aligned(ROWS), steps=double.STEPS, cfg_scale=cfg_scale)
    for row, prompt in enumerate(ROWS):
        start = len(prompt)
        assert torch.equal(one[row, -double.TOKENS :], two[row, start : start + double.TOKENS])
        assert left.traces[row].steps == right.traces[row].steps == double.STEPS
        assert np.allclose(left.traces[row].phi, right.traces[row].phi, atol=1e-4)
        assert not left.traces[row].reasons and not right.traces[row].reasons


def test_an_end_token_in_the_middle_ends_no_step() -> None:
    model = double.build_bert()
    encoded = example.prompts()
    with torch.no_grad():
        # The end token wins almost everywhere.
        model.cls.predictions.bias[double.SEP] += 30
    with sri_sdk.watch(model, hook=MaskedLmHook(model)) as run:
        tokens = model.generate(encoded.input_ids, encoded.attention_mask)
    assert (tokens == double.SEP).any()
    assert [trace.steps for trace in run.traces] == [double.STEPS] * 3
    assert not any(trace.reasons for trace in run.traces)


def test_under_a_lora_adapter_rows_and_counts_stay_right() -> None:
    peft = pytest.importorskip("peft")
    model, encoded = double.build_a2d(), example.prompts()
    with sri_sdk.watch(model, hook=MaskedLmHook(model)) as plain:
        before = double.generate(model, encoded.input_ids, encoded.attention_mask)
    # The adapter's second matrix is zero at first: same tokens, same states.
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).eval()
    with sri_sdk.watch(wrapped) as run:
        after = double.generate(wrapped, encoded.input_ids, encoded.attention_mask)
    assert torch.equal(before, after)
    for one, two in zip(plain.traces, run.traces, strict=True):
        assert two.steps == double.STEPS and not two.reasons
        assert np.allclose(one.phi, two.phi, atol=1e-5)


# -- loading ------------------------------------------------------------------------------------------------------


def saved(folder: Path, **special: str) -> Path:
    """A checkpoint as BERTs come: only the tokenizer knows the mask token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    model = transformers.BertForMaskedLM(double.build_bert().config)
    model.config.mask_token_id = model.config.eos_token_id = None
    model.save_pretrained(folder)
    words = {word: i for i, word in enumerate(["[PAD]", "[CLS]", "[SEP]", "[MASK]", "hi", "how", "are", "you"])}
    made = Tokenizer(models.WordLevel(words, unk_token="[PAD]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", sep_token="[SEP]", **special
    ).save_pretrained(folder)
    return folder


def test_a_checkpoint_is_driven_with_the_mask_token_of_its_tokenizer(tmp_path: Path) -> None:
    from sri_sdk import Prompt

    config = registry.configure("hooks", "masked-lm", {"source": str(saved(tmp_path, mask_token="[MASK]"))})
    loaded = MaskedLmHook.load(config)
    hook = MaskedLmHook(loaded.model, config)
    assert (hook.mask_id(), hook.eos_ids(), hook.shift()) == (double.MASK, (double.SEP,), 0)
    assert MaskedLmHook.fits(loaded.model).ok
    prompts = [Prompt("a", "hi", "harmless"), Prompt("b", "how are you", "harmless")]
    sampler = registry.build("samplers", "low-confidence", {"tokens": 4, "steps": 2})
    batch = sri_sdk.drive(hook, loaded, sampler, prompts, sri_sdk.watch_settings(hook))
    assert len(list(batch)) == 2 and len(batch.texts) == 2
    assert [trace.steps for trace in batch.run.traces] == [2, 2]
    assert not any(trace.reasons for trace in batch.run.traces)


def test_a_mask_token_that_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    with pytest.raises(ConfigError, match=r"neither config nor tokenizer.*mask_token_id"):
        MaskedLmHook.load(MaskedLmHook.Config(source=str(folder)))
    loaded = MaskedLmHook.load(MaskedLmHook.Config(source=str(folder), mask_token_id=3, right_shift_logits=True))
    assert (MaskedLmHook(loaded.model).mask_id(), MaskedLmHook(loaded.model).shift()) == (3, 1)


def test_a_mask_token_that_contradicts_the_tokenizer_is_refused(tmp_path: Path) -> None:
    config = MaskedLmHook.Config(source=str(saved(tmp_path, mask_token="[MASK]")), mask_token_id=5)
    with pytest.raises(ConfigError, match=r"mask_token_id: 5, but .* says 3"):
        MaskedLmHook.load(config)


def test_a_package_to_import_first_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="imports: 'no_such_package'"):
        MaskedLmHook.load(MaskedLmHook.Config(source="x", imports="no_such_package"))
