"""A guard for the model of an engine, and what the engine must be told to look at.

An engine loads a checkpoint in its own way: weights are joined, and classes are its own. So the same checkpoint is read
once as transformers has it. The guard is compared with that copy, field by field, as a watch compares it; whether the
engine runs the same weights is for the caller to compare, while the copy is there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from sri_sdk.capture.choose import choose_hook
from sri_sdk.capture.conclude import OTHER_SYSTEM_PROMPT
from sri_sdk.capture.locate import Locator
from sri_sdk.capture.request import Span
from sri_sdk.capture.settings import WatchSettings, watch_settings
from sri_sdk.capture.stated import SYSTEM_PROMPT, Heads, agrees, heads_of
from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.policy import Policy
from sri_sdk.scoring.guard import Guard


@dataclass(frozen=True, slots=True)
class Placed:
    """Where states are read in a model, as module paths of transformers."""

    norm: str
    blocks: tuple[str, ...]
    """One per residual block."""


@dataclass(slots=True)
class Guarded:
    """What requests of an engine are measured against, and how their prompts are read."""

    settings: WatchSettings
    hook: Hook
    """On the copy of the model; it tells how prompts are written."""
    placed: Placed
    _locator: Locator | None = field(default=None, init=False)
    _heads: Heads | None = field(default=None, init=False)

    @property
    def reads_requests(self) -> bool:
        """Whether the requests' own tokens are wanted."""
        return bool(self.settings.request_layers)

    def span(self, prompt: Sequence[int] | None) -> Span | None:
        """Where a request is in its prompt, token ids: of one user turn in the chat template; None = not located."""
        if prompt is None or not self.reads_requests or self.settings.tokenizer is None:
            return None
        if self._locator is None:
            self._locator = Locator(self.hook, self.settings.tokenizer, self.settings.system_prompt)
        found, last = self._locator(prompt), self.settings.request_tokens
        return found if found is None or last is None else (max(found[0], found[1] - last), found[1])

    def prompt_reasons(self, prompt: Sequence[int] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(reasons against a prompt, what is stated of it and was not checked): whether it has the system prompt."""
        if SYSTEM_PROMPT not in self.settings.stated:
            return (), self.settings.stated
        found = None
        if prompt is not None and self.settings.tokenizer is not None:
            found = agrees(
                self.hook, self.settings.tokenizer, self.settings.system_prompt, [list(prompt)], self._chat_heads()
            )
        if found is False:
            return (OTHER_SYSTEM_PROMPT,), self.settings.stated
        left = tuple(name for name in self.settings.stated if not (found and name == SYSTEM_PROMPT))
        return (), left

    def _chat_heads(self) -> Heads | None:
        """What chats begin with, made once: a template takes longer than a pass of a small model."""
        if self._heads is None and not self.settings.system_prompt:
            try:
                self._heads = heads_of(self.settings.tokenizer)
            except Exception:
                # A tokenizer may refuse a chat for any reason; `agrees` then finds that it tells nothing.
                return None
        return self._heads

    def let_go_of_the_model(self) -> None:
        """Frees the copy's weights: from here on the hook only writes prompts."""
        for tensor in (*self.hook.model.parameters(), *self.hook.model.buffers()):
            # Not on the meta device: hooks send prompts to where the weights are.
            tensor.data = torch.empty(0, dtype=tensor.dtype)


def guard_checkpoint(
    checkpoint: str, guard: Guard, *, dtype: torch.dtype, rule: str = "final", hook: str | None = None,
    accept: Collection[str] = (), system_prompt: str | None = None, tokenizer: Any = None, revision: str | None = None,
    trust_remote_code: bool = False, canvases: bool = False,
) -> Guarded:  # fmt: skip
    """Loads the copy of a checkpoint on the CPU and compares the guard with it.

    Args:
        checkpoint: folder or hub name, as the engine has it.
        guard: for its model.
        dtype: that the engine runs in.
        rule: when the guard decides; an engine's requests are judged when they have ended, whatever it is.
        hook: the family's plugin; None = the installed one that fits.
        accept: soft fields of the fingerprint that may differ.
        system_prompt: the system prompt of all requests, if any.
        tokenizer: of the model, to locate requests and check the system prompt; None = read from the checkpoint.
        revision: of the checkpoint.
        trust_remote_code: whether code of the checkpoint may run, as it does in the engine.
        canvases: whether the engine's plugin tells what its sampler makes of canvases.

    Raises:
        ModelMismatch: the guard is another model's.
        ConfigError: the family's scheme is not watched in an engine, or nothing tells where its states are.
    """
    from transformers import AutoTokenizer

    model = (
        _class_of(checkpoint, revision, trust_remote_code)
        .from_pretrained(checkpoint, dtype=dtype, revision=revision, trust_remote_code=trust_remote_code)
        .eval()
    )
    if tokenizer is None:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, revision=revision, trust_remote_code=trust_remote_code)
    family = choose_hook(model, hook)
    allowed = ("autoregressive", "canvas") if canvases else ("autoregressive",)
    if family.scheme not in allowed:
        raise ConfigError(
            f"{checkpoint}: hook {type(family).__name__} is for {family.scheme} models; in this engine only "
            f"{' and '.join(allowed)} ones are watched. Watch this one under transformers."
        )
    policy = Policy.model_validate({**Policy.observe().model_dump(), "rule": rule})
    settings = watch_settings(
        family, guard, policy=policy, accept=accept, system_prompt=system_prompt, tokenizer=tokenizer
    )
    return Guarded(settings, family, placed_in(family))


def _class_of(checkpoint: str, revision: str | None, trust_remote_code: bool) -> Any:
    """What loads a checkpoint: the class that it names where transformers files it under no task."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        checkpoint, revision=revision, trust_remote_code=trust_remote_code
    )  # fmt: skip
    filed = bool(getattr(config, "auto_map", None)) or type(config) in transformers.AutoModelForCausalLM._model_mapping
    named = next(iter(config.architectures or ()), "")
    own = None if filed else getattr(transformers, named, None)
    return transformers.AutoModelForCausalLM if own is None else own


def placed_in(hook: Hook) -> Placed:
    """Where the hook's modules are in its model.

    Raises:
        ConfigError: one of them is not a module of the model by name.
    """
    names = {id(module): name for name, module in hook.model.named_modules()}
    found = [names.get(id(module)) for module in (hook.final_norm(), *hook.layers())]
    if None in found:
        raise ConfigError(
            f"{type(hook).__name__}: final_norm or layers() gives a module that the model does not have under a name, "
            "so it cannot be found in the engine's. Let the hook return modules of the model itself."
        )
    paths = [name for name in found if name is not None]
    return Placed(paths[0], tuple(paths[1:]))
