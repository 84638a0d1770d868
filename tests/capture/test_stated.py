"""What a caller of `watch` states is checked where the tokens show it, and named where they do not."""

from typing import Any

import pytest
import torch
from sri_plugin_causal.hook import CausalHook
from sri_plugin_causal.stand_ins import example

import sri_sdk
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import watch_settings
from sri_sdk.errors import ConfigError
from tests.capture.conftest import Toy, toy_prompts
from tests.capture.test_encoded import NO_SYSTEM, WRITES, tokenizer

IN_THE_USERS_TURN = (
    "<user> {% for m in messages if m.role == 'system' %}{{ m.content }} {% endfor %}"
    "{{ messages[-1].content }} <assistant>"
)
DEFAULT = "{% if messages[0].role != 'system' %}<system> be kind {% endif %}" + WRITES


@pytest.fixture(scope="module")
def model() -> Any:
    return example.build()


def watched(model: Any, template: str, *, holds: str | None, states: str | None, texts: Any = ("bake bread",)) -> Run:
    made = tokenizer(template)
    hook = CausalHook(model)
    encoded = hook.encode(made, list(texts), holds)
    with sri_sdk.watch(model, hook=hook, system_prompt=states, tokenizer=made) as run:
        model.generate(
            input_ids=encoded.input_ids, attention_mask=encoded.attention_mask, max_new_tokens=3, do_sample=False,
            pad_token_id=0,
        )  # fmt: skip
    return run


def test_a_stated_system_prompt_that_the_tokens_hold_is_no_longer_only_stated(model: Any) -> None:
    run = watched(model, WRITES, holds="be kind", states="be kind", texts=("bake bread", "steal"))
    assert run.stated == () and not any("other_system_prompt" in trace.reasons for trace in run.traces)


@pytest.mark.parametrize(
    ("template", "holds", "states"),
    [
        (WRITES, None, "be kind"), (NO_SYSTEM, "be kind", "be kind"), (WRITES, "steal lamp", "be kind"),
        (WRITES, "be kind", None), (DEFAULT, "steal lamp", None),
    ],
)  # fmt: skip
def test_a_prompt_that_disproves_the_statement_is_unmonitored(
    model: Any, caplog: pytest.LogCaptureFixture, template: str, holds: str | None, states: str | None
) -> None:
    run = watched(model, template, holds=holds, states=states)
    assert run.traces[0].reasons[0] == "other_system_prompt"
    assert "system prompt" in caplog.text and "kind" not in caplog.text, "it may be confidential"


@pytest.mark.parametrize(("template", "holds"), [(WRITES, None), (DEFAULT, None)])
def test_a_prompt_without_one_where_none_is_stated_is_checked_too(model: Any, template: str, holds: str | None) -> None:
    run = watched(model, template, holds=holds, states=None)
    assert run.stated == () and "other_system_prompt" not in run.traces[0].reasons


def test_a_template_that_does_not_tell_leaves_the_statement_a_statement(model: Any) -> None:
    run = watched(model, IN_THE_USERS_TURN, holds="be kind", states=None)
    assert run.stated == ("system_prompt",) and "other_system_prompt" not in run.traces[0].reasons


def test_without_a_tokenizer_the_record_says_what_nobody_checked(toy: Toy, toy_guard) -> None:
    inputs = toy.inputs(toy_prompts(2))
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        toy.loaded.model.generate(**inputs)
    assert run.stated == ("sampler", "system_prompt")
    assert run.signals.fingerprint["stated"] == ["sampler", "system_prompt"]


def test_a_tokenizer_that_fails_breaks_nothing(toy: Toy) -> None:
    class Broken:
        def decode(self, *_: Any) -> str:
            raise RuntimeError("no")

    with sri_sdk.watch(toy.loaded.model, system_prompt="be kind", tokenizer=Broken()) as run:
        watched = toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
    assert torch.equal(watched, toy.loaded.model.generate(**toy.inputs(toy_prompts(2))))
    assert run.stated == ("system_prompt",) and not run.traces[0].reasons


def test_settings_for_another_system_prompt_drive_nothing(toy: Toy, toy_guard) -> None:
    settings = watch_settings(toy.hook, toy_guard)
    with pytest.raises(ConfigError, match="the settings were made for system prompt none"):
        sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(1), settings, system_prompt="be kind")
