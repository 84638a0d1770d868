"""Samplers of a mistaken vendor, one fault each: `sampler_checks(lambda: case(fault))`. Here, steps and answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch

import sri_sdk
from sri_sdk import Intervention, SamplerStep
from tests.testing.strangers_sampler_bases import Causal, Masked

SRI_PLUGIN_API = 1

FAULTS: list[type[sri_sdk.Sampler]] = []
Kind = TypeVar("Kind", bound=type[sri_sdk.Sampler])


def planted(fault: Kind) -> Kind:
    FAULTS.append(fault)
    return fault


# -- what it says and what it hears ------------------------------------------------------------------------------


@planted
class AbortsEveryone(Masked):
    """Stops the whole batch where one row is to stop."""

    def ask(self, asked: Intervention | None, notes: dict[str, Any]) -> Intervention | None:
        return replace(asked, abort=(0, 1, 2)[: notes["rows"]]) if asked and asked.abort else asked

    def edit(self, step: SamplerStep, hook: sri_sdk.Hook, notes: dict[str, Any]) -> SamplerStep:
        notes["rows"] = len(step.active)
        return step


@planted
class AbortedGoesOn(Masked):
    """Calls a stopped row inactive and fills it all the same."""

    def ask(self, asked: Intervention | None, notes: dict[str, Any]) -> Intervention | None:
        notes.setdefault("stopped", []).extend(asked.abort if asked else ())
        return replace(asked, abort=()) if asked else asked

    def edit(self, step: SamplerStep, hook: sri_sdk.Hook, notes: dict[str, Any]) -> SamplerStep:
        active = step.active.clone()
        active[notes.get("stopped", [])] = False
        return replace(step, active=active)


@planted
class ReopensStopped(Masked):
    """Opens positions of stopped rows, which then stay open."""

    def _obey(
        self, asked: Intervention, running: torch.Tensor, canvas: torch.Tensor, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        _, canvas = super()._obey(replace(asked, abort=()), torch.ones_like(running), canvas, mask_id)
        return super()._obey(replace(asked, remask=None), running, canvas, mask_id)


@planted
class ReopensLikeFirstRow(Masked):
    """Opens in every row the positions that were asked for in the first."""

    def ask(self, asked: Intervention | None, notes: dict[str, Any]) -> Intervention | None:
        if asked is None or asked.remask is None:
            return asked
        return replace(asked, remask=asked.remask[:1].expand_as(asked.remask))


@planted
class SameTensorEachStep(Masked):
    """Yields one tensor and writes to it again: the drafts that a caller kept all become the last one."""

    def edit(self, step: SamplerStep, hook: sri_sdk.Hook, notes: dict[str, Any]) -> SamplerStep:
        return replace(step, draft=notes.setdefault("draft", step.draft.clone()).copy_(step.draft))


@planted
class ActiveAfterwards(Masked):
    """Says who is active after the update: the step that fills a row is not counted for it."""

    def edit(self, step: SamplerStep, hook: sri_sdk.Hook, notes: dict[str, Any]) -> SamplerStep:
        return replace(step, active=step.active & ~step.committed.all(dim=1))


@planted
class DraftHasHoles(Masked):
    """Yields masks where the draft should have the current prediction."""

    def edit(self, step: SamplerStep, hook: sri_sdk.Hook, notes: dict[str, Any]) -> SamplerStep:
        return replace(step, draft=step.draft.masked_fill(~step.committed, int(hook.mask_id() or 0)))


@planted
class CommittedBefore(Masked):
    """Says what was committed before the step: at the end two positions seem open."""

    def edit(self, step: SamplerStep, hook: sri_sdk.Hook, notes: dict[str, Any]) -> SamplerStep:
        before, notes["last"] = notes.get("last", torch.zeros_like(step.committed)), step.committed
        return replace(step, committed=before)


@planted
class CountsFromOne(Masked):
    """Counts its steps from 1."""

    def edit(self, step: SamplerStep, hook: sri_sdk.Hook, notes: dict[str, Any]) -> SamplerStep:
        return replace(step, index=step.index + 1)


# -- autoregressive ----------------------------------------------------------------------------------------------


@planted
class CausalStopsWithFirstRow(Causal):
    """Stops every row with the first one that ends."""

    def _goes_on(self, active: torch.Tensor, ended: torch.Tensor) -> torch.Tensor:
        return active & ~ended.any()


@planted
class CausalNeverEnds(Causal):
    """Decodes on behind the end token, until the budget is spent."""

    def _goes_on(self, active: torch.Tensor, ended: torch.Tensor) -> torch.Tensor:
        return active.clone()


@planted
class CausalFirstEndOnly(Causal):
    """Knows the first of several end tokens only."""

    def _ends(self, hook: sri_sdk.Hook) -> tuple[int, ...]:
        return hook.eos_ids()[:1]


@planted
class CausalEndByHand(Causal):
    """Has 2 for its end token, as another checkpoint had."""

    def _ends(self, hook: sri_sdk.Hook) -> tuple[int, ...]:
        return (2,)


@planted
class CausalEndUncommitted(Causal):
    """Does not commit the end token: a response that ended has one step more than tokens."""

    def edit(self, step: SamplerStep, hook: sri_sdk.Hook, notes: dict[str, Any]) -> SamplerStep:
        ends = torch.isin(step.draft, torch.tensor(hook.eos_ids()))
        return replace(step, committed=step.committed & ~ends)


@planted
class CausalClaimsFixed(Causal):
    """Says that every generation takes the whole budget, and ends with its rows."""

    def is_fixed(self) -> bool:
        return True
