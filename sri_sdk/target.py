"""A model under evaluation, as attacks and baselines may use it: from the outside, text to text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sri_sdk.hook import Scheme
from sri_sdk.records import Outcome, Prompt


class Target(ABC):
    """Generates and judges; shows no weights and no states, so anything that uses it is black-box by construction."""

    scheme: Scheme
    """How the model generates; a started response with holes needs `masked`."""

    @abstractmethod
    def respond(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer per prompt, in their order, from the sampler under evaluation, without the model's thoughts."""

    @abstractmethod
    def outcomes(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Outcome]:
        """How the judge of the evaluation classifies each response."""
