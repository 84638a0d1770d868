"""What is encoded must hold what was asked."""

from typing import Any

import pytest
import torch
from sri_plugin_causal.hook import CausalHook
from sri_plugin_causal.stand_ins import example

from sri_sdk import registry
from sri_sdk.capture.encoded import encode
from sri_sdk.capture.start import start
from sri_sdk.errors import ConfigError
from sri_sdk.records import Encoded, Prompt

WRITES = "{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}<assistant>"
LOOPS = "{% for m in messages %}<{{ m.role }}> {% for part in m.content %}{{ part.text }}{% endfor %} {% endfor %}"
SAYS_BREAD = "<system> bake bread <user> <assistant>"
NO_SYSTEM = "{% for m in messages if m.role != 'system' %}<{{ m.role }}> {{ m.content }} {% endfor %}<assistant>"
ASKED = [Prompt("a", "bake bread", "harmless"), Prompt("b", "steal lamp", "harmful")]


def tokenizer(template: str | None) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = "<pad> <s> </s> <unk> <user> <system> <assistant> bake bread steal lamp be kind a b c".split()
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
    found.chat_template = template
    return found


@pytest.fixture(scope="module")
def hook() -> CausalHook:
    return CausalHook(example.build())


@pytest.mark.parametrize("template", [WRITES, None, NO_SYSTEM])
def test_a_template_that_writes_the_request_is_fine(hook: CausalHook, template: str | None) -> None:
    made = tokenizer(template)
    found, plain = encode(hook, made, ASKED, None), hook.encode(made, [p.text for p in ASKED])
    assert torch.equal(found.input_ids, plain.input_ids)


@pytest.mark.parametrize("template", [LOOPS, SAYS_BREAD, "<user> {{ messages[-1].content[:4] }} <assistant>"])
def test_a_template_that_drops_or_cuts_the_request_is_refused(hook: CausalHook, template: str) -> None:
    with pytest.raises(ConfigError, match=r"chat template of .* drops or changes its text.*chat_template") as refused:
        encode(hook, tokenizer(template), ASKED[:1], None)
    assert "'a'" in str(refused.value) and "bread" not in str(refused.value)


def test_words_that_the_tokenizer_does_not_know_are_no_lost_request(hook: CausalHook) -> None:
    unknown = [Prompt("a", "zzz", "harmless"), Prompt("b", "bake zzz steal yyy lamp", "harmless")]
    assert len(encode(hook, tokenizer(WRITES), unknown, None).input_ids) == 2


def test_a_system_prompt_that_the_template_drops_is_refused(hook: CausalHook) -> None:
    encode(hook, tokenizer(WRITES), ASKED, "be kind")
    with pytest.raises(ConfigError, match=r"system prompt: the chat template of .* drops"):
        encode(hook, tokenizer(NO_SYSTEM), ASKED, "be kind")


def test_an_encode_of_a_hook_of_its_own_is_checked_as_well(hook: CausalHook) -> None:
    class Forgets(CausalHook):
        def encode(self, tokenizer: Any, texts: Any, system_prompt: str | None = None) -> Encoded:
            ids = torch.full((len(texts), 4), 5)
            return Encoded(ids, torch.ones_like(ids))

    with pytest.raises(ConfigError, match="Forgets"):
        encode(Forgets(hook.model), tokenizer(WRITES), ASKED, None)


def thinking_tokenizer(template: str) -> Any:
    found = tokenizer(template)
    found.add_tokens(["<think>", "</think>"])
    return found


def test_a_thought_that_the_template_opens_is_opened_in_the_text(hook: CausalHook) -> None:
    made = thinking_tokenizer(WRITES + " <think>")
    asked = [*ASKED, Prompt("c", "bake </think> bread", "harmless")]
    ready = start(hook, made, registry.build("samplers", "autoregressive", {"tokens": 4}), asked, None)
    draft = torch.tensor([made("bread </think> lamp")["input_ids"], made("bread bread lamp")["input_ids"]] * 2)[:3]
    answers = [hook.thoughts.answer(text) for text in ready.texts(hook, made, draft)]
    assert answers == ["lamp", "", "lamp"]


@pytest.mark.parametrize("end", ["", " <think> </think>"])
def test_a_thought_that_the_template_does_not_leave_open_changes_no_text(hook: CausalHook, end: str) -> None:
    made = thinking_tokenizer(WRITES + end)
    # What a request says opens nothing.
    asked = [Prompt("a", "bake <think>", "harmless"), Prompt("b", "steal <think>", "harmful")]
    ready = start(hook, made, registry.build("samplers", "autoregressive", {"tokens": 4}), asked, None)
    draft = torch.tensor([made("bake bread")["input_ids"]] * 2)
    assert ready.texts(hook, made, draft) == hook.decode(made, draft) == ["bake bread"] * 2
