"""The toy hook: what the SDK must know about one model family, in the order in which you will need it.

To start your own: copy this file, rename the class, and answer each method for your model. Import torch and your stack
inside methods only: loading a plugin must not cost a user seconds, or need what they lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

import sri_sdk
from sri_sdk import Encoded, ForwardCall, LoadedModel, Match, RunView, StepPlan
from sri_sdk.records import PADDING

if TYPE_CHECKING:
    import torch

# The version of the plugin API this module was written for. The SDK compares it before it builds anything.
SRI_PLUGIN_API = 2


class ToyHook(sri_sdk.Hook):
    """A tiny masked model with random weights, which fixes one token per step from left to right."""

    scheme = "masked"
    # Claim only what `plan` really delivers: guards are accepted or refused by this list.
    capabilities = frozenset({"phi", "input_ids", "committed", "clock", "budget", "request"})

    class Config(sri_sdk.Config):
        """What an operator may write under `model.options`."""

        seed: int = Field(default=0, ge=0, description="Seed of the random weights.")

    # -- which models, and where to look ---------------------------------------------------------------------

    @classmethod
    def fits(cls, model: Any) -> Match:
        """By class name and structure: another model may well have a `norm`, but not all of this."""
        if type(model).__name__ != "ToyModel":
            return Match(False, f"class {type(model).__name__}, this hook is for ToyModel")
        missing = [part for part in ("embed", "blocks", "norm", "head") if not hasattr(model, part)]
        if missing:
            return Match(False, f"a ToyModel without {', '.join(missing)}")
        return Match(True, "class ToyModel with embed, blocks, norm and head")

    def final_norm(self) -> torch.nn.Module:
        """The last norm before the head: its output is the hidden state the signal is made of."""
        norm: torch.nn.Module = self.model.norm
        return norm

    def layers(self) -> Sequence[torch.nn.Module]:
        """The residual blocks, first to last."""
        return list(self.model.blocks)

    def embedding(self) -> torch.nn.Module:
        """The *token* embedding, which receives the ids; not the one for places."""
        embedding: torch.nn.Module = self.model.embed
        return embedding

    def hidden_size(self) -> int:
        """D."""
        return int(self.model.config.hidden_size)

    def head(self) -> torch.nn.Module | None:
        """The matrix behind the norm, which this model does not name as transformers' do."""
        head: torch.nn.Module = self.model.head
        return head

    # -- what one forward pass means -------------------------------------------------------------------------

    def plan(self, call: ForwardCall, run: RunView) -> StepPlan | None:
        """Says what each row is: the canvas begins where the first forward pass had its first hole.

        What one pass must tell the next goes into `run.memory`, never on self: generations may run side by side.
        """
        import torch

        ids = call.input_ids
        holes = ids == self.model.config.mask_token_id
        if not holes[:, run.memory.get("start", 0) :].any():
            # Nothing left to fill: a caller reads the finished text, which is not a step. The SDK checks that it was.
            run.reads(ids)
            return None
        if "start" not in run.memory:
            # Prompts are padded on the left, so the canvas is what all rows end with: the shortest run of holes, as
            # a prompt may have holes of its own. Where a response was started, the canvas does not begin with a hole,
            # and the run says where it is.
            canvas = int(holes.flip(1).long().cumprod(1).sum(1).min())
            run.memory["start"] = ids.shape[1] - canvas if run.response is None else run.response[0]
            # The call returns the prompt before the response: the reader of its tokens must know where one ends.
            run.prompt = run.memory["start"]
        start = run.memory["start"]
        positions = (torch.arange(ids.shape[1], device=ids.device) - start).expand_as(ids)
        positions = positions.masked_fill((ids == 0) & (positions < 0), PADDING)
        return StepPlan(positions, shift=0, committed=~holes[:, start:], canvas=ids.shape[1] - start)

    # -- for `sri check`: what the conformance kit tries this hook on ------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """The model with random weights, and its own generate call: greedy, and always as many steps as positions."""
        from sri_plugin_toy.model import CANVAS, ToyTokenizer, build
        from sri_sdk.testing import HookCase

        hook = cls(build(0))
        encoded = hook.encode(ToyTokenizer(), ["ab", "the long story", "x y z"])
        return HookCase(hook, encoded, lambda e: hook.model.generate(e.input_ids, e.attention_mask), steps=CANVAS)

    # -- for driven sampling; leave these out if users always bring a loaded model -------------------------------

    @classmethod
    def load(cls, config: Any) -> LoadedModel:
        """Builds the model from the options."""
        from sri_plugin_toy.model import ToyTokenizer, build

        return LoadedModel(build(config.seed), ToyTokenizer(), f"toy model, seed {config.seed}")

    def encode(self, tokenizer: Any, texts: Sequence[str], system_prompt: str | None = None) -> Encoded:
        """Pads on the left by hand; with a transformers tokenizer, the inherited method does all of this."""
        import torch

        rows = [tokenizer.encode(f"{system_prompt} {text}" if system_prompt else text) for text in texts]
        width = max(len(row) for row in rows)
        ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        return Encoded(ids, mask)

    def tokens(self, tokenizer: Any, text: str) -> list[int]:
        """For responses that are started; a transformers tokenizer is asked to leave its special tokens out."""
        ids: list[int] = tokenizer.encode(text)
        return ids

    def decode(self, tokenizer: Any, tokens: torch.Tensor) -> list[str]:
        """One text per row of [B, P] token ids, without what stands behind an end."""
        return [tokenizer.decode(row[:end]) for row, end in zip(tokens.tolist(), self.lengths(tokens), strict=True)]

    def mask_id(self) -> int | None:
        """Read from the config: never a number typed by hand."""
        return int(self.model.config.mask_token_id)

    def eos_ids(self) -> tuple[int, ...]:
        """The toy always fills its canvas; no token ends a response."""
        return ()
