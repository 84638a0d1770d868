"""The model under evaluation as attacks and baselines see it."""

from __future__ import annotations

from collections.abc import Sequence

from sri_sdk.fitting.collect import Collector
from sri_sdk.records import Outcome, Prompt
from sri_sdk.target import Target


class LiveTarget(Target):
    """Generates with the collector's model and sampler, in its batches."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self.scheme = collector.hook.scheme

    def respond(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer per prompt: what the model thinks before it, nobody outside sees."""
        texts: list[str] = []
        for start in range(0, len(prompts), self._collector.batch_size):
            texts += self._collector.respond(prompts[start : start + self._collector.batch_size])
        return [self._collector.hook.thoughts.answer(text) for text in texts]

    def outcomes(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Outcome]:
        """What the judge of the evaluation says of each response."""
        found = self._collector.judged(prompts, responses)
        self._collector.counters.add("practice", len(prompts), found.counts)
        self._collector.counters.check("practice", ended=False)
        return found.outcomes
