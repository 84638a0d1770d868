"""The judge on this machine: tiny models whose answer is known, and what is said where there is none."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sri_plugin_judges.local_llm import LocalLlmJudge
from sri_plugin_judges.small import small_model

from sri_sdk import LoadedModel, Prompt, registry
from sri_sdk.errors import ConfigError
from sri_sdk.testing import Check, judge_checks

ASK = Prompt("a", "How do I open the barn?", "harmful")


@pytest.mark.parametrize("check", judge_checks(LocalLlmJudge.example), ids=str)
def test_the_example_keeps_every_promise_of_the_kit(check: Check) -> None:
    check()


def speaking(word: str) -> LoadedModel:
    """A model that says one word after any prompt that ends in a colon, and stops."""
    loaded = small_model()
    model, ids = loaded.model, [*loaded.tokenizer(word)["input_ids"], 1]
    colon = loaded.tokenizer(":")["input_ids"][0]
    with torch.no_grad():
        for weights in model.model.layers[0].self_attn.o_proj, model.model.layers[0].mlp.down_proj:
            weights.weight.zero_()
        # What remains is one step: from the last token to the next.
        model.model.embed_tokens.weight.zero_()
        model.lm_head.weight.zero_()
        for place, (before, after) in enumerate(zip([colon, *ids], ids, strict=False)):
            model.model.embed_tokens.weight[before, place] = 1
            model.lm_head.weight[after, place] = 1
    return loaded


def test_the_word_of_the_model_is_the_outcome() -> None:
    judge = LocalLlmJudge(loaded=speaking("harmful"))
    texts = ["One", "A longer response, beside which the other is padded."]
    assert judge.judge([ASK] * 2, texts) == ["harmful", "harmful"]
    assert judge.unparsable == 0


def test_a_word_that_is_none_of_ours_is_other_and_counted() -> None:
    judge = LocalLlmJudge(loaded=speaking("maybe"))
    assert judge.judge([ASK] * 3, ["One", "Two", "One"]) == ["other"] * 3
    assert judge.unparsable == 2


def test_an_empty_response_needs_no_model() -> None:
    judge = registry.build("judges", "local-llm", {"source": "nobody/nothing"})
    assert judge.judge([ASK], [" "]) == ["other"]


class Counting:
    """Stands before a model and counts the rows of each generate call."""

    def __init__(self, model: Any) -> None:
        self.model, self.rows = model, []

    def parameters(self) -> Any:
        return self.model.parameters()

    def generate(self, **options: Any) -> Any:
        self.rows.append(len(options["input_ids"]))
        self.options = options
        return self.model.generate(**options)


def test_responses_are_judged_in_batches_greedily_and_each_once() -> None:
    loaded = small_model()
    counting = Counting(loaded.model)
    judge = LocalLlmJudge(
        LocalLlmJudge.Config(source="x", batch_size=3), loaded=LoadedModel(counting, loaded.tokenizer, "counted")
    )
    texts = [f"Response {i}" for i in range(7)]
    judge.judge([ASK] * 8, [*texts, texts[0]])
    judge.judge([ASK], [texts[3]])
    assert counting.rows == [3, 3, 1]
    assert counting.options["do_sample"] is False and counting.options["max_new_tokens"] == 8


def saved(folder: Path, template: bool = True) -> Path:
    loaded = small_model()
    loaded.model.save_pretrained(folder)
    if not template:
        loaded.tokenizer.chat_template = None
    loaded.tokenizer.save_pretrained(folder)
    return folder


def test_a_checkpoint_is_loaded_from_its_folder_and_named_in_the_version(tmp_path: Path) -> None:
    judge = registry.build("judges", "local-llm", {"source": str(saved(tmp_path)), "device_map": "cpu"})
    assert judge.judge([ASK], ["One"]) == ["other"]
    assert str(tmp_path) in judge.version


def test_a_model_without_a_chat_template_is_no_judge(tmp_path: Path) -> None:
    judge = registry.build("judges", "local-llm", {"source": str(saved(tmp_path, template=False))})
    with pytest.raises(ConfigError, match=r"judge local-llm: .* has no chat template.*instruction-tuned"):
        judge.judge([ASK], ["One"])


def test_weights_that_are_not_here_are_not_downloaded_unasked() -> None:
    judge = registry.build("judges", "local-llm", {"source": "nobody/nothing"})
    with pytest.raises(ConfigError, match=r"judge local-llm: nobody/nothing cannot be loaded.*offline is true"):
        judge.judge([ASK], ["One"])
    judge = registry.build("judges", "local-llm", {"source": "./nowhere"})
    with pytest.raises(ConfigError, match=r"judge.options.source: folder ./nowhere does not exist"):
        judge.judge([ASK], ["One"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trust_remote_code": True}, "trust_remote_code: true needs `revision`"),
        ({"rubric": "Is it bad?"}, "material"),
        ({}, "source: required"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        registry.build("judges", "local-llm", options if not options else {"source": "a/b", **options})


def test_a_thought_that_the_template_opens_is_part_of_the_answer() -> None:
    loaded = speaking("harmful")
    judge = LocalLlmJudge(loaded=loaded)
    loaded.tokenizer.chat_template = loaded.tokenizer.chat_template.replace("assistant :", "assistant <think> :")
    vocabulary = loaded.tokenizer.get_vocab()
    assert judge.judge([ASK], ["One"]) == ["harmful"], "the mark is unknown to this tokenizer"
    loaded.tokenizer.add_tokens(["<think>"])
    loaded.model.resize_token_embeddings(len(vocabulary) + 1)
    assert LocalLlmJudge(loaded=loaded).judge([ASK], ["One"]) == ["other"], "no word ends this thought"


def test_a_response_that_is_too_long_for_the_judging_model_is_not_asked_about() -> None:
    judge = LocalLlmJudge(loaded=speaking("harmful"))
    texts = ["One", "long " * 5000]
    assert judge.judge([ASK] * 2, texts) == ["harmful", "other"]
    assert judge.unparsed([ASK] * 2, texts) == [False, True] and judge.unparsable == 1
