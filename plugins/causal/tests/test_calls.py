"""What a call of generate asks for: refused before anything runs, or seen as it is."""

from typing import Any

import numpy as np
import pytest
import torch
from sri_plugin_causal.calls import Call
from sri_plugin_causal.hook import CausalHook
from sri_plugin_causal.stand_ins import example
from transformers import DynamicCache, GenerationConfig, StaticCache
from transformers.generation import MaxLengthCriteria, StoppingCriteria

import sri_sdk
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import ConfigError
from sri_sdk.structure import cache_argument, cache_of


@pytest.fixture
def model() -> Any:
    return example.build()


def watched(model: Any, **options: Any) -> Any:
    with sri_sdk.watch(model, hook=CausalHook(model)) as run:
        example.generate(model, example.prompts(), **options)
    return run


def filled_cache(model: Any) -> Any:
    return cache_of(model(example.prompts().input_ids, use_cache=True))


REFUSED = {
    "beam search": ({"num_beams": 2}, r"num_beams=2 \(from the call\): beam search.*use num_beams=1"),
    "assisted": ({"assistant_model": "another"}, "assistant_model.*assisted decoding"),
    "prompt lookup": ({"prompt_lookup_num_tokens": 2}, "prompt_lookup_num_tokens=2.*assisted decoding"),
    "early exit": ({"assistant_early_exit": 1}, "assistant_early_exit=1.*assisted decoding"),
    "contrastive": ({"penalty_alpha": 0.6, "top_k": 4}, "penalty_alpha=0.6.*contrastive search"),
    "dola": ({"dola_layers": "high"}, "dola_layers=high.*DoLa"),
    "constrained": ({"force_words_ids": [[5]]}, "force_words_ids.*constrained decoding"),
    "guidance": ({"guidance_scale": 1.5}, "guidance_scale=1.5.*passes of its own"),
    "no cache": ({"use_cache": False}, "use_cache=False.*use_cache=True"),
    "chunks": ({"prefill_chunk_size": 2}, "prefill_chunk_size=2.*in pieces"),
    "healing": ({"token_healing": True}, "token_healing=True"),
    "own loop": ({"custom_generate": "someone/loop"}, "custom_generate: a loop of its own"),
    "paged": ({"cache_implementation": "paged"}, "cache_implementation=paged.*continuous batching"),
    "stop strings": ({"stop_strings": ["end"]}, "stop_strings with|stop_strings.*with 3 rows"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_watched_is_refused_before_a_pass_runs(model: Any, kind: str) -> None:
    options, reason = REFUSED[kind]
    passes = []
    model.model.embed_tokens.register_forward_hook(lambda *_: passes.append(1))
    with pytest.raises(ConfigError, match=reason):
        watched(model, **options)
    assert not passes


def test_all_that_is_wrong_is_said_at_once(model: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        watched(model, num_beams=2, use_cache=False, prefill_chunk_size=2)
    assert [problem.split("=")[0] for problem in caught.value.problems] == [
        "num_beams", "use_cache", "prefill_chunk_size",
    ]  # fmt: skip


def test_a_generation_config_given_to_the_call_is_read(model: Any) -> None:
    with pytest.raises(ConfigError, match=r"num_beams=3 \(from the generation_config it was given\)"):
        watched(model, generation_config=GenerationConfig(num_beams=3))


def test_a_generation_config_may_be_given_by_place(model: Any) -> None:
    encoded = example.prompts()
    with pytest.raises(ConfigError, match="num_beams=3"), sri_sdk.watch(model, hook=CausalHook(model)):
        model.generate(encoded.input_ids, GenerationConfig(num_beams=3), max_new_tokens=2)


def test_the_models_own_generation_config_is_read(model: Any) -> None:
    model.generation_config.num_beams = 4
    with pytest.raises(ConfigError, match=r"num_beams=4 \(from model.generation_config\)"):
        watched(model)


def test_the_call_overrules_both_configs(model: Any) -> None:
    model.generation_config.num_beams = 4
    assert watched(model, num_beams=1).failure is None


def test_what_a_given_config_leaves_open_is_the_models(model: Any) -> None:
    model.generation_config.eos_token_id = 41
    call = Call.of(model, (), {"generation_config": GenerationConfig(max_new_tokens=4)})
    assert call.eos_ids() == (41,)


@pytest.mark.parametrize(
    ("given", "ends"),
    [(7, (7,)), ([7, 8], (7, 8)), (torch.tensor([7, 8]), (7, 8)), (torch.tensor(7), (7,)), (None, ())],
)
def test_end_tokens_come_in_many_forms(model: Any, given: Any, ends: tuple[int, ...]) -> None:
    assert Call.of(model, (), {"eos_token_id": given}).eos_ids() == ends


def test_a_static_cache_is_watched_where_transformers_does_not_compile_for_it(model: Any) -> None:
    run = watched(model, cache_implementation="static")
    assert run.failure is None and [len(trace.phi) for trace in run.traces] == [trace.steps for trace in run.traces]
    assert watched(model, **{cache_argument(model): StaticCache(config=model.config, max_cache_len=32)}).failure is None


def test_a_static_cache_is_refused_where_transformers_compiles_for_it(model: Any) -> None:
    from transformers import CompileConfig

    everywhere = CompileConfig()
    everywhere._compile_all_devices = True
    with pytest.raises(ConfigError, match=r"cache_implementation=static.*compiles.*disable_compile=True"):
        watched(model, cache_implementation="static", compile_config=everywhere)
    run = watched(model, cache_implementation="static", compile_config=everywhere, disable_compile=True)
    assert run.failure is None


def test_an_empty_cache_may_be_brought_and_one_as_long_as_the_prompt_not(model: Any) -> None:
    assert watched(model, **{cache_argument(model): DynamicCache(config=model.config)}).failure is None
    with pytest.raises(
        ConfigError, match=f"{cache_argument(model)} that is not empty and holds 5 tokens, the prompt 5"
    ):
        watched(model, **{cache_argument(model): filled_cache(model)})


@pytest.mark.parametrize("new", [1, 4])
def test_a_chats_next_turn_with_its_cache_is_seen_as_without_it(model: Any, new: int) -> None:
    first = example.prompts()
    more = torch.arange(20, 20 + 3 * new).reshape(3, new)
    ids, real = torch.cat([first.input_ids, more], 1), torch.cat([first.attention_mask, torch.ones_like(more)], 1)
    places = (first.attention_mask.cumsum(1) - 1).clamp(min=0)

    def turn(**cache: Any) -> Any:
        with sri_sdk.watch(model, hook=CausalHook(model), request_ids=["a", "b", "c"]) as run:
            tokens = model.generate(
                ids, attention_mask=real, max_new_tokens=6, do_sample=False, pad_token_id=0, **cache
            )
        assert run.failure is None and not any(trace.reasons for trace in run.traces)
        return run, tokens

    given = {"attention_mask": first.attention_mask, "position_ids": places, "use_cache": True}
    plain, expected = turn()
    run, tokens = turn(**{cache_argument(model): cache_of(model(first.input_ids, **given))})
    assert torch.equal(tokens, expected)
    for one, other in zip(run.traces, plain.traces, strict=True):
        assert (one.steps, one.expected) == (other.steps, other.expected)
        np.testing.assert_allclose(one.phi, other.phi, atol=1e-4)


def test_embeddings_instead_of_ids_are_refused(model: Any) -> None:
    embedded = model.get_input_embeddings()(example.prompts().input_ids)
    for given in ({"inputs_embeds": embedded}, {"inputs": embedded}):
        with pytest.raises(ConfigError, match="by its token ids"), sri_sdk.watch(model, hook=CausalHook(model)):
            model.generate(max_new_tokens=2, **given)


class AfterThree(StoppingCriteria):
    """Stands for a stop string that turns up after three tokens."""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), input_ids.shape[1] >= 5)


def under_a_budget(model: Any, **options: Any) -> tuple[str, ...]:
    """Reasons where a guard expects eight steps, and the model ends no response by itself."""
    hook = CausalHook(model)
    run = Run(hook, WatchSettings("predicting", budget=8, keep_states=True), ["a"])
    with tap_of(model).installed(hook, run), tap_of(model).owned_by(run):
        model.generate(torch.tensor([[5, 6]]), do_sample=False, eos_token_id=96, pad_token_id=0, **options)
    run.finish()
    return run.traces[0].reasons


def test_a_row_that_the_callers_own_rule_ends_has_ended_and_one_cut_short_has_not(model: Any) -> None:
    rule = {"stopping_criteria": [AfterThree()]}
    assert under_a_budget(model, max_new_tokens=8) == ()
    assert under_a_budget(model, max_new_tokens=3) == ("end_not_seen",)
    assert under_a_budget(model, max_new_tokens=8, **rule) == ()
    assert under_a_budget(model, max_length=10, **rule) == ()
    assert under_a_budget(model, generation_config=GenerationConfig(max_new_tokens=8), **rule) == ()
    # As long as it could get: nobody says which of the two it was.
    assert under_a_budget(model, max_new_tokens=3, **rule) == ("end_not_seen",)
    both = [AfterThree(), MaxLengthCriteria(max_length=5)]
    assert under_a_budget(model, max_new_tokens=8, stopping_criteria=both) == ("end_not_seen",)
    assert under_a_budget(model, max_new_tokens=8, max_time=60.0, **rule) == ("end_not_seen",)


class Words:
    """As much of a tokenizer as stop strings need: token i is written w<i> and a space."""

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [-1]}

    def _convert_id_to_token(self, _token: int) -> str:
        return "abcdef"

    def get_vocab(self) -> dict[str, int]:
        return {f"w{i} ": i for i in range(97)}

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens)


def test_a_row_that_a_stop_string_ends_has_ended(model: Any) -> None:
    third = int(model.generate(torch.tensor([[5, 6]]), max_new_tokens=8, do_sample=False, eos_token_id=96)[0, 4])
    assert under_a_budget(model, max_new_tokens=8, stop_strings=[f"w{third} "], tokenizer=Words()) == ()


def test_texts_that_a_pipeline_generates_one_by_one_are_told_of_batch_size(model: Any) -> None:
    def pipeline(**ids: Any) -> Any:
        with sri_sdk.watch(model, hook=CausalHook(model), **ids) as run:
            for prompt in ([[5, 6]], [[7, 8]]):
                model.generate(torch.tensor(prompt), max_new_tokens=3)
        assert "hook_failed" in run.traces[0].reasons and "batch_size=len(texts)" in run.failure

    pipeline()
    pipeline(request_ids=["a", "b"])


class Never(StoppingCriteria):
    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.zeros(len(input_ids), dtype=torch.bool)


def test_a_stopping_criterion_is_fine_for_one_row_and_for_ends_that_all_rows_share(model: Any) -> None:
    with sri_sdk.watch(model, hook=CausalHook(model)) as run:
        model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, stopping_criteria=[Never()])
    assert run.failure is None
    assert watched(model, stopping_criteria=[MaxLengthCriteria(max_length=9)]).failure is None
    with pytest.raises(ConfigError, match="stopping_criteria Never with 3 rows"):
        watched(model, stopping_criteria=[Never()])


def test_several_sequences_per_prompt_are_rows_of_their_own(model: Any) -> None:
    ids = [f"{row}{copy}" for row in "abc" for copy in "12"]
    with sri_sdk.watch(model, hook=CausalHook(model), request_ids=ids) as run:
        example.generate(model, example.prompts(), do_sample=True, num_return_sequences=2)
    assert [trace.request_id for trace in run.traces] == ids
    assert not any(trace.reasons for trace in run.traces)


def test_several_sequences_under_too_few_ids_are_unmonitored(model: Any) -> None:
    with sri_sdk.watch(model, hook=CausalHook(model), request_ids=["a", "b", "c"]) as run:
        example.generate(model, example.prompts(), do_sample=True, num_return_sequences=2)
    assert all(trace.reasons for trace in run.traces)
    assert "one id per prompt" in str(run.failure)


@pytest.mark.parametrize("name", ["generate_batch", "init_continuous_batching"])
def test_continuous_batching_is_refused(model: Any, name: str) -> None:
    if not hasattr(model, name):
        pytest.skip(f"this transformers has no {name}")
    with pytest.raises(ConfigError, match=f"{name}.. cannot be watched"), sri_sdk.watch(model, hook=CausalHook(model)):
        getattr(model, name)(inputs=[[5, 6]])
