"""Passes that show prompts, as the kit records them: their tokens, their states, and what the hook says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.request import Span
from sri_sdk.capture.settings import Layers
from sri_sdk.errors import ConformanceError
from sri_sdk.hook import Hook
from sri_sdk.records import Encoded, ForwardCall, RunView, StepPlan
from sri_sdk.testing._hook_case import HookCase, subject
from sri_sdk.testing._hook_cause import unembedding


class Enough(Exception):
    """The prompts were read, and one more pass was made: the rest of the generation shows nothing new."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token of a prompt was shown first."""

    index: int
    """Of the pass."""
    row: int
    """Of its batch."""
    place: int
    """In that row."""


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens of one prompt that are read."""

    first: int
    """Column of the prompt's first token."""
    begin: int
    """The part's first token, counted from the prompt's first."""
    end: int
    """Behind its last, counted likewise."""

    @property
    def span(self) -> Span:
        """As columns of the prompt."""
        return self.first + self.begin, self.first + self.end

    def inner(self) -> Part:
        """The same without its first and its last token, where it has so many: what lies at its edges then shows."""
        return replace(self, begin=self.begin + 1, end=self.end - 1) if self.end - self.begin > 3 else self


@dataclass(slots=True)
class PromptPass:
    """One forward pass."""

    ids: list[list[int]]
    """[B, L] tokens."""
    states: dict[str | int, torch.Tensor] = field(default_factory=dict)
    """Layer -> [B, L, D]."""
    columns: list[list[int]] | None = None
    """[R, L], what the hook said; None = nothing of a prompt, or it was not asked."""
    rows: list[int] | None = None
    """[R] batch rows that the plan gave to requests; None = row i is request i."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One generation in which requests were read."""

    how: str
    """In words."""
    prompts: list[list[int]]
    """Tokens of each prompt, no two alike."""
    parts: Sequence[Part]
    layers: Layers
    passes: list[PromptPass]

    def places(self, request: int) -> list[Place | None]:
        """Per token of a prompt: where it was shown first; None = nowhere."""
        return first_places(self.passes, self.prompts, request)

    def states(self, request: int, layer: str | int) -> NDArray[np.float64]:
        """[N, D]: states of the N tokens that are read of a prompt, where these were shown first."""
        part = self.parts[request]
        shown = [place for place in self.places(request)[part.begin : part.end] if place is not None]
        kept = [self.passes[at.index].states[layer][at.row, at.place] for at in shown]
        return np.stack([each.double().cpu().numpy() for each in kept])


def prompts_of(encoded: Encoded) -> list[list[int]]:
    """Tokens of each prompt, without padding."""
    return [ids[real.bool()].tolist() for ids, real in zip(encoded.input_ids, encoded.attention_mask, strict=True)]


def first_places(passes: Sequence[PromptPass], prompts: Sequence[Sequence[int]], request: int) -> list[Place | None]:
    """Per token of a prompt: the first place that shows it; None = no pass does."""
    wanted, found = set(prompts[request]), dict[int, Place]()
    for index, each in enumerate(passes):
        row = own_row(each, prompts, request)
        for place, token in enumerate(each.ids[row]):
            if token in wanted:
                found.setdefault(token, Place(index, row, place))
    return [found.get(token) for token in prompts[request]]


def own_row(each: PromptPass, prompts: Sequence[Sequence[int]], request: int) -> int:
    """The batch row of a request: under guidance, and once rows have left, the one that shows most of its prompt."""
    if len(each.ids) == len(prompts):
        return request
    wanted = set(prompts[request])
    shown = [len(wanted.intersection(row)) for row in each.ids]
    return request if request < len(shown) and shown[request] == max(shown) else shown.index(max(shown))


@contextmanager
def recording(
    hook: Hook, layers: Layers, until: Sequence[Sequence[int]] | None = None
) -> Iterator[list[PromptPass]]:  # fmt: skip
    """Records every pass of the model inside the block, and what `prompt_columns` says of it.

    Args:
        hook: the family.
        layers: what to keep of each pass, `final` or block numbers.
        until: tokens of the prompts after which the generation may stop; None = it must not.

    Raises:
        Enough: in the second pass that begins after all prompts were shown.
    """
    passes: list[PromptPass] = []
    inner, own = hook.prompt_columns, vars(hook).get("prompt_columns")
    done: list[int] = []

    def shows_all(prompts: Sequence[Sequence[int]]) -> bool:
        return all(None not in first_places(passes, prompts, request) for request in range(len(prompts)))

    def begin(_module: Any, args: Any, kwargs: Any) -> None:
        if (
            until is not None
            and not done
            and all(None not in first_places(passes, until, r) for r in range(len(until)))
        ):
            done.append(len(passes))
        if done and len(passes) > done[0]:
            raise Enough
        given = args[0] if args else next(iter(kwargs.values()))
        passes.append(PromptPass(given.tolist()))

    def keep(layer: str | int) -> Any:
        def record(_module: Any, _args: Any, output: Any) -> None:
            if passes:
                # The last time counts, where a module runs more than once. A copy, since models reuse their buffers.
                passes[-1].states[layer] = (output[0] if isinstance(output, tuple) else output).detach().clone()

        return record

    def columns(call: ForwardCall, plan: StepPlan | None, run: RunView) -> torch.Tensor | None:
        said = inner(call, plan, run)
        if said is not None:
            passes[-1].columns = said.tolist()
            passes[-1].rows = None if plan is None or plan.rows is None else plan.rows.tolist()
        return said

    parts, own_part = [(hook.embedding(), hook.layers(), hook.final_norm())], hook.prompt_modules()
    parts += [] if own_part is None else [own_part]
    with ExitStack() as stack:
        for embedding in {id(part[0]): part[0] for part in parts}.values():
            stack.callback(embedding.register_forward_pre_hook(begin, with_kwargs=True).remove)
        for part in parts:
            for layer in layers:
                module = part[2] if layer == "final" else part[1][int(layer)]
                stack.callback(module.register_forward_hook(keep(layer)).remove)
        vars(hook)["prompt_columns"] = columns
        try:
            yield passes
        finally:
            vars(hook).pop("prompt_columns")
            if own is not None:
                vars(hook)["prompt_columns"] = own


def without_repeats(case: HookCase) -> Encoded:
    """The prompts, every token that a row has already replaced by one that no prompt has.

    Raises:
        ConformanceError: the vocabulary is too small.
    """
    ids, free = case.encoded.input_ids.clone(), free_tokens(case)
    padding = set(ids[case.encoded.attention_mask == 0].tolist())
    for row, mask in zip(ids, case.encoded.attention_mask.bool(), strict=True):
        seen, left = set(padding), iter(free)
        for column in mask.nonzero()[:, 0].tolist():
            if int(row[column]) in seen:
                row[column] = next(left, -1)
            seen.add(int(row[column]))
    if bool((ids < 0).any()):
        raise ConformanceError(
            f"{subject(case)}.example(): only {len(free)} tokens are neither special nor in a prompt, so the columns "
            "of a prompt cannot be told apart by their tokens. Shorten the prompts."
        )
    return Encoded(ids, case.encoded.attention_mask)


def free_tokens(case: HookCase) -> list[int]:
    """Tokens that no prompt has and no config names, those in the middle of the vocabulary first."""
    hook, model = case.hook, case.hook.model
    taken = {*case.encoded.input_ids.flatten().tolist(), *hook.eos_ids(), hook.mask_id()}
    for name in ("config", "generation_config"):
        config: Any = getattr(model, name, None)
        named = config.to_dict() if hasattr(config, "to_dict") else dict(getattr(config, "__dict__", {}))
        taken |= {value for key, value in named.items() if "token" in key and isinstance(value, int)}
    weight = getattr(hook.embedding(), "weight", None)
    size = len(unembedding(case) if weight is None else weight)
    return sorted({*range(size)} - taken, key=lambda token: abs(token - size // 2))
