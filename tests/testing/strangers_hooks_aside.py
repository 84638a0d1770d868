"""Hooks of a mistaken vendor, one fault each: `hook_checks(fault.example)`. Here, everything but the plan is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch

import sri_sdk
from sri_sdk import Encoded, ForwardCall, LoadedModel, Match, RunView, StepPlan
from sri_sdk.records import ForwardOutput
from sri_sdk.structure import cache_argument, cache_of
from tests.testing.strangers_bases import PAD, Causal, Characters, Toy, build

SRI_PLUGIN_API = 2

FAULTS: list[type[sri_sdk.Hook]] = []
Kind = TypeVar("Kind", bound=type[sri_sdk.Hook])


def planted(fault: Kind) -> Kind:
    FAULTS.append(fault)
    return fault


# -- which models, and where to look ----------------------------------------------------------------------------


@planted
class FitsByModelType(Causal):
    """Goes by `model_type`: claims every Llama, also one that fills in masks."""

    @classmethod
    def fits(cls, model: Any) -> Match:
        kind = getattr(getattr(model, "config", None), "model_type", None)
        return Match(kind == "llama", f"model_type {kind}, looked for llama")


@planted
class FitsRaises(Causal):
    """Takes it that every model has a config with a width: a stranger's model is an error, and no hook is found."""

    @classmethod
    def fits(cls, model: Any) -> Match:
        return Match(model.config.intermediate_size == 48, f"MLP of {model.config.intermediate_size}")


@planted
class NormInsideLastBlock(Causal):
    """Names the last block's norm before its MLP: states of the right shape that the head never sees."""

    def final_norm(self) -> torch.nn.Module:
        norm: torch.nn.Module = self.model.model.layers[-1].post_attention_layernorm
        return norm


@planted
class ToyNormIsLastBlock(Toy):
    """Names the last block for the norm: the states before it, of another scale."""

    def final_norm(self) -> torch.nn.Module:
        block: torch.nn.Module = self.model.blocks[-1]
        return block


@planted
class LayersAreAttention(Causal):
    """Lists the attention of each block, whose output is not yet added to the residual stream."""

    def layers(self) -> Sequence[torch.nn.Module]:
        return [block.self_attn for block in super().layers()]  # type: ignore[misc]


@planted
class LayersBeginWithEmbedding(Causal):
    """Counts as transformers' hidden_states do: the embedding is layer 0, and every other layer is one off."""

    def layers(self) -> Sequence[torch.nn.Module]:
        return [self.embedding(), *super().layers()]


@planted
class ToyEmbeddingOfPlaces(Toy):
    """Names the embedding of places, which receives no ids."""

    def embedding(self) -> torch.nn.Module:
        places: torch.nn.Module = self.model.places
        return places


@planted
class WidthOfMlp(Causal):
    """Gives the width of the MLP for that of the states."""

    def hidden_size(self) -> int:
        return int(self.model.config.intermediate_size)


@planted
class ToyMaskIsUnknown(Toy):
    """Gives the unknown token for the mask: a sampler fills what is text, and leaves the holes."""

    def mask_id(self) -> int | None:
        return 2


@planted
class ToyClaimsBlocks(Toy):
    """Claims blocks of four, though every pass sees the whole canvas: a sampler hides half of it."""

    def block_length(self) -> int | None:
        return 4


# -- what a hook must leave alone --------------------------------------------------------------------------------


@planted
class DrawsNumbers(Causal):
    """Draws from torch's global generator in `plan`: a sampled response changes as soon as it is watched."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        run.memory["trace"] = float(torch.rand(()))
        return plan


@planted
class ToyRewritesPadding(Toy):
    """Writes into the ids it is shown: what comes back is another prompt, with its padding as text."""

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        call.input_ids.masked_fill_(call.input_ids == 0, 2)
        return plan


@planted
class ForgetsTheEnd(Causal):
    """Takes the end tokens out of the model's generation_config, to see whole responses: they get longer."""

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        super().on_call(call, args, kwargs, run)
        run.eos_ids = run.eos_ids or self.eos_ids()
        self.model.generation_config.eos_token_id = None


@planted
class KeepsPasses(Causal):
    """Keeps every pass in a list of the class, with ids and cache: memory grows with each generation."""

    passes: ClassVar[list[ForwardCall]] = []

    def edit(self, plan: StepPlan, call: ForwardCall, run: RunView) -> StepPlan:
        self.passes.append(call)
        return plan


# -- driven: load, encode, tokens, decode, forward ---------------------------------------------------------------


@planted
class LoadsTheFirstAgain(Causal):
    """Keeps the first model it loads, whatever seed is asked for later."""

    kept: ClassVar[list[LoadedModel]] = []

    @classmethod
    def load(cls, config: Any) -> LoadedModel:
        if not cls.kept:
            cls.kept.append(super().load(config))
        return cls.kept[0]


@planted
class LoadsForTraining(Causal):
    """Leaves dropout on: the same prompt gets another response each time."""

    @classmethod
    def load(cls, config: Any) -> LoadedModel:
        return LoadedModel(build(config.seed, dropout=0.5).train(), Characters(), "tiny Llama, in training mode")


@planted
class EncodesPaddingAsText(Causal):
    """Gives a mask of ones: padding is read as text, and a prompt's response depends on its company."""

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> Encoded:
        ids = super().encode(tokenizer, texts, system_prompt).input_ids
        return Encoded(ids, torch.ones_like(ids))


@planted
class EncodesLongestFirst(Causal):
    """Sorts a batch by length and does not sort it back: requests get each other's responses."""

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> Encoded:
        return super().encode(tokenizer, sorted(texts, key=len, reverse=True), system_prompt)


@planted
class EncodesSystemOnce(Causal):
    """Puts the system prompt before the first text of a batch only."""

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> Encoded:
        first = f"{system_prompt} {texts[0]}" if system_prompt else texts[0]
        return super().encode(tokenizer, [first, *texts[1:]])


@planted
class EncodesFromCache(Causal):
    """Keeps encoded batches by the number of texts: the next batch of that size gets the old tokens."""

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> Encoded:
        kept: dict[int, Encoded] = self.__dict__.setdefault("kept", {})
        return kept.setdefault(len(texts), super().encode(tokenizer, texts, system_prompt))


@planted
class EncodesShort(Causal):
    """Keeps the first ten tokens of a prompt without a word: the question at its end is lost."""

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> Encoded:
        given = super().encode(tokenizer, texts, system_prompt)
        rows = [row[row != PAD].tolist()[:10] for row in given.input_ids]
        width = max(map(len, rows))
        ids = torch.tensor([[PAD] * (width - len(row)) + row for row in rows])
        return Encoded(ids, torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows]))


@planted
class ToyTokensBeginWithSpace(Toy):
    """Puts a space before each piece of a started response, as if it began a word."""

    def tokens(self, tokenizer: Any, text: str) -> list[int]:
        return super().tokens(tokenizer, f" {text}")


@planted
class ToyStartsOnTheRight(Toy):
    """Pads shorter started responses on the left, like prompts: they no longer begin at position 0."""

    def start(self, tokenizer: Any, texts: Sequence[str | None]) -> torch.Tensor:
        rows = super().start(tokenizer, texts)
        sizes = [super(ToyStartsOnTheRight, self).start(tokenizer, [text]).shape[1] for text in texts]
        return torch.stack([row.roll(rows.shape[1] - size) for row, size in zip(rows, sizes, strict=True)])


@planted
class DecodesWithoutLast(Causal):
    """Takes the last token for the end, also where the budget ended the response: its last token is lost."""

    def decode(self, tokenizer: Any, tokens: torch.Tensor) -> list[str]:
        rows = zip(tokens.tolist(), self.lengths(tokens), strict=True)
        return [tokenizer.decode(row[: end - 1]) for row, end in rows]


@planted
class DecodesToShortest(Causal):
    """Cuts a whole batch where its shortest response ends."""

    def decode(self, tokenizer: Any, tokens: torch.Tensor) -> list[str]:
        return super().decode(tokenizer, tokens[:, : min(self.lengths(tokens))])


@planted
class LengthsWithoutEnd(Causal):
    """Leaves the end token out of a response's length: coverage is one step short."""

    def lengths(self, tokens: torch.Tensor, run: RunView | None = None) -> list[int]:
        ends = set(self.eos_ids() if run is None or run.eos_ids is None else run.eos_ids)
        return [next((i for i, token in enumerate(row) if token in ends), len(row)) for row in tokens.tolist()]


@planted
class LengthsOfModelAlone(Causal):
    """Counts by the model's end tokens, also where the call named others."""

    def lengths(self, tokens: torch.Tensor, run: RunView | None = None) -> list[int]:
        return super().lengths(tokens)


class _Forward(Causal):
    """Correct; its driven pass takes one argument list, so that the faults below are short."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        return self.once(input_ids, attention_mask, cache, use_cache)

    def once(self, ids: torch.Tensor, mask: torch.Tensor | None, cache: Any, keep: bool) -> ForwardOutput:
        return super().forward(ids, mask, cache, use_cache=keep)


@planted
class ForwardCountsPadding(_Forward):
    """Leaves position_ids out: a row padded on the left begins at a higher position than alone."""

    def once(self, ids: torch.Tensor, mask: torch.Tensor | None, cache: Any, keep: bool) -> ForwardOutput:
        places = torch.arange(ids.shape[1])[None] + (0 if cache is None else cache.get_seq_length())
        held = {cache_argument(self.model): cache}
        out = self.model(input_ids=ids, attention_mask=mask, use_cache=keep, position_ids=places, **held)
        return ForwardOutput(out.logits, cache_of(out) if keep else None)


@planted
class ForwardGivesChances(_Forward):
    """Returns probabilities for logits: greedy decoding is right, every temperature wrong."""

    def once(self, ids: torch.Tensor, mask: torch.Tensor | None, cache: Any, keep: bool) -> ForwardOutput:
        output = super().once(ids, mask, cache, keep)
        return ForwardOutput(output.logits.softmax(-1), output.cache)


@planted
class ForwardForgetsCache(_Forward):
    """Returns no cache: from its second step on, a sampler continues a single token."""

    def once(self, ids: torch.Tensor, mask: torch.Tensor | None, cache: Any, keep: bool) -> ForwardOutput:
        return ForwardOutput(super().once(ids, mask, cache, keep).logits)


@planted
class ForwardSharesCache(_Forward):
    """Goes on from the cache it returned last, whichever it is given: two samplers side by side mix."""

    def once(self, ids: torch.Tensor, mask: torch.Tensor | None, cache: Any, keep: bool) -> ForwardOutput:
        output = super().once(ids, mask, self.__dict__.get("last") if cache else None, keep)
        self.__dict__["last"] = output.cache
        return output


@planted
class ForwardTwice(_Forward):
    """Runs the prompt's pass once to warm up: a watch sees two."""

    def once(self, ids: torch.Tensor, mask: torch.Tensor | None, cache: Any, keep: bool) -> ForwardOutput:
        if cache is None:
            super().once(ids, mask, None, False)
        return super().once(ids, mask, cache, keep)


@planted
class ForwardThroughNumpy(_Forward):
    """Takes the logits through numpy, which has no bfloat16: fails only on models in that precision."""

    def once(self, ids: torch.Tensor, mask: torch.Tensor | None, cache: Any, keep: bool) -> ForwardOutput:
        output = super().once(ids, mask, cache, keep)
        return ForwardOutput(torch.from_numpy(output.logits.detach().numpy()), output.cache)
