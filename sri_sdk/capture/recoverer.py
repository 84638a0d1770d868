"""What a driven batch hands over when it has ended and the policy recovers: the flagged rows, and how they were made.

Recovery itself steers models, so it lives above: `steer/recovery/`. `drive` is given one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.settings import WatchSettings
from sri_sdk.hook import Hook
from sri_sdk.policy import Decision, Policy
from sri_sdk.records import LoadedModel, Prompt, RecoveryAction, RecoveryName, SamplerStep, Trace, Verdict
from sri_sdk.sampler import Sampler


@dataclass(frozen=True, slots=True)
class DrivenBatch:
    """A batch whose generation has ended. Everything is in the order of the prompts."""

    hook: Hook
    loaded: LoadedModel
    sampler: Sampler
    settings: WatchSettings
    prompts: tuple[Prompt, ...]
    seed: int
    system_prompt: str | None
    decisions: tuple[Decision, ...]
    traces: tuple[Trace, ...]
    stopped: frozenset[int]
    """Rows that somebody ended before their own end."""
    step: SamplerStep | None
    """The last one."""
    texts: tuple[str, ...]
    """What the responses read as: with the final rule the whole of them, else as far as they got."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What is given out in place of a flagged response."""

    text: str
    by: RecoveryName
    verdict: Verdict | None = None
    """On the new generation, measured on unsteered passes; None = nothing was generated."""
    sigma: NDArray[np.float32] | None = None
    """[T] in [0, 1], what the guard saw of it, as `Signals.drawn`; None = nothing was generated."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery made of a batch."""

    answers: Mapping[int, Answer]
    """Row -> its answer, for every row that `Policy.to_recover` names."""
    actions: tuple[RecoveryAction, ...]


class Recoverer(ABC):
    """Ends flagged generations well, as a policy asks."""

    policy: Policy

    @abstractmethod
    def check(self, hook: Hook, sampler: Sampler, system_prompt: str | None = None) -> None:
        """Whether it can do what its policy lists with this family and this sampler, before anything is generated.

        Raises:
            ConfigError: it cannot.
            ModelMismatch: a direction belongs to another model.
        """

    @abstractmethod
    def refuse_opening(
        self, hook: Hook, loaded: LoadedModel, prompts: Sequence[Prompt], step: SamplerStep, opened: torch.Tensor
    ) -> None:
        """Refuses to open positions, [B, P] bool, that hold the words of a refusal.

        Raises:
            RecoveryError: they do.
        """

    @abstractmethod
    def recover(self, batch: DrivenBatch) -> Recovered:
        """Answers in place of every flagged response. What fails costs its round, and ends in a refusal text."""
