"""Extension point `sri.baselines`: another kind of guard, to compare with on the same generations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sri_sdk.plugin import Plugin
from sri_sdk.records import Generation
from sri_sdk.target import Target

Reads = Literal["prompt", "response", "drafts"]


class Baseline(Plugin):
    """Scores generations by their texts: a perplexity filter, a second model that judges, a dictionary."""

    source: ClassVar[str]
    """Who published it: authors and arXiv number, for the report."""
    reads: ClassVar[Reads]
    """The latest thing it needs: the prompt (it can act before generation), the response (after it), or the drafts."""

    def open(self, target: Target) -> None:
        """Called once before `score`, with the model that is guarded; loads what the baseline runs on.

        Raises:
            ConfigError: what it runs on is not available, such as weights that are not on this machine.
        """

    @abstractmethod
    def score(self, generations: Sequence[Generation]) -> NDArray[np.float64]:
        """Scores [N] float64, higher = more suspicious; NaN = it cannot tell. The time of this call is its cost."""

    @classmethod
    def example(cls) -> Any:
        """A fresh baseline for the conformance kit, able to score without `open`, or a
        `sri_sdk.testing.BaselineCase` with a target to open it on. The default is one with default options."""
        return cls()
