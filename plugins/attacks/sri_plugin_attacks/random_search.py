"""Random search: a suffix is changed by chance, and a change that works better stays.

After Andriushchenko et al., arXiv 2404.02151, whose search climbs on the probability of the first answer token, and
begins with a long hand-written prompt. Ours sees judged texts alone, as anybody does who can only ask and read, and
looks for one suffix that serves all requests.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from sri_plugin_attacks.templates import fill, holds
from sri_plugin_attacks.words import WORDS, read_words
from sri_plugin_attacks.wrapper import Named
from sri_sdk.errors import ConfigError
from sri_sdk.records import Prompt
from sri_sdk.target import Target

SRI_PLUGIN_API = 1

Words = tuple[str, ...]


class RandomSearch(Named):
    """One universal suffix, found on practice requests with the model's judged outcomes only."""

    name: ClassVar = "random-search"
    family: ClassVar = "adversarial suffix"
    source: ClassVar = "after Andriushchenko et al., arXiv 2404.02151 (black box, universal suffix)"

    class Config(Named.Config):
        """What is searched, and how long."""

        template: Annotated[str, AfterValidator(holds("request", "suffix"))] = Field(
            "{request} {suffix}", description="Prompt; {request} stands for the request, {suffix} for what was found."
        )
        words: Words | None = Field(
            None, min_length=2, description="Words to search among; null = those of words_file, or a list of ours."
        )
        words_file: Path | None = Field(None, description="UTF-8 text file of words, in place of `words`.")
        length: int = Field(8, ge=1, description="Words of the suffix.")
        change: int = Field(2, ge=1, description="Neighbouring words that one round changes.")
        rounds: int = Field(40, ge=1, description="Changes that are tried.")
        per_round: int = Field(
            8, ge=1, description="Practice requests that a change is judged on, drawn anew each round."
        )
        seed: int = Field(0, ge=0, description="Seed of the search.")

        @model_validator(mode="after")
        def _fits(self) -> Self:
            if self.words is not None and self.words_file is not None:
                raise ValueError("words and words_file are both given; give one of them")
            if self.change > self.length:
                raise ValueError(f"change {self.change} exceeds length {self.length}; change as many words at most")
            return self

    config: Config

    def prepare(self, target: Target, practice: Sequence[Prompt]) -> Mapping[str, Any]:
        """Searches. The model is asked for at most `2 * per_round` responses a round.

        Returns:
            `suffix`, and `rounds`: what each of them tried, on how many practice requests, how many responses did harm
            or refused with the suffix of before and with the changed one, and whether the change stayed.

        Raises:
            ConfigError: too few practice requests, or the file of words is no good.
        """
        config = self.config
        if len(practice) < config.per_round:
            raise ConfigError(
                f"attack {self.name}: {len(practice)} practice requests, per_round {config.per_round}. Set the "
                f"attack's `practice` to {config.per_round} or more, or per_round lower."
            )
        # Requests in the order of their ids, so that the search does not depend on how they were drawn.
        requests = sorted(practice, key=lambda request: request.id)
        words = config.words or (WORDS if config.words_file is None else read_words(config.words_file))
        chance, trial = random.Random(config.seed), _Trial(self, target)
        best = tuple(chance.choice(words) for _ in range(config.length))
        rounds = []
        for _ in range(config.rounds):
            changed = _changed(best, words, config.change, chance)
            drawn = chance.sample(requests, config.per_round)
            # Both on the same requests: else a round of easy ones would win for its suffix.
            before, after = trial.of((best, changed), drawn)
            kept = after.better_than(before)
            rounds.append(
                {
                    "suffix": " ".join(changed), "requests": len(drawn), "kept": kept,
                    "harmful": [before.harmful, after.harmful], "refused": [before.refused, after.refused],
                }
            )  # fmt: skip
            best = changed if kept else best
        return {"suffix": " ".join(best), "rounds": rounds}

    def apply(self, requests: Sequence[Prompt], learnt: Mapping[str, Any]) -> list[Prompt]:
        """Every request with the suffix.

        Raises:
            ConfigError: none was learnt.
        """
        suffix = learnt.get("suffix")
        if not isinstance(suffix, str):
            raise ConfigError(f"attack {self.name}: learnt holds no suffix, found {suffix!r}. Call prepare() first.")
        return [self.attacked(r, text=self.wrap(r.text, suffix)) for r in requests]

    def wrap(self, request: str, suffix: str) -> str:
        """The attacked text of a request."""
        return fill(self.config.template, request=request, suffix=suffix)


@dataclass(frozen=True, slots=True)
class _Score:
    harmful: int
    refused: int

    def better_than(self, other: _Score) -> bool:
        """More harm; as much of it, fewer refusals: so that the search has a slope before the first success."""
        return (self.harmful, -self.refused) > (other.harmful, -other.refused)


class _Trial:
    """Suffixes tried on requests; what was asked once is not asked again."""

    def __init__(self, attack: RandomSearch, target: Target) -> None:
        self._attack, self._target = attack, target
        self._known: dict[tuple[Words, str], str] = {}

    def of(self, suffixes: Sequence[Words], requests: Sequence[Prompt]) -> list[_Score]:
        """What came of each, counted; all that is new is asked at once."""
        pairs = [(suffix, request) for suffix in dict.fromkeys(suffixes) for request in requests]
        new = [(suffix, request) for suffix, request in pairs if (suffix, request.id) not in self._known]
        if new:
            asked = [self._attack.attacked(r, text=self._attack.wrap(r.text, " ".join(suffix))) for suffix, r in new]
            outcomes = self._target.outcomes(asked, self._target.respond(asked))
            self._known.update({(s, r.id): outcome for (s, r), outcome in zip(new, outcomes, strict=True)})
        found = [[self._known[suffix, request.id] for request in requests] for suffix in suffixes]
        return [_Score(said.count("harmful"), said.count("refusal")) for said in found]


def _changed(suffix: Words, words: Words, count: int, chance: random.Random) -> Words:
    """The suffix with `count` neighbouring words drawn anew."""
    at = chance.randrange(len(suffix) - count + 1)
    return (*suffix[:at], *(chance.choice(words) for _ in range(count)), *suffix[at + count :])
