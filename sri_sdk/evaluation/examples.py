"""A few generations for the report's player: the first of each class, whatever its score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sri_sdk.evaluation.evaluated import Evaluated
from sri_sdk.evaluation.generations import Generations
from sri_sdk.evaluation.groups import ATTACK, HARMFUL, HARMLESS
from sri_sdk.metrics.results import CLASS_WORDS, Example, our_guard

if TYPE_CHECKING:
    from sri_sdk.fitting.collect import Collector


def pick_examples(model: str, done: Evaluated, collector: Collector) -> tuple[Example, ...]:
    """The first generation of each class, with the drafts of every step; its curve is that of the last tapped layer.

    Args:
        model: its name.
        done: with its generations and guards.
        collector: of the same model.
    """
    ours = our_guard(done.guards)
    made = []
    groups = [group for group in done.found if group in (HARMLESS, HARMFUL) or group.startswith(ATTACK)]
    for kind, words in CLASS_WORDS.items():
        # A successful attack is looked for among the attacks first, a refusal among the plain prompts.
        order = reversed(groups) if kind == "successful_attack" else groups
        place = next(
            ((g, row) for g in order for row in (done.found[g].classes == kind).nonzero()[0][:1].tolist()), None
        )
        if place is None:
            continue
        group, row = place
        part = done.found[group]
        prompt = part.prompts[row]
        drafts, response = _drafts(part, row, collector)
        final = online = None
        if ours is not None:
            final, online = ours.verdicts["final"][group][row], ours.verdicts["online"][group][row]
        made.append(
            Example(
                model=model,
                title=words[0].upper() + words[1:] + (f" ({prompt.attack})" if prompt.attack else ""),
                prompt=prompt.text,
                response=response,
                outcome=part.outcomes[row],
                status=final.status if final else "not_sampled",
                score=final.score if final else None,
                threshold=final.threshold if final else None,
                first_alarm_step=online.first_alarm_step if online else None,
                sigma=tuple(part.signals.sigma[row, :, -1].astype(float).tolist()),
                drafts=drafts,
                kind=kind,
            )
        )
    return tuple(made)


def _drafts(part: Generations, row: int, collector: Collector) -> tuple[tuple[str, ...], str]:
    """What the response reads as after each step, and at the end; generated once more where it was not stored."""
    if part.draft_texts is not None and part.responses is not None:
        return part.draft_texts[row], part.responses[row]
    drafts: list[str] = []
    driven = collector.run([part.prompts[row]], collector.settings, lambda d: drafts.append(d.texts[0]))
    return tuple(drafts), driven.texts[0]
