"""A judge that runs on this machine: a causal language model, asked the same as the one behind an endpoint."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field, field_validator

import sri_sdk
from sri_plugin_judges.rubric import OF_THOUGHTS, RUBRIC, MarkPairs, Word, question, read
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import ConfigError
from sri_sdk.thoughts import KNOWN, Thoughts, thoughts

SRI_PLUGIN_API = 1

LONGEST_ENDING = 32
"""Tokens at the end of a prompt that are searched for an open thought; a rubric's last words are as many at least."""


class LocalLlmJudge(sri_sdk.Judge):
    """Asks an instruction-tuned model for one word per response, greedily. Nothing leaves this machine.

    Responses that are judged together are padded on the left, which moves logits by rounding: where two words are as
    likely to seven digits, the batch decides. An answer that is not one of the four words, once its thoughts are left
    out, is `other` and is counted in `unparsable`; so is a response that is too long for the model.
    """

    knows_harm: ClassVar = True

    class Config(CheckpointConfig):
        """Which model, and how it is asked."""

        subject: ClassVar[str] = "judge"
        section: ClassVar[str] = "judge.options"
        offline: bool = Field(
            default=True,
            description="Never ask the hub: only folders and what was downloaded before. false = download.",
        )
        rubric: str = Field(default=RUBRIC, description="What is asked; {material} is where the two texts go, as JSON.")
        template: dict[str, Any] = Field(
            default={},
            description="Further arguments of the tokenizer's chat template, such as {enable_thinking: false}.",
        )
        max_tokens: int = Field(
            default=8, ge=1, description="Longest answer; a model that thinks first needs many more, such as 4096."
        )
        thoughts: MarkPairs = Field(default=(), description=OF_THOUGHTS)
        batch_size: int = Field(default=8, ge=1, description="Responses judged in one pass.")

        @field_validator("rubric")
        @classmethod
        def _has_a_place(cls, found: str) -> str:
            if "{material}" not in found:
                raise ValueError("rubric: {material} is missing, which is where request and response go")
            return found

    config: Config

    def __init__(self, config: Config | None = None, loaded: sri_sdk.LoadedModel | None = None) -> None:
        """Takes the options; `loaded` stands for the checkpoint in tests, None = it is loaded when first asked."""
        # A model at hand needs no checkpoint.
        super().__init__(self.Config.model_construct() if config is None and loaded is not None else config)
        self._given = loaded
        self._known: dict[tuple[str, str], Word | None] = {}
        self.unparsable = 0
        """Pairs whose answer was none of the four words."""
        name = getattr(self.config, "source", None) or "a model at hand"
        rubric = hashlib.sha256(self.config.rubric.encode()).hexdigest()[:8]
        self.version = f"2, {name}, rubric {rubric}"

    @cached_property
    def _loaded(self) -> sri_sdk.LoadedModel:
        loaded = self._given or load_checkpoint(self.config, family="local-llm")
        if not getattr(loaded.tokenizer, "chat_template", None):
            raise ConfigError(
                f"judge local-llm: {loaded.source} has no chat template, so it was not taught to follow instructions. "
                "Name an instruction-tuned checkpoint in judge.options.source."
            )
        return loaded

    def judge(self, prompts: Sequence[sri_sdk.Prompt], responses: Sequence[str]) -> list[Word]:
        """One outcome per response; an empty one is `other`, and the model is not asked.

        Raises:
            ConfigError: the model cannot be loaded, or has no chat template.
            MissingExtra: torch or transformers is not installed.
        """
        pairs = _pairs(prompts, responses)
        new = [pair for pair in dict.fromkeys(pairs) if pair[1].strip() and pair not in self._known]
        # Of one length together: little padding, and little rounding.
        new.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
        for start in range(0, len(new), self.config.batch_size):
            batch = new[start : start + self.config.batch_size]
            for pair, answer in zip(batch, self._answers(batch), strict=True):
                self._known[pair] = read(answer, self._marks)
                self.unparsable += self._known[pair] is None
        return [self._known.get(pair) or "other" for pair in pairs]

    def unparsed(self, prompts: Sequence[sri_sdk.Prompt], responses: Sequence[str]) -> list[bool]:
        """Which of these responses the model was asked about and gave none of the four words for."""
        return [pair in self._known and self._known[pair] is None for pair in _pairs(prompts, responses)]

    @property
    def _marks(self) -> Thoughts:
        return thoughts(self.config.thoughts)

    def _answers(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        import torch

        model, tokenizer = self._loaded.model, self._loaded.tokenizer
        chats = [[{"role": "user", "content": question(self.config.rubric, *pair)}] for pair in pairs]
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        batch = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True,
            tokenizer_kwargs={"padding_side": "left"}, **self.config.template,
        )  # fmt: skip
        room = getattr(getattr(model, "config", None), "max_position_embeddings", None)
        fits = (batch["attention_mask"].sum(-1) + self.config.max_tokens <= (room or math.inf)).tolist()
        if not all(fits):
            # Behind its last position a model writes nonsense, and nobody would know.
            short = [pair for pair, fit in zip(pairs, fits, strict=True) if fit]
            asked = iter(self._answers(short) if short else [])
            return [next(asked) if fit else "" for fit in fits]
        device = next(model.parameters()).device
        with torch.inference_mode():
            # What a checkpoint recommends for chatting must not make a judge hesitate.
            out = model.generate(
                input_ids=batch["input_ids"].to(device), attention_mask=batch["attention_mask"].to(device),
                max_new_tokens=self.config.max_tokens, do_sample=False, num_beams=1, temperature=None, top_p=None,
                top_k=None, repetition_penalty=1.0, pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
        answers = self._marks.decode(tokenizer, out[:, batch["input_ids"].shape[1] :].tolist())
        # A template may open the thought itself, and every prompt ends alike.
        opened = self._marks.opened_by(tokenizer.decode(batch["input_ids"][0, -LONGEST_ENDING:].tolist()))
        return [opened + answer for answer in answers]

    @classmethod
    def example(cls) -> Any:
        """A judge on a model of a few thousand random weights: it knows no word, and is steady about it."""
        from sri_plugin_judges.small import small_model

        return cls(cls.Config.model_construct(max_tokens=2), loaded=small_model())


def _pairs(prompts: Sequence[sri_sdk.Prompt], responses: Sequence[str]) -> list[tuple[str, str]]:
    return [(prompt.text, KNOWN.answer(text)) for prompt, text in zip(prompts, responses, strict=True)]
