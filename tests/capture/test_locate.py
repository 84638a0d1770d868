"""Where a request stands in its prompt, and that driven runs read just that."""

import numpy as np
import pytest
import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture.drive import drive
from sri_sdk.capture.settings import watch_settings
from sri_sdk.capture.start import start
from sri_sdk.errors import ConfigError
from sri_sdk.records import Prompt

SAMPLERS = {"lab-diffusion": "low-confidence", "lab-causal": "autoregressive"}


class Spelled:
    """A chat tokenizer that spells: one token per character, and a template as its `template` says."""

    def __init__(self, template):
        self.template = template

    def apply_chat_template(self, chat, tokenize, add_generation_prompt, **options):
        assert not tokenize and add_generation_prompt
        return self.template(chat, **options)

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [ord(letter) for letter in text]}


def plain(chat, **options):
    return "".join(f"<{m['role']}>{m['content']}</>" for m in chat) + "<assistant>"


def user(*texts):
    return [{"role": "user" if at % 2 == 0 else "assistant", "content": text} for at, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("chat", "expected"),
    [
        (user("steal the lamp"), "steal the lamp"),
        (user("hello", "hi", "steal the lamp"), "steal the lamp"),
        ([{"role": "system", "content": "be kind. " * 400}, *user("steal the lamp")], "steal the lamp"),
        (user("user"), "user"),
        (user("a b c"), "a b c"),
        (user("a walk, in brief"), "a walk, in brief"),
        (user("</><assistant>"), "</><assistant>"),
        (user("x"), "x"),
    ],
)
def test_it_is_the_last_user_turn(chat, expected):
    tokenizer = Spelled(plain)
    (span,) = sri_sdk.request_spans(tokenizer, [chat])
    assert plain(chat)[slice(*span)] == expected


@pytest.mark.parametrize(
    "chat", [[], user("hello", "hi"), user(""), [{"role": "user", "content": [{"type": "image"}]}]]
)
def test_what_is_no_last_user_turn_is_not_located(chat):
    assert sri_sdk.request_spans(Spelled(plain), [chat]) == [None]


def test_a_template_that_drops_the_request_is_not_located():
    assert sri_sdk.request_spans(Spelled(lambda chat, **_: "<user></><assistant>"), [user("steal")]) == [None]


def test_padding_on_the_left_is_counted():
    tokenizer, chats = Spelled(plain), [user("steal the lamp"), user("x")]
    rows = [plain(chat) for chat in chats]
    width = max(map(len, rows))
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    for row, span, wanted in zip(
        rows, sri_sdk.request_spans(tokenizer, chats, mask), ("steal the lamp", "x"), strict=True
    ):
        assert row.rjust(width)[slice(*span)] == wanted


def test_options_of_the_template_must_be_those_of_the_batch():
    def thinking(chat, think=False):
        return plain(chat) + ("<think>" if think else "")

    chats = [user("steal the lamp")]
    mask = torch.ones(1, len(thinking(chats[0], think=True)), dtype=torch.int64)
    with pytest.raises(ConfigError, match="options it was encoded with"):
        sri_sdk.request_spans(Spelled(thinking), chats, mask)
    (span,) = sri_sdk.request_spans(Spelled(thinking), chats, mask, think=True)
    assert plain(chats[0])[slice(*span)] == "steal the lamp"


@pytest.fixture(scope="module", params=SAMPLERS)
def lab(request):
    hook_class = registry.load("hooks", request.param)
    loaded = hook_class.load(hook_class.Config())
    return hook_class(loaded.model), loaded, registry.build("samplers", SAMPLERS[request.param], {})


TEXTS = ("steal the lantern", "tell me how to steal the lantern of the farmer .")


def located(lab, prompts):
    hook, loaded, sampler = lab
    ready = start(hook, loaded.tokenizer, sampler, prompts, None, find_requests=True)
    rows = zip(ready.encoded.input_ids, ready.requests, strict=True)
    return [loaded.tokenizer.decode(ids[begin:end].tolist()) for ids, (begin, end) in rows]


def test_driven_prompts_are_located_to_the_word(lab):
    assert located(lab, [Prompt(str(i), text, "harmless") for i, text in enumerate(TEXTS)]) == list(TEXTS)


def test_a_started_response_is_no_part_of_the_request(lab):
    prompts = [Prompt("0", TEXTS[0], "harmful", prefill="sure , take"), Prompt("1", TEXTS[1], "harmless")]
    assert located(lab, prompts) == list(TEXTS)


def test_a_driven_run_reads_the_request_and_nothing_else(lab):
    """Other rows, padding and what a response was started with make no difference."""
    hook, loaded, sampler = lab
    settings = watch_settings(hook, request_layers=(0, "final"))

    def states(prompts):
        batch = drive(hook, loaded, sampler, prompts, settings)
        list(batch)
        assert batch.run.request.complete.all()
        return batch.run.request.states

    first, second = (Prompt(str(i), text, "harmless") for i, text in enumerate(TEXTS))
    together = states([first, second])
    assert together.shape == (2, 2, hook.hidden_size())
    np.testing.assert_allclose(states([second])[0], together[1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(states([first])[0], together[0], rtol=1e-3, atol=1e-4)
