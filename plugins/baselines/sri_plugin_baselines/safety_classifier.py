"""A second model, trained to tell safe from unsafe, judges the conversation or the prompt alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_plugin_baselines.passes import logits_of
from sri_sdk.baseline import Baseline, Reads
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import ConfigError
from sri_sdk.records import Generation
from sri_sdk.target import Target
from sri_sdk.thoughts import KNOWN

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 1

AUTO = {"causal": "AutoModelForCausalLM", "sequence": "AutoModelForSequenceClassification"}
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class SafetyClassifierBaseline(Baseline):
    """The probability of `unsafe`, from a guard model that reads prompt and response.

    Two kinds. `causal`: a language model with a chat template of its own that begins its answer with safe or unsafe, as
    Llama Guard does (Inan et al., arXiv 2312.06674); one pass, and the score is P(unsafe) / (P(safe) + P(unsafe)) of
    the first token. `sequence`: a classifier over both texts; the score is the probability of its unsafe classes.

    The weights must be on this machine; nothing is downloaded, and no code of theirs runs, unless the options say so.
    """

    source: ClassVar = "Inan et al. (Llama Guard), arXiv 2312.06674, or the authors of the checkpoint"
    reads: ClassVar[Reads] = "response"

    class Config(CheckpointConfig):
        """Which model, and how its answer is read."""

        subject: ClassVar[str] = "baseline"
        section: ClassVar[str] = "baseline.options"
        offline: bool = Field(
            default=True,
            description="Never ask the hub: only folders and what was downloaded before. false = download.",
        )
        kind: Literal["causal", "sequence"] = Field(
            default="causal", description="causal = answers safe or unsafe; sequence = a classifier with named classes."
        )
        unsafe: Words = Field(
            default=("unsafe",), description="causal: words an answer of unsafe begins with. sequence: unsafe classes."
        )
        safe: Words = Field(default=("safe",), description="causal: words an answer of safe begins with.")
        before: str = Field(
            default="",
            description="causal: what stands between the chat template and the answer, such as two line ends.",
        )
        least: float = Field(
            default=0.01, ge=0, lt=1,
            description="causal: below this probability of safe and unsafe together the model says something else, and "
            "the score is NaN.",
        )  # fmt: skip
        template: dict[str, Any] = Field(default={}, description="causal: further arguments of the chat template.")
        max_tokens: int | None = Field(
            default=None, ge=2, description="Longest input; a longer one has the score NaN. null = what the model says."
        )
        batch_size: int = Field(default=8, ge=1, description="Generations of one pass.")

    config: Config

    def __init__(self, config: Config | None = None, loaded: sri_sdk.LoadedModel | None = None) -> None:
        """Takes the options; `loaded` is a model at hand, None = `open` loads the one of the options."""
        super().__init__(self.Config.model_construct() if config is None and loaded is not None else config)
        self._loaded = loaded

    def open(self, target: Target) -> None:
        """Loads the classifier; the guarded model is not needed.

        Raises:
            ConfigError: the weights are not on this machine or cannot be loaded, or answers could not be read.
            MissingExtra: torch or transformers is not installed.
        """
        if self._loaded is None:
            self._loaded = load_checkpoint(self.config, family="safety-classifier", auto=AUTO[self.config.kind])
        # Fail now, and not after the first thousand generations.
        if self.config.kind == "causal":
            self._answers()
        else:
            self._classes()

    def score(self, generations: Sequence[Generation]) -> NDArray[np.float64]:
        """[N] float64, probability of unsafe in [0, 1]; NaN where an input is too long, or the answer is neither.

        Raises:
            ConfigError: `open` was not called, or answers cannot be read.
        """
        if self._loaded is None:
            raise ConfigError("baseline safety-classifier: has no model yet; call open(target) before score().")
        causal = self.config.kind == "causal"
        rows = [self._conversation(each) if causal else self._texts(each) for each in generations]
        scores = np.full(len(rows), np.nan)
        short = [index for index, row in enumerate(rows) if len(row["input_ids"]) <= self._room()]
        if short:
            read = self._unsafe_first if causal else self._unsafe_class
            scores[short] = read([rows[index] for index in short])
        return scores

    # -- what is asked ---------------------------------------------------------------------------------------

    def _turns(self, generation: Generation) -> tuple[str, ...]:
        """The texts to read, in order."""
        return generation.prompt.text, KNOWN.answer(generation.response)

    def _conversation(self, generation: Generation) -> dict[str, list[int]]:
        tokenizer = self._model.tokenizer
        roles = ("user", "assistant")
        messages = [{"role": role, "content": text} for role, text in zip(roles, self._turns(generation), strict=False)]
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **self.config.template
        )
        # The template has written the special tokens already.
        found: dict[str, list[int]] = dict(tokenizer(text + self.config.before, add_special_tokens=False))
        return found

    def _texts(self, generation: Generation) -> dict[str, list[int]]:
        found: dict[str, list[int]] = dict(self._model.tokenizer(*self._turns(generation)))
        return found

    def _room(self) -> float:
        own = getattr(self._model.model.config, "max_position_embeddings", None)
        return min(self.config.max_tokens or np.inf, own or np.inf)

    # -- how the answer is read ------------------------------------------------------------------------------

    def _unsafe_first(self, rows: Sequence[dict[str, list[int]]]) -> NDArray[np.float64]:
        """[N] float64, P(unsafe) / (P(safe) + P(unsafe)) of the first token; NaN where both are unlikely."""
        model = self._model.model
        safe, unsafe = self._answers()
        scores = np.full(len(rows), np.nan)
        for index, logits in logits_of(
            lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits,
            [row["input_ids"] for row in rows], batch_size=self.config.batch_size, device=self._device,
        ):  # fmt: skip
            chances = logits[-1].double().softmax(-1).cpu()
            bad, good = float(chances[unsafe].sum()), float(chances[safe].sum())
            if bad + good > self.config.least:
                scores[index] = bad / (bad + good)
        return scores

    def _unsafe_class(self, rows: Sequence[dict[str, list[int]]]) -> NDArray[np.float64]:
        """[N] float64, total probability of the unsafe classes."""
        import torch

        classes, scores = self._classes(), []
        for start in range(0, len(rows), self.config.batch_size):
            batch = self._model.tokenizer.pad(rows[start : start + self.config.batch_size], return_tensors="pt")
            with torch.inference_mode():
                logits = self._model.model(**batch.to(self._device)).logits.double()
            chances = logits.sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)
            scores.append(chances[:, classes].sum(-1).cpu().numpy())
        return np.concatenate(scores)

    def _answers(self) -> tuple[list[int], list[int]]:
        """First tokens of safe and of unsafe answers."""
        tokenizer, source = self._model.tokenizer, self._model.source
        if not getattr(tokenizer, "chat_template", None):
            raise ConfigError(
                f"baseline safety-classifier: {source} has no chat template, which says how it is asked. Name a guard "
                "model that has one, or set kind: sequence for a classifier with classes."
            )
        first: list[list[int]] = []
        for words in (self.config.safe, self.config.unsafe):
            tokens = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
            first.append([found[0] for found in tokens if found and found[0] != tokenizer.unk_token_id])
        safe, unsafe = first
        if not safe or not unsafe or set(safe) & set(unsafe):
            raise ConfigError(
                f"baseline safety-classifier: {source} does not tell {', '.join(self.config.safe)} from "
                f"{', '.join(self.config.unsafe)} by the first token, or does not know them. Set baseline.options.safe "
                "and unsafe to the words its answers begin with."
            )
        return safe, unsafe

    def _classes(self) -> list[int]:
        """Numbers of the unsafe classes."""
        config = self._model.model.config
        if config.num_labels == 1:
            return [0]
        wanted = {name.casefold() for name in self.config.unsafe}
        found = [int(number) for number, name in config.id2label.items() if name.casefold() in wanted]
        if not found:
            raise ConfigError(
                f"baseline safety-classifier: {self._model.source} has no class named {', '.join(self.config.unsafe)}; "
                f"classes: {', '.join(config.id2label.values())}. Name the unsafe ones in baseline.options.unsafe."
            )
        return found

    @property
    def _model(self) -> sri_sdk.LoadedModel:
        assert self._loaded is not None
        return self._loaded

    @property
    def _device(self) -> torch.device:
        found: torch.device = next(self._model.model.parameters()).device
        return found

    @classmethod
    def example(cls) -> Any:
        """On a model of a few thousand random weights: it knows nothing, but always gives the same scores."""
        from sri_plugin_baselines.small import small_model

        return cls(cls.Config.model_construct(least=0.0), loaded=small_model())


class PromptSafetyClassifierBaseline(SafetyClassifierBaseline):
    """The same for the prompt alone, so it can act before anything is generated."""

    reads: ClassVar[Reads] = "prompt"

    def _turns(self, generation: Generation) -> tuple[str, ...]:
        return (generation.prompt.text,)
