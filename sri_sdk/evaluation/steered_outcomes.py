"""What the judge says of responses under steering; nobody watches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sri_sdk.evaluation.steered import Steered
from sri_sdk.fitting.generating import Generating
from sri_sdk.fitting.packed import Batch
from sri_sdk.fitting.tasks import Task
from sri_sdk.metrics.outcomes import codes
from sri_sdk.records import Prompt


@dataclass(frozen=True, slots=True)
class SteeredOutcomes(Task):
    """Outcomes of a batch that is generated under steering."""

    name = "steered"

    steered: Steered

    def make(self, live: Generating, prompts: Sequence[Prompt]) -> Batch:
        """`outcomes` [B] int8, and counts of what may make them worthless."""
        # A steering of its own for every batch: each is a generation.
        with self.steered.on(live.hook, live.sampler.budget()):
            texts = live.respond(prompts)
        said = live.judged(prompts, texts)
        return {"outcomes": codes(said.outcomes)}, {"counts": said.counts}

    def state(self) -> Batch:
        """`vectors` [K, D] and `means` [2, B] float32 of the direction; what is done along it, and where."""
        return self.steered.state()

    @classmethod
    def restored(cls, state: Batch) -> Self:
        """The inverse of `state`, from the same arrays [...]."""
        return cls(Steered.restored(*state))
