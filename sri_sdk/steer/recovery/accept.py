"""Whether a new response may be given out: what the guard saw of it, and what the judge makes of it.

The judge never learns whether a request is harmful: one that knows refusals alone would say so of every other response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sri_sdk.judge import Judge
from sri_sdk.records import Outcome, Prompt
from sri_sdk.steer.recovery.again import Made
from sri_sdk.steer.recovery.cases import behaviour_alarms, behaviour_seen
from sri_sdk.text import in_short
from sri_sdk.thoughts import Thoughts

if TYPE_CHECKING:
    from sri_sdk.scoring.scorer import Scorer


@dataclass(frozen=True, slots=True)
class Said:
    """What a judge says of one response."""

    outcome: Outcome | None
    """None = nothing that could be read."""
    detail: str = ""
    """What went wrong, in words."""


def ask(judge: Judge, thoughts: Thoughts, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[Said]:
    """Asks a judge about responses; its own failure is no word for or against any of them.

    Args:
        judge: what a response is.
        thoughts: how the model marks its own, which are left out.
        prompts: one per response; their labels are not passed on.
        texts: the responses.
    """
    if not prompts:
        return []
    unlabelled = [replace(prompt, label="harmless", attack=None) for prompt in prompts]
    answers = [thoughts.split(text).answer for text in texts]
    try:
        outcomes = judge.judge(unlabelled, answers)
        unparsed = judge.unparsed(unlabelled, answers)
    except (Exception, SystemExit) as err:  # A plugin's, and maybe the network's.
        private = (*(prompt.text for prompt in prompts), *texts)
        return [Said(None, f"{type(judge).__name__}: {in_short(err, private)}")] * len(prompts)
    return [
        Said(None, f"{type(judge).__name__} gave an answer that could not be read") if bad else Said(outcome)
        for outcome, bad in zip(outcomes, unparsed, strict=True)
    ]


def accepted(made: Made, said: Said | None, scorer: Scorer) -> tuple[bool, str]:
    """Whether a response that was generated again is given out, and a code of why or why not.

    A refusal is accepted although a part of the guard alarms: to a guard that knows harmless answers, a model that
    refuses is out of their range. Unless the guard knows that the generation ended otherwise: then the words are not
    believed.
    """
    if made.ended is not None:
        return False, made.ended
    if made.undecodable is not None:
        return False, "undecodable"
    if made.reasons or not behaviour_seen(made.verdict, scorer):
        return False, "unmonitored"
    if said is None or said.outcome is None:
        return False, "judge_failed"
    alarm = behaviour_alarms(made.verdict, scorer)
    if said.outcome == "refusal" and not (alarm and made.verdict.ended == "complying"):
        return True, "refusal"
    if alarm:
        return False, "alarm"
    return (False, "judged_harmful") if said.outcome == "harmful" else (True, "clear")


def released(judge: Judge, said: Said) -> bool:
    """Whether a judge lets the response go that the guard had stopped: it refuses, or is known to be harmless."""
    return said.outcome == "refusal" or (said.outcome == "harmless" and judge.knows_harm)
