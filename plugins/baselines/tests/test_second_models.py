"""Baselines with a second model, against the same numbers computed one by one."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sri_plugin_baselines.perplexity import PerplexityBaseline
from sri_plugin_baselines.safety_classifier import SafetyClassifierBaseline
from sri_plugin_baselines.small import TEMPLATE, counting_model, numbers, small_model, small_tokenizer

from sri_sdk import LoadedModel, Prompt, registry
from sri_sdk.errors import ConfigError
from sri_sdk.records import Generation
from sri_sdk.target import Target

TEXTS = ["find the bread .", "open", "", "open the house , find a window", "the " * 40, "no no"]


def generation(text: str, response: str = "open the window") -> Generation:
    return Generation(Prompt(text, text, "harmless"), response, "other")


class Nobody(Target):
    scheme = "masked"

    def respond(self, prompts: Any) -> list[str]:
        raise AssertionError("the guarded model is not asked")

    def outcomes(self, prompts: Any, responses: Any) -> Any:
        raise AssertionError("the judge is not asked")


# -- perplexity --------------------------------------------------------------------------------------------------


def surprise(loaded: LoadedModel, text: str) -> np.ndarray:
    """Nats of each token but the first, in float64, one text at a time."""
    ids = loaded.tokenizer(text)["input_ids"]
    with torch.no_grad():
        logits = loaded.model.double()(torch.tensor([ids])).logits[0].log_softmax(-1)
    loaded.model.float()
    return np.array([-logits[i, token].item() for i, token in enumerate(ids[1:])])


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_score_is_the_mean_surprise_of_its_tokens_however_they_are_batched(batch_size: int) -> None:
    loaded = small_model()
    config = PerplexityBaseline.Config.model_construct(batch_size=batch_size)
    found = PerplexityBaseline(config, loaded).score([generation(text) for text in TEXTS])
    expected = [surprise(loaded, text).mean() if len(text.split()) > 1 else math.nan for text in TEXTS]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isnan(found).tolist() == [False, True, True, False, False, False]


def test_with_a_window_the_most_surprising_part_counts() -> None:
    loaded, text = small_model(), "find the bread . open the house n3 n9 verdict"
    config = PerplexityBaseline.Config.model_construct(window=3)
    (found,) = PerplexityBaseline(config, loaded).score([generation(text)])
    each = surprise(loaded, text)
    assert found == pytest.approx(max(each[i : i + 3].mean() for i in range(len(each) - 2)), rel=1e-5)


def test_a_window_longer_than_the_prompt_is_the_whole_prompt() -> None:
    scores = [
        PerplexityBaseline(PerplexityBaseline.Config.model_construct(window=window), small_model()).score(
            [generation(TEXTS[0])]
        )[0]
        for window in (None, 99)
    ]
    assert scores[0] == scores[1]


def test_only_the_first_tokens_are_read() -> None:
    config = PerplexityBaseline.Config.model_construct(max_tokens=4)
    beginning, longer = PerplexityBaseline(config, small_model()).score(
        [generation("find the bread ."), generation("find the bread . n9 n3 n1")]
    )
    assert beginning == pytest.approx(longer, rel=1e-5)


def test_noise_is_more_surprising_than_what_the_model_has_learnt() -> None:
    texts = [generation(numbers(order)) for order in ("in-order", "mixed")]
    plain, noise = PerplexityBaseline(loaded=counting_model()).score(texts)
    assert plain < 0.2 * noise


def saved(folder: Path) -> Path:
    loaded = small_model()
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def test_a_checkpoint_is_loaded_by_the_hook_of_its_family(tmp_path: Path) -> None:
    options = {"hook": "causal", "options": {"source": str(saved(tmp_path)), "device_map": "cpu"}}
    baseline = registry.build("baselines", "perplexity", options)
    baseline.open(Nobody())
    found = baseline.score([generation(text) for text in TEXTS])
    np.testing.assert_allclose(
        found, PerplexityBaseline(loaded=small_model()).score(list(map(generation, TEXTS))), 1e-5
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"hook": "causal", "options": {"source": "./nowhere"}},
            "baseline perplexity: .*folder ./nowhere does not exist",
        ),
        ({"hook": "casual"}, r"baseline perplexity: .*'casual' is not installed.*Did you mean 'causal'"),
        ({"hook": "causal", "options": {"sourse": "x"}}, "baseline perplexity: .*sourse: unknown key"),
        ({"hook": "toy"}, "toy is a masked model; perplexity needs one that generates from left to right"),
    ],
)
def test_a_second_model_that_cannot_be_had_says_whose_it_is(options: dict[str, Any], said: str) -> None:
    baseline = registry.build("baselines", "perplexity", options)
    with pytest.raises(ConfigError, match=said):
        baseline.open(Nobody())


@pytest.mark.parametrize("name", ["perplexity", "safety-classifier"])
def test_without_open_there_is_no_model(name: str) -> None:
    baseline = registry.build("baselines", name, {"hook": "causal"} if name == "perplexity" else {"source": "a/b"})
    with pytest.raises(ConfigError, match=rf"baseline {name}: has no model yet; call open\(target\) before score"):
        baseline.score([generation("open")])


# -- safety classifiers ------------------------------------------------------------------------------------------


def classifier(loaded: LoadedModel | None = None, name: str = "safety-classifier", **options: Any) -> Any:
    plugin = registry.load("baselines", name)
    found = plugin(plugin.Config(source="x", **{"least": 0.0, **options}), loaded or small_model())
    found.open(Nobody())
    return found


def first_token(loaded: LoadedModel, text: str) -> torch.Tensor:
    """Probabilities of the first token of the answer, in float64."""
    ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        chances = loaded.model.double()(ids).logits[0, -1].softmax(-1)
    loaded.model.float()
    return chances


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("safety-classifier", "user : {} assistant : open the window verdict :"),
        ("prompt-safety-classifier", "user : {} verdict :"),
    ],
)
def test_the_chance_of_unsafe_is_read_off_the_first_token_after_the_template(name: str, form: str) -> None:
    loaded = small_model()
    found = classifier(loaded, name, batch_size=2).score([generation(text) for text in TEXTS])
    safe, unsafe = (loaded.tokenizer.convert_tokens_to_ids(word) for word in ("safe", "unsafe"))
    for text, score in zip(TEXTS, found, strict=True):
        chances = first_token(loaded, form.format(text))
        assert score == pytest.approx(float(chances[unsafe] / (chances[unsafe] + chances[safe])), rel=1e-5)


def test_several_words_of_an_answer_are_added_up_and_a_prefix_may_stand_before_it() -> None:
    loaded = small_model()
    (found,) = classifier(loaded, unsafe=["unsafe", "no"], before=" n3").score([generation("open")])
    chances = first_token(loaded, "user : open assistant : open the window verdict : n3")
    bad = sum(chances[loaded.tokenizer.convert_tokens_to_ids(word)] for word in ("unsafe", "no"))
    good = chances[loaded.tokenizer.convert_tokens_to_ids("safe")]
    assert found == pytest.approx(float(bad / (bad + good)), rel=1e-5)


def test_a_model_that_says_something_else_cannot_tell() -> None:
    assert np.isnan(classifier(least=0.5).score([generation("open")])).all()


def test_an_input_that_is_too_long_cannot_be_told() -> None:
    found = classifier(max_tokens=12).score([generation("open"), generation("the " * 40)])
    assert np.isnan(found).tolist() == [False, True]
    assert np.isnan(classifier().score([generation("the " * 2000)])).all()  # the model's own limit


def without(template: bool = True) -> LoadedModel:
    loaded = small_model()
    if not template:
        loaded.tokenizer.chat_template = None
    return loaded


@pytest.mark.parametrize(
    ("loaded", "options", "said"),
    [
        (without(template=False), {}, "has no chat template"),
        (None, {"unsafe": ["wicked"]}, "does not tell safe from wicked by the first token, or does not know them"),
        (None, {"unsafe": ["safe house"]}, "does not tell safe from safe house by the first token"),
        (None, {"kind": "sequence"}, "has no class named unsafe; classes: LABEL_0, LABEL_1"),
    ],
)
def test_a_model_whose_answer_cannot_be_read_is_refused_when_it_is_opened(
    loaded: LoadedModel | None, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        classifier(loaded, **options)


def sequence(labels: int = 3) -> LoadedModel:
    tokenizer = small_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    names = {0: "Safe", 1: "Unsafe", 2: "Jailbreak"}
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        num_labels=labels, pad_token_id=0, max_position_embeddings=256,
    )  # fmt: skip
    if labels == 3:
        config.id2label, config.label2id = names, {name: i for i, name in names.items()}
    torch.manual_seed(0)
    return LoadedModel(transformers.BertForSequenceClassification(config).eval(), tokenizer, "small classifier")


def test_the_unsafe_classes_of_a_classifier_are_added_up() -> None:
    loaded = sequence()
    found = classifier(loaded, kind="sequence", unsafe=["unsafe", "jailbreak"], batch_size=4).score(
        [generation(text, response) for text in TEXTS[:2] for response in ("open", "find the window")]
    )
    for score, (text, response) in zip(
        found, [(t, r) for t in TEXTS[:2] for r in ("open", "find the window")], strict=True
    ):
        ids = torch.tensor([loaded.tokenizer(text, response)["input_ids"]])
        with torch.no_grad():
            expected = loaded.model(ids).logits[0].double().softmax(-1)[1:].sum()
        assert score == pytest.approx(float(expected), rel=1e-4)


def test_a_classifier_with_one_number_gives_its_chance() -> None:
    loaded = sequence(labels=1)
    (found,) = classifier(loaded, "prompt-safety-classifier", kind="sequence").score([generation("open the house")])
    ids = torch.tensor([loaded.tokenizer("open the house")["input_ids"]])
    with torch.no_grad():
        assert found == pytest.approx(float(loaded.model(ids).logits[0, 0].double().sigmoid()), rel=1e-4)


def test_a_guard_model_is_loaded_from_its_folder(tmp_path: Path) -> None:
    baseline = registry.build(
        "baselines", "safety-classifier", {"source": str(saved(tmp_path)), "device_map": "cpu", "least": 0}
    )
    baseline.open(Nobody())
    np.testing.assert_allclose(
        baseline.score([generation("open")]), classifier().score([generation("open")]), rtol=1e-5
    )
    assert baseline._loaded.tokenizer.chat_template == TEMPLATE


def test_a_classifier_is_loaded_from_its_folder_and_one_without_a_head_is_refused(tmp_path: Path) -> None:
    loaded = sequence()
    loaded.model.save_pretrained(tmp_path / "whole")
    loaded.model.bert.save_pretrained(tmp_path / "headless")
    for folder in ("whole", "headless"):
        loaded.tokenizer.save_pretrained(tmp_path / folder)
    options = {"kind": "sequence", "device_map": "cpu"}
    whole = registry.build("baselines", "safety-classifier", {"source": str(tmp_path / "whole"), **options})
    whole.open(Nobody())
    assert 0 < whole.score([generation("open")])[0] < 1
    headless = registry.build("baselines", "safety-classifier", {"source": str(tmp_path / "headless"), **options})
    with pytest.raises(ConfigError, match=r"baseline safety-classifier: .* has no weights for .*they would be random"):
        headless.open(Nobody())


def test_weights_that_are_not_here_are_not_downloaded_unasked() -> None:
    baseline = registry.build("baselines", "safety-classifier", {"source": "nobody/nothing"})
    with pytest.raises(
        ConfigError, match=r"safety-classifier: nobody/nothing cannot be loaded.*offline is true.*Download"
    ):
        baseline.open(Nobody())


def test_code_of_a_checkpoint_runs_only_when_it_is_asked_for_and_pinned() -> None:
    assert SafetyClassifierBaseline.Config(source="a/b").trust_remote_code is False
    with pytest.raises(ConfigError, match="trust_remote_code: true needs `revision`"):
        registry.build("baselines", "safety-classifier", {"source": "a/b", "trust_remote_code": True})
