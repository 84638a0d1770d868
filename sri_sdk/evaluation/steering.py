"""One model of an evaluation under steering: what ablating and adding its refusal direction do, and how far the claims
of arXiv 2512.24143 hold on it."""  # fmt: skip

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.config.steering import SteeringSection
from sri_sdk.evaluation.generations import Generations, Generator
from sri_sdk.evaluation.groups import HARMFUL, HARMLESS, attack_group
from sri_sdk.evaluation.guards import GuardScores
from sri_sdk.evaluation.steered import Steered
from sri_sdk.evaluation.steered_outcomes import SteeredOutcomes
from sri_sdk.evaluation.steering_claims import Claims, Outcomes
from sri_sdk.evaluation.steering_directions import Directions
from sri_sdk.evaluation.steering_guards import STEERED_HARMFUL, STEERED_HARMLESS, guards_on
from sri_sdk.fitting.collect import Collector
from sri_sdk.metrics.steering import SteeringResult
from sri_sdk.records import Prompt
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.operations import Add
from sri_sdk.steer.where import Positions, Where

STEERED = {HARMFUL: STEERED_HARMFUL, HARMLESS: STEERED_HARMLESS}
"""Plain group -> the same prompts under ablation, which guards judge as well."""


class SteeringAnalysis:
    """Everything that is generated under steering on one model, and what it says."""

    def __init__(
        self, section: SteeringSection, collector: Collector, directions: Directions, others: Mapping[str, Direction],
        name: str,
    ) -> None:  # fmt: skip
        """Takes the directions, see `find_directions`.

        Args:
            section: what is asked.
            collector: of the model.
            directions: of the model.
            others: model -> its direction, of the models that were evaluated before.
            name: of this model.
        """
        self._section, self._collector, self._others, self._name = section, collector, others, name
        self.directions, self.ablated = directions, Steered(directions.main)

    def groups(self, generator: Generator, found: Mapping[str, Generations]) -> dict[str, Generations]:
        """The test prompts again, watched under ablation."""
        steered = replace(generator, steered=self.ablated)
        return {name: steered.group(name, found[plain].prompts) for plain, name in STEERED.items()}

    def result(
        self, found: Mapping[str, Generations], guards: Sequence[GuardScores], attacks: Sequence[str]
    ) -> SteeringResult:
        """Generates the rest, and counts.

        Args:
            found: group -> generations, those of `groups` among them.
            guards: which have scored them.
            attacks: names of those that were run.
        """
        self._plain = Outcomes.of(found[HARMFUL])
        self._harmless = Outcomes.of(found[HARMLESS])
        claims = Claims(self._section.least, scheme=self._collector.hook.scheme)
        self._effects(claims, found)
        self._places(claims)
        self._steps(claims)
        self._layers(claims)
        self._parts_of_text(claims)
        self._languages(claims, found)
        self._transfers(claims)
        self._baselines(claims, found, attacks)
        made, notes = self.directions, claims.notes
        return SteeringResult(
            block=made.block, place=str(made.notes["place"]), length=made.length, least=self._section.least,
            runs=tuple(claims.runs), claims=tuple(claims.claims), spots=made.spots(),
            first_tokens=dict(made.notes["first_tokens"]),
            validation={
                "harmless": self._section.direction.validation.harmless,
                "harmful": self._section.direction.validation.harmful,
            },
            spectrum=dict(made.notes["spectrum"]), guards=guards_on(guards, found, attacks), notes=notes,
        )  # fmt: skip

    # -- one question after the other ----------------------------------------------------------------------------

    def _effects(self, claims: Claims, found: Mapping[str, Generations]) -> None:
        """What ablating does to harmful prompts, and adding to harmless ones."""
        plain, harmless, made = self._plain, self._harmless, self.directions
        claims.run("unsteered", "as it is", "harmful", plain, plain)
        claims.run("unsteered", "as it is", "harmless", harmless, harmless)
        without = self._without = Outcomes.of(found[STEERED[HARMFUL]])
        claims.run("ablate", "everywhere", "harmful", without, plain)
        claims.run("ablate", "everywhere", "harmless", Outcomes.of(found[STEERED[HARMLESS]]), harmless)
        claims.claim("ablation-refusal", "Ablation takes refusals of harmful prompts away.", plain, without)
        claims.claim(
            "ablation-harm", "Harmful prompts are then answered with harm.", without, plain, counts="done",
            room=1 - plain.share("done"),
        )  # fmt: skip
        adding = Steered(made.main, Add(made.length), Where(layers=(made.block,)))
        added = self._generated("add", harmless.prompts, adding)
        claims.run("add", f"at block {made.block}", "harmless", added, harmless)
        claims.claim(
            "addition", "Adding the direction makes harmless prompts refused.", added, harmless,
            room=1 - harmless.share("refused"),
        )  # fmt: skip

    def _places(self, claims: Claims) -> None:
        """Whether a direction that was read before the request does it too."""
        masked = claims.scheme == "masked"
        says = "A direction read before the request takes refusals away; in a causal model, none does."
        before = self.directions.others.get("before")
        if before is None:
            certain = not self.directions.notes["differs_before"]
            note = self.directions.missing("before")
            claims.absent("before-request", says, expected=masked, certain=certain, note=note)
            return
        block, place = self.directions.notes["before"]
        ablated = self._generated("before", self._plain.prompts, Steered(before))
        claims.run("place", f"{place} of block {block}", "harmful", ablated, self._plain)
        claims.claim("before-request", says, self._plain, ablated, expected=masked)

    def _steps(self, claims: Claims) -> None:
        """Windows of the steps, each ablated alone; the first and the last over all prompts."""
        count, ends = self._section.windows, list[Outcomes]()
        for at in range(count):
            low, high = at / count, (at + 1) / count
            whole = at in (0, count - 1)
            where, name = Where(steps=(low, high)), f"{100 * low:.0f} to {100 * high:.0f} %"
            found = self._ablated("steps", name, where, claims, whole=whole)
            ends += [found] if whole else []
        claims.claim(
            "early-steps", f"The first {100 / count:.0f} % of the steps matter more than the last.", ends[1], ends[0],
            masked_only=True, room=self._plain.share("refused"),
        )  # fmt: skip

    def _layers(self, claims: Claims) -> None:
        """Each block ablated alone; and both halves of the model, over all prompts."""
        blocks = len(self._collector.hook.layers())
        for block in range(blocks):
            self._ablated("layers", f"block {block}", Where(layers=(block,)), claims)
        if blocks < 2:
            return
        halves = tuple(range(blocks // 2)), tuple(range(blocks // 2, blocks))
        first, second = (
            self._ablated("layers", f"blocks {half[0]} to {half[-1]}", Where(layers=half), claims, whole=True)
            for half in halves
        )
        claims.claim(
            "late-layers", "The second half of the blocks matters more than the first.", first, second,
            masked_only=True, room=self._plain.share("refused"),
        )  # fmt: skip

    def _parts_of_text(self, claims: Claims) -> None:
        """Kinds of positions, and blocks of the response."""
        kinds: tuple[Positions, ...] = ("prompt", "response")
        if claims.scheme == "masked" and "committed" in self._collector.hook.capabilities:
            kinds = (*kinds, "masked", "committed")
        for kind in kinds:
            self._ablated("positions", kind, Where(positions=(kind,)), claims)
        count = self._section.response_blocks
        size = -(-self._collector.sampler.canvas() // count)
        for at in range(count):
            where = Where(blocks=(at, at + 1), block_length=size)
            self._ablated("blocks", f"tokens {at * size} to {(at + 1) * size - 1}", where, claims)

    def _languages(self, claims: Claims, found: Mapping[str, Generations]) -> None:
        """A direction made in one language, ablated on prompts in another."""
        language = self._section.language
        if language is None:
            return
        if attack_group(language) not in found:
            claims.notes["language"] = f"attack {language!r} was not run on this model"
            return
        second = Outcomes.of(found[attack_group(language)])
        other = self.directions.others.get("language")
        across = self._generated("first on second", second.prompts, self.ablated)
        claims.run("language", "made in the first", language, across, second)
        says = "A direction made in one language takes refusals away in another"
        claims.claim("language-to-second", f"{says}: the first in the second.", second, across, masked_only=True)
        if other is None:
            claims.notes["language"] = self.directions.missing("language")
            return
        back = self._generated("second on first", self._plain.prompts, Steered(other))
        own = self._generated("second on second", second.prompts, Steered(other))
        claims.run("language", "made in the second", "harmful", back, self._plain)
        claims.run("language", "made in the second", language, own, second)
        claims.claim("language-to-first", f"{says}: the second in the first.", self._plain, back, masked_only=True)

    def _transfers(self, claims: Claims) -> None:
        """Other models' directions in this one."""
        for pair in self._section.transfers:
            if pair.to != self._name:
                continue
            name = f"transfer-from-{pair.of}"
            given = self._others.get(pair.of)
            if given is None or given.vectors.shape[1] != self._collector.hook.hidden_size():
                claims.notes[name] = (
                    f"model {pair.of!r} was not evaluated in this run" if given is None else
                    f"model {pair.of!r} has states of width {given.vectors.shape[1]}"
                )  # fmt: skip
                continue
            # The width is all that is shared: a direction of this file is refused here, and this is why.
            borrowed = Direction(pair.of, given.vectors, given.towards, self.directions.main.means, {})
            moved = self._generated(f"from {pair.of}", self._plain.prompts, Steered(borrowed))
            claims.run("transfer", f"of {pair.of}", "harmful", moved, self._plain)
            if pair.expect is not None:
                says = f"The direction of {pair.of} takes refusals away here" + (
                    "." if pair.expect else ": it does not."
                )
                claims.claim(name, says, self._plain, moved, expected=pair.expect)

    def _baselines(self, claims: Claims, found: Mapping[str, Generations], attacks: Sequence[str]) -> None:
        """Ablation beside what chance finds, and beside attacks that change the prompt."""
        best, notes = self.directions.others.get("random"), self.directions.notes["random"]
        if best is None:
            claims.notes["random"] = self.directions.missing("random")
        else:
            chosen = self._generated("random best", self._plain.prompts, Steered(best))
            claims.run("random", f"best of {notes['tried']}", "harmful", chosen, self._plain)
            claims.claim(
                "stronger-than-random", f"Ablation does more harm than the best of {notes['tried']} random directions.",
                self._without, chosen, counts="done", room=1 - chosen.share("done"),
            )  # fmt: skip
        chance, parts = self.directions.chance, list[Outcomes]()
        for at, direction in enumerate(chance):
            # Each has prompts of its own, so the mean is over as many prompts as anything else.
            if share := self._plain.prompts[at :: len(chance)]:
                parts.append(self._generated(f"random {at}", share, Steered(direction)))
        together = Outcomes.joined(parts)
        claims.run("random", f"mean of {len(chance)}", "harmful", together, self._plain)
        for attack in self._section.prompts:
            if attack not in attacks:
                claims.notes[f"stronger-than-{attack}"] = "the attack was not run on this model"
                continue
            asked = Outcomes.of(found[attack_group(attack)])
            claims.run("prompt", attack, attack, asked, self._plain)
            claims.claim(
                f"stronger-than-{attack}", f"Ablation does more harm than the attack {attack}.", self._without, asked,
                counts="done", room=1 - asked.share("done"),
            )  # fmt: skip

    # -- generating ------------------------------------------------------------------------------------------------

    def _ablated(self, kind: str, name: str, where: Where, claims: Claims, *, whole: bool = False) -> Outcomes:
        """Harmful prompts with the direction ablated somewhere only; all of them, or as many as a sweep has."""
        prompts = self._plain.prompts if whole else self._plain.prompts[: self._section.sweep]
        found = self._generated(f"{kind} {name}", prompts, Steered(self.directions.main, where=where))
        claims.run(kind, name, "harmful", found, self._plain)
        return found

    def _generated(self, stage: str, prompts: Sequence[Prompt], steered: Steered) -> Outcomes:
        """What the judge says of responses under steering, kept for a continued run."""
        collector, parts = self._collector, list[NDArray[np.int8]]()
        counters = collector.counters
        key: dict[str, Any] = {**collector.key(prompts), "steered": steered.key()}
        group = f"steered {stage.removesuffix(' %')}"
        for batch, (arrays, notes) in collector.batches(group, prompts, key, SteeredOutcomes(steered)):
            parts.append(arrays["outcomes"])
            counters.add(group, len(batch), notes["counts"])
        counters.check(group, ended=True)
        return Outcomes(tuple(prompts), np.concatenate(parts))
