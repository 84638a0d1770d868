"""How surprising a prompt is to a language model: suffixes found by search read like noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_plugin_baselines.passes import Forward, logits_of
from sri_sdk.baseline import Baseline
from sri_sdk.errors import ConfigError
from sri_sdk.records import Generation
from sri_sdk.second_model import SecondModelConfig, load_second_model
from sri_sdk.target import Target

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 1


class PerplexityBaseline(Baseline):
    """The logarithm of a prompt's perplexity under a causal model: its mean negative log-likelihood, nats per token.

    Alon and Kamfonas (arXiv 2308.14132) add the prompt's length and a classifier; this is the perplexity alone, as Jain
    et al. (arXiv 2309.00614) use it, and with `window` their windowed form. The text is read as it is, without a chat
    template; its first token gets no score of its own. This catches text that reads like noise, and misses fluent
    attacks.
    """

    source: ClassVar = "Alon and Kamfonas, arXiv 2308.14132; Jain et al., arXiv 2309.00614"
    reads: ClassVar = "prompt"

    class Config(SecondModelConfig):
        """Which language model, and what part of a prompt."""

        window: int | None = Field(
            default=None, ge=1,
            description="Highest mean over so many tokens in a row, so that a short suffix is not lost in a long "
            "prompt; null = mean over the whole prompt.",
        )  # fmt: skip
        max_tokens: int = Field(default=1024, ge=2, description="Tokens of a prompt that are read, from its beginning.")
        batch_size: int = Field(default=8, ge=1, description="Prompts of one pass.")

    config: Config

    def __init__(self, config: Config | None = None, loaded: sri_sdk.LoadedModel | None = None) -> None:
        """Takes the options; `loaded` is a causal model at hand, None = `open` loads the one of the options."""
        super().__init__(self.Config.model_construct() if config is None and loaded is not None else config)
        self._forward: Forward | None = None
        if loaded is not None:
            model = loaded.model
            self._bind(loaded, lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits)

    def open(self, target: Target) -> None:
        """Loads the second model; the guarded one is not needed.

        Raises:
            ConfigError: there is no such hook, it cannot load its model, or the model is not causal.
            MissingExtra: torch or transformers is not installed.
        """
        if self._forward is not None:
            return
        hook, loaded = load_second_model(self.config, whose="baseline perplexity")
        if hook.scheme != "autoregressive":
            raise ConfigError(
                f"baseline perplexity: options.hook: {self.config.hook} is a {hook.scheme} model; perplexity needs one "
                "that generates from left to right, such as hook causal or lab-causal."
            )
        self._bind(loaded, lambda ids, mask: hook.forward(ids, mask).logits)

    def _bind(self, loaded: sri_sdk.LoadedModel, forward: Forward) -> None:
        self._forward, self._tokenizer = forward, loaded.tokenizer
        self._device: torch.device = next(loaded.model.parameters()).device

    def score(self, generations: Sequence[Generation]) -> NDArray[np.float64]:
        """[N] float64, nats per token, higher = more surprising; NaN where a prompt has fewer than two tokens.

        Raises:
            ConfigError: `open` was not called.
        """
        if self._forward is None:
            raise ConfigError("baseline perplexity: has no model yet; call open(target) before score().")
        from torch.nn import functional

        scores = np.full(len(generations), np.nan)
        rows = [self._tokens(generation.prompt.text) for generation in generations]
        long = [index for index, row in enumerate(rows) if len(row) > 1]
        passes = logits_of(
            self._forward, [rows[index] for index in long], batch_size=self.config.batch_size, device=self._device
        )
        for place, logits in passes:
            index = long[place]
            following = logits.new_tensor(rows[index][1:]).long()
            surprise = functional.cross_entropy(logits[:-1].float(), following, reduction="none")
            scores[index] = self._mean(surprise.double().cpu().numpy())
        return scores

    def _tokens(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer(text, truncation=True, max_length=self.config.max_tokens)["input_ids"]
        return found

    def _mean(self, surprise: NDArray[np.float64]) -> float:
        """Nats per token: `surprise` [L - 1] in nats, averaged over all of it or over its worst window."""
        window = self.config.window
        if window is None or window >= len(surprise):
            return float(surprise.mean())
        return float(np.lib.stride_tricks.sliding_window_view(surprise, window).mean(1).max())

    @classmethod
    def example(cls) -> Any:
        """On a small model that can count, and is surprised by numbers out of order."""
        from sri_plugin_baselines.small import counting_model, numbers
        from sri_sdk.testing import BaselineCase

        plain, strange = (
            Generation(sri_sdk.Prompt(f"example-{order}", numbers(order), "harmless"), "So.", "harmless")
            for order in ("in-order", "mixed")
        )
        return BaselineCase(cls(loaded=counting_model()), ordered=[(plain, strange)])
