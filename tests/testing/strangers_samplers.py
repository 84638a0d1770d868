"""Samplers of a mistaken vendor, one fault each: `sampler_checks(lambda: case(fault))`; defaults show the fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import ClassVar, TypeVar

import torch

import sri_sdk
from sri_sdk import Encoded
from tests.testing.strangers_sampler_bases import Causal, Masked, case
from tests.testing.strangers_samplers_said import FAULTS as OF_STEPS_AND_ANSWERS

__all__ = ["CORRECT", "FAULTS", "case"]

SRI_PLUGIN_API = 1

CORRECT: list[type[sri_sdk.Sampler]] = [Masked, Causal]
FAULTS: list[type[sri_sdk.Sampler]] = [*OF_STEPS_AND_ANSWERS]
Kind = TypeVar("Kind", bound=type[sri_sdk.Sampler])


def planted(fault: Kind) -> Kind:
    FAULTS.append(fault)
    return fault


# -- randomness --------------------------------------------------------------------------------------------------


@planted
class OneGeneratorForAll(Masked):
    """Draws for the whole batch from the first row's generator: a row's tokens depend on its place."""

    def _noise(self, draws: list[torch.Generator], shape: Sequence[int]) -> torch.Tensor:
        return torch.rand([len(draws), *shape], generator=draws[0])


@planted
class SeedsByRow(Masked):
    """Seeds a row by its number in the batch, not by its prompt: it draws other numbers in other company."""

    def _generators(self, seed: int, prompt_ids: Sequence[str]) -> list[torch.Generator]:
        return super()._generators(seed, [str(row) for row in range(len(prompt_ids))])


@planted
class SeedsByPromptAlone(Masked):
    """Leaves the run's seed out: every run says the same."""

    def _generators(self, seed: int, prompt_ids: Sequence[str]) -> list[torch.Generator]:
        return super()._generators(0, prompt_ids)


@planted
class ZeroIsNoSeed(Masked):
    """Reads seed 0 as none, and draws one: the default run cannot be repeated."""

    def _generators(self, seed: int, prompt_ids: Sequence[str]) -> list[torch.Generator]:
        return super()._generators(seed or torch.Generator().seed(), prompt_ids)


@planted
class KeepsFirstSeed(Masked):
    """Keeps the seed of its first run: a second run with another seed says the same."""

    def _generators(self, seed: int, prompt_ids: Sequence[str]) -> list[torch.Generator]:
        return super()._generators(self.__dict__.setdefault("_seed", seed), prompt_ids)


@planted
class KeepsGenerators(Masked):
    """Keeps its generators from run to run: the second run with the same seed goes on where the first one ended."""

    def _generators(self, seed: int, prompt_ids: Sequence[str]) -> list[torch.Generator]:
        made = dict(zip(prompt_ids, super()._generators(seed, prompt_ids), strict=True))
        kept: dict[tuple[int, str], torch.Generator] = self.__dict__.setdefault("_kept", {})
        return [kept.setdefault((seed, prompt_id), made[prompt_id]) for prompt_id in prompt_ids]


@planted
class SeedsByHash(Masked):
    """Seeds by `hash()`, which differs from process to process: a resumed run draws other numbers."""

    @staticmethod
    def row_seed(seed: int, prompt_id: str) -> int:
        return hash((seed, prompt_id)) % 2**56


@planted
class GlobalGenerator(Masked):
    """Seeds and uses torch's global generator: the caller's numbers change, and rows draw after each other."""

    def _generators(self, seed: int, prompt_ids: Sequence[str]) -> list[torch.Generator]:
        torch.manual_seed(seed)
        return super()._generators(seed, prompt_ids)

    def _noise(self, draws: list[torch.Generator], shape: Sequence[int]) -> torch.Tensor:
        return torch.rand([len(draws), *shape])


@planted
class IgnoresTemperature(Masked):
    """Takes the likeliest token at every temperature: two profiles say the same under two fingerprints."""

    def _guess(self, logits: torch.Tensor, draws: list[torch.Generator]) -> torch.Tensor:
        return logits.argmax(-1)


# -- how many steps and positions --------------------------------------------------------------------------------


@planted
class SharesStepsInBatch(Masked):
    """Fills the positions of lowest order in the whole batch: right on average, and for one row."""

    def _first(self, order: torch.Tensor) -> torch.Tensor:
        ranks = order.flatten().argsort().argsort().view_as(order)
        return ranks < len(order) * int(self.config.per_step)


@planted
class ForgetsRemainder(Masked):
    """Rounds the number of steps down: what does not divide stays a mask."""

    def budget(self) -> int:
        return int(self.config.tokens) // int(self.config.per_step)


@planted
class StepsOnAfterRemask(Masked):
    """Goes on until all is filled, however often positions are opened again: more steps than the budget."""

    def _indices(self) -> Iterable[int]:
        return count()


@planted
class StopsAtEndToken(Masked):
    """Says that it is fixed, and stops a row once an end token is committed: it ends early, with holes."""

    def _unfinished(self, canvas: torch.Tensor, mask_id: int, hook: sri_sdk.Hook) -> torch.Tensor:
        ended = torch.isin(canvas, torch.tensor(hook.eos_ids())).any(dim=1)
        return super()._unfinished(canvas, mask_id, hook) & ~ended


@planted
class StopsWithFirstRow(Masked):
    """Stops the batch when one row is done: the others keep their holes."""

    def _is_over(self, active: torch.Tensor) -> bool:
        return not bool(active.all())


@planted
class OneTokenTooMany(Masked):
    """Fills a canvas one position longer than `canvas()` says."""

    def _canvas(self, prompts: Encoded, rows: int, mask_id: int) -> torch.Tensor:
        canvas = super()._canvas(prompts, rows, mask_id)
        return torch.cat([canvas, canvas.new_full((rows, 1), mask_id)], dim=1)


@planted
class LooksTwice(Masked):
    """Runs the model twice per step and takes the second look: a hook counts two steps for one."""

    def _logits(self, hook: sri_sdk.Hook, prompts: Encoded, canvas: torch.Tensor) -> torch.Tensor:
        super()._logits(hook, prompts, canvas)
        return super()._logits(hook, prompts, canvas)


# -- what it reads -----------------------------------------------------------------------------------------------


@planted
class ShiftsAlways(Masked):
    """Takes each prediction from the row before, as for models that predict the next token; this one does not."""

    def _logits(self, hook: sri_sdk.Hook, prompts: Encoded, canvas: torch.Tensor) -> torch.Tensor:
        mask = torch.cat([prompts.attention_mask, torch.ones_like(canvas)], dim=1)
        logits = hook.forward(torch.cat([prompts.input_ids, canvas], dim=1), mask).logits
        return logits[:, -canvas.shape[1] - 1 : -1].float().clone()


@planted
class PaddingIsText(Masked):
    """Leaves the attention mask out: a padded row is another prompt."""

    def _logits(self, hook: sri_sdk.Hook, prompts: Encoded, canvas: torch.Tensor) -> torch.Tensor:
        logits = hook.forward(torch.cat([prompts.input_ids, canvas], dim=1)).logits
        return logits[:, -canvas.shape[1] :].float().clone()


@planted
class StartedOfFirstRow(Masked):
    """Gives every row the first one's started response."""

    def _canvas(self, prompts: Encoded, rows: int, mask_id: int) -> torch.Tensor:
        return super()._canvas(prompts, rows, mask_id)[:1].repeat(rows, 1)


@planted
class StartedAtTheEnd(Masked):
    """Puts a started response at the end of the canvas."""

    def _canvas(self, prompts: Encoded, rows: int, mask_id: int) -> torch.Tensor:
        given = 0 if prompts.response is None else prompts.response.shape[1]
        return super()._canvas(prompts, rows, mask_id).roll(-given, dims=1)


@planted
class WritesIntoPrompts(Masked):
    """Writes masks over the padding of the prompts it was given: its caller's tensor changes."""

    def _canvas(self, prompts: Encoded, rows: int, mask_id: int) -> torch.Tensor:
        prompts.input_ids.masked_fill_(prompts.attention_mask == 0, mask_id)
        return super()._canvas(prompts, rows, mask_id)


@planted
class ClaimsCanvas(Masked):
    """Claims to drive canvas models, which have no mask token: it refuses each of them."""

    schemes: ClassVar = frozenset({"masked", "canvas"})
