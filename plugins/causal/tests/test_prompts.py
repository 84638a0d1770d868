"""From requests to tokens, and from a checkpoint to a model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sri_plugin_causal.hook import CausalHook
from sri_plugin_causal.stand_ins import example

from sri_sdk.errors import ConfigError

CHATTY = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% if thinking is defined %} {{ thinking }}{% endif %}{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATTY
)


def tokenizer(template: str | None = None, **special: Any) -> Any:
    """One word, one token; words it has never seen are <unk>."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = "<pad> <s> </s> <unk> <user> <system> <assistant> hi how are you be kind no yes".split()
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    found = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", **special
    )
    found.chat_template = template
    return found


@pytest.fixture
def hook() -> CausalHook:
    return CausalHook(example.build())


def texts(made: Any, encoded: Any) -> list[str]:
    rows = zip(encoded.input_ids, encoded.attention_mask, strict=True)
    return [made.decode(row[mask.bool()]) for row, mask in rows]


def test_a_chat_is_written_by_the_template_with_nothing_doubled(hook: CausalHook) -> None:
    made = tokenizer(CHATTY, pad_token="<pad>")
    encoded = hook.encode(made, ["hi", "how are you"], system_prompt="be kind")
    assert texts(made, encoded) == [
        "<system> be kind <user> hi <assistant>", "<system> be kind <user> how are you <assistant>",
    ]  # fmt: skip
    assert encoded.attention_mask.tolist() == [[0, 0, 1, 1, 1, 1, 1, 1], [1] * 8]
    assert encoded.input_ids[0, :2].tolist() == [0, 0]


def test_it_is_what_transformers_own_call_gives(hook: CausalHook) -> None:
    made = tokenizer(CHATTY, pad_token="<pad>")
    ours = hook.encode(made, ["hi", "how are you"])
    chats = [[{"role": "user", "content": text}] for text in ("hi", "how are you")]
    theirs = made.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True,
        tokenizer_kwargs={"padding_side": "left"},
    )  # fmt: skip
    assert torch.equal(ours.input_ids, theirs["input_ids"])
    assert torch.equal(ours.attention_mask, theirs["attention_mask"])


def test_a_tokenizer_without_a_padding_token_pads_too(hook: CausalHook) -> None:
    made = tokenizer(CHATTY)
    assert made.pad_token_id is None
    encoded = hook.encode(made, ["hi", "how are you"])
    assert encoded.attention_mask.sum(1).tolist() == [3, 5]
    assert made.pad_token_id is None


def test_without_a_chat_template_the_text_stands_as_it_is(hook: CausalHook) -> None:
    made = tokenizer()
    assert texts(made, hook.encode(made, ["hi"])) == ["<s> hi"]
    assert texts(made, hook.encode(made, ["hi"], system_prompt="be kind")) == ["<s> be kind hi"]


def test_a_template_that_takes_no_system_prompt_says_so(hook: CausalHook) -> None:
    with pytest.raises(ConfigError, match=r"System role not supported.*model.system_prompt: null"):
        hook.encode(tokenizer(NO_SYSTEM), ["hi"], system_prompt="be kind")
    assert hook.encode(tokenizer(NO_SYSTEM), ["hi"]).input_ids.shape == (1, 3)


def test_further_arguments_reach_the_template() -> None:
    model, made = example.build(), tokenizer(CHATTY)
    hook = CausalHook(model, CausalHook.Config(source="x", template={"thinking": "no"}))
    assert texts(made, hook.encode(made, ["hi"])) == ["<user> hi <assistant> no"]


def test_a_response_is_read_up_to_its_end(hook: CausalHook) -> None:
    assert hook.decode(tokenizer(CHATTY), torch.tensor([[7, 8, 2, 9], [7, 8, 9, 10]])) == ["hi how", "hi how are you"]


def test_a_checkpoint_becomes_a_model_that_can_be_driven(tmp_path: Path) -> None:
    import sri_sdk
    from sri_sdk import Prompt, registry

    model = example.build()
    model.save_pretrained(tmp_path)
    tokenizer(CHATTY, pad_token="<pad>").save_pretrained(tmp_path)
    config = registry.configure("hooks", "causal", {"source": str(tmp_path), "dtype": "bfloat16", "offline": True})
    loaded = CausalHook.load(config)
    assert next(loaded.model.parameters()).dtype == torch.bfloat16
    hook = CausalHook(loaded.model, config)
    sampler = registry.build("samplers", "autoregressive", {"tokens": 4})
    prompts = [Prompt("a", "hi", "harmless"), Prompt("b", "how are you", "harmless")]
    batch = sri_sdk.drive(hook, loaded, sampler, prompts, sri_sdk.watch_settings(hook))
    assert [step.index for step in batch] == [0, 1, 2, 3]
    assert not any(trace.reasons for trace in batch.run.traces)
    assert len(batch.texts) == 2
